"""The plan of a run: nothing is run, nothing is written, and what is missing is said."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from sarbench.bench import cli, judge, plan, plan_judges, registry
from sarbench.bench.interface import Card, Method
from sarbench.bench.judges.change_detection import ChangeDetection
from sarbench.bench.pipeline import Bench
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware
from sarbench.bench.translate import BATCH_SIZE

SMALL = ["--data-option", "size_px=64", "--data-option", "n_train=8", "--data-option", "n_test=2", "--budget", "8"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SARBENCH_DATA", raising=False)

    def go(*words: str) -> str:
        assert cli.main(["run", "--device", "cpu", *words]) == 0
        return capsys.readouterr().out

    return go


def test_a_plan_names_methods_steps_time_and_disk_and_writes_nothing(run, tmp_path: Path) -> None:
    text = run("--method", "pix2pix", "--seed", "3", *SMALL, "--dry-run")
    assert "8 training and 2 test images of 64x64 px; not yet read" in text
    assert "pix2pix              seed 3        2 steps  about" in text
    assert "mean_color           seed 3        0 steps" in text
    assert "in all: about" in text
    assert not list(tmp_path.iterdir())


def test_a_plan_says_which_data_and_weights_are_missing_and_how_to_get_them(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SARBENCH_ASSETS", raising=False)
    text = run("--method", "mean_color", "--protocol", "s3oil-1-sen12ms", "--dry-run")
    assert "data: MISSING" in text
    assert "the folder sen12ms in $SARBENCH_DATA" in text
    assert "sarbench fetch alexnet" in text


def test_a_plan_names_the_pretrained_weights_that_a_method_lacks(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "weights"))
    monkeypatch.setattr(plan, "_cost", lambda *given: (1, 1.0, 1))  # to time CLIP takes minutes
    text = run("--method", "s3oil", "--set", "csc_scorer=clip", *SMALL, "--dry-run")
    missing = text.partition("weights: MISSING")[2]
    assert "s3oil: clip_vit_b32 missing (clip-vit-base-patch32.bin, sha256 a6308213" in missing
    assert str(tmp_path / "weights") in missing
    assert "weights: MISSING" not in run("--method", "s3oil", *SMALL, "--dry-run")


class Slow(Method):
    """A sampler of 500 evaluations, of 10 ms each."""

    card = Card(title="slow", paper="", year=2026, supervision="none", channels="any", evaluations=500)
    seen = 0

    class Network(nn.Module):
        def forward(self, x):
            time.sleep(0.01)
            return x

    def translate(self, source, seeds):
        for _ in range(500):
            source = self.network(source)
            Slow.seen += 1
        return source


def test_a_plan_watches_a_long_sampler_for_a_part_of_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TIMED_SECONDS", 0.1)
    method = Slow(None, 1, 1)
    method.network = Slow.Network()
    sizes = plan._Sizes((1, 1), (16, 16), (16, 16), 1, 1)
    seconds = plan._seconds_per_image(method, sizes, Hardware()) * BATCH_SIZE
    assert Slow.seen < 50
    assert seconds == pytest.approx(5.0, rel=0.5)


def test_a_plan_knows_what_is_done_already(run) -> None:
    run("--method", "mean_color", *SMALL)
    text = run("--method", "mean_color", *SMALL, "--dry-run")
    assert "read and verified before" in text
    assert text.count("trained already") == 4  # the floors


# --- Judges ---


def test_a_plan_counts_the_judges_and_adds_their_time(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_judges, "_seconds_per_step", lambda *given: 1.0)
    monkeypatch.setattr(plan_judges, "_seconds_per_batch", lambda *given: 0.0)
    monkeypatch.setattr(plan, "_cost", lambda *given: (1, 0.0, 1))
    text = run("--method", "sruit", "--protocol", "synthetic-change", *SMALL, "--dry-run")
    # A vs. B; the right answer both ways; four floors, one way each; SRUIT both ways: 9 networks of 3 seeds, 300 steps each
    assert "change_detection     27 networks to train, of 3 seeds, asked about 60 sets of test images, about 2 h" in text
    assert "in all: about 2 h on this machine" in text
    assert "change_detection" not in run("--method", "sruit", *SMALL, "--dry-run")


def test_a_plan_says_which_judges_the_data_do_not_fit_and_which_train_nothing() -> None:
    street = ("labels",)
    fcn, segmentation = registry.load_judge("fcn_cityscapes"), registry.load_judge("segmentation")
    assert plan_judges.count(fcn, street, True, [False, True]) == plan_judges.Count(trained=0, asked=6)
    assert plan_judges.count(segmentation, street, False, [False, True]) == plan_judges.Count(trained=1, asked=3)


def test_a_run_trains_and_asks_as_many_judges_as_its_plan_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "JUDGE_SEEDS", (0,))
    small = replace(ChangeDetection.presets["tiny"], budget_images=2, batch_size=2, crop_px=32, decoder=(8, 8, 8, 8, 8))
    monkeypatch.setattr(ChangeDetection, "presets", {"tiny": small})
    options = {"size_px": "32", "n_train": "2", "n_test": "2"}
    cut = track("synthetic-change", "tiny", budget=2, options=options)
    bench = Bench(
        replace(cut, size=replace(cut.size, train_crop_px=32)), Hardware(), tmp_path / "runs", tmp_path / "boards", quiet=True
    )
    bench.run("cyclegan", 0)
    bench.run("mean_color", 0)
    kept = tmp_path / "runs/cache/judges/change_detection"
    planned = plan_judges.count(ChangeDetection, bench.material.dataset.aux, True, [True, False])
    assert len(list(kept.glob("*/weights.safetensors"))) == planned.trained
    assert len(list(kept.glob("*/*.npy"))) == planned.asked
