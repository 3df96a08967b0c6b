"""`sarbench verify`: what a record says of its images comes out again, or the cell that does not is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sarbench.bench import cli, registry, verify_images
from sarbench.bench.cells import Cell, Tolerance, fact, number, overall, rows_table
from sarbench.bench.images import read_image, write_image
from sarbench.bench.match_pipeline import MatchBench
from sarbench.bench.metric import Metric
from sarbench.bench.pipeline import Bench
from sarbench.bench.records import config_hash
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

SLUG = "pairs.blobs.tiny.24"
N_TEST = 24  # more than the default sample has


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, and a finished run of pix2pix and of two floors on them; not to be changed."""
    root = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", N_TEST)):
        for i in range(n):
            grey = cv2.resize(rng.integers(0, 255, (8, 8), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)[..., None]
            write_image(root / "blobs" / split / "sar" / f"{i:02d}.png", grey)
            write_image(root / "blobs" / split / "opt" / f"{i:02d}.png", np.concatenate([grey, 255 - grey, grey // 2], axis=2))
    made = Bench(track("pairs", "tiny", budget=24, data=root / "blobs"), Hardware(), root / "runs", root / "boards", quiet=True)
    for name in ("pix2pix", "mean_color", "identity"):
        assert made.run(name, 0) is not None
    return root


@pytest.fixture
def world(done: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    return tmp_path


def record_of(root: Path, method: str = "pix2pix") -> Path:
    return root / f"boards/results/{SLUG}/{method}/0.json"


def images_of(root: Path, method: str = "pix2pix") -> Path:
    return root / f"runs/{SLUG}/{method}/0/translated"


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command; its exit code, and what it found by what and row."""

    def run(root: Path, *words: object, record: Path | None = None) -> tuple[int, dict[str, Any]]:
        given = [record or record_of(root), "--runs", root / "runs", "--data", root / "blobs", "--json", *words]
        capsys.readouterr()
        code = cli.main(["verify", *map(str, given)])
        return code, json.loads(capsys.readouterr().out)

    return run


def cells_of(found: dict[str, Any], outcome: str) -> set[tuple[str, str]]:
    return {(cell["what"], cell["row"]) for cell in found["cells"] if cell["outcome"] == outcome}


def why_of(found: dict[str, Any], what: str) -> str:
    return next(str(cell["why"]) for cell in found["cells"] if cell["what"] == what)


def edit(root: Path, change: Callable[[dict[str, Any]], None], method: str = "pix2pix") -> None:
    """Change a record, with a config hash that fits, as whoever forges one does."""
    path = record_of(root, method)
    value = json.loads(path.read_text())
    change(value)
    value["config_hash"] = config_hash(value["config"])
    path.write_text(json.dumps(value))


def forge_rows(root: Path, rows: list[list[str]]) -> None:
    """Replace the rows, and their hash in the record."""
    path = record_of(root).with_suffix(".csv")
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    edit(root, lambda value: value.update(rows_hash=hashlib.sha256(path.read_bytes()).hexdigest()))


def rows_of(root: Path) -> list[list[str]]:
    return [line.split(",") for line in record_of(root).with_suffix(".csv").read_text().splitlines()]


# --- What is true ---


def test_a_true_record_agrees_in_every_cell_and_a_checkpoint_gives_its_images(done: Path, verify: Any) -> None:
    code, found = verify(done, "--sample", "100%", "--checkpoint", images_of(done).parent)
    assert (code, found["outcome"]) == (0, "agree")
    assert len({row for what, row in cells_of(found, "agree") if what == "psnr" and row}) == N_TEST
    assert len({row for what, row in cells_of(found, "agree") if what == "image from the checkpoint"}) == N_TEST
    assert {"data hash", "protocol hash", "terms", "role", "card", "config"} <= {what for what, _ in cells_of(found, "agree")}
    assert all(cell["recorded"] == cell["found"] for cell in found["cells"] if cell["what"] in ("psnr", "ssim", "scc"))


def test_the_sample_is_drawn_anew_unless_a_seed_says_which(done: Path, verify: Any) -> None:
    draws = []
    for words in ((), (), ("--sample-seed", 7), ("--sample-seed", 7)):
        code, found = verify(done, *words)
        assert code == 0
        draws.append((found["sample_seed"], {row for what, row in cells_of(found, "agree") if what == "psnr"}))
        assert f"--sample-seed {found['sample_seed']}" in found["sample"]
    assert all(len(rows) == 16 for _, rows in draws)
    assert draws[0] != draws[1]
    assert draws[2] == draws[3]


def test_for_people_it_says_what_agrees_and_what_a_sample_would_miss(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", record_of(done), "--runs", done / "runs", "--data", done / "blobs", "--sample", "9%"]
    assert cli.main([str(word) for word in words]) == 0
    told = capsys.readouterr().out
    assert "3 of 24 rows are scored again, drawn with the seed" in told
    assert "missed with a probability of" in told
    assert told.splitlines()[-1].startswith("AGREE: ")
    assert "psnr" in told


# --- What is not ---


def test_one_altered_pixel_is_found_in_its_image_alone(world: Path, verify: Any) -> None:
    path = images_of(world) / "test/03.png"
    pixels = read_image(path).copy()
    pixels[5, 6, 0] ^= 1
    write_image(path, pixels)
    code, found = verify(world, "--sample", "100%", "--checkpoint", images_of(world).parent)
    assert (code, found["outcome"]) == (1, "differ")
    differ = cells_of(found, "differ")
    assert ("psnr", "test/03") in differ
    assert {row for _, row in differ} == {"test/03", ""}
    assert ("image from the checkpoint", "test/03") in cells_of(found, "agree")  # one level: rounding on other hardware


def test_an_image_that_the_checkpoint_does_not_give_is_found(world: Path, verify: Any) -> None:
    path = images_of(world) / "test/03.png"
    write_image(path, 255 - read_image(path))
    code, found = verify(world, "--sample", "100%", "--checkpoint", images_of(world).parent)
    assert code == 1
    assert ("image from the checkpoint", "test/03") in cells_of(found, "differ")
    edit(world, lambda value: value["cost"].update(device="Another GPU"))
    _, found = verify(world, "--sample", "100%", "--checkpoint", images_of(world).parent)
    assert ("image from the checkpoint", "test/03") in cells_of(found, "cannot check")


def test_one_altered_score_is_found_though_every_hash_and_mean_fits(world: Path, verify: Any) -> None:
    rows = rows_of(world)
    column = rows[0].index("scc")
    a, b = float(rows[4][column]), float(rows[5][column])
    rows[4][column], rows[5][column] = repr(b), repr(a)  # mean and deviation stay
    forge_rows(world, rows)
    code, found = verify(world, "--sample", "100%")
    assert code == 1
    assert cells_of(found, "differ") == {("scc", rows[4][0]), ("scc", rows[5][0])}


def test_shuffled_rows_are_found_by_any_sample(world: Path, verify: Any) -> None:
    rows = rows_of(world)
    ids = [row[0] for row in rows[1:]]
    for row, name in zip(rows[1:], ids[1:] + ids[:1], strict=True):
        row[0] = name
    forge_rows(world, [rows[0], *sorted(rows[1:])])
    code, found = verify(world, "--sample", "5%")
    assert code == 1
    assert {what for what, _ in cells_of(found, "differ")} >= {"psnr", "ssim"}


def test_images_of_another_method_are_found(done: Path, verify: Any) -> None:
    code, found = verify(done, "--images", images_of(done, "mean_color"), "--sample", "5%")
    assert code == 1
    assert {what for what, _ in cells_of(found, "differ")} >= {"psnr", "ssim", "total_variation"}


def test_rows_that_were_changed_without_their_hash_are_refused(world: Path, verify: Any) -> None:
    path = record_of(world).with_suffix(".csv")
    path.write_text(path.read_text().replace("test/03", "test/99"))
    code, found = verify(world)
    assert code == 1
    assert "0.csv beside it is not the one it was written with" in why_of(found, "record")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "1 are missing: test/03"),
        (
            lambda file: write_image(file.with_name("99.png"), np.zeros((64, 64, 3), np.uint8)),
            "1 are of no test image: test/99",
        ),
        (lambda file: write_image(file, np.zeros((64, 63, 3), np.uint8)), "64x63x3 uint8, expected 64x64x3 uint8"),
        (lambda file: write_image(file, np.zeros((64, 64, 1), np.uint8)), "64x64x1 uint8, expected"),
        (lambda file: cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint16)), "64x64x3 uint16, expected"),
        (lambda file: file.write_bytes(b"GIF89a"), "can't be read as an image"),
        (lambda file: (file.rename(file.with_name("x")), file.symlink_to(file.with_name("x"))), "is a link, or lossy"),
        (lambda file: (cv2.imwrite(str(file.with_suffix(".jpg")), read_image(file)), file.unlink()), "is a link, or lossy"),
    ],
)
def test_images_that_are_not_those_of_the_track_are_named(world: Path, verify: Any, spoil: Any, words: str) -> None:
    spoil(images_of(world) / "test/03.png")
    code, found = verify(world)
    assert code == 1
    assert words in why_of(found, "images")


def test_claims_that_do_not_follow_from_the_method_are_found(world: Path, verify: Any) -> None:
    def lie(value: dict[str, Any]) -> None:
        value["card"]["paper"] = "https://casino.example"
        value["config"]["lambda_l1"] = 7.0
        value["role"] = "floor"
        value["dataset"].update(split="verified", n_train=9)
        value["budget"].update(images=10**6)
        value["dataset"]["title"] = "Buy now"
        value["scores"]["scc"].update(higher_is_better=False)
        value["created"] = "9999-01-01T00:00:00Z"

    edit(world, lie)
    code, found = verify(world)
    assert code == 1
    wanted = {"card", "config", "role", "verdict on the split", "training images", "budget"}
    wanted |= {"title of the data", "meaning of each metric"}
    assert {what for what, _ in cells_of(found, "differ")} == wanted
    assert cells_of(found, "cannot check") == {("time", "")}


def test_a_config_of_an_unknown_setting_is_found(world: Path, verify: Any) -> None:
    path = record_of(world)
    value = json.loads(path.read_text()) | {"variant": "no_such=1"}
    moved = world / "sent.json"
    moved.write_text(json.dumps(value))
    shutil.copy(path.with_suffix(".csv"), moved.with_suffix(".csv"))
    code, found = verify(world, "--images", images_of(world), record=moved)
    assert code == 1
    assert "has no such setting" in why_of(found, "config")


# --- What can't be told ---


def test_other_data_can_not_check_a_record(world: Path, verify: Any) -> None:
    write_image(world / "blobs/test/opt/03.png", np.zeros((64, 64, 3), np.uint8))
    code, found = verify(world)
    assert (code, found["outcome"]) == (2, "cannot check")
    assert {what for what, _ in cells_of(found, "cannot check")} == {"data hash", "protocol hash", "scores"}
    assert "copy of the data is another" in why_of(found, "data hash")


def test_images_and_data_that_are_not_here_are_asked_for(world: Path, verify: Any, tmp_path: Path) -> None:
    code, found = verify(world, "--images", tmp_path / "nowhere")
    assert code == 2
    assert "name the folder of its translated images by --images" in why_of(found, "images")
    code, found = verify(world, record=tmp_path / "nothing.json")
    assert code == 2
    shutil.rmtree(world / "blobs")
    code, found = verify(world)
    assert code == 2
    assert "no such folder" in why_of(found, "the rest")


def test_options_of_a_record_are_named_and_never_used(world: Path, verify: Any) -> None:
    code, found = verify(world, "--data-option", "scene=(.)")
    assert code == 2
    assert next(cell["recorded"] for cell in found["cells"] if cell["what"] == "terms") == "options.scene"


def test_a_metric_of_another_signature_can_not_be_checked(done: Path, verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarbench.bench.pipeline.signature", lambda metric, *_: f"{metric.signature};new")
    code, found = verify(done)
    assert code == 2
    assert ("signature of psnr", "") in cells_of(found, "cannot check")
    assert ("psnr", "") in cells_of(found, "cannot check")


def test_a_score_of_the_whole_set_needs_the_whole_set(done: Path, verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_images, "is_of_sets", lambda metric: metric == "scc")
    code, found = verify(done)
    assert code == 2
    assert cells_of(found, "cannot check") == {("scc", "")}
    assert "--sample 100%" in why_of(found, "scc")


@pytest.mark.parametrize("share", ["0%", "101%", "-5%", "nan", "half", "inf"])
def test_a_share_that_is_none_is_refused(done: Path, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["verify", str(record_of(done)), f"--sample={share}"])
    assert "write a share of the rows in percent" in capsys.readouterr().err


def test_of_a_matcher_the_true_offsets_are_checked_and_the_found_ones_can_not_be(tmp_path: Path, verify: Any) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for i in range(2):
            for domain, bands in (("sar", 1), ("opt", 3)):
                pixels = rng.integers(0, 256, (256, 256, bands), dtype=np.uint8)
                write_image(tmp_path / "blobs" / split / domain / f"{i}.png", pixels)
    chosen = track("pairs-match", "tiny", data=tmp_path / "blobs")
    made = MatchBench(chosen, Hardware(), tmp_path / "runs", tmp_path / "boards", quiet=True)
    assert made.run("ncc", 0) is not None
    record = tmp_path / f"boards/results/{chosen.slug}/ncc/0.json"
    code, found = verify(tmp_path, record=record)
    assert code == 2
    assert cells_of(found, "cannot check") == {("found offsets", "")}
    assert {("true offset", "test/0"), ("true offset", "test/1")} <= cells_of(found, "agree")


# --- Cells ---


def test_numbers_agree_within_the_tolerance_of_their_kind() -> None:
    exact, network = Tolerance.of(registry.load_metric("psnr")), Tolerance.of(registry.load_metric("lpips"))
    of_set = Tolerance.of(registry.load_metric("fid"))
    assert exact.share < network.share < of_set.share
    for a, b, tolerance, outcome in (
        (20.0, 20.0 + 1e-8, exact, "agree"),
        (20.0, 20.0 + 1e-7, exact, "differ"),
        (0.4, 0.4 + 9e-6, network, "agree"),
        (0.4, 0.4 + 2e-5, network, "differ"),
        (100.0, 100.05, of_set, "agree"),
        (100.0, 100.2, of_set, "differ"),
        (float("inf"), float("inf"), exact, "agree"),
        (float("nan"), float("nan"), exact, "agree"),
        (None, None, exact, "agree"),
        (None, 1.0, exact, "differ"),
        (float("inf"), 1.0, exact, "differ"),
        (float("nan"), float("inf"), exact, "differ"),
    ):
        assert number("x", "", a, b, tolerance).outcome == outcome


def test_all_cells_agree_only_where_each_does_and_where_there_is_one() -> None:
    same, other = fact("a", "1", "1"), fact("a", "1", "2")
    unknown = fact("a", "1", "2", otherwise="cannot check")
    assert overall([same, same]) == "agree"
    assert overall([same, unknown]) == "cannot check"
    assert overall([same, unknown, other]) == "differ"
    assert overall([]) == "cannot check"


def test_of_many_samples_only_those_that_differ_are_shown() -> None:
    cells = [Cell("psnr", f"test/{i:03d}", 1.0, 1.0, "agree") for i in range(100)]
    assert rows_table(cells).count("test/") == 0
    shown = rows_table([*cells[:50], Cell("psnr", "test/x", 1.0, 2.0, "differ"), *cells[50:]])
    assert shown.count("test/") == 1
    assert "1 recorded, 2 found" in shown


def test_every_metric_has_a_tolerance_of_its_kind() -> None:
    for name in registry.names("metrics"):
        metric: Metric = registry.load_metric(name)
        needs_network = bool(metric.assets or metric.features)
        assert (Tolerance.of(metric) == Tolerance(1e-9, 1e-9)) == (not needs_network)
