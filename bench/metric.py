"""The contract of a metric: what it reads, what it gives, and what it must say of itself. Numpy only.

Metrics read 8- or 16-bit pixels as they stand in files, never a network's float output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class ImageBatch:
    """Decoded images of one size, as every metric reads them. The range is typed, never guessed from the values."""

    pixels: UInt8[np.ndarray, "B H W C"]  # uint8, or uint16 for 16-bit files
    peak: int = 255  # the value of white; black is 0

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Features:
    """What a network says of one image, shared by every metric that names it: one forward an image, references kept on disk."""

    name: str
    signature: str  # network, weights, preprocessing, layer, and a version
    width: int
    of: Callable[[ImageBatch], Float[np.ndarray, "B D"]]  # float32; AssetMissing without the weights
    assets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A metric's work on the references, done once and kept: `rows(x, prepare(y))` is `Metric.rows(x, y)` to rounding."""

    prepare: Callable[[ImageBatch], Mapping[str, Float[np.ndarray, "B ..."]]]  # row i of every array belongs to image i
    rows: Callable[[ImageBatch, Mapping[str, Float[np.ndarray, "B ..."]]], Float[np.ndarray, " B"]]


@dataclass(frozen=True)
class Metric:
    """A score of an image, of an image against its reference, or of two sets of images. One file in `bench/metrics/`.

    The file's `metric` is the suite's own definition; `compat`, where there is one, maps the name of another convention
    (such as "torchmetrics") to the metric that reproduces it, which is asked for as `ssim@torchmetrics`.
    """

    name: str
    signature: str  # every parameter that changes the number, and a version
    unit: str
    higher_is_better: bool
    rows: Callable[..., Float[np.ndarray, " B"]] | None = (
        None  # (translated[, reference]) -> one value a sample; NaN: undefined
    )
    reads: tuple[Literal["translated", "reference", "source", "labels"], ...] = ("translated", "reference")
    # keyword of `rows` -> what computes it from the same images: computed once a batch for all metrics that name it, and by
    # `rows` itself where it is not given
    shared: Mapping[str, Callable[..., np.ndarray]] = field(default_factory=dict)
    prepared: Prepared | None = None  # where most of the work of `rows` is a network's on each side
    features: Features | None = None  # of both sets, for `statistic`
    statistic: Callable[[Float[np.ndarray, "n D"], Float[np.ndarray, "m D"]], float] | None = None  # (translated, reference)
    ranked: bool = True  # False: an audit or a diagnosis, which a board shows apart and never ranks by
    ranked_from: int = 1  # samples below which a board shows the value and does not rank by it
    least_bands: int = 1  # images of fewer are left unmeasured
    assets: tuple[str, ...] = ()  # weights it needs; absent weights give "not measured", never other weights
    decimals: int = 4  # shown on a board
    undefined: str = ""  # what a NaN in `rows` means
