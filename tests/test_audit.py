"""The audit of a dataset: shifts are measured or not claimed, and whatever was planted is found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sarbench.bench import audit_picture, cli
from sarbench.bench.audit import audit
from sarbench.bench.audit_picture import picture
from sarbench.bench.audit_report import report, table
from sarbench.bench.audit_shift import Shift, Surfaces, shift, surface
from sarbench.bench.dataset import BOTH, Dataset, DatasetCard, Georeference, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise, write_image
from sarbench.bench.registry import load_dataset
from sarbench.bench.storage import json_bytes

REAL = Path(os.environ.get("SARBENCH_DATA", "/nowhere")) / "sar2opt_real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="SARBENCH_DATA has no sar2opt_real")
SCENE = r"scene=volkov_(\d+)_"


def ground(seed: int, size: int = 160) -> np.ndarray:
    """Land as a height in [-1, 1], (H, W): regions with sharp borders."""
    rng = np.random.default_rng(seed)
    field = sum(cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), s) * s for s in (2.0, 5.0, 12.0))
    return (np.rint(2.0 * field / field.std()) / 6).clip(-1, 1)


def pair(seed: int, dx: float = 0.0, dy: float = 0.0, size: int = 160) -> Sample:
    """A speckled source, and a target of other contrast that lies (dx, dy) px from it."""
    rng = np.random.default_rng(seed + 1000)
    land = ground(seed, size)
    source = 0.5 * land + 0.2 * rng.normal(size=land.shape)
    target = moved(0.6 * np.sin(3 * land) - 0.3 * land, dx, dy) + 0.02 * rng.normal(size=(3, *land.shape))
    return Sample(source.clip(-1, 1).astype(np.float32)[None], target.clip(-1, 1).astype(np.float32))


def moved(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    return cv2.warpAffine(image, move, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


class Given(Dataset):
    """Samples from memory: split -> name -> sample; one that is an error can't be read."""

    card = DatasetCard("Given", "source", "target", "sar to optical", "name", "none", "here")
    source_channels, target_channels = 1, 3

    def __init__(self, train: Mapping[str, Sample], test: Mapping[str, Sample]) -> None:
        self.samples = {f"{s}/{n}": x for s, found in (("train", train), ("test", test)) for n, x in found.items()}

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(sorted(i for i in self.samples if i.startswith(f"{split}/")))

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        if sample_id.endswith("broken"):
            raise ContractError(f"{sample_id} is cut off; replace it")
        arrays = {name: array for name, array in self.samples[sample_id].parts().items() if name in parts}
        return Sample(arrays.get("source"), arrays.get("target"), {k: v for k, v in arrays.items() if k not in BOTH})

    def scene(self, sample_id: str) -> str | None:
        return sample_id.partition("/")[2].partition("_")[0]


def clean(n_train: int = 6, n_test: int = 3) -> tuple[dict[str, Sample], dict[str, Sample]]:
    names = [f"{i:03d}" for i in range(n_train + n_test)]
    return {n: pair(int(n)) for n in names[:n_train]}, {n: pair(int(n)) for n in names[n_train:]}


def told(train, test, **changes):
    return report(audit(Given(train, test), **changes))


# --- Shifts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -3), (-6.5, 2.25), (9.4, 9.4)])
def test_a_planted_shift_is_measured_to_a_fraction_of_a_pixel(dx: float, dy: float):
    for seed in range(3):
        sample = pair(seed, dx, dy)
        found = shift(surface(sample.source, sample.target))
        assert found is not None
        assert (found.dx_px, found.dy_px) == (pytest.approx(dx, abs=0.3), pytest.approx(dy, abs=0.3))


def test_images_of_two_places_have_no_shift():
    claimed = [shift(surface(pair(i).source, pair(i + 50).target)) for i in range(20)]
    assert claimed.count(None) >= 19


def test_images_without_edges_or_too_small_have_no_shift():
    flat, sample = np.zeros((1, 160, 160), np.float32), pair(0)
    assert shift(surface(flat, sample.target)) is None
    assert shift(surface(flat, flat)) is None
    assert surface(sample.source[:, :31], sample.target[:, :31]) is None


@pytest.mark.parametrize("outline", ["edge of a swath", "holes"])
def test_a_common_outline_of_missing_data_is_not_taken_for_a_match(outline: str):
    y, x = np.mgrid[:160, :160]
    claimed = []
    for seed in range(20):
        holes = cv2.GaussianBlur(np.random.default_rng(seed + 9).normal(size=(160, 160)), (0, 0), 8.0) > 0.02
        empty = holes if outline == "holes" else x + 0.5 * y < 110
        images = pair(seed).source, pair(seed + 50).target
        claimed.append(shift(surface(*(np.where(empty, np.float32(-1), image) for image in images))))
    assert claimed.count(None) >= 19


def test_a_shift_beyond_the_reach_is_not_claimed_to_be_nearer():
    sample = pair(0, 30, 0)
    assert shift(surface(sample.source, sample.target)) is None


def test_what_pairs_have_in_common_is_found_where_no_pair_alone_can_be_measured():
    surfaces, alone = Surfaces(), 0
    for seed in range(30):
        sample = pair(seed, 3, -1)
        speckle = np.random.default_rng(seed + 9999).normal(size=sample.source.shape)
        hidden = 0.25 * sample.source + 0.2 * speckle
        found = surface(hidden.clip(-1, 1).astype(np.float32), sample.target)
        assert found is not None
        surfaces.add(found)
        alone += shift(found) is not None
    common = shift(surfaces.mean())
    assert alone <= 5
    assert common is not None
    assert (common.dx_px, common.dy_px) == (pytest.approx(3, abs=0.4), pytest.approx(-1, abs=0.4))


def test_pairs_of_several_sizes_have_a_shift_in_common():
    surfaces = Surfaces()
    assert surfaces.mean() is None
    for size in (96, 160, 300):
        sample = pair(size, 2, 2, size)
        surfaces.add(surface(sample.source, sample.target))
    assert isinstance(shift(surfaces.mean()), Shift)


def test_synthetic_pairs_fit_and_a_shift_of_all_of_them_is_found():
    data = load_dataset("synthetic")(n_train="24", n_test="1")
    commons = []
    for dx in (0.0, 3.0):
        surfaces = Surfaces()
        for sample_id in data.ids("train"):
            sample = data.read(sample_id)
            target = np.stack([moved(plane, dx, 0.0) for plane in sample.target])
            surfaces.add(surface(sample.source, target))
        commons.append(shift(surfaces.mean()))
    assert commons[0].length_px < 1.5  # layover and shadow put the edges of SAR a pixel towards the sensor
    assert commons[1].dx_px - commons[0].dx_px == pytest.approx(3, abs=0.25)


# --- What was planted is found ---------------------------------------------------------------------------------------


def test_a_clean_set_is_verified_and_its_figures_are_right():
    train, test = clean()
    found = told(train, test)
    assert found["verdict"]["split"] == "verified"
    assert found["found_in_both_splits"]["count"] == 0
    assert not found["footprints"]["measured"]
    split = found["splits"]["train"]
    assert (split["images"], split["scenes"], split["sizes"], split["channels"]) == (
        6,
        6,
        {"160x160": 6},
        {"source": 1, "target": 3},
    )
    values = np.concatenate([s.source.ravel() for s in train.values()])
    row = split["values"]["source"][0]
    assert [row["min"], row["max"]] == [pytest.approx(values.min(), abs=1e-4), pytest.approx(values.max(), abs=1e-4)]
    assert [row[name] for name in ("p1", "median", "p99")] == [
        pytest.approx(q, abs=0.002) for q in np.quantile(values, [0.01, 0.5, 0.99])
    ]
    assert split["saturated"]["source"]["share"] == pytest.approx(np.mean(np.abs(values) == 1), abs=1e-4)
    shifts = split["misregistration"]
    assert shifts["measurable"] >= 5
    assert abs(shifts["median"]["dx_px"]) < 0.3


def test_one_pair_that_is_shifted_stands_out():
    train, test = clean()
    train["003"] = pair(3, 5, -4)
    shifts = told(train, test)["splits"]["train"]["misregistration"]
    far = [i for i, x, y in zip(*(shifts["shifts"][k] for k in ("id", "dx_px", "dy_px")), strict=True) if np.hypot(x, y) > 2]
    assert far == ["train/003"]
    assert shifts["share_beyond_2_px"] == pytest.approx(1 / shifts["measurable"], abs=1e-3)


def test_a_scene_on_both_sides_is_a_leak():
    train, test = clean()
    test["003_b"] = pair(77)
    found = told(train, test)["verdict"]
    assert found["split"] == "leaking"
    assert found["reasons"][0] == "1 scenes are in train and in test: 003"


def test_a_copy_of_the_target_alone_is_a_leak():
    train, test = clean()
    test["100"] = Sample(pair(100).source, (0.8 * train["002"].target[:, ::-1] + 0.1).astype(np.float32))
    found = told(train, test)
    assert found["verdict"]["split"] == "leaking"
    (row,) = found["found_in_both_splits"]["rows"]
    assert (row["kind"], row["part"], row["train"], row["test"]) == ("copy", "target", "train/002", "test/100")


def test_equal_images_of_one_split_are_counted_and_are_no_leak():
    train, test = clean()
    train["100"] = train["001"]
    found = told(train, test)
    assert found["verdict"]["split"] == "verified"
    assert found["splits"]["train"]["found_within"]["samples"] == {"equal": 1, "copy": 0, "overlap": 0}


def test_blank_and_saturated_images_are_listed_and_blank_ones_are_no_leak():
    train, test = clean()
    blank = Sample(np.full((1, 160, 160), -1, np.float32), np.full((3, 160, 160), 0.2, np.float32))
    train["100"] = test["101"] = blank
    found = told(train, test)
    assert found["verdict"]["split"] == "verified"
    assert found["splits"]["train"]["blank"]["target"]["rows"] == ["train/100"]
    assert {"id": "test/101", "share": 1.0} in found["splits"]["test"]["saturated"]["source"]["rows"]
    assert picture(audit(Given(train, test)))


def test_pixels_without_data_are_counted_where_the_dataset_tells_them():
    class Masked(Given):
        aux = ("valid",)

    train, test = clean(3, 2)
    for i, name in enumerate(train):
        valid = np.ones((1, 160, 160), np.int64)
        valid[:, : 80 * i] = 0
        train[name] = Sample(train[name].source, train[name].target, {"valid": valid})
    found = report(audit(Masked(train, test)))["splits"]
    assert found["train"]["no_data"] == {"share": 0.5, "images": 2, "empty": 1}
    assert found["test"]["no_data"] is None


def test_what_can_not_be_used_is_listed_and_the_rest_is_audited():
    train, test = clean()
    train["100_broken"] = pair(100)
    test["101"] = Sample(pair(101).source, np.full((3, 160, 160), np.nan, np.float32))
    test["102"] = Sample(pair(102).source, pair(102, size=96).target)
    found = told(train, test)
    assert found["splits"]["train"]["broken"]["rows"] == [
        {"id": "train/100_broken", "problem": "train/100_broken is cut off; replace it"}
    ]
    assert [row["id"] for row in found["splits"]["test"]["broken"]["rows"]] == ["test/101", "test/102"]
    assert (found["splits"]["train"]["images"], found["splits"]["test"]["images"]) == (6, 3)
    assert found["verdict"]["split"] == "unverified"
    assert "not looked at: 3 of 12 images" in found["verdict"]["reasons"]
    assert "is cut off" in table(found)


def test_a_limited_audit_verifies_nothing_but_still_finds_leaks():
    train, test = clean()
    assert told(train, test, limit=2)["verdict"]["split"] == "unverified"
    assert told(train, test, limit=2)["splits"]["train"]["images"] == 2
    assert told(train, test, limit=6)["verdict"]["split"] == "verified"
    assert told({"a": pair(0)}, {"b": pair(0), "c": pair(1)}, limit=2)["verdict"]["split"] == "leaking"


def test_an_unpaired_dataset_is_audited_domain_by_domain():
    class Unpaired(Given):
        card = DatasetCard("Unpaired", "summer", "winter", "season", "name", "none", "here", paired=False)

        def ids(self, split: str) -> tuple[str, ...]:
            return tuple(i for i in super().ids(split) if "/s" in i)

        def target_ids(self, split: str) -> tuple[str, ...]:
            return tuple(i for i in super().ids(split) if "/t" in i)

    def domains(start: int) -> dict[str, Sample]:
        summer = {f"s{i}": Sample(pair(i).source) for i in range(start, start + 3)}
        return summer | {f"t{i}": Sample(None, pair(i + 50).target) for i in range(start, start + 2)}

    train, test = domains(0), domains(10)
    found = audit(Unpaired(train, test))
    assert found.verdict.split == "verified"
    assert report(found)["splits"]["train"]["misregistration"] is None
    assert report(found)["splits"]["train"]["images"] == 5
    assert "not applicable" in table(report(found))
    assert picture(found)
    test["t99"] = Sample(None, train["t1"].target)
    found = audit(Unpaired(train, test))
    assert found.verdict.split == "leaking"
    assert [(leak.part, found.train.ids[leak.train]) for leak in found.leaks] == [("target", "train/t1")]
    assert picture(found)


# --- Files and the command -------------------------------------------------------------------------------------------


def write_pairs(root: Path, split: str, samples: Mapping[str, Sample], suffix: str = ".png", **where: Georeference) -> None:
    for name, sample in samples.items():
        for side, image in (("sar", sample.source), ("opt", sample.target)):
            write_image(root / split / side / f"{name}{suffix}", quantise(image).transpose(1, 2, 0), where.get(name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, samples in zip(("train", "test"), clean(), strict=True):
        write_pairs(tmp_path / "pairs", split, {f"s{name}": sample for name, sample in samples.items()})
    return tmp_path / "pairs"


def run(out: Path, *words: str) -> tuple[int, dict]:
    code = cli.main(["data", "audit", *words, "--out", str(out)])
    return code, json.loads((out / "audit.json").read_bytes())


def pairs_words(root: Path) -> tuple[str, ...]:
    return "pairs", "--data", str(root), "--data-option", r"scene=(s\d+)"


def test_the_command_writes_table_json_and_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, found = run(tmp_path / "out", *pairs_words(folder))
    assert code == 0
    assert (found["dataset"], found["options"], found["verdict"]["split"]) == ("pairs", {"scene": r"(s\d+)"}, "verified")
    shown = capsys.readouterr().out
    assert "Your own pairs: verified split" in shown
    assert "footprints: not measurable: no image says where it lies" in shown
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audit.jpg", "audit.json"]
    with Image.open(tmp_path / "out" / "audit.jpg") as image:
        assert image.format == "JPEG"
        assert image.width == 1240
    run(tmp_path / "again", *pairs_words(folder), "--json")
    assert json.loads(capsys.readouterr().out) == found
    for name in ("audit.json", "audit.jpg"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_default_place_is_named_after_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    options = [word for pair in ("size_px=64", "n_train=4", "n_test=2") for word in ("--data-option", pair)]
    assert cli.main(["data", "audit", "synthetic", *options]) == 0
    assert (tmp_path / "audits" / "synthetic" / "audit.json").is_file()


def test_the_exit_code_of_a_leaking_split_is_1(folder: Path, tmp_path: Path):
    shutil.copy(folder / "train" / "sar" / "s002.png", folder / "test" / "sar" / "s100.png")
    shutil.copy(folder / "train" / "opt" / "s002.png", folder / "test" / "opt" / "s100.png")
    code, found = run(tmp_path / "out", *pairs_words(folder))
    assert code == 1
    assert found["verdict"]["reasons"] == ["1 of 4 test images equal a training image (source and target)"]


def test_a_broken_file_is_named_and_does_not_stop_the_audit(folder: Path, tmp_path: Path):
    (folder / "train" / "opt" / "s001.png").write_bytes(b"no image")
    code, found = run(tmp_path / "out", *pairs_words(folder))
    assert code == 0
    (row,) = found["splits"]["train"]["broken"]["rows"]
    assert row["id"] == "train/s001"
    assert "s001.png can't be read" in row["problem"]
    assert " at 0x" not in row["problem"]
    assert found["verdict"]["split"] == "unverified"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("apart_px", "split"), [(80, "leaking"), (160, "verified")])
def test_geotiffs_that_overlap_by_half_leak_and_those_that_touch_do_not(tmp_path: Path, apart_px: int, split: str):
    import rasterio

    crs = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    for i, name in enumerate(("train", "test")):
        place = Georeference(crs, (10.0, 0.0, 500_000.0 + 10 * apart_px * i, 0.0, -10.0, 5_000_000.0))
        write_pairs(tmp_path / "tiffs", name, {f"s{i}": pair(i)}, ".tif", **{f"s{i}": place})
    code, found = run(tmp_path / "out", *pairs_words(tmp_path / "tiffs"))
    assert (code == 1, found["verdict"]["split"]) == (split == "leaking", split)
    assert found["footprints"]["measured"]
    shares = [row["share"] for row in found["footprints"]["rows"]]
    assert shares == ([0.5] if split == "leaking" else [])


def test_nothing_half_written_remains_and_an_older_audit_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path / "out", *pairs_words(folder))
    before = (tmp_path / "out" / "audit.json").read_bytes()

    def fails(found: object) -> bytes:
        raise OSError("the disk is gone")

    monkeypatch.setattr(audit_picture, "picture", fails)
    assert cli.main(["data", "audit", *pairs_words(folder), "--out", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out" / "audit.json").read_bytes() == before
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audit.jpg", "audit.json"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere"),
        (["pairs"], "needs a folder"),
        (["synthetic", "--data-option", "size_px"], "KEY=VALUE"),
        (["synthetic", "--limit", "0"], "--limit 0"),
    ],
)
def test_a_bad_request_is_one_clear_error(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["data", "audit", *words, "--out", str(tmp_path / "out")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_report_has_no_value_that_json_lacks_even_of_nothing_measurable():
    flat = Sample(np.zeros((1, 40, 40), np.float32), np.zeros((3, 40, 40), np.float32))
    found = audit(Given({"a": flat, "b_broken": flat}, {"c": flat}))
    assert json.loads(json_bytes(report(found)))["splits"]["train"]["misregistration"]["median"] is None
    assert "not measurable" in table(report(found))
    assert picture(found)
    empty = audit(Given({"a_broken": flat}, {"b_broken": flat}))
    assert json_bytes(report(empty))
    assert "can't be used" in table(report(empty))
    assert picture(empty)


# --- The real pairs --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_real
def test_the_real_pairs_are_verified(tmp_path: Path):
    code, found = run(tmp_path, "pairs", "--data", str(REAL), "--data-option", SCENE)
    assert (code, found["verdict"]["split"]) == (0, "verified")
    assert found["splits"]["train"]["found_within"]["samples"] == {"equal": 0, "copy": 0, "overlap": 10}
    assert found["splits"]["train"]["misregistration"]["measurable"] > 230


@pytest.mark.slow
@needs_real
def test_a_shift_and_a_copy_that_were_planted_into_real_pairs_are_found(tmp_path: Path):
    for name, columns in (("as they are", 0), ("moved", 3)):
        for split in ("train", "test"):
            for side in ("sar", "opt"):
                (tmp_path / name / split / side).mkdir(parents=True)
                for file in sorted((REAL / split / side).iterdir())[:60]:
                    pixels = np.asarray(Image.open(file))
                    moving = np.roll(pixels, columns, 1) if side == "opt" else pixels
                    Image.fromarray(moving).save(tmp_path / name / split / side / file.name)
    for side in ("sar", "opt"):
        image = Image.open(sorted((tmp_path / "moved" / "train" / side).iterdir())[7])
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "moved" / "test" / side / "volkov_999_00.jpg", quality=60)
    words = ("--data-option", SCENE)
    code, before = run(tmp_path / "a", "pairs", "--data", str(tmp_path / "as they are"), *words)
    assert (code, before["verdict"]["split"]) == (0, "verified")
    code, after = run(tmp_path / "b", "pairs", "--data", str(tmp_path / "moved"), *words)
    assert (code, after["verdict"]["split"]) == (1, "leaking")
    assert {row["test"] for row in after["found_in_both_splits"]["rows"]} == {"test/volkov_999_00"}
    assert {row["part"] for row in after["found_in_both_splits"]["rows"]} == set(BOTH)
    commons = [found["splits"]["train"]["misregistration"]["common"] for found in (before, after)]
    assert commons[1]["dx_px"] - commons[0]["dx_px"] == pytest.approx(3, abs=0.5)
    assert commons[1]["dy_px"] == pytest.approx(commons[0]["dy_px"], abs=0.5)
