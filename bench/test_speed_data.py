"""Speed benchmarks of the data: `pytest bench/test_speed_data.py`. They show, and never gate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from sarbench.bench import registry
from sarbench.bench.material import Images, load
from sarbench.bench.tracks import track

SCENES = 8  # of a round


def _in_turn(read: Callable[[str], object], ids: tuple[str, ...]) -> Callable[[], None]:
    every = cycle(ids)

    def some() -> None:
        for _ in range(SCENES):
            read(next(every))

    return some


@pytest.mark.parametrize("size_px", [128, 256])
@pytest.mark.parametrize("task", ["sar", "season", "render"])
def test_a_synthetic_scene_is_made(benchmark: Any, task: str, size_px: int) -> None:
    """Source and target of a scene."""
    dataset = registry.load_dataset("synthetic")(None, task=task, size_px=str(size_px))
    benchmark.extra_info["scenes_per_round"] = SCENES
    benchmark.pedantic(_in_turn(dataset.read, dataset.ids("train")), rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("mapped", [False, True], ids=["made", "mapped from disk"])
def test_a_synthetic_scene_is_had_again(benchmark: Any, tmp_path: Path, mapped: bool) -> None:
    """Source and target of a scene of 256 px, made anew and as the cache of the first use has them."""
    small = {"size_px": "256", "n_train": "32", "n_test": "1"}
    material = load(track("synthetic", "tiny", options=small), tmp_path)
    images = material.images if mapped else Images(material.dataset, limit_bytes=0)
    benchmark.extra_info["scenes_per_round"] = SCENES
    read = _in_turn(lambda sample_id: images.parts(sample_id, ("source", "target")), material.train)
    benchmark.pedantic(read, rounds=10, warmup_rounds=1)
