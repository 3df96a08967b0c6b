"""One pass over a split's images: prints, places, shifts, values, and what is blank, saturated or broken."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Int64

from sarbench.bench.audit_shift import Shift, Surface, Surfaces, shift, surface
from sarbench.bench.dataset import BOTH, Dataset
from sarbench.bench.errors import ContractError
from sarbench.bench.fingerprints import Fingerprint, fingerprint
from sarbench.bench.footprints import Footprint, footprint
from sarbench.bench.progress import Progress

BINS = 4096  # of a histogram over [-1, 1]; the 256 levels of 8 bits fall into different ones
BLOCK = 64  # images read ahead
SATURATED = 0.1  # share of an image's values at -1 or 1 from which on it is counted
VALID = "valid"  # the aux array that is 0 where nothing was measured
QUANTILES = {"p1": 0.01, "median": 0.5, "p99": 0.99}


@dataclass(frozen=True)
class Look:
    """What one sample shows; `problem` says why it can't be used, and then the rest is empty."""

    sample_id: str
    problem: str = ""
    fingerprint: Fingerprint = field(default_factory=lambda: Fingerprint({}))
    footprint: Footprint | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    histograms: dict[str, Int64[np.ndarray, "C bins"]] = field(default_factory=dict)
    limits: dict[str, Float[np.ndarray, "C 2"]] = field(default_factory=dict)  # lowest and highest value
    saturated: dict[str, float] = field(default_factory=dict)  # share of the values at -1 or 1
    invalid: float | None = None  # share of the pixels without data; None: the dataset does not say
    surface: Surface | None = None


class Split:
    """What the images of one split show together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ids: list[str] = []  # those that could be read; `fingerprints`, `footprints` and `shifts` in their order
        self.fingerprints: list[Fingerprint] = []
        self.footprints: list[Footprint | None] = []
        self.shifts: list[Shift | None] = []
        self.surfaces = Surfaces()
        self.broken: list[tuple[str, str]] = []  # id, why
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.blank: dict[str, list[str]] = {part: [] for part in BOTH}
        self.smooth = dict.fromkeys(BOTH, 0)  # images without key points: only an equal one can be found
        self.images = dict.fromkeys(BOTH, 0)
        self.saturated: dict[str, list[tuple[str, float]]] = {part: [] for part in BOTH}
        self.saturated_share = dict.fromkeys(BOTH, 0.0)  # summed over images
        self.histograms: dict[str, Int64[np.ndarray, "C bins"]] = {}
        self.limits: dict[str, Float[np.ndarray, "C 2"]] = {}
        self.invalid: list[float] = []

    def add(self, look: Look) -> None:
        """Count one more sample."""
        if look.problem:
            self.broken.append((look.sample_id, look.problem))
            return
        self.ids.append(look.sample_id)
        self.fingerprints.append(look.fingerprint)
        self.footprints.append(look.footprint)
        self.shifts.append(shift(look.surface))
        if look.surface is not None:
            self.surfaces.add(look.surface)
        self.sizes.update(look.sizes)
        if look.invalid is not None:
            self.invalid.append(look.invalid)
        for part, known in look.fingerprint.parts.items():
            self.images[part] += 1
            if known.blank:
                self.blank[part].append(look.sample_id)
            self.smooth[part] += not len(known.bits) and not known.blank
            self.saturated_share[part] += look.saturated[part]
            if look.saturated[part] > SATURATED:
                self.saturated[part].append((look.sample_id, look.saturated[part]))
            limits = look.limits[part]
            if part in self.limits:
                self.histograms[part] += look.histograms[part]
                lowest, highest = np.minimum(self.limits[part], limits)[:, 0], np.maximum(self.limits[part], limits)[:, 1]
                self.limits[part] = np.stack([lowest, highest], 1)
            else:
                self.histograms[part], self.limits[part] = look.histograms[part], limits

    def values(self, part: str) -> list[dict[str, float]]:
        """The value range of every channel: least, 1 %, median, 99 %, greatest; quantiles to within 1/2048."""
        rows = []
        for counts, (low, high) in zip(self.histograms.get(part, ()), self.limits.get(part, ()), strict=True):
            share = np.cumsum(counts) / counts.sum()
            at = {name: 2.0 * float(np.searchsorted(share, q)) / BINS - 1.0 for name, q in QUANTILES.items()}
            rows.append(
                {"min": float(low), **{name: float(np.clip(v, low, high)) for name, v in at.items()}, "max": float(high)}
            )
        return rows


def read_split(dataset: Dataset, name: str, ids: Sequence[str], quiet: bool) -> Split:
    """Read every image of a split once, in threads; one that can't be read is noted, and the rest goes on."""
    split = Split(name)
    with Progress(f"read {name}", len(ids), unit="images", quiet=quiet) as bar:
        for look in _looks(dataset, ids):
            split.add(look)
            bar.advance()
    return split


def _looks(dataset: Dataset, ids: Sequence[str]) -> Iterator[Look]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for begin in range(0, len(ids), BLOCK):
            yield from pool.map(lambda sample_id: _look(dataset, sample_id), ids[begin : begin + BLOCK])


def _look(dataset: Dataset, sample_id: str) -> Look:
    try:
        sample = dataset.read(sample_id, (*BOTH, VALID) if VALID in dataset.aux else BOTH)
        where = dataset.georeference(sample_id)
        images = {part: image for part, image in sample.parts().items() if part in BOTH}
        _refuse_unusable(sample_id, images)
    except ContractError as error:
        return Look(sample_id, str(error))
    sizes = [(image.shape[1], image.shape[2]) for image in images.values()]
    return Look(
        sample_id,
        fingerprint=fingerprint(sample),
        footprint=footprint(where, sizes[0]),
        sizes=tuple(sizes[:1] if len(set(sizes)) == 1 else sizes),
        histograms={part: np.stack([_histogram(channel) for channel in image]) for part, image in images.items()},
        limits={part: np.stack([image.min((1, 2)), image.max((1, 2))], 1) for part, image in images.items()},
        saturated={part: float(np.mean(np.abs(image) >= 1.0)) for part, image in images.items()},
        invalid=float(np.mean(sample.aux[VALID] == 0)) if VALID in sample.aux else None,
        surface=surface(sample.source, sample.target) if dataset.card.paired else None,
    )


def _refuse_unusable(sample_id: str, images: dict[str, np.ndarray]) -> None:
    """Raise ContractError for what no figure can be taken from."""
    if not images:
        raise ContractError(f"{sample_id}: the dataset gives neither a source nor a target image for it")
    for part, image in images.items():
        if not np.isfinite(image).all():
            raise ContractError(f"{sample_id}: the {part} holds NaN or infinite values; replace or remove the pair")
    if len({image.shape[1:] for image in images.values()}) > 1:
        sizes = " and ".join(f"a {part} of {image.shape[1]}x{image.shape[2]} px" for part, image in images.items())
        raise ContractError(f"{sample_id}: {sizes}; a pair needs one size")


def _histogram(channel: Float[np.ndarray, "H W"]) -> Int64[np.ndarray, " bins"]:
    counts = cv2.calcHist([channel], [0], None, [BINS + 1], [-1.0, 1.0 + 2.0 / BINS])
    return counts.ravel().astype(np.int64)
