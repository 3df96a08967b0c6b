"""What the judges of a track add to a plan: how many networks are trained, how often they are asked, and for how long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from sarbench.bench import judging, registry
from sarbench.bench.interface import Batch, Pairs, normal
from sarbench.bench.judge import Judge
from sarbench.bench.judges._training import batch_size, predict_padded
from sarbench.bench.tracks import Track
from sarbench.bench.train import Game, Hardware

TIMED = 3  # calls, after a first one that does not count; shared among the stages of a training, at least one for each


@dataclass(frozen=True)
class Shape:
    """What the judged images are like."""

    channels: int
    classes: tuple[str, ...]
    aux: tuple[str, ...]
    same_bands: bool  # have sources and targets the same number of bands?
    px: tuple[int, int]  # of the test images
    n_train: int
    n_test: int


@dataclass(frozen=True)
class Count:
    """How much work one kind of judge has with some runs, for each judge seed."""

    trained: int  # networks
    asked: int  # sets of test images, each by one network


def count(cls: type[Judge], aux: Collection[str], same_bands: bool, ways_back: Sequence[bool]) -> Count:
    """What `judging.ask` does for runs of methods that know a way back, or not; what is equal is done once.

    At most so much: a translation that equals another one, as identity's equals the source, is judged with it.
    """
    if cls.sees == "images":
        return Count(0 if cls.given else 1, len(ways_back) + (4 if same_bands else 1))  # ceiling; floor and two artefacts
    if cls.sees == "domains":  # networks that learn from translations, from sources, and, where nothing adapts, from targets
        networks = len(ways_back) + same_bands + (cls.card.supervision == "paired")
        return Count(networks, networks)
    known = [way for way, name in judging.COUNTERPARTS.items() if name in aux and (way == "forward" or any(ways_back))]
    runs = sum(1 + way for way in ways_back)
    return Count(1 + len(known) + runs, 4 + 2 * len(known) + 2 * runs)  # the real pairs; target for translation, two artefacts


def further_images(track: Track, shape: Shape, way_back: bool) -> int:
    """How many images a run translates for its judges alone: those that a judge of its own is trained on, and the way back."""
    seen = {registry.load_judge(name).sees for name in judging.judges_of(track)}
    if not seen & {"pairs", "domains"}:
        return 0
    return shape.n_train + ("pairs" in seen and way_back) * (shape.n_train + shape.n_test)


@dataclass(frozen=True)
class Planned:
    """One judge in a plan."""

    name: str
    words: str
    seconds: float


def planned(track: Track, shape: Shape, ways_back: Sequence[bool], hardware: Hardware) -> list[Planned]:
    """Every judge of the track with what it has to do; `ways_back`: does the method of each run know one, in any order."""
    found = []
    for name in judging.judges_of(track):
        cls = registry.load_judge(name)
        config = cls.presets[track.preset]
        classes = cls.tells_apart(shape.classes)
        if cls.answer not in shape.aux or (cls.knows and cls.knows != classes):
            found.append(Planned(name, "is not asked: these data do not fit it", 0.0))
            continue
        work, seeds = count(cls, shape.aux, shape.same_bands, ways_back), len(cls.seeds())
        trained, asked = work.trained * seeds, work.asked * seeds
        judge = hardware.prepare(cls(config, shape.channels, classes))
        side = tuple(px if config.crop_px is None else min(config.crop_px, px) for px in shape.px)
        steps = math.ceil(config.images(shape.n_train) / config.batch_size)
        seconds = trained * steps * _seconds_per_step(judge, config.batch_size, side, hardware) if trained else 0.0
        seconds += asked * math.ceil(shape.n_test / batch_size(*shape.px)) * _seconds_per_batch(judge, shape.px, hardware)
        words = f"{trained} networks to train, of {seeds} seeds" if trained else "a published network"
        found.append(Planned(name, f"{words}, asked about {asked} sets of test images", seconds))
    return found


def _seconds_per_step(judge: Judge, rows: int, side: Sequence[int], hardware: Hardware) -> float:
    """The mean over a whole training: each stage for its share of the budget."""
    multiple = judge.size_multiple
    image = _random(rows, judge.source_channels, [px // multiple * multiple or multiple for px in side])
    ids, answers = tuple(map(str, range(rows))), torch.zeros(rows, 1, *image.shape[2:], dtype=torch.int64)
    pairs = Pairs(image, image, torch.arange(rows), ids, ids, {judge.answer: answers})
    batch, game = Batch(pairs, pairs).to(hardware.device, hardware.memory_format), Game(judge.train(), hardware)
    stages = [(begin, end - begin) for begin, end in pairwise((*judge.stages(), 1.0)) if end > begin]
    calls = max(1, TIMED // len(stages))

    def seconds(progress: float) -> float:
        return _timed(lambda i: game.step(batch, i, progress, 0), hardware, calls)

    return sum(share * seconds(begin) for begin, share in stages)


def _seconds_per_batch(judge: Judge, px: tuple[int, int], hardware: Hardware) -> float:
    image = _random(batch_size(*px), judge.source_channels, px).numpy()
    return _timed(lambda i: predict_padded(judge.eval(), image, image, hardware), hardware, TIMED)


def _random(rows: int, channels: int, px: Sequence[int]) -> torch.Tensor:
    return normal(torch.arange(rows), (channels, *px), "plan").clamp(-1, 1)


def _timed(call: Callable[[int], object], hardware: Hardware, calls: int) -> float:
    """The mean seconds of so many calls after a first one."""
    call(0)
    began = time.perf_counter()
    for i in range(1, calls + 1):
        call(i)
    if hardware.device.startswith("cuda"):
        torch.cuda.synchronize(hardware.device)
    return (time.perf_counter() - began) / calls
