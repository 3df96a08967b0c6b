"""SEN1-2: both layouts, seasons, scenes, and files that do not fit."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.images import write_image
from sarbench.datasets.sen12 import Sen12

PATCH = "train/ROIs1158_spring/1/p30"


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("sen12"), tmp_path / "sen12"))


def file_of(root: Path, kind: str, scene: int = 1, patch: int = 30) -> Path:
    return root / "ROIs1158_spring" / f"{kind}_{scene}" / f"ROIs1158_spring_{kind}_{scene}_p{patch}.png"


def levels(channels: int) -> np.ndarray:
    pixels = np.zeros((32, 32, channels), np.uint8)
    pixels[0, :3] = np.array([0, 51, 255])[:, None]
    return pixels


def test_8_bits_map_to_minus_1_to_1_on_both_sides(root: Path) -> None:
    colours = levels(3)
    colours[1, 0] = 255, 0, 51
    write_image(file_of(root, "s1"), levels(1))
    write_image(file_of(root, "s2"), colours)
    sample = Sen12(root).read(PATCH)
    assert sample.source.shape == (1, 32, 32)
    assert sample.source[0, 0, :3] == pytest.approx([-1.0, -0.6, 1.0])
    assert sample.target[:, 1, 0] == pytest.approx([1.0, -1.0, -0.6])


def test_grey_sar_may_be_stored_as_three_channels_and_be_asked_for_as_three(root: Path) -> None:
    one = Sen12(root).read(PATCH).source
    data = Sen12(root, channels="repeat")
    assert data.source_channels == 3
    assert np.array_equal(data.read(PATCH).source, np.repeat(one, 3, axis=0))
    write_image(file_of(root, "s1"), levels(3))
    assert Sen12(root).read(PATCH).source.shape == (1, 32, 32)


def test_every_scene_is_on_one_side(root: Path) -> None:
    data = Sen12(root)
    scenes = {split: {data.scene(i) for i in data.ids(split)} for split in ("train", "test")}
    assert scenes["test"] == {"ROIs1158_spring/12", "ROIs2017_winter/4"}
    assert scenes["train"] == {"ROIs1158_spring/1", "ROIs1158_spring/2", "ROIs2017_winter/3"}
    assert len(data.ids("test")) == 5


def test_a_scene_stays_on_its_side_when_a_season_is_chosen_or_missing(root: Path) -> None:
    every = Sen12(root).ids("test")
    winter = Sen12(root, season="winter").ids("test")
    assert winter == tuple(i for i in every if "winter" in i)
    shutil.rmtree(root / "ROIs1158_spring")
    assert Sen12(root).ids("test") == winter


def test_the_selection_by_terrain_has_the_same_scenes(root: Path, tmp_path: Path) -> None:
    for file in root.glob("ROIs*/*/*.png"):
        terrain = "urban" if "_1_" in file.name else "agri"
        place = tmp_path / "kaggle" / "v_2" / terrain / ("s1" if "_s1_" in file.name else "s2")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    for home in (tmp_path / "kaggle", tmp_path / "kaggle" / "v_2"):
        data, official = Sen12(home), Sen12(root)
        assert {data.scene(i) for i in data.ids("test")} == {official.scene(i) for i in official.ids("test")}
        sample_id = "train/urban/ROIs1158_spring/1/p30"
        assert np.array_equal(data.read(sample_id).target, official.read(PATCH).target)


def test_a_folder_of_something_else_is_told_what_was_expected(root: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(ContractError, match=r"(?s)no images of season=all.*expected:.*s2_1_p30.png.*found: images/"):
        Sen12(tmp_path / "images" / "..")
    with pytest.raises(ContractError, match="no images of season=summer"):
        Sen12(root, season="summer")


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    file_of(root, "s1").unlink()
    shutil.rmtree(root / "ROIs2017_winter" / "s2_4")
    with pytest.raises(ContractError, match=r"(?s)3 files have.*s2_1_p30\.png has no source.*s1_4_p100\.png has no target"):
        Sen12(root)


@pytest.mark.parametrize(
    ("kind", "pixels", "says"),
    [
        ("s1", np.arange(3072, dtype=np.uint8).reshape(32, 32, 3), r"s1_1_p30\.png is coloured, but SAR is grey"),
        ("s2", levels(1), r"s2_1_p30\.png has 1 bands, expected 3"),
        ("s2", levels(3)[:, :16], r"s2_1_p30\.png has 32x16 px"),
    ],
)
def test_a_file_of_another_kind_is_named_when_it_is_read(root: Path, kind: str, pixels: np.ndarray, says: str) -> None:
    write_image(file_of(root, kind), pixels)
    with pytest.raises(ContractError, match=says):
        Sen12(root).read(PATCH)


def test_a_truncated_file_is_named(root: Path) -> None:
    path = file_of(root, "s1")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ContractError, match=r"s1_1_p30\.png can't be read"):
        Sen12(root).read(PATCH)


def test_it_survives_pickling(root: Path) -> None:
    data = Sen12(root, channels="repeat")
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read(PATCH).source, data.read(PATCH).source)
