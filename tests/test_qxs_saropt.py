"""QXS-SAROPT: splits by number, by the published lists and by chance, and files that do not fit."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.images import write_image
from sarbench.datasets.qxs_saropt import QXSSAROPT


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("qxs_saropt"), tmp_path / "qxs"))


@pytest.fixture(scope="module")
def all_numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all 20,000 names, whose files are empty: a listing opens none."""
    root = tmp_path_factory.mktemp("names")
    for folder in ("sar_256_oc_0.2", "opt_256_oc_0.2"):
        (root / folder).mkdir()
        for number in range(1, 20_001):
            (root / folder / f"{number}.png").touch()
    return root


def test_8_bits_map_to_minus_1_to_1_whether_sar_has_one_channel_or_three(root: Path) -> None:
    for number, channels in ((1, 1), (2, 3)):
        pixels = np.full((32, 32, channels), 51, np.uint8)
        write_image(root / "sar_256_oc_0.2" / f"{number}.png", pixels)
        sample = QXSSAROPT(root).read(f"train/{number}")
        assert sample.source.shape == (1, 32, 32)
        assert sample.source[0, 0, 0] == pytest.approx(-0.6)
        assert sample.target.shape == (3, 32, 32)
        assert QXSSAROPT(root, channels="repeat").read(f"train/{number}").source.shape == (3, 32, 32)


def test_every_fifth_block_of_500_numbers_is_for_testing(root: Path) -> None:
    data = QXSSAROPT(root)
    assert data.ids("test") == ("test/20000", "test/2001", "test/2002", "test/2500", "test/4999")
    assert "train/2000" in data.ids("train")
    assert "train/2501" in data.ids("train")
    assert data.scene("test/2001") is None  # the blocks are a guess: the split counts as unverified


@pytest.mark.slow
def test_blocks_give_16000_and_4000_and_the_draw_16001_and_3999(all_numbers: Path) -> None:
    blocks, drawn = QXSSAROPT(all_numbers), QXSSAROPT(all_numbers, split="random")
    assert (len(blocks.ids("train")), len(blocks.ids("test"))) == (16_000, 4_000)
    assert (len(drawn.ids("train")), len(drawn.ids("test"))) == (16_001, 3_999)
    assert set(drawn.ids("test")) & {"test/10001", "test/10003"}


def test_the_published_lists_decide_where_they_are_given(root: Path) -> None:
    data = QXSSAROPT(root, split="cdiffset")
    assert data.ids("test") == ("test/10", "test/20000", "test/500")
    assert len(data.ids("train")) == 12


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("test_eo_list.txt", None, r"(?s)split=cdiffset needs .*test_eo_list\.txt; get it from.*ReFlowSET"),
        ("test_eo_list.txt", "opt_256_oc_0.2/1.png", r"opt_256_oc_0\.2/1\.png stands in both lists"),
        ("test_eo_list.txt", "opt_256_oc_0.2/77.png", r"test_eo_list\.txt: opt_256_oc_0\.2/77\.png is no image here"),
        ("train_eo_list.txt", "seven", r"train_eo_list\.txt: seven is no image here"),
    ],
)
def test_lists_that_are_missing_or_do_not_fit_are_refused(root: Path, name: str, text: str | None, says: str) -> None:
    if text is None:
        (root / name).unlink()
    else:
        (root / name).write_text(text)
    with pytest.raises(ContractError, match=says):
        QXSSAROPT(root, split="cdiffset")


def test_the_folder_of_the_archive_may_be_there_or_not(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "outer" / "QXSLAB_SAROPT")
    assert QXSSAROPT(tmp_path / "outer").ids("train") == QXSSAROPT(root).ids("train")


def test_a_folder_of_something_else_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "sar_256_oc_0.2").mkdir()
    with pytest.raises(ContractError, match=r"(?s)no folders sar_256.*expected:.*opt_256.*found: sar_256_oc_0.2/"):
        QXSSAROPT(tmp_path)


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    (root / "sar_256_oc_0.2" / "1.png").unlink()
    (root / "opt_256_oc_0.2" / "2.png").unlink()
    with pytest.raises(ContractError, match=r"(?s)2 files have.*opt_256_oc_0\.2/1\.png has no source.*/2\.png has no target"):
        QXSSAROPT(root)


def test_a_coloured_sar_image_and_a_truncated_one_are_named(root: Path) -> None:
    write_image(root / "sar_256_oc_0.2" / "1.png", np.arange(3072, dtype=np.uint8).reshape(32, 32, 3))
    with pytest.raises(ContractError, match=r"sar_256_oc_0\.2/1\.png is coloured"):
        QXSSAROPT(root).read("train/1")
    path = root / "opt_256_oc_0.2" / "2.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ContractError, match=r"opt_256_oc_0\.2/2\.png can't be read"):
        QXSSAROPT(root).read("train/2")


def test_it_survives_pickling(root: Path) -> None:
    data = QXSSAROPT(root, split="cdiffset")
    again = pickle.loads(pickle.dumps(data))
    assert again.ids("test") == data.ids("test")
    assert np.array_equal(again.read("test/10").source, data.read("test/10").source)
