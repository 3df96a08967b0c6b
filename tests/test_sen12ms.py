"""SEN12MS: bands, ranges, classes, the official split, and files that do not fit."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarbench.bench.errors import ContractError
from sarbench.datasets.sen12ms import HOLD_OUT, Sen12MS

PATCH = "ROIs1158_spring/1/p30"
DATA = Path(os.environ.get("SARBENCH_DATA", ""), "geotiff")
needs_data = pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no real GeoTIFFs")


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("sen12ms"), tmp_path / "sen12ms"))


def file_of(root: Path, kind: str, scene: int = 1, patch: int = 30, season: str = "ROIs1158_spring") -> Path:
    return root / season / f"{kind}_{scene}" / f"{season}_{kind}_{scene}_p{patch}.tif"


def rewrite(path: Path, values: np.ndarray) -> None:
    """Other values (C, H, W) in a file of the fake, at the same place."""
    with rasterio.open(path) as file:
        profile = {"crs": file.crs, "transform": file.transform}
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, **profile
    ) as file:
        file.write(values)


def constant(*bands: float, dtype: str = "float32") -> np.ndarray:
    return np.broadcast_to(np.array(bands, dtype)[:, None, None], (len(bands), 32, 32))


# --- Bands and ranges ------------------------------------------------------------------------------------------------


def test_vv_in_decibels_maps_minus_25_to_minus_1_and_0_to_1(root: Path) -> None:
    vv = constant(-25.0, -18.0)[:1].copy()
    vv[0, 0, :5] = -30.0, -25.0, -12.5, 0.0, 4.0
    rewrite(file_of(root, "s1"), np.concatenate([vv, constant(-18.0)]))
    source = Sen12MS(root).read(f"train/{PATCH}", ["source"]).source
    assert source.shape == (1, 32, 32)
    assert source[0, 0, :5].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]


def test_vv_vh_diff_gives_three_channels_each_with_its_own_range(root: Path) -> None:
    rewrite(file_of(root, "s1"), constant(-5.0, -16.25))
    data = Sen12MS(root, channels="vv-vh-diff")
    assert data.source_channels == 3
    # (-5 + 25) / 25, (-16.25 + 32.5) / 32.5, 11.25 / 20; each times 2, minus 1
    assert data.read(f"train/{PATCH}").source[:, 3, 4] == pytest.approx([0.6, 0.0, 0.125], abs=1e-6)


def test_repeat_gives_vv_three_times(root: Path) -> None:
    data = Sen12MS(root, channels="repeat")
    one, three = Sen12MS(root).read(f"train/{PATCH}").source, data.read(f"train/{PATCH}").source
    assert data.source_channels == 3
    assert np.array_equal(three, np.concatenate([one, one, one]))


def test_the_target_is_bands_4_3_2_and_nir_is_band_8(root: Path) -> None:
    rewrite(file_of(root, "s2"), constant(*[100 * band for band in range(1, 14)], dtype="uint16"))
    sample = Sen12MS(root).read(f"train/{PATCH}", ["target", "nir"])
    assert sample.target[:, 0, 0] == pytest.approx([400 / 1500 - 1, 300 / 1500 - 1, 200 / 1500 - 1], abs=1e-6)
    assert sample.aux["nir"][:, 0, 0] == pytest.approx([800 / 5000 - 1], abs=1e-6)
    wide = Sen12MS(root, target_range="0,4000").read(f"train/{PATCH}", ["target"])
    assert wide.target[0, 0, 0] == pytest.approx(400 / 2000 - 1, abs=1e-6)


def test_igbp_classes_1_to_17_become_0_to_16_and_any_other_value_255(root: Path) -> None:
    land_cover = constant(12, 1, 2, 3, dtype="uint16").copy()
    land_cover[0, 0, :6] = 0, 1, 13, 17, 18, 255
    rewrite(file_of(root, "lc"), land_cover)
    data = Sen12MS(root)
    labels = data.read(f"train/{PATCH}", ["labels"]).aux["labels"]
    assert labels.dtype == np.int64
    assert labels.shape == (1, 32, 32)
    assert labels[0, 0, :7].tolist() == [255, 0, 12, 16, 255, 255, 11]
    assert (data.classes[12], data.classes[16], len(data.classes)) == ("urban", "water", 17)


def test_a_patch_knows_where_it_lies(root: Path) -> None:
    where = Sen12MS(root).georeference(f"train/{PATCH}")
    assert where is not None
    assert where.transform == (10.0, 0.0, 380_000.0 + 320 * 30, 0.0, -10.0, 8_110_000.0)


# --- Splits ----------------------------------------------------------------------------------------------------------


def test_the_test_part_is_the_hold_out_scenes_of_the_authors(root: Path) -> None:
    data = Sen12MS(root)
    assert {data.scene(i) for i in data.ids("test")} == {"ROIs1158_spring/15", "ROIs2017_winter/64"}
    assert {data.scene(i) for i in data.ids("train")} == {"ROIs1158_spring/1", "ROIs1158_spring/106", "ROIs2017_winter/1"}
    assert len(data.ids("train")) == 6
    assert len(data.ids("test")) == 5
    assert sum(map(len, HOLD_OUT.values())) == 26


def test_lists_in_the_folder_choose_the_patches(root: Path) -> None:
    (root / "train_list.txt").write_text("ROIs1158_spring_s2_1_p30.tif\nROIs1158_spring_s2_106_p7.tif\n")
    (root / "test_list.txt").write_text("ROIs2017_winter_s2_64_p100.tif\n\nROIs1868_summer_s2_15_p3.tif\n")  # summer: not here
    data = Sen12MS(root)
    assert data.ids("train") == ("train/ROIs1158_spring/1/p30", "train/ROIs1158_spring/106/p7")
    assert data.ids("test") == ("test/ROIs2017_winter/64/p100",)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("ROIs1158_spring_s2_1_p30.tif", None, "train_list.txt alone"),
        ("ROIs1158_spring_s2_1_p30.tif", "ROIs1158_spring_s2_1_p30.tif", "p30.tif stands in both lists"),
        ("ROIs1158_spring_s2_1_p30.tif", "holiday.jpg", "holiday.jpg is no name"),
        ("ROIs1158_spring_s2_1_p30.tif", "ROIs1158_spring_s2_15_p4.tif", "p4.tif is not there, but its scene is"),
        ("ROIs1158_spring_s2_1_p30.tif", "ROIs1158_spring_s2_1_p169.tif", "1 scenes are in train and in test"),
        ("ROIs1158_spring_s2_1_p30.tif", "ROIs1868_summer_s2_15_p3.tif", "no test images"),
    ],
)
def test_lists_that_do_not_fit_are_refused(root: Path, train: str, test: str | None, says: str) -> None:
    (root / "train_list.txt").write_text(train)
    if test is not None:
        (root / "test_list.txt").write_text(test)
    with pytest.raises(ContractError, match=says):
        Sen12MS(root)


def test_drawn_puts_each_scene_on_one_side_whatever_else_was_downloaded(root: Path) -> None:
    data = Sen12MS(root, split="drawn", test_share="0.5")
    shutil.rmtree(root / "ROIs2017_winter")
    less = Sen12MS(root, split="drawn", test_share="0.5")
    assert set(less.ids("test")) == {i for i in data.ids("test") if "spring" in i}


def test_the_damaged_patch_is_left_out(root: Path) -> None:
    for kind in ("s1", "s2", "lc"):
        for patch in (201, 202):
            file = file_of(root, kind, 146, patch, "ROIs1868_summer")
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file_of(root, kind), file)
    assert [i for i in Sen12MS(root).ids("train") if "summer" in i] == ["train/ROIs1868_summer/146/p201"]


def test_without_land_cover_there_are_no_labels(root: Path) -> None:
    for folder in root.glob("*/lc_*"):
        shutil.rmtree(folder)
    data = Sen12MS(root)
    assert data.aux == ("nir",)
    assert data.read(f"train/{PATCH}", ["labels", "nir"]).aux.keys() == {"nir"}


# --- Bad folders and files -------------------------------------------------------------------------------------------


def test_a_folder_of_something_else_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(ContractError, match=r"(?s)no folders ROIs.*expected:.*s2_1_p30.tif.*found: images/.*mediatum"):
        Sen12MS(tmp_path)


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    file_of(root, "s1").unlink()
    shutil.rmtree(root / "ROIs2017_winter" / "lc_64")
    with pytest.raises(ContractError) as error:
        Sen12MS(root)
    text = str(error.value)
    assert "3 files have no partner" in text
    assert "ROIs1158_spring_s2_1_p30.tif has no source" in text
    assert "ROIs2017_winter_s1_64_p200.tif has no labels" in text


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        ("s1", constant(-3, -9, dtype="int16"), "s1_1_p30.tif holds int16 values, expected float32"),
        ("s1", constant(-3.0), "s1_1_p30.tif has 1 bands, expected 2"),
        ("s1", constant(0.3, 0.1), "s1_1_p30.tif holds no value below 0, so it is not in dB"),
        ("s1", constant(-3.0, np.nan), "s1_1_p30.tif: 1024 of 2048 values are NaN"),
        ("s2", constant(*range(12), dtype="uint16"), "s2_1_p30.tif has 12 bands, expected 13"),
        ("s2", constant(*range(13)), "s2_1_p30.tif holds float32 values, expected uint16"),
        ("s2", constant(*range(13), dtype="uint16")[:, :16], "s2_1_p30.tif has 16x32 px"),
        ("lc", constant(1, dtype="uint16"), "lc_1_p30.tif has 1 bands, expected 4"),
    ],
)
def test_a_file_of_another_kind_is_named_when_it_is_read(root: Path, kind: str, values: np.ndarray, says: str) -> None:
    rewrite(file_of(root, kind), values)
    data = Sen12MS(root, channels="vv-vh-diff")
    with pytest.raises(ContractError, match=says):
        data.read(f"train/{PATCH}", ["source", "target", "labels"])


def test_a_truncated_file_is_named(root: Path) -> None:
    path = file_of(root, "s2")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ContractError, match=r"s2_1_p30\.tif can't be read"):
        Sen12MS(root).read(f"train/{PATCH}")


def test_it_survives_pickling(root: Path) -> None:
    data = Sen12MS(root, channels="vv-vh-diff")
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read(f"train/{PATCH}").source, data.read(f"train/{PATCH}").source)
    assert (again.ids("test"), again.aux) == (data.ids("test"), data.aux)


# --- Real files ------------------------------------------------------------------------------------------------------


@needs_data
def test_real_sentinel_1_tiles_are_read(root: Path) -> None:
    for tile in (DATA / "sen12mscr_s1_real").glob("*.tif"):
        shutil.copy(tile, root / "ROIs1158_spring" / "s1_1")
        for kind in ("s2", "lc"):
            shutil.copy(file_of(root, kind), root / "ROIs1158_spring" / f"{kind}_1" / tile.name.replace("_s1_", f"_{kind}_"))
    data = Sen12MS(root, channels="vv-vh-diff")
    for patch in ("p36", "p169", "p540"):
        sample_id = f"train/ROIs1158_spring/1/{patch}"
        source = data.read(sample_id, ["source"]).source
        assert source.shape == (3, 256, 256)
        assert data.size(sample_id) == (256, 256)
        for channel in source:  # no channel is lost in its range
            assert (np.abs(channel) == 1.0).mean() < 0.05
        place = data.georeference(sample_id)
        assert place is not None
        assert "UTM zone 37S" in place.crs


@needs_data
def test_the_fixture_of_torchgeo_has_one_scene_in_both_lists_and_sar_that_is_not_in_decibels() -> None:
    root = DATA / "fixtures_torchgeo" / "sen12ms"
    with pytest.raises(ContractError, match=r"p1\.tif stands in both lists"):
        Sen12MS(root)
    data = Sen12MS(root, split="drawn", test_share="0.5")
    sample_id = data.ids("train")[0]
    assert data.read(sample_id, ["target", "nir", "labels"]).target.shape == (3, 64, 64)
    with pytest.raises(ContractError, match="not in dB"):
        data.read(sample_id)
