"""A track's images: verified before anything runs, identified by content, and given to training step by step.

The batch of a step is a pure function of (seed, step): resuming, worker counts and rank counts change nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as StepDataset

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Dataset, Method, Pairs, Sample, key
from sarbench.bench.protocols import Track
from sarbench.bench.storage import digest, file_digest, read_json, value_digest, write_json

MEMORY_LIMIT = 2 << 30  # bytes of decoded images kept in memory
LISTED = 50  # bad files that one error names


# --- Verification ----------------------------------------------------------------------------------------------------


class Images:
    """Decoded samples by id; kept in memory up to a limit, read again beyond it."""

    def __init__(self, dataset: Dataset, limit_bytes: int = MEMORY_LIMIT) -> None:
        self.dataset = dataset
        self.limit_bytes = self.free = limit_bytes
        self.kept: dict[str, Sample] = {}

    def __getitem__(self, sample_id: str) -> Sample:
        sample = self.kept.get(sample_id)
        if sample is None:
            sample = self.dataset.read(sample_id)
            size = sample.source.nbytes + sample.target.nbytes + sum(a.nbytes for a in sample.aux.values())
            if size <= self.free:
                self.kept[sample_id] = sample
                self.free -= size
        return sample

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned worker gets: the dataset, and an empty memory."""
        return {"dataset": self.dataset, "limit_bytes": self.limit_bytes, "free": self.limit_bytes, "kept": {}}


@dataclass(frozen=True)
class Identity:
    """What a track's data is, whatever folder it lies in."""

    content_hash: str  # of ids, split, scenes and decoded arrays
    scenes_train: int | None  # None: the grouping is not known
    scenes_test: int | None

    @property
    def split(self) -> str:
        """Verified: every image has a scene, and no scene is on both sides."""
        return "unverified" if self.scenes_train is None or self.scenes_test is None else "verified"


@dataclass(frozen=True)
class Material:
    """A track's verified data."""

    images: Images
    train: tuple[str, ...]
    test: tuple[str, ...]
    identity: Identity

    @property
    def dataset(self) -> Dataset:
        """The dataset behind the images."""
        return self.images.dataset

    def semi(self, share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The training ids cut into a paired share and an unpaired rest by a keyed shuffle, at least one each."""
        order = shuffled(self.train, "semi")
        n = min(max(1, round(share * len(order))), len(order) - 1)
        return tuple(sorted(order[:n])), tuple(sorted(order[n:]))


def shuffled(ids: Sequence[str], *purpose: object) -> list[str]:
    """The ids in an order that depends on each id and on the purpose alone."""
    return sorted(ids, key=lambda sample_id: key("order", *purpose, sample_id))


def load(track: Track, cache: Path, report: Callable[[str], None] = lambda line: None) -> Material:
    """Choose the track's ids, read every image once, and refuse the whole with one error that lists every bad file.

    The verdict is kept in `cache` by the files' sizes and times, so that a second run starts at once.
    """
    dataset = track.open_dataset()
    splits = {"train": dataset.ids("train"), "test": dataset.ids("test")}
    for split, n in (("train", track.size.n_train), ("test", track.size.n_test)):
        if len(splits[split]) < (n or 1):
            raise ContractError(f"{track.slug} needs {n or 1} {split} images, the dataset has {len(splits[split])}")
        if n is not None:
            splits[split] = tuple(sorted(shuffled(splits[split], "split", split)[:n]))
    images = Images(dataset)
    file = cache / f"{_stamp(track, dataset, splits)}.json"
    if file.exists():
        known = read_json(file, *(field.name for field in fields(Identity)))
        identity = Identity(**{field.name: known[field.name] for field in fields(Identity)})
    else:
        report(f"reading {len(splits['train'])} training and {len(splits['test'])} test images of {dataset.card.title}")
        identity = _identify(images, splits, str(track.data or dataset.card.title))
        write_json(file, asdict(identity))
    return Material(images, splits["train"], splits["test"], identity)


def _stamp(track: Track, dataset: Dataset, splits: Mapping[str, Sequence[str]]) -> str:
    """A hash that changes whenever the decoded content could: code, options, ids, and the files' sizes and times."""
    code = file_digest(Path(sys.modules[type(dataset).__module__].__file__ or ""))
    stats = []
    for file in (file for ids in splits.values() for sample_id in ids for file in dataset.files(sample_id)):
        stat = file.stat()
        stats.append([str(file), stat.st_size, stat.st_mtime_ns])
    return value_digest([code, dict(track.options), {k: list(v) for k, v in splits.items()}, stats])


def _identify(images: Images, splits: Mapping[str, Sequence[str]], where: str) -> Identity:
    dataset = images.dataset

    def examine(sample_id: str) -> tuple[str, str]:
        try:
            sample = images[sample_id]
            _refuse_bad_sample(dataset, sample_id, sample)
        except ContractError as error:
            return "", str(error)
        arrays = [sample.source, sample.target, *(sample.aux[name] for name in sorted(sample.aux))]
        return digest(*(part for a in arrays for part in (f"{a.dtype}{a.shape}", np.ascontiguousarray(a).tobytes()))), ""

    every = [(split, sample_id) for split, ids in splits.items() for sample_id in ids]
    with ThreadPoolExecutor() as pool:
        verdicts = list(pool.map(examine, [sample_id for _, sample_id in every]))
    problems = [problem for _, problem in verdicts if problem]
    if problems:
        rest = f"\n  ... and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ContractError(f"{len(problems)} unusable pairs in {where}:\n  " + "\n  ".join(problems[:LISTED]) + rest)
    scenes = {split: {dataset.scene(sample_id) for sample_id in ids} for split, ids in splits.items()}
    shared = (scenes["train"] & scenes["test"]) - {None}
    if shared:
        listed = ", ".join(sorted(map(str, shared))[:10])
        raise ContractError(f"{where}: {len(shared)} scenes are in train and in test ({listed}); split by scene")
    counts = [None if None in scenes[split] else len(scenes[split]) for split in ("train", "test")]
    parts = [
        f"{split}\x1f{sample_id}\x1f{dataset.scene(sample_id)}\x1f{fingerprint}"
        for (split, sample_id), (fingerprint, _) in zip(every, verdicts, strict=True)
    ]
    return Identity(digest(*parts), *counts)


def _refuse_bad_sample(dataset: Dataset, sample_id: str, sample: Sample) -> None:
    """Raise ContractError where a dataset breaks its promise: dtype, channels, one grid, finite, in [-1, 1]."""
    expected = {"source": dataset.source_channels, "target": dataset.target_channels}
    for name, channels in expected.items():
        image = getattr(sample, name)
        if image.dtype != np.float32 or image.ndim != 3 or image.shape[0] != channels:
            raise ContractError(
                f"{sample_id}: the {name} is {image.dtype} {image.shape}, expected float32 with {channels} channels first"
            )
        if not np.isfinite(image).all():
            raise ContractError(f"{sample_id}: the {name} holds NaN or infinite values; replace or remove the pair")
        if image.min() < -1 or image.max() > 1:
            raise ContractError(f"{sample_id}: the {name} leaves [-1, 1]: {image.min():g} to {image.max():g}")
    if sample.source.shape[1:] != sample.target.shape[1:]:
        raise ContractError(
            f"{sample_id}: source {sample.source.shape[1:]} and target {sample.target.shape[1:]} differ in size"
        )


# --- Steps -----------------------------------------------------------------------------------------------------------


class Steps(StepDataset[Batch]):
    """The training batches by step: rows keyed by (seed, purpose, global row), shuffled anew every pass.

    With several ranks, rank r gets rows [r b, (r + 1) b) of every global batch: all ranks together see what one would.
    """

    def __init__(
        self,
        material: Material,
        method: Method,
        *,
        batch_size: int,
        crop_px: int | None,
        flip: bool,
        semi_share: float,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch_size % ranks:
            raise ContractError(f"a batch of {batch_size} can't be shared by {ranks} ranks; choose a multiple of {ranks}")
        supervision = method.card.supervision
        paired, unpaired = material.semi(semi_share) if supervision == "semi" else (material.train, material.train)
        self.paired = paired if supervision in ("paired", "semi") else None
        self.unpaired = unpaired if supervision in ("unpaired", "semi") else None
        self.images = material.images
        self.aux = method.card.aux
        self.batch_size, self.flip, self.seed, self.rank, self.ranks = batch_size, flip, seed, rank, ranks
        self.crop = _crop_size(material, method, crop_px)

    def __getitem__(self, step: int) -> Batch:
        local = self.batch_size // self.ranks
        first = step * self.batch_size + self.rank * local
        rows = range(first, first + local)
        paired = self._pairs(self.paired, rows, "paired", "paired") if self.paired else None
        unpaired = self._pairs(self.unpaired, rows, "source", "target") if self.unpaired else None
        return Batch(paired, unpaired)

    def _pairs(self, ids: tuple[str, ...], rows: range, source: str, target: str) -> Pairs:
        """Sources from one shuffled stream, targets from another; one name for both keeps pairs together."""
        drawn = [(row, self._draw(ids, row, source), self._draw(ids, row, target)) for row in rows]
        cut = [(self._cut(s, row, source), self._cut(t, row, target), s, t, row) for row, s, t in drawn]
        aux = {name: _stack([s.aux[name] for s, *_ in cut]) for name in self.aux}
        return Pairs(
            _stack([s.source for s, *_ in cut]),
            _stack([t.target for _, t, *_ in cut]),
            torch.tensor([key(self.seed, "row", source, row) for row in rows]),
            tuple(s for *_, s, _, _ in cut),
            tuple(t for *_, t, _ in cut),
            aux,
        )

    def _draw(self, ids: tuple[str, ...], row: int, stream: str) -> str:
        epoch, position = divmod(row, len(ids))
        return ids[_permutation(len(ids), key(self.seed, "shuffle", stream, epoch))[position]]

    def _cut(self, sample_id: str, row: int, stream: str) -> Sample:
        sample = self.images[sample_id]
        height, width = sample.source.shape[1:]
        crop_h, crop_w = self.crop
        random = np.random.default_rng(key(self.seed, "augment", stream, row))
        top = int(random.integers(height - crop_h + 1))
        left = int(random.integers(width - crop_w + 1))
        mirror = self.flip and bool(random.integers(2))

        def cut(image: np.ndarray) -> np.ndarray:
            image = image[..., top : top + crop_h, left : left + crop_w]
            return image[..., ::-1] if mirror else image

        return Sample(cut(sample.source), cut(sample.target), {name: cut(sample.aux[name]) for name in self.aux})


@lru_cache(maxsize=16)
def _permutation(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n)


def _stack(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


def _crop_size(material: Material, method: Method, crop_px: int | None) -> tuple[int, int]:
    """The training crop's height and width; ContractError where an image is too small for it, or sizes differ without one."""
    sizes = {material.dataset.size(sample_id) for sample_id in material.train}
    smallest = min(h for h, _ in sizes), min(w for _, w in sizes)
    multiple = method.size_multiple
    if method.card.fixed_size:
        crop = (method.card.fixed_size,) * 2
    elif crop_px is not None:
        crop = (crop_px, crop_px)
    else:
        crop = (smallest[0] // multiple * multiple, smallest[1] // multiple * multiple)
    if crop[0] % multiple or crop[1] % multiple or 0 in crop:
        raise ContractError(
            f"{method.card.title} trains on sides that are multiples of {multiple} px; the track's crop is "
            f"{crop[0]}x{crop[1]}; choose another --preset or cut the images"
        )
    refuse_smaller(material, crop)
    return crop


def refuse_smaller(material: Material, crop: tuple[int, int]) -> None:
    """Raise ContractError naming the training images that a crop (height, width) does not fit into."""
    sizes = {sample_id: material.dataset.size(sample_id) for sample_id in material.train}
    small = [f"{name} has {h}x{w}" for name, (h, w) in sizes.items() if h < crop[0] or w < crop[1]]
    if small:
        listed = "\n  ".join(small[:LISTED] + [f"... and {len(small) - LISTED} more"] * (len(small) > LISTED))
        raise ContractError(
            f"the training crop is {crop[0]}x{crop[1]} px, but {len(small)} training images are smaller; "
            f"remove them, or choose a --preset of a smaller crop:\n  {listed}"
        )


class _Caught(StepDataset[Batch | ContractError]):
    """Batches, or the error in place of one: raised in a worker process, it would arrive with a traceback as its text."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> Batch | ContractError:
        try:
            return self.steps[step]
        except ContractError as error:
            return error


def step_batches(steps: Steps, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps [start, stop), prepared ahead by worker processes; 0 workers: in this process."""
    loader = DataLoader(
        _Caught(steps),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, ContractError):
            raise batch
        yield batch


def all_pairs(material: Material, ids: Sequence[str], *, broken: bool, crop_px: int | None, rows: int = 8) -> Iterator[Pairs]:
    """Every pair once at the size of the test images, a few at a time; `broken`: targets in an order of their own."""
    targets = shuffled(ids, "fit") if broken else list(ids)
    waiting: list[tuple[str, str, np.ndarray, np.ndarray]] = []
    for source_id, target_id in zip(ids, targets, strict=True):
        source = centre_crop(material.images[source_id].source, crop_px)
        target = centre_crop(material.images[target_id].target, crop_px)
        if waiting and (len(waiting) == rows or (waiting[0][2].shape, waiting[0][3].shape) != (source.shape, target.shape)):
            yield _as_pairs(waiting)
            waiting = []
        waiting.append((source_id, target_id, source, target))
    if waiting:
        yield _as_pairs(waiting)


def _as_pairs(rows: list[tuple[str, str, np.ndarray, np.ndarray]]) -> Pairs:
    sources, targets, source_images, target_images = zip(*rows, strict=True)
    seeds = torch.tensor([key("fit", sample_id) for sample_id in sources])
    return Pairs(_stack(list(source_images)), _stack(list(target_images)), seeds, sources, targets)


def crop_corner(size: tuple[int, int], crop_px: int | None) -> tuple[int, int]:
    """The top and left of a centre crop."""
    return (0, 0) if crop_px is None else (max(0, (size[0] - crop_px) // 2), max(0, (size[1] - crop_px) // 2))


def centre_crop(image: np.ndarray, crop_px: int | None) -> np.ndarray:
    """The centre of an image (C, H, W); None: the whole; sides that are shorter than the crop stay whole."""
    top, left = crop_corner(image.shape[1:], crop_px)
    return image if crop_px is None else image[:, top : top + crop_px, left : left + crop_px]
