"""DFC2020: both packings, bands, classes, and files that do not fit."""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarbench.bench.errors import ContractError
from sarbench.datasets.dfc2020 import DFC2020

PATCH = "train/validation_p30"
DATA = Path(os.environ.get("SARBENCH_DATA", ""), "geotiff")
needs_data = pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no torchgeo fixtures")


@pytest.fixture
def root(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_dataset("dfc2020"), tmp_path / "dfc2020"))


@pytest.fixture
def repacked(root: Path, tmp_path: Path) -> Path:
    """The same files in the packing of Copernicus-Bench."""
    home = tmp_path / "repacked"
    for kind in ("s1", "s2", "dfc"):
        (home / kind).mkdir(parents=True)
        for file in root.glob(f"*/{kind}_*/*.tif"):
            shutil.copy(file, home / kind)
    (home / "dfc-train-new.csv").write_text("ROIs0000_test_dfc_0_p7.tif\nROIs0000_validation_dfc_validation_p30.tif\n")
    (home / "dfc-val-new.csv").write_text("ROIs0000_test_dfc_0_p12.tif\n")
    (home / "dfc-test-new.csv").write_text("ROIs0000_test_dfc_0_p609.tif\n")
    return home


def file_of(root: Path, kind: str) -> Path:
    return root / "ROIs0000_validation" / f"{kind}_validation" / f"ROIs0000_validation_{kind}_validation_p30.tif"


def rewrite(path: Path, values: np.ndarray) -> None:
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape) as file:
            file.write(values)


def constant(*bands: float, dtype: str = "float32") -> np.ndarray:
    return np.broadcast_to(np.array(bands, dtype)[:, None, None], (len(bands), 32, 32)).copy()


def test_bands_map_as_in_sen12ms(root: Path) -> None:
    rewrite(file_of(root, "s1"), constant(-5.0, -16.25, dtype="float64"))
    rewrite(file_of(root, "s2"), constant(*[100 * band for band in range(1, 14)], dtype="uint16"))
    sample = DFC2020(root).read(PATCH, ["source", "target", "nir"])
    assert sample.source.dtype == np.float32
    assert sample.source[:, 2, 3] == pytest.approx([0.6])
    assert sample.target[:, 0, 0] == pytest.approx([400 / 1500 - 1, 300 / 1500 - 1, 200 / 1500 - 1], abs=1e-6)
    assert sample.aux["nir"][0, 0, 0] == pytest.approx(800 / 5000 - 1, abs=1e-6)
    data = DFC2020(root, channels="vv-vh-diff")
    assert data.source_channels == 3
    assert data.read(PATCH).source[:, 2, 3] == pytest.approx([0.6, 0.0, 0.125], abs=1e-6)
    assert DFC2020(root, channels="repeat").read(PATCH).source.shape == (3, 32, 32)


def test_classes_1_to_10_become_0_to_9_and_any_other_value_255(root: Path) -> None:
    classes = constant(6, dtype="uint8")
    classes[0, 0, :5] = 0, 1, 10, 11, 255
    rewrite(file_of(root, "dfc"), classes)
    data = DFC2020(root)
    labels = data.read(PATCH, ["labels"]).aux["labels"]
    assert labels.dtype == np.int64
    assert labels[0, 0, :6].tolist() == [255, 0, 9, 255, 255, 5]
    assert (data.classes[0], data.classes[5], data.classes[9], len(data.classes)) == ("forest", "cropland", "water", 10)


def test_the_validation_part_trains_and_the_test_part_tests(root: Path) -> None:
    data = DFC2020(root)
    assert data.ids("train") == ("train/validation_p0", "train/validation_p30", "train/validation_p31")
    assert data.ids("test") == ("test/test_p12", "test/test_p4000", "test/test_p609", "test/test_p7")
    assert data.scene(PATCH) is None
    assert data.georeference(PATCH) is None


def test_the_lists_of_the_other_packing_decide(root: Path, repacked: Path) -> None:
    data = DFC2020(repacked)
    assert data.ids("train") == ("train/test_p7", "train/validation_p30")
    assert data.ids("test") == ("test/test_p609",)
    assert np.array_equal(data.read("test/test_p609").target, DFC2020(root).read("test/test_p609").target)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ROIs0000_test_dfc_0_p7.tif", r"p7\.tif stands in both lists"),
        ("ROIs0000_test_dfc_0_p8.tif", r"dfc-test-new\.csv: ROIs0000_test_dfc_0_p8\.tif is not in the folder dfc"),
        ("p609", "p609 is not in the folder dfc"),
    ],
)
def test_lists_that_do_not_fit_are_refused(repacked: Path, line: str, says: str) -> None:
    (repacked / "dfc-test-new.csv").write_text(line)
    with pytest.raises(ContractError, match=says):
        DFC2020(repacked)


def test_a_folder_of_something_else_is_told_what_was_expected(root: Path) -> None:
    shutil.rmtree(root / "ROIs0000_test")
    with pytest.raises(
        ContractError, match=r"(?s)neither both parts.*expected:.*dfc-train-new.csv.*found: ROIs0000_validation/"
    ):
        DFC2020(root)


def test_missing_partners_are_one_error_that_lists_them(root: Path) -> None:
    file_of(root, "s1").unlink()
    file_of(root, "dfc").unlink()
    with pytest.raises(ContractError, match=r"1 files have no partner.*\n.*s2_validation_p30\.tif has no source and no labels"):
        DFC2020(root)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        ("s1", constant(-3, -9, dtype="int16"), "holds int16 values, expected float32 or float64"),
        ("s1", constant(0.3, 0.1), "not in dB"),
        ("s2", constant(*range(12), dtype="uint16"), "has 12 bands, expected 13"),
        ("dfc", constant(1, 2, dtype="uint8"), "has 2 bands, expected 1"),
        ("dfc", constant(1.0), "holds float32 values, expected uint8"),
        ("dfc", constant(1, dtype="uint8")[:, :8], "has 8x32 px"),
    ],
)
def test_a_file_of_another_kind_is_named_when_it_is_read(root: Path, kind: str, values: np.ndarray, says: str) -> None:
    rewrite(file_of(root, kind), values)
    with pytest.raises(ContractError, match=rf"{kind}_validation_p30\.tif.* {says}"):
        DFC2020(root).read(PATCH, ["source", "target", "labels"])


def test_a_truncated_file_is_named(root: Path) -> None:
    path = file_of(root, "s2")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ContractError, match=r"s2_validation_p30\.tif can't be read"):
        DFC2020(root).read(PATCH)


def test_it_survives_pickling(root: Path) -> None:
    data = DFC2020(root, channels="vv-vh-diff")
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read(PATCH).source, data.read(PATCH).source)


@needs_data
def test_the_fixture_of_torchgeo_has_one_patch_in_all_lists(tmp_path: Path) -> None:
    fixture = DATA / "fixtures_torchgeo" / "dfc2020_s1s2"
    with pytest.raises(ContractError, match=r"p609\.tif stands in both lists"):
        DFC2020(fixture)
    for kind in ("s1", "s2", "dfc"):  # a second patch, to train on
        (tmp_path / kind).mkdir()
        for patch in (609, 610):
            file = fixture / kind / f"ROIs0000_test_{kind}_0_p609.tif"
            shutil.copy(file, tmp_path / kind / f"ROIs0000_test_{kind}_0_p{patch}.tif")
    (tmp_path / "dfc-train-new.csv").write_text("ROIs0000_test_dfc_0_p610.tif")
    (tmp_path / "dfc-test-new.csv").write_text("ROIs0000_test_dfc_0_p609.tif")
    data = DFC2020(tmp_path)
    sample = data.read("test/test_p609", ["target", "labels", "nir"])
    assert sample.target.shape == (3, 32, 32)
    assert set(np.unique(sample.aux["labels"])) <= {*range(10), 255}
    with pytest.raises(ContractError, match="not in dB"):  # its SAR is random in 0 to 1
        data.read("test/test_p609")
