"""What the gate is worth: alarms where nothing has changed, and planted regressions. Numbers are printed:

pytest tests/test_drift_proof.py -s
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import noise, one_pass, registry, scaffold
from sarbench.bench.drift import Demand, compare
from sarbench.bench.metric import ImageBatch
from sarbench.bench.outcomes import Outcome, Verdict
from sarbench.bench.pipeline import Bench
from sarbench.bench.records import Loaded, Store
from sarbench.bench.tracks import Track, track
from sarbench.bench.train import Hardware

PAIRS = 200
METHODS = ("cut", "pix2pix")
METRICS = ("psnr", "ssim", "total_variation", "sam")
OLD_SEEDS, NEW_SEEDS = 5, 2

# --- 200 pairs in which nothing has changed --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("new_seeds", [1, 3])
def test_of_200_pairs_in_which_nothing_has_changed_at_most_5_in_100_alarm(make_run: Callable[..., Any], new_seeds: int) -> None:
    """Whole records of two methods and three metrics that move together, of 5 runs to know the noise by and some new ones."""
    rng, counter = np.random.default_rng(new_seeds), itertools.count()
    models = {method: make_run(method) for method in METHODS}

    def training(method: str, seed: int) -> Loaded:
        record = models[method].record
        luck = 0.7 * rng.standard_normal() + 0.7 * rng.standard_normal(3)  # what moves one metric moves the others
        moved = zip(record.scores.items(), (0.2, 0.01, -0.01) * luck, strict=True)
        scores = {name: score.model_copy(update={"value": float(score.value or 0) + by}) for (name, score), by in moved}
        changes = {"seed": seed, "scores": scores, "rows_hash": f"{next(counter):064x}"}
        return Loaded(record.model_copy(update=changes), Path(f"{seed}.json"), models[method].rows)

    found = []
    for _ in range(PAIRS):
        before = {method: [training(method, seed) for seed in range(5)] for method in METHODS}
        known = {method: noise.noise_of(runs) for method, runs in before.items()}
        seeds = range(100, 100 + new_seeds)
        after = [training(method, seed) for method in METHODS for seed in seeds]
        old = [runs[0] for runs in before.values()]
        found.append(compare(after, old, lambda record, known=known: known[record.method], Demand(seeds=seeds)).outcome)  # type: ignore[misc]
    counts = {outcome.word: found.count(outcome) for outcome in Outcome}
    print(f"\n{PAIRS} A/A pairs of 2 methods x 3 metrics, 5 old and {new_seeds} new seeds: {counts}")
    assert found.count(Outcome.DRIFTED) <= 0.05 * PAIRS


# --- Real runs: made once, then scored again or trained again --------------------------------------------------------

LOSS = '"l1": self.config.lambda_l1 * (self.G(x) - y).abs().mean()'
TWO_LOSSES = f'{LOSS}, "colour": ((self.G(x) - y).mean((2, 3)) ** 2).mean()'


def small() -> Track:
    """Eight test images of 64 px, four metrics that need no weights."""
    made = track("synthetic", "tiny", budget=200, options={"size_px": "64", "n_train": "16", "n_test": "8"})
    return replace(made, protocol=replace(made.protocol, metrics=METRICS))


class Lab:
    """A folder of runs, and boards of old and new records beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.track = small()

    def bench(self, boards: str) -> Bench:
        return Bench(self.track, Hardware(), self.root / "runs", self.root / boards, quiet=True)

    def train(self, boards: str, seeds: range, losses: str) -> list[Loaded]:
        """Train the method of `sarbench new-method` under these losses; its file is another for each board."""
        file = self.root / boards / "regress.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert LOSS in scaffold.METHOD.replace("{{", "{")
        text = scaffold.METHOD.format(title="regress", cls="Regress").replace(LOSS, losses)
        file.write_text(text.replace("Config(width=16)", "Config(width=4, learning_rate=0.01)"))
        registry._added.clear()
        registry.add_plugin(file)
        try:
            for seed in seeds:
                self.bench(boards).run("regress", seed)
        finally:
            registry._added.clear()
        return self.read(boards)

    def read(self, boards: str) -> list[Loaded]:
        return Store(self.root / boards).read(self.track.slug)

    def score_again(self, boards: str) -> list[Loaded]:
        """The records of the same images, scored by the code as it is now."""
        for kept in (self.root / "runs").rglob("scores.json"):
            kept.unlink()
        bench = self.bench(boards)
        for name in ("oracle_blur", "oracle_noise"):
            bench.run_honeypot(name)
        bench.run("mean_color", 0)
        return self.read(boards)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    kept = dict(registry._added)
    yield Lab(tmp_path_factory.mktemp("lab"))
    registry._added.clear()
    registry._added.update(kept)


@pytest.fixture(scope="module")
def scored(lab: Lab) -> list[Loaded]:
    """Two honeypots and a floor, as they were scored before anything was planted."""
    return lab.score_again("before")


def no_noise(record: object) -> None:
    return None


def drifted(verdict: Verdict) -> set[str]:
    return {finding.metric for finding in verdict.of(Outcome.DRIFTED)}


def patch_metric(
    monkeypatch: pytest.MonkeyPatch, name: str, rows: Callable[[Callable[..., np.ndarray]], Callable[..., np.ndarray]]
) -> None:
    load = registry.load_metric

    def loaded(asked: str) -> Any:
        metric = load(asked)
        if asked != name or metric.rows is None:
            return metric
        return replace(metric, rows=rows(metric.rows), shared={}, prepared=None)

    monkeypatch.setattr(registry, "load_metric", loaded)


def cut(images: ImageBatch) -> ImageBatch:
    """Without the last column of pixels."""
    return ImageBatch(images.pixels[:, :, :-1], images.peak)


def psnr_in_bfloat16(x: ImageBatch, y: ImageBatch) -> np.ndarray:
    """PSNR as autocast would have it: the formula is right, the arithmetic has 8 bits."""
    import torch

    off = torch.from_numpy(x.pixels).bfloat16() / 255 - torch.from_numpy(y.pixels).bfloat16() / 255
    return -10 * torch.log10((off * off).mean((1, 2, 3)).double()).numpy()


def through_bfloat16(pixels: np.ndarray) -> np.ndarray:
    """Pixels that were scaled to [-1, 1], as networks take them, in bfloat16 and back: half of the levels lose one."""
    import torch

    scaled = (torch.from_numpy(pixels.copy()) / 127.5 - 1).bfloat16()
    return ((scaled.float() + 1) * 127.5).to(torch.uint8).numpy()


@pytest.mark.slow
def test_images_that_are_scored_again_by_the_same_code_are_equivalent(lab: Lab, scored: list[Loaded]) -> None:
    verdict = compare(lab.score_again("again"), scored, no_noise, Demand(metrics=METRICS))
    print(f"\nscored again: {str(verdict).splitlines()[-1]}")
    assert verdict.outcome == Outcome.EQUIVALENT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "name", "rows"),
    [
        ("PSNR lower by 0.3 dB", "psnr", lambda rows: lambda x, y: rows(x, y) - 0.3),
        ("a lost border pixel in SSIM", "ssim", lambda rows: lambda x, y: rows(cut(x), cut(y))),
        ("a bfloat16 slip in PSNR", "psnr", lambda rows: psnr_in_bfloat16),
    ],
)
def test_a_planted_slip_of_one_metric_is_found_and_no_other_is_blamed(
    lab: Lab, scored: list[Loaded], monkeypatch: pytest.MonkeyPatch, planted: str, name: str, rows: Any
) -> None:
    patch_metric(monkeypatch, name, rows)
    verdict = compare(lab.score_again(planted.replace(" ", "-")), scored, no_noise)
    print(f"\nplanted {planted}:\n{verdict}")
    assert verdict.outcome == Outcome.DRIFTED
    assert drifted(verdict) - {"scores by class"} == {name}


@pytest.mark.slow
def test_shuffled_pairs_and_a_bfloat16_slip_of_the_whole_scorer_are_found(
    lab: Lab, scored: list[Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = one_pass.read_image

    def next_one(path: Path) -> np.ndarray:
        files = sorted(path.parent.iterdir())
        return read(files[(files.index(path) + 1) % len(files)] if "reference" in path.parts else path)

    for planted, reading in (
        ("shuffled pairs", next_one),
        ("a bfloat16 slip in scoring", lambda path: through_bfloat16(read(path))),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(one_pass, "read_image", reading)
            verdict = compare(lab.score_again(planted.replace(" ", "-")), scored, no_noise)
        print(f"\nplanted {planted}:\n{verdict}")
        assert verdict.outcome == Outcome.DRIFTED
        assert {"psnr", "ssim", "sam"} <= drifted(verdict)


@pytest.mark.slow
def test_a_deleted_measurement_is_not_measured(lab: Lab, scored: list[Loaded]) -> None:
    for deleted in range(len(scored)):
        left = [run for i, run in enumerate(scored) if i != deleted]
        assert compare(left, scored, no_noise).outcome == Outcome.NOT_MEASURED
    assert compare([], scored, no_noise).outcome == Outcome.NOT_MEASURED
    print(f"\neach of {len(scored)} records deleted, and all: not measured")


@pytest.mark.slow
def test_a_dropped_loss_term_is_found_and_other_seeds_alone_are_not(lab: Lab) -> None:
    old = lab.train("whole", range(OLD_SEEDS + NEW_SEEDS), TWO_LOSSES)
    before, same = old[:OLD_SEEDS], old[OLD_SEEDS:]
    known = noise.noise_of(before)
    print(f"\n{noise.told(known)}")
    seeds = [run.record.seed for run in same]
    unchanged = compare(same, before, lambda record: known, Demand(seeds=seeds))
    print(f"other seeds of the same code:\n{unchanged}")
    assert unchanged.outcome != Outcome.DRIFTED
    dropped = lab.train("dropped", range(NEW_SEEDS), TWO_LOSSES.removeprefix(f"{LOSS}, "))
    verdict = compare(dropped, before, lambda record: known, Demand(seeds=range(NEW_SEEDS)))
    print(f"without the L1 loss:\n{verdict}")
    assert verdict.outcome == Outcome.DRIFTED
    assert {"psnr", "ssim"} & drifted(verdict)
