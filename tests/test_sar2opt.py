"""SAR2Opt: directions, the official split and the one without shared pixels, and files that do not fit."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.images import write_image
from sarbench.datasets.sar2opt import SAR2Opt

LAST_TILE = {  # row and column of the last tile of each image, from the published lists
    1: (3840, 5280),
    2: (6480, 3360),
    3: (3120, 2400),
    5: (960, 2160),
    6: (3120, 5040),
    7: (1440, 2880),
    8: (1680, 1920),
    11: (1440, 1440),
    12: (2400, 5040),
    13: (4560, 3360),
}


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("sar2opt"), tmp_path / "sar2opt"))


@pytest.fixture(scope="module")
def all_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published names, whose files are empty: a listing opens none."""
    root = tmp_path_factory.mktemp("names")
    for image, (last_row, last_column) in LAST_TILE.items():
        tiles = [(row, column) for row in range(0, last_row + 1, 240) for column in range(0, last_column + 1, 240)]
        for i, (row, column) in enumerate(tiles):
            for side in "AB":
                folder = root / f"{'train' if i < int(0.7 * len(tiles)) else 'test'}{side}"
                folder.mkdir(exist_ok=True)
                (folder / f"{image}_{row}_{column}.jpg").touch()
    return root


def test_a_is_grey_sar_and_b_is_optical(root: Path) -> None:
    Image.fromarray(np.full((60, 60), 51, np.uint8)).save(root / "trainA" / "1_0_0.jpg", quality=100)
    data = SAR2Opt(root)
    sample = data.read("train/1_0_0")
    assert sample.source.shape == (1, 60, 60)
    assert sample.source[0, 9, 9] == pytest.approx(-0.6)
    assert sample.target.shape == (3, 60, 60)
    repeated = SAR2Opt(root, channels="repeat").read("train/1_0_0").source
    assert np.array_equal(repeated, np.repeat(sample.source, 3, axis=0))


def test_folders_the_other_way_round_are_found_out_and_can_be_said(root: Path) -> None:
    for split in ("train", "test"):
        (root / f"{split}A").rename(root / "swap")
        (root / f"{split}B").rename(root / f"{split}A")
        (root / "swap").rename(root / f"{split}B")
    with pytest.raises(ContractError, match=r"trainA/1_0_0\.jpg is coloured.*direction=BtoA"):
        SAR2Opt(root).read("train/1_0_0")
    sample = SAR2Opt(root, direction="BtoA").read("train/1_0_0")
    assert (len(sample.source), len(sample.target)) == (1, 3)


def test_the_official_split_cuts_images_and_says_so(root: Path) -> None:
    data = SAR2Opt(root)
    assert (len(data.ids("train")), len(data.ids("test"))) == (20, 10)
    assert {data.scene(i) for i in data.ids("train")} == {data.scene(i) for i in data.ids("test")} == {"image 1", "image 12"}
    assert data.keeps_official_leaks


def test_the_disjoint_split_keeps_the_test_tiles_and_no_training_tile_that_shares_a_pixel(root: Path) -> None:
    data = SAR2Opt(root, split="disjoint")
    assert data.ids("test") == SAR2Opt(root).ids("test")
    # test tiles begin at row 720, so that only tiles of row 0 end above them
    assert data.ids("train") == tuple(sorted(f"train/{image}_0_{column}" for image in (1, 12) for column in (0, 240, 480)))
    assert not {data.scene(i) for i in data.ids("train")} & {data.scene(i) for i in data.ids("test")}
    assert not data.keeps_official_leaks


def test_the_published_names_give_the_published_counts(all_names: Path) -> None:
    official, disjoint = SAR2Opt(all_names), SAR2Opt(all_names, split="disjoint")
    assert (len(official.ids("train")), len(official.ids("test"))) == (1_450, 627)
    assert (len(disjoint.ids("train")), len(disjoint.ids("test"))) == (1_138, 627)


def test_other_names_have_no_known_image(root: Path) -> None:
    for side in "AB":
        (root / f"train{side}" / "1_0_0.jpg").rename(root / f"train{side}" / "harbour.jpg")
    assert SAR2Opt(root).scene("train/harbour") is None
    with pytest.raises(ContractError, match="found train/harbour; say split=official"):
        SAR2Opt(root, split="disjoint")


def test_a_folder_of_something_else_is_told_what_was_expected(root: Path) -> None:
    shutil.rmtree(root / "testB")
    with pytest.raises(ContractError, match=r"(?s)no folder testB.*expected:.*found: testA/, trainA/, trainB/"):
        SAR2Opt(root)


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    (root / "trainB" / "1_0_0.jpg").unlink()
    (root / "testA" / "12_960_480.jpg").unlink()
    with pytest.raises(ContractError, match=r"(?s)2 files have.*12_960_480\.jpg has no source.*1_0_0\.jpg has no target"):
        SAR2Opt(root)


def test_files_of_another_kind_are_named(root: Path) -> None:
    (root / "trainB" / "1_0_0.jpg").unlink()
    write_image(root / "trainB" / "1_0_0.png", np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(ContractError, match=r"1_0_0\.png has 50x60 px"):
        SAR2Opt(root).read("train/1_0_0")
    path = root / "trainA" / "1_0_240.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractError, match=r"1_0_240\.jpg can't be read"):
        SAR2Opt(root).read("train/1_0_240")


def test_it_survives_pickling(root: Path) -> None:
    data = SAR2Opt(root, split="disjoint")
    again = pickle.loads(pickle.dumps(data))
    assert again.ids("train") == data.ids("train")
    assert np.array_equal(again.read("train/1_0_0").target, data.read("train/1_0_0").target)
