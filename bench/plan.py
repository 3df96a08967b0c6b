"""`sarbench run --dry-run`: what would run, how long and how large it would be, what is there already and what is missing."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sarbench.bench import judging, registry
from sarbench.bench.cost import device_name
from sarbench.bench.dataset import BOTH, Dataset
from sarbench.bench.interface import Batch, Learner, Method, Pairs, key, normal
from sarbench.bench.match import BATCH_SIZE as MATCHED
from sarbench.bench.match import match
from sarbench.bench.matcher import MatchBatch, Matcher, Patches, template_px
from sarbench.bench.material import Packed, is_known
from sarbench.bench.options import Request
from sarbench.bench.plan_judges import Shape, further_images, planned
from sarbench.bench.runs import bench_of, unmeasured
from sarbench.bench.settings import config_of
from sarbench.bench.tracks import Track, how_to_get
from sarbench.bench.train import Game, Hardware
from sarbench.bench.translate import BATCH_SIZE, translate_padded

TIMED_SECONDS = 3.0  # a method is timed until this much has passed; what takes longer, once and on part of its work
ASSUMED_PX = 256  # side of images of a dataset that is not here
ASSUMED_TEST = 1_000


@dataclass(frozen=True)
class _Sizes:
    """What a track's images are like."""

    channels: tuple[int, int]
    train_px: tuple[int, int]
    test_px: tuple[int, int]
    n_train: int | None  # None: not known, since the data is not here
    n_test: int | None


def plan(asked: Request) -> str:
    """The plan as text. Reads no image but the first; times each method for a few seconds on random images."""
    track = asked.track
    missing = track.protocol.needs_data and track.data is None
    dataset = None if missing else track.open_dataset()
    known = dataset is not None and is_known(track, asked.runs / "cache")
    sizes = _sizes(asked, dataset)
    lines = [f"{track.slug}: {track.protocol.about}", f"on {device_name(asked.hardware)}, {asked.hardware.precision}", ""]
    lines += _data(asked, dataset, sizes, known)
    bench = bench_of(asked)
    seconds_all, bytes_all = 0.0, _mapped_bytes(asked, dataset)
    rows: list[str] = []
    weights: list[str] = []
    shape = _judged_shape(track, dataset, sizes)
    ways_back = {name: shape is not None and judging.knows_way_back(registry.load_method(name)) for name in asked.methods}
    for name in asked.methods:
        trained = {seed: known and bench.is_trained(name, seed) for seed in asked.seeds}
        weights += [] if all(trained.values()) else bench.missing_assets(name, sizes.channels)
        for seed, done in trained.items():
            further = further_images(track, shape, ways_back[name]) if shape else 0
            steps, seconds, size = _cost(asked, name, sizes, further)
            rows.append(
                f"  {name:<20} seed {seed}  {steps:>7} steps  "
                + ("trained already" if done else f"about {_duration(seconds)}")
                + f", {_bytes(size)}"
            )
            seconds_all += 0.0 if done else seconds
            bytes_all += size
    lines += [f"runs ({track.size.budget_images} training images each):", *rows, ""]
    if shape:
        judges = planned(track, shape, [ways_back[name] for name in asked.methods for _ in asked.seeds], asked.hardware)
        lines += ["judges, at most, each net kept for the next run:"]
        lines += [f"  {judge.name:<20} {judge.words}, about {_duration(judge.seconds)}" for judge in judges]
        lines += [""]
        seconds_all += sum(judge.seconds for judge in judges)
    lines += ["weights: MISSING, so that nothing would run", *(f"  {line}" for line in weights), ""] * bool(weights)
    lines += [f"in all: about {_duration(seconds_all)} on this machine, {_bytes(bytes_all)} on disk, scoring not counted", ""]
    return "\n".join(lines + unmeasured(track)).rstrip()


def _data(asked: Request, dataset: Dataset | None, sizes: _Sizes, known: bool) -> list[str]:
    if dataset is None:
        return [
            "data: MISSING",
            f"  it needs {how_to_get(asked.track.protocol)}",
            f"  the figures below assume images of {ASSUMED_PX} px with 3 channels",
            "",
        ]
    state = "read and verified before" if known else "not yet read: the run reads every image once, and stops at a bad one"
    return [
        f"data: {dataset.card.title}, {asked.track.data or 'made by code'}",
        f"  {sizes.n_train} training and {sizes.n_test} test images of {sizes.test_px[0]}x{sizes.test_px[1]} px; {state}",
        "",
    ]


def _sizes(asked: Request, dataset: Dataset | None) -> _Sizes:
    size = asked.track.size
    if dataset is None:
        whole = (ASSUMED_PX, ASSUMED_PX)
        channels, counts = (3, 3), (size.n_train, size.n_test)
    else:
        whole = dataset.size(dataset.ids("test")[0])
        channels = dataset.source_channels, dataset.target_channels
        counts = tuple(n or len(dataset.ids(s)) for s, n in (("train", size.n_train), ("test", size.n_test)))  # type: ignore[assignment]

    def cut(crop_px: int | None) -> tuple[int, int]:
        return whole if crop_px is None else (min(crop_px, whole[0]), min(crop_px, whole[1]))

    return _Sizes(channels, cut(size.train_crop_px), cut(size.test_crop_px), *counts)


def _judged_shape(track: Track, dataset: Dataset | None, sizes: _Sizes) -> Shape | None:
    """What the track's judges are asked about; None where it has none, or the data is not here to be counted."""
    if dataset is None or sizes.n_train is None or sizes.n_test is None or not judging.judges_of(track):
        return None
    same_bands = sizes.channels[0] == sizes.channels[1]
    return Shape(sizes.channels[1], dataset.classes, dataset.aux, same_bands, sizes.test_px, sizes.n_train, sizes.n_test)


def _cost(asked: Request, name: str, sizes: _Sizes, further: int = 0) -> tuple[int, float, int]:
    """Steps, seconds to train and translate, and bytes of weights, checkpoint and images, about.

    `further`: the images that are translated beside those of the test split.
    """
    with registry.blaming(name):
        cls = registry.load_learner(name)
        torch.manual_seed(key(0, "plan"))
        method = asked.hardware.prepare(cls(config_of(name, asked.track.preset, asked.settings), *sizes.channels))
        batch_size = getattr(method.config, "batch_size", 1)
        steps = math.ceil(asked.track.size.budget_images / batch_size) if method.players() else 0
        seconds = steps * _seconds_per_step(method, batch_size, sizes, asked.hardware) if steps else 0.0
        n_images = (sizes.n_test or ASSUMED_TEST) + further
        if not method.fitted:  # what `fit` fills is empty before it has seen the data
            seconds += n_images * _seconds_per_image(method, sizes, asked.hardware)
    weights = sum(value.nbytes for value in method.state_dict().values())
    moving = 2 * sum(p.numel() * 4 for player in method.players().values() for p in player.parameters())
    return steps, seconds, 2 * weights + moving + n_images * sizes.channels[1] * sizes.test_px[0] * sizes.test_px[1]


def _seconds_per_step(method: Learner, batch_size: int, sizes: _Sizes, hardware: Hardware) -> float:
    """Of a step on one image where that is slow: then the images follow each other, whatever the batch."""
    if isinstance(method, Matcher):
        known = _patches(method.labelled_rows, sizes.train_px[0], sizes.channels, labelled=True)
        rest = _patches(batch_size - method.labelled_rows, sizes.train_px[0], sizes.channels, labelled=False)
        matched = MatchBatch(known, rest).to(hardware.device, hardware.memory_format)
        game = Game(method.train(), hardware)
        return _timed(lambda i: game.step(matched, i, 0.5, 0), hardware)
    assert isinstance(method, Method)
    seconds = _timed(_step(method, 1, sizes, hardware), hardware)
    if batch_size == 1 or seconds >= TIMED_SECONDS:
        return seconds * batch_size
    return _timed(_step(method, batch_size, sizes, hardware), hardware)


def _step(method: Method, batch_size: int, sizes: _Sizes, hardware: Hardware) -> Callable[[int], object]:
    multiple = method.size_multiple
    side = tuple(method.fixed_size or px // multiple * multiple or multiple for px in sizes.train_px)
    seeds = torch.arange(batch_size)
    source, target = (normal(seeds, (channels, *side), "plan").clamp(-1, 1) for channels in sizes.channels)
    ids = tuple(map(str, range(batch_size)))
    pairs = Pairs(source, target, seeds, ids, ids, dict.fromkeys(method.aux, target[:, :1]))
    batch = Batch(pairs, pairs).to(hardware.device, hardware.memory_format)
    game = Game(method.train(), hardware)
    return lambda i: game.step(batch, i, 0.5, 0)


class _EnoughSeen(Exception):
    """A sampler was watched for long enough."""


def _patches(n: int, search_px: int, channels: tuple[int, int], *, labelled: bool) -> Patches | None:
    """Random templates and search images; None for none."""
    if not n:
        return None
    seeds, inner = torch.arange(n), template_px(search_px)
    template = normal(seeds, (channels[0], inner, inner), "template").clamp(-1, 1)
    search = normal(seeds, (channels[1], search_px, search_px), "search").clamp(-1, 1)
    return Patches(
        template, search, seeds, tuple(map(str, range(n))), torch.zeros(n, 2, dtype=torch.int64) if labelled else None
    )


def _seconds_per_image(method: Learner, sizes: _Sizes, hardware: Hardware) -> float:
    """Of a sampler that takes long, from its first network evaluations."""
    if isinstance(method, Matcher):
        pairs = _patches(MATCHED, sizes.test_px[0], sizes.channels, labelled=False)
        assert pairs is not None
        return _timed(lambda i: match(method, pairs.template, pairs.search, hardware), hardware) / MATCHED
    assert isinstance(method, Method)
    seeds = torch.arange(BATCH_SIZE)
    source = normal(seeds, (sizes.channels[0], *sizes.test_px), "plan").clamp(-1, 1)
    calls: Counter[nn.Module] = Counter()
    began = time.perf_counter()

    def watch(module: nn.Module, args: object) -> None:
        if time.perf_counter() - began > TIMED_SECONDS and 1 <= calls[module] < method.evaluations:
            raise _EnoughSeen(calls[module])
        calls[module] += 1

    hooks = [child.register_forward_pre_hook(watch) for child in method.children()]
    try:
        translate_padded(method, source, seeds, hardware)
    except _EnoughSeen as enough:
        return (time.perf_counter() - began) / enough.args[0] * method.evaluations / BATCH_SIZE
    finally:
        for hook in hooks:
            hook.remove()
    return _timed(lambda i: translate_padded(method, source, seeds, hardware), hardware) / BATCH_SIZE


def _timed(call: Callable[[int], object], hardware: Hardware) -> float:
    """Seconds a call takes, after a first one that does not count unless it takes long."""
    times: list[float] = []
    while len(times) < 2 or (sum(times) < TIMED_SECONDS and len(times) < 20):
        began = time.perf_counter()
        call(len(times))
        if hardware.device.startswith("cuda"):
            torch.cuda.synchronize(hardware.device)
        times.append(time.perf_counter() - began)
        if times[0] >= TIMED_SECONDS:
            return times[0]
    return sum(times[1:]) / len(times[1:])


def _mapped_bytes(asked: Request, dataset: Dataset | None) -> int:
    """Of a dataset made by code, the file that keeps its images."""
    if dataset is None or dataset.files(dataset.ids("train")[0]):
        return 0
    parts = dataset.read(dataset.ids("train")[0], (*BOTH, *dataset.aux)).parts()
    every = sum(len(set(dataset.ids(split) + dataset.target_ids(split))) for split in ("train", "test"))
    return every * sum(Packed.of(array).values.nbytes for array in parts.values())


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(n: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if n >= length:
            return f"{n / length:.1f} {unit}"
    return f"{n / 1e3:.0f} kB"
