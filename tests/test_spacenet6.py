"""SpaceNet 6: bands, scaling, empty corners, the split by ground, and files that do not fit."""

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
from sarbench.datasets.spacenet6 import SpaceNet6

STRIP = "20190804111224_20190804111453"
TILE = f"train/{STRIP}/tile_0"
DATA = Path(os.environ.get("SARBENCH_DATA", ""), "geotiff")
needs_data = pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no torchgeo fixtures")


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("spacenet6"), tmp_path / "spacenet6"))


def file_of(root: Path, layer: str = "SAR-Intensity", tile: int = 0) -> Path:
    folder = root / "train" / "AOI_11_Rotterdam" / layer
    return folder / f"SN6_Train_AOI_11_Rotterdam_{layer}_{STRIP}_tile_{tile}.tif"


def rewrite(path: Path, values: np.ndarray, crs: str = "EPSG:32631") -> None:
    """Other values (C, H, W) in a file of the fake, at the same place."""
    with rasterio.open(path) as file:
        transform = file.transform
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", photometric="MINISBLACK", crs=crs, transform=transform, **shape) as file:
        file.write(values)


def constant(*bands: float, dtype: str = "float32") -> np.ndarray:
    return np.broadcast_to(np.array(bands, dtype)[:, None, None], (len(bands), 48, 48)).copy()


# --- Bands and scaling -----------------------------------------------------------------------------------------------


def test_hh_from_0_to_92_maps_to_minus_1_to_1(root: Path) -> None:
    sar = constant(30.0, 1.0, 2.0, 3.0)
    sar[0, 0, :4] = 0.0, 23.0, 46.0, 95.0
    rewrite(file_of(root), sar)
    source = SpaceNet6(root).read(TILE, ["source"]).source
    assert source.shape == (1, 48, 48)
    assert source[0, 0, :4] == pytest.approx([-1.0, -0.5, 0.0, 1.0])
    assert SpaceNet6(root, source_range="20,26").read(TILE).source[0, 0, 1] == pytest.approx(0.0)


def test_no_data_is_minus_1_whatever_the_range(root: Path) -> None:
    sar = constant(30.0, 1.0, 2.0, 3.0)
    sar[:, :5] = 0.0
    sar[1, 5] = 7.0  # HV alone still is data
    sar[[0, 2, 3], 5] = 0.0
    rewrite(file_of(root), sar)
    sample = SpaceNet6(root, source_range="-50,50").read(TILE, ["source", "valid"])
    assert (sample.source[0, :6] == -1.0).all()
    valid = sample.aux["valid"]
    assert (valid.dtype, valid.shape) == (np.int64, (1, 48, 48))
    assert not valid[0, :5].any()
    assert valid[0, 5:].all()


def test_hh_mean_vv_averages_the_cross_polarisations(root: Path) -> None:
    rewrite(file_of(root), constant(46.0, 23.0, 69.0, 92.0))
    data = SpaceNet6(root, channels="hh-mean-vv")
    assert data.source_channels == 3
    assert data.read(TILE).source[:, 7, 7] == pytest.approx([0.0, 0.0, 1.0])


def test_repeat_gives_hh_three_times(root: Path) -> None:
    data = SpaceNet6(root, channels="repeat")
    assert data.source_channels == 3
    assert np.array_equal(data.read(TILE).source, np.repeat(SpaceNet6(root).read(TILE).source, 3, axis=0))


def test_percentiles_are_those_of_the_pixels_with_data(root: Path) -> None:
    sar = constant(0.0, 5.0, 5.0, 5.0)
    sar[0, :24] = 10.0 + np.arange(24 * 48).reshape(24, 48) / (24 * 48 - 1) * 100.0  # 10 to 110, half of the tile
    rewrite(file_of(root), sar)
    source = SpaceNet6(root, scaling="percentile").read(TILE).source[0]
    assert (source[24:] == -1.0).all()
    # percentiles 11 and 109; the middle of the ramp is 60
    assert source[:24].min() == -1.0
    assert source[:24].max() == 1.0
    ramp = sar[0, :24]
    inside = (ramp > 11.0) & (ramp < 109.0)
    assert source[:24][inside] == pytest.approx((ramp[inside] - 11.0) / 98.0 * 2.0 - 1.0, abs=1e-5)


def test_a_tile_without_data_and_a_flat_one_become_minus_1(root: Path) -> None:
    rewrite(file_of(root), constant(0.0, 0.0, 0.0, 0.0))
    rewrite(file_of(root, tile=1), constant(30.0, 30.0, 30.0, 30.0))
    data = SpaceNet6(root, channels="hh-mean-vv", scaling="percentile")
    for tile in (TILE, f"train/{STRIP}/tile_1"):
        assert (data.read(tile).source == -1.0).all()
    assert not data.read(TILE, ["valid"]).aux["valid"].any()


def test_the_target_is_the_8_bit_image(root: Path) -> None:
    rgb = constant(0, 51, 255, dtype="uint8")
    rewrite(file_of(root, "PS-RGB"), rgb)
    assert SpaceNet6(root).read(TILE, ["target"]).target[:, 1, 2] == pytest.approx([-1.0, -0.6, 1.0])


# --- Splits ----------------------------------------------------------------------------------------------------------


def test_the_ground_split_has_no_place_on_both_sides(root: Path) -> None:
    data = SpaceNet6(root)
    left_m = {split: {data.georeference(i).transform[2] for i in data.ids(split)} for split in ("train", "test")}
    assert left_m == {"train": {593_510.0, 594_410.0}, "test": {595_310.0, 595_760.0}}  # the tile at 595,085 m is left out
    assert len(data.ids("train")) == len(data.ids("test")) == 6  # three strips over each place
    scenes = {split: {data.scene(i) for i in data.ids(split)} for split in ("train", "test")}
    assert scenes["test"] == {"595310 E, 5751900 N", "595760 E, 5751900 N"}
    assert not scenes["train"] & scenes["test"]
    assert not data.keeps_official_leaks


def test_the_random_split_is_a_fifth_of_the_tiles_and_says_that_it_leaks(root: Path) -> None:
    data = SpaceNet6(root, split="random")
    assert (len(data.ids("train")), len(data.ids("test"))) == (13, 2)  # of 15; floating point makes it 2
    assert data.keeps_official_leaks
    assert SpaceNet6(root, split="random").ids("test") == data.ids("test")


@pytest.mark.parametrize("inside", ["train", "train/AOI_11_Rotterdam"])
def test_the_folders_inside_may_be_given(root: Path, inside: str) -> None:
    assert SpaceNet6(root / inside).ids("test") == SpaceNet6(root).ids("test")


# --- Bad folders and files -------------------------------------------------------------------------------------------


def test_a_folder_of_something_else_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "PAN").mkdir()
    with pytest.raises(ContractError, match=r"(?s)no folder SAR-Intensity.*expected:.*PS-RGB_2019.*found: PAN/.*tar\.gz"):
        SpaceNet6(tmp_path)


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    file_of(root, "PS-RGB").unlink()
    file_of(root, "SAR-Intensity", 1).unlink()
    with pytest.raises(ContractError, match=r"(?s)2 files have.*tile_0\.tif has no target.*tile_1\.tif has no source"):
        SpaceNet6(root)


@pytest.mark.parametrize(
    ("layer", "values", "says"),
    [
        ("SAR-Intensity", constant(1, 2, 3, 4, dtype="uint8"), r"tile_0\.tif holds uint8 values, expected float32"),
        ("SAR-Intensity", constant(1.0, 2.0, 3.0), r"tile_0\.tif has 3 bands, expected 4"),
        ("SAR-Intensity", constant(1.0, 2.0, 3.0, 4.0)[:, :40], r"tile_0\.tif has 40x48 px"),
        ("PS-RGB", constant(1, 2, 3, dtype="uint16"), r"tile_0\.tif holds uint16 values, expected uint8"),
        ("PS-RGB", constant(1, 2, 3, 4, dtype="uint8"), r"tile_0\.tif has 4 bands, expected 3"),
    ],
)
def test_a_file_of_another_kind_is_named_when_it_is_read(root: Path, layer: str, values: np.ndarray, says: str) -> None:
    rewrite(file_of(root, layer), values)
    data = SpaceNet6(root)
    with pytest.raises(ContractError, match=says):
        data.read(TILE)


def test_a_tile_whose_place_is_not_known_is_refused(root: Path) -> None:
    rewrite(file_of(root), constant(1.0, 2.0, 3.0, 4.0), crs="EPSG:4326")
    with pytest.raises(ContractError, match=r"tile_0\.tif is not georeferenced in UTM zone 31 N"):
        SpaceNet6(root)


def test_a_truncated_file_is_named(root: Path) -> None:
    path = file_of(root, "PS-RGB")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ContractError, match=r"PS-RGB_\d+_\d+_tile_0\.tif can't be read"):
        SpaceNet6(root).read(TILE)


def test_it_survives_pickling(root: Path) -> None:
    data = SpaceNet6(root, channels="hh-mean-vv")
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read(TILE).source, data.read(TILE).source)
    assert again.scene(TILE) == data.scene(TILE)


@needs_data
def test_the_fixture_of_torchgeo_has_the_official_names_but_lies_in_degrees() -> None:
    with pytest.raises(ContractError, match=r"SAR-Intensity_\d+_\d+_tile_1\.tif is not georeferenced in UTM"):
        SpaceNet6(DATA / "fixtures_torchgeo" / "SN6_buildings" / "train")
