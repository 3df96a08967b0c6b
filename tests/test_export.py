"""`sarbench export`: the layout of the source with translated images, and everything else as it was."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench import cli, export, options
from sarbench.bench.images import read_image
from sarbench.bench.protocols import PROTOCOLS, Size
from sarbench.bench.registry import load_dataset
from sarbench.bench.runs import bench_of

SYNTHETIC = ["--protocol", "synthetic-render", "--preset", "tiny", "--budget", "8"]
SMALL = [f"--data-option={option}" for option in ("size_px=64", "n_train=3", "n_test=2")]


def train(root: Path, *words: str, method: str = "mean_color") -> None:
    """Train as `sarbench run` would, without translating, scoring and judging."""
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    folders = ["--runs", str(root / "runs"), "--leaderboards", str(root / "boards")]
    asked = options.request(vars(parser.parse_args(["--method", method, *words, *folders])))
    bench_of(asked).trained(method, 0)


def exported(root: Path, *words: str, method: str = "mean_color", out: str = "out") -> int:
    return cli.main(["export", method, *words, "--runs", str(root / "runs"), "--out", str(root / out)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished training on the embedded data."""
    root = tmp_path_factory.mktemp("trained")
    train(root, *SYNTHETIC, *SMALL)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_data_made_by_code_are_written_with_their_class_maps(root: Path) -> None:
    assert exported(root, *SYNTHETIC, *SMALL) == 0
    folder = root / "out/mean_color/0"
    dataset = load_dataset("synthetic")(task="render", size_px="64", n_train="3", n_test="2")
    ids = dataset.ids("train") + dataset.ids("test")
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")} == {
        f"{kind}/{i}.png" for i in ids for kind in ("images", "labels")
    }
    for sample_id in ids:
        labels = read_image(folder / "labels" / f"{sample_id}.png")[:, :, 0]
        assert np.array_equal(labels, dataset.read(sample_id, ("labels",)).aux["labels"][0])
        assert len(np.unique(read_image(folder / "images" / f"{sample_id}.png").reshape(-1, 3), axis=0)) == 1  # one mean colour


def test_the_record_names_what_made_it_and_hashes_every_file(root: Path) -> None:
    assert exported(root, *SYNTHETIC, *SMALL) == 0
    folder = root / "out/mean_color/0"
    record = json.loads((folder / export.RECORD).read_text())
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in folder.rglob("*") if p.is_file()}
    assert record["files"] == {name: digest for name, digest in files.items() if name not in (export.RECORD, export.ABOUT)}
    assert record["method"] == "mean_color"
    assert record["weights_sha256"] == sha256(root / "runs" / record["track"] / "mean_color/0/weights.safetensors")
    assert record["classes"][0] in (folder / export.ABOUT).read_text()
    assert not list(folder.parent.glob(".*"))
    assert not (root / "runs" / record["track"] / "mean_color/0/exported").exists()


def test_the_same_run_gives_the_same_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarbench.bench.pipeline.git_state", lambda: {"commit": None, "dirty": None})  # may change in between
    assert exported(root, *SYNTHETIC, *SMALL) == 0
    assert exported(root, *SYNTHETIC, *SMALL, out="again") == 0
    first, second = (root / out / "mean_color/0" for out in ("out", "again"))
    assert {p.relative_to(first): sha256(p) for p in first.rglob("*.*")} == {
        p.relative_to(second): sha256(p) for p in second.rglob("*.*")
    }


def test_a_folder_that_holds_something_is_refused_before_anything_is_made(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "out/mean_color/0").mkdir(parents=True)
    (root / "out/mean_color/0/mine.txt").write_text("mine")
    assert exported(root, *SYNTHETIC, *SMALL) == 1
    assert "is not empty; name another --out" in capsys.readouterr().err
    assert [p.name for p in (root / "out").rglob("*.*")] == ["mine.txt"]
    (root / "file").write_text("")
    assert exported(root, *SYNTHETIC, *SMALL, out="file") == 1
    (root / "other/mean_color").mkdir(parents=True)
    (root / "other/mean_color/0").write_text("")
    assert exported(root, *SYNTHETIC, *SMALL, out="other") == 1
    assert "is a file; name another --out" in capsys.readouterr().err


def test_an_export_that_breaks_off_leaves_nothing_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_labels_by_code", broken)
    assert exported(root, *SYNTHETIC, *SMALL) == 130
    assert not [p for p in (root / "out").rglob("*") if p.is_file()]
    assert not (root / "out/mean_color/0").exists()
    monkeypatch.undo()
    assert exported(root, *SYNTHETIC, *SMALL) == 0


def test_a_run_that_was_not_trained_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(root, *SYNTHETIC, *SMALL, "--seed", "7") == 1
    assert "mean_color, seed 7, is not trained on synthetic-render.tiny" in capsys.readouterr().err
    assert exported(root, *SYNTHETIC, *SMALL, method="identity", out="b") in (0, 1)
    assert exported(root, "--protocol", "synthetic-match", method="ncc", out="c") == 1
    assert "translates nothing" in capsys.readouterr().err


def test_a_data_set_of_files_keeps_its_layout_labels_and_lists(
    fake_dataset: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    for name in ("gta5", "cityscapes"):
        shutil.copytree(fake_dataset(name), data / name)
    (data / "gta5/notes.bin").write_bytes(b"not of the data set")
    words = ["--protocol", "semst-2-gta5", "--preset", "tiny", "--budget", "8", "--data", str(data)]
    tiny = Size(8, 16, 32)
    monkeypatch.setitem(PROTOCOLS["semst-2-gta5"].sizes, "tiny", tiny)  # type: ignore[call-overload]
    train(tmp_path, *words)
    assert exported(tmp_path, *words) == 0
    folder, original = tmp_path / "out/mean_color/0", data / "gta5"
    of_run = load_dataset("gta5")(original)
    again = load_dataset("gta5")(folder)
    assert again.ids("train") == of_run.ids("train")
    assert again.ids("test") == of_run.ids("test")
    for sample_id in again.ids("train") + again.ids("test"):
        before, after = of_run.source_file(sample_id), again.source_file(sample_id)
        assert before is not None
        assert after is not None
        assert before.relative_to(original) == after.relative_to(folder)
        assert read_image(after).shape == read_image(before).shape
        assert not np.array_equal(read_image(after), read_image(before))
    kept = {p.relative_to(folder): sha256(p) for p in folder.rglob("*") if p.is_file() and p.parts[-2] != "images"}
    assert all(sha256(original / p) == h for p, h in kept.items() if p.name not in (export.RECORD, export.ABOUT))
    assert Path("split.mat") in kept
    assert Path("notes.bin") not in kept


def test_a_source_that_is_its_own_label_map_can_not_be_exported(fake_dataset: Callable[[str], Path]) -> None:
    dataset = load_dataset("cityscapes")(fake_dataset("cityscapes"), direction="labels2image")
    with pytest.raises(export.ContractError, match="or the label map itself"):
        export.Layout.of(dataset)


def test_a_lossy_original_becomes_a_png_of_the_same_name() -> None:
    layout = export.Layout(None, (), {"a": Path("x/a.jpg"), "b": Path("x/b.PNG"), "c": Path("c.tiff")}, {})  # type: ignore[arg-type]
    assert layout.place("a", ".png") == Path("x/a.png")
    assert layout.place("b", ".png") == Path("x/b.PNG")
    assert layout.place("c", ".tif") == Path("c.tiff")
