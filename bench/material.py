"""A track's data: verified whole before anything runs, identified by content, and kept where it is fast to read.

Images that lie on the 256 levels of 8 bits, as nearly all do, are kept as such: a quarter of the memory, exactly.
A dataset made by code is computed once and kept on disk, mapped into the memory of every process that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sarbench.bench import leaks, registry
from sarbench.bench.dataset import BOTH, Dataset, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise, scale
from sarbench.bench.keys import key
from sarbench.bench.storage import atomic, digest, file_digest, read_json, value_digest, write_json
from sarbench.bench.tracks import Track

MEMORY_LIMIT = 2 << 30  # bytes of images kept in memory
READ_AHEAD = 64  # samples that are in memory at once while all are verified
LONGEST = 300  # characters of a reason
LISTED = 50  # bad files that one error names
SPLITS = ("train", "test")
Verdict = Literal["verified", "unverified", "leaking"]
LEVELS = scale(np.arange(256), 0.0, 255.0)  # what 8 bits mean in [-1, 1]


# --- Images in memory and on disk ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """An array (C, H, W) kept small, without loss: equal channels once, 8-bit levels and class indices as uint8."""

    values: np.ndarray
    channels: int
    dtype: str  # of the array

    @staticmethod
    def of(array: np.ndarray) -> Packed:
        """Pack an array; whatever does not fit into 8 bits is kept as it is."""
        channels = len(array)
        if channels > 1 and all(np.array_equal(array[0], other) for other in array[1:]):
            array = array[:1]
        values = array
        if array.dtype == np.float32:
            levels = quantise(array)
            if np.array_equal(LEVELS[levels], array):
                values = levels
        elif array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
            values = array.astype(np.uint8)
        return Packed(np.ascontiguousarray(values), channels, str(array.dtype))

    @staticmethod
    def plain(array: np.ndarray) -> Packed:
        """An array that is not worth packing."""
        return Packed(array, len(array), str(array.dtype))

    def array(self, window: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """The array as it was, or a window of it."""
        values = self.values[:, *window]
        if values.dtype != self.dtype:
            values = LEVELS[values] if self.dtype == "float32" else values.astype(self.dtype)
        return values if len(values) == self.channels else np.repeat(values, self.channels, axis=0)


@dataclass
class Mapped:
    """Every sample of a dataset in one file, as records of equal length, mapped into memory where it is read."""

    path: Path
    index: dict[str, int]  # sample id -> record
    parts: dict[str, tuple[int, tuple[int, ...], str, int, str]]  # name -> offset, shape and dtype, channels and dtype unpacked

    def get(self, sample_id: str, name: str) -> Packed | None:
        """A part of a sample; None where it is not in the file."""
        if sample_id not in self.index or name not in self.parts:
            return None
        if "_records" not in self.__dict__:
            self._records = np.memmap(self.path, np.uint8, "r").reshape(len(self.index), -1)
        offset, shape, stored, channels, dtype = self.parts[name]
        length = int(np.prod(shape)) * np.dtype(stored).itemsize
        values = self._records[self.index[sample_id], offset : offset + length].view(stored).reshape(shape)
        return Packed(np.asarray(values), channels, dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_records"}


class _OddSample(Exception):
    """A sample whose packed parts have another shape than those of the first."""


def write_mapped(path: Path, ids: Sequence[str], samples: Iterable[Mapping[str, Packed]]) -> Mapped | None:
    """Write the samples of these ids, in their order, as records of one length; None where they are not alike."""
    parts: dict[str, tuple[int, tuple[int, ...], str, int, str]] = {}
    try:
        with atomic(path) as file:
            for packed in samples:
                offset, found = 0, {}
                for name, part in packed.items():
                    found[name] = (offset, part.values.shape, str(part.values.dtype), part.channels, part.dtype)
                    offset += part.values.nbytes
                parts = parts or found
                if found != parts:
                    raise _OddSample
                for part in packed.values():
                    file.write(part.values.tobytes())
    except _OddSample:
        return None
    return Mapped(path, {sample_id: i for i, sample_id in enumerate(ids)}, parts)


class Images:
    """The images of a dataset by id; kept in memory up to a limit, or mapped from disk, and read again beyond that."""

    def __init__(self, dataset: Dataset, limit_bytes: int = MEMORY_LIMIT, mapped: Mapped | None = None) -> None:
        self.dataset = dataset
        self.limit_bytes = self.free = limit_bytes
        self.mapped = mapped
        self.kept: dict[tuple[str, str], Packed] = {}

    def source(self, sample_id: str) -> np.ndarray:
        """The source image, (C, H, W)."""
        return self.parts(sample_id, ("source",))["source"]

    def target(self, sample_id: str) -> np.ndarray:
        """The target image, (C, H, W)."""
        return self.parts(sample_id, ("target",))["target"]

    def parts(self, sample_id: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Images and auxiliary arrays by name, read together."""
        return {name: packed.array() for name, packed in self.packed(sample_id, names).items()}

    def packed(self, sample_id: str, names: Sequence[str]) -> dict[str, Packed]:
        """As `parts`, not yet unpacked, so that a crop costs what it holds."""
        found = {name: packed for name in names if (packed := self._known(sample_id, name)) is not None}
        missing = [name for name in names if name not in found]
        arrays = self.dataset.read(sample_id, missing).parts() if missing else {}
        absent = [name for name in missing if name not in arrays]
        if absent:
            raise ContractError(f"{sample_id} of {self.dataset.card.title} has no {' and no '.join(absent)}")
        new = {name: Packed.of(arrays[name]) if self.free > 0 else Packed.plain(arrays[name]) for name in missing}
        self.keep(sample_id, new)
        return {name: found[name] if name in found else new[name] for name in names}

    def _known(self, sample_id: str, name: str) -> Packed | None:
        packed = self.mapped.get(sample_id, name) if self.mapped else None
        return packed or self.kept.get((sample_id, name))

    def keep(self, sample_id: str, parts: Mapping[str, Packed]) -> None:
        """Keep parts that were read, as long as there is room."""
        for name, packed in parts.items():
            if 0 < packed.values.nbytes <= self.free and (sample_id, name) not in self.kept:
                self.kept[sample_id, name] = packed
                self.free -= packed.values.nbytes

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned worker gets: the dataset, the file that is mapped, and an empty memory."""
        return {**self.__dict__, "free": self.limit_bytes, "kept": {}}


# --- Verification ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """What a track's data is, whatever folder it lies in."""

    content_hash: str  # of ids, split, scenes and decoded arrays
    split_hash: str  # of the ids of both splits
    verdict: Verdict  # on the split
    reasons: tuple[str, ...]  # of the verdict
    scenes_train: int | None  # None: the grouping is not known
    scenes_test: int | None


@dataclass(frozen=True)
class Material:
    """A track's verified data."""

    images: Images
    train: tuple[str, ...]  # of the source domain
    test: tuple[str, ...]
    train_targets: tuple[str, ...]  # the same ids, unless the dataset is unpaired
    test_targets: tuple[str, ...]
    identity: Identity

    @property
    def dataset(self) -> Dataset:
        """The dataset behind the images."""
        return self.images.dataset

    @property
    def paired(self) -> bool:
        """Does each source image have a target?"""
        return self.dataset.card.paired

    def semi(self, n_paired: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The training ids cut into a paired part and an unpaired rest by a keyed shuffle, at least one each.

        None: a tenth of the pairs.
        """
        order = shuffled(self.train, "semi")
        n = min(max(1, round(0.1 * len(order)) if n_paired is None else n_paired), len(order) - 1)
        return tuple(sorted(order[:n])), tuple(sorted(order[n:]))


def shuffled(ids: Sequence[str], *purpose: object) -> list[str]:
    """The ids in an order that depends on each id and on the purpose alone."""
    return sorted(ids, key=lambda sample_id: key("order", *purpose, sample_id))


def is_known(track: Track, cache: Path) -> bool:
    """Was this data read before, so that `load` starts at once?"""
    return _Choice.of(track, cache).verdict.exists()


@dataclass(frozen=True)
class _Choice:
    """What a track takes of its dataset, and where the cache keeps what is known of it."""

    dataset: Dataset
    chosen: Mapping[str, Mapping[str, tuple[str, ...]]]  # part -> split -> ids
    every: Mapping[str, tuple[str, ...]]  # split -> ids of both domains, each once
    verdict: Path
    mapped: Path

    @staticmethod
    def of(track: Track, cache: Path) -> _Choice:
        dataset = track.open_dataset()
        if dataset.card.paired != track.protocol.paired:
            kind = "pairs" if track.protocol.paired else "unpaired domains"
            raise ContractError(
                f"the protocol {track.protocol.name!r} needs {kind}, which {dataset.card.title} with these options has not"
            )
        chosen = {part: {split: _chosen(track, dataset, split, part) for split in SPLITS} for part in BOTH}
        if dataset.card.paired and chosen["source"] != chosen["target"]:
            raise ContractError(f"{dataset.card.title}: the ids of source and target differ; each image needs its partner")
        every = {split: tuple(dict.fromkeys(chosen["source"][split] + chosen["target"][split])) for split in SPLITS}
        stamp = _stamp(track, dataset, chosen)
        return _Choice(dataset, chosen, every, cache / f"{stamp}.json", cache / f"{stamp}.images")


def load(track: Track, cache: Path, report: Callable[[str], None] = lambda line: None) -> Material:
    """Choose the track's ids, read every image once, and refuse the whole with one error that lists every bad file.

    The verdict is kept in `cache` by the files' sizes and times, so that a second run starts at once; so are the images
    of a dataset made by code.
    """
    choice = _Choice.of(track, cache)
    dataset, chosen, every = choice.dataset, choice.chosen, choice.every
    images = Images(dataset)
    if not choice.verdict.exists():
        report(f"reading {len(every['train'])} training and {len(every['test'])} test images of {dataset.card.title}")
        write_json(choice.verdict, _read_all(images, every, str(track.data or dataset.card.title), choice.mapped))
    known = read_json(choice.verdict, *(field.name for field in fields(Identity)), "parts")
    parts = {name: (offset, tuple(shape), *rest) for name, (offset, shape, *rest) in known.pop("parts").items()}
    if parts and choice.mapped.exists():
        index = {sample_id: i for i, sample_id in enumerate(every["train"] + every["test"])}
        images = Images(dataset, mapped=Mapped(choice.mapped, index, parts))
    identity = Identity(**{**known, "reasons": tuple(known["reasons"])})
    train, test = (chosen["source"][split] for split in SPLITS)
    return Material(images, train, test, chosen["target"]["train"], chosen["target"]["test"], identity)


def _chosen(track: Track, dataset: Dataset, split: str, part: str) -> tuple[str, ...]:
    """The ids of a split that the track uses: all, or the first of a keyed shuffle, or the first in order."""
    ids = dataset.ids(split) if part == "source" else dataset.target_ids(split)
    n = track.size.n_train if split == "train" else track.size.n_test
    if len(ids) < (n or 1):
        domain = "" if dataset.card.paired else f" of the {part} domain"
        raise ContractError(f"{track.slug} needs {n or 1} {split} images{domain}, the dataset has {len(ids)}")
    if n is None:
        return ids
    if split == "test" and track.size.first_test:
        return ids[:n]
    return tuple(sorted(shuffled(ids, "split", split)[:n]))


def _stamp(track: Track, dataset: Dataset, chosen: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """A hash that changes whenever the decoded content could: code, options, ids, and the files' sizes and times."""
    code = [file_digest(file) for name in track.protocol.datasets for file in registry.sources_of("datasets", name)]
    every = (sample_id for splits in chosen.values() for ids in splits.values() for sample_id in ids)
    stats = []
    for file in dict.fromkeys(file for sample_id in every for file in dataset.files(sample_id)):
        stat = file.stat()
        stats.append([str(file), stat.st_size, stat.st_mtime_ns])
    return value_digest([code, dict(track.options), chosen, stats])


@dataclass(frozen=True)
class _Reading:
    """What one sample turned out to be."""

    parts: Mapping[str, Packed] = field(default_factory=dict)
    digest: str = ""  # of the decoded arrays
    print: leaks.Fingerprint | None = None  # for the search for images that both splits show
    footprint: leaks.Footprint | None = None
    problem: str = ""  # empty: none


def _read_all(images: Images, splits: Mapping[str, Sequence[str]], where: str, mapped: Path) -> dict[str, Any]:
    """Read every image once: the identity as JSON, and how the images lie in the file `mapped` (empty: they don't).

    Raises ContractError that lists every bad file, and for scenes that the split cuts.
    """
    dataset = images.dataset
    every = [sample_id for ids in splits.values() for sample_id in ids]
    readings: list[_Reading] = []

    def examine(sample_id: str) -> _Reading:
        try:
            sample = dataset.read(sample_id, (*BOTH, *dataset.aux))
            refuse_bad_sample(dataset, sample_id, sample)
            where = leaks.footprint(dataset.georeference(sample_id), dataset.size(sample_id))
        except ContractError as error:
            return _Reading(problem=str(error))
        arrays = sorted(sample.parts().items())
        text = (part for name, a in arrays for part in (f"{name}{a.dtype}{a.shape}", np.ascontiguousarray(a).tobytes()))
        return _Reading({name: Packed.of(a) for name, a in arrays}, digest(*text), leaks.fingerprint(sample), where)

    def packed() -> Iterator[Mapping[str, Packed]]:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(every), READ_AHEAD):  # a few at a time, so that memory does not grow with their number
                for reading in pool.map(examine, every[start : start + READ_AHEAD]):
                    readings.append(replace(reading, parts={}))
                    yield reading.parts

    file = None
    if any(dataset.files(sample_id) for sample_id in every[:1]):
        for sample_id, parts in zip(every, packed(), strict=True):
            images.keep(sample_id, parts)
    else:
        file = write_mapped(mapped, every, packed())
        missing = every[len(readings) :]  # samples of several sizes are not written, and the rest of them not yet read
        readings.extend(replace(examine(sample_id), parts={}) for sample_id in missing)
    problems = [reading.problem for reading in readings if reading.problem]
    if problems:
        rest = f"\n  ... and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ContractError(f"{len(problems)} unusable images in {where}:\n  " + "\n  ".join(problems[:LISTED]) + rest)
    identity = _identity(dataset, splits, readings, where)
    return {**asdict(identity), "parts": file.parts if file else {}}


def _identity(dataset: Dataset, splits: Mapping[str, Sequence[str]], readings: Sequence[_Reading], where: str) -> Identity:
    """The hashes of the data, and the verdict on its split; ContractError for scenes that it cuts without saying so."""
    every = [(split, sample_id) for split, ids in splits.items() for sample_id in ids]
    scenes = {split: [dataset.scene(sample_id) for sample_id in ids] for split, ids in splits.items()}
    shared = sorted(map(str, (set(scenes["train"]) & set(scenes["test"])) - {None}))
    if shared and not dataset.keeps_official_leaks:
        raise ContractError(
            f"{where}: {len(shared)} scenes are in train and in test ({', '.join(shared[:10])}); split by scene"
        )
    n_train = len(splits["train"])
    train, test = readings[:n_train], readings[n_train:]
    known = any(reading.footprint for reading in readings)
    overlaps = leaks.footprint_overlaps([r.footprint for r in train], [r.footprint for r in test]) if known else None
    prints = [[reading.print for reading in part if reading.print is not None] for part in (train, test)]
    found = leaks.verdict(scenes["train"], scenes["test"], leaks.cross_split_leaks(*prints), overlaps)
    sources = {split: {dataset.scene(i) for i in set(ids) & set(dataset.ids(split))} for split, ids in splits.items()}
    counts = [None if None in scenes[split] else len(sources[split]) for split in SPLITS]
    rows = [
        f"{split}\x1f{sample_id}\x1f{dataset.scene(sample_id)}\x1f{reading.digest}"
        for (split, sample_id), reading in zip(every, readings, strict=True)
    ]
    reasons = tuple(reason[:LONGEST] for reason in found.reasons)
    return Identity(digest(*rows), digest(*(f"{s}\x1f{i}" for s, i in every)), found.split, reasons, *counts)


def refuse_bad_sample(dataset: Dataset, sample_id: str, sample: Sample) -> None:
    """Raise ContractError where a dataset breaks its promise: dtype, channels, one grid, finite, in [-1, 1]."""
    parts = sample.parts()
    images = [name for name in BOTH if name in parts]
    if not images or (dataset.card.paired and len(images) < 2):
        raise ContractError(f"{sample_id}: expected a source and a target image, got {' and '.join(images) or 'neither'}")
    for name in images:
        image, channels = parts[name], dataset.source_channels if name == "source" else dataset.target_channels
        if image.dtype != np.float32 or image.ndim != 3 or image.shape[0] != channels:
            raise ContractError(
                f"{sample_id}: the {name} is {image.dtype} {image.shape}, expected float32 with {channels} channels first"
            )
        if not np.isfinite(image).all():
            raise ContractError(f"{sample_id}: the {name} holds NaN or infinite values; replace or remove the pair")
        if image.min() < -1 or image.max() > 1:
            raise ContractError(f"{sample_id}: the {name} leaves [-1, 1]: {image.min():g} to {image.max():g}")
    sizes = {name: array.shape[1:] for name, array in parts.items()}
    if len(set(sizes.values())) > 1:
        raise ContractError(f"{sample_id}: {', '.join(f'{name} {size}' for name, size in sizes.items())} differ in size")


def crop_corner(size: tuple[int, int], crop_px: int | None) -> tuple[int, int]:
    """The top and left of a centre crop."""
    return (0, 0) if crop_px is None else (max(0, (size[0] - crop_px) // 2), max(0, (size[1] - crop_px) // 2))


def centre_crop(image: np.ndarray, crop_px: int | None) -> np.ndarray:
    """The centre of an image (C, H, W); None: the whole; sides that are shorter than the crop stay whole."""
    top, left = crop_corner(image.shape[1:], crop_px)
    return image if crop_px is None else image[:, top : top + crop_px, left : left + crop_px]
