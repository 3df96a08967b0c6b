"""THE benchmark: one test per method, track and seed, and how fast each of these runs was.

pytest bench --method pix2pix
pytest bench --method pix2pix --method cyclegan --protocol pairs --data FOLDER --budget 20000
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

from sarbench.bench import leaderboard
from sarbench.bench.pipeline import Bench
from sarbench.bench.train import Game

Shown = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module", autouse=True)
def boards(bench: Bench) -> Iterator[None]:
    """The boards hold every record when the tests end, or break off; writing them takes seconds, so not after each floor."""
    yield
    leaderboard.write_pages(bench.leaderboards)


def test_honeypot(bench: Bench, honeypot: str, shown: Shown) -> None:
    """Score images made from the targets, which no honest metric should prefer."""
    with shown():
        record = bench.run_honeypot(honeypot)
    assert record.role == "honeypot"


def test_ceiling(bench: Bench, ceiling: str, shown: Shown) -> None:
    """Score a second look at the targets: what shares of what can be reached are measured by."""
    with shown():
        record = bench.run_ceiling(ceiling)
    assert record.role == "ceiling"


def test_method(bench: Bench, run: tuple[str, int], shown: Shown) -> None:
    """Train, translate, score and record; the board holds the run of a method when the test ends."""
    name, seed = run
    with shown():
        record = bench.run(name, seed)
    if record.role == "method":
        leaderboard.write_pages(bench.leaderboards)
    measured = [score for score in record.scores.values() if score.n and score.ranked]
    assert measured, "no metric could be measured"
    assert all(score.undefined == 0 for score in measured), "a metric is undefined for some images"


def test_seconds_per_training_step(bench: Bench, run: tuple[str, int], benchmark: Any) -> None:
    """How long one step of this run takes."""
    name, seed = run
    method, _ = bench.trained(name, seed)
    if not method.players():
        pytest.skip(f"{name} does not learn by gradients")
    batch = bench.steps(method, seed)[0].to(bench.hardware.device, bench.hardware.memory_format)
    game = Game(method.train(), bench.hardware)
    benchmark.extra_info["images_per_step"] = method.config.batch_size
    benchmark.pedantic(lambda: _finish(bench, game.step(batch, 0, 0.0, seed)), rounds=5, iterations=1, warmup_rounds=2)


def test_seconds_per_test_batch(bench: Bench, run: tuple[str, int], benchmark: Any) -> None:
    """How long this run takes to translate, or to match, one batch of test images."""
    name, seed = run
    method, _ = bench.trained(name, seed)
    benchmark.extra_info["images_per_batch"] = bench.test_batch_size
    benchmark.pedantic(bench.one_batch(method), rounds=3, iterations=1, warmup_rounds=1)


def _finish(bench: Bench, losses: dict[str, torch.Tensor]) -> None:
    if bench.hardware.device.startswith("cuda"):
        torch.cuda.synchronize(bench.hardware.device)
    assert losses
