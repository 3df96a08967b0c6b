"""The contract of a dataset: what it promises the harness. Numpy only.

Images are float32 in [-1, 1], (C, H, W), from a dataset's door on; decibels and reflectance exist only in `datasets/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sarbench.bench.errors import ContractError as ContractError
from sarbench.bench.keys import key as key


@dataclass(frozen=True)
class DatasetCard:
    """What a dataset is. Literals, as for `Card`."""

    title: str
    source: str  # sensor, bands, ground sample distance in m, value range before scaling
    target: str
    task: str  # "sar to optical", "season", "rendered to real"
    group: str | None  # what a scene is: the unit that a split must not cut; None: unverified split
    licence: str
    reference: str  # DOI or URL
    paired: bool = True  # False: two domains whose images do not correspond
    gsd_m: float | None = None  # ground sample distance; None: unknown, or no remote sensing
    get: str = ""  # how to get the data, in one sentence; empty: made by code


BOTH = ("source", "target")


@dataclass(frozen=True)
class Sample:
    """What a dataset gives for one id: images float32 in [-1, 1], (C, H, W), finite; `aux` by name, on the same grid.

    A sample of an unpaired dataset has one image of the two; reading the other raises.
    """

    _source: Float[np.ndarray, "C_source H W"] | None = None
    _target: Float[np.ndarray, "C_target H W"] | None = None
    aux: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def source(self) -> Float[np.ndarray, "C_source H W"]:
        """The image of the source domain."""
        if self._source is None:
            raise ContractError("this sample has no source image: it was not asked for, or belongs to the target domain")
        return self._source

    @property
    def target(self) -> Float[np.ndarray, "C_target H W"]:
        """The image of the target domain."""
        if self._target is None:
            raise ContractError("this sample has no target image: it was not asked for, or belongs to the source domain")
        return self._target

    def parts(self) -> dict[str, np.ndarray]:
        """Every array that is there, by name."""
        images = {"source": self._source, "target": self._target}
        return {**{name: image for name, image in images.items() if image is not None}, **self.aux}


@dataclass(frozen=True)
class Georeference:
    """Where an image lies: coordinate reference system as WKT, and the affine transform's six numbers."""

    crs: str
    transform: tuple[float, float, float, float, float, float]  # x = a column + b row + c, y = d column + e row + f

    def moved(self, top: int, left: int) -> Georeference:
        """The reference of a window that begins `top` rows down and `left` columns right."""
        a, b, c, d, e, f = self.transform
        return Georeference(self.crs, (a, b, c + a * left + b * top, d, e, f + d * left + e * top))


class Dataset(ABC):
    """A dataset in its official layout. One file in `datasets/`, one class, numpy only; read-only and picklable.

    The constructor takes the root folder (None for a dataset made by code) and named options, each a string; it lists
    files, and raises ContractError for a wrong layout, saying what it expected and what it found.
    """

    card: ClassVar[DatasetCard]
    source_channels: int
    target_channels: int
    aux: tuple[str, ...] = ()  # what can be read beside the images, such as "labels", "change", "nir"
    classes: tuple[str, ...] = ()  # the names behind the values 0, 1, ... of "labels"; 255 is "not labelled"

    def __init__(self, root: Path | None = None, **options: str) -> None:
        if options:
            raise ContractError(f"{self.card.title} has no option {', '.join(sorted(options))}")
        self.root = root

    @abstractmethod
    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test": sorted, unique, disjoint between splits; a relative path without suffix.

        Of an unpaired dataset, the ids of the source domain.
        """

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of the target domain: those of `ids`, unless the card says that the domains are unpaired."""
        return self.ids(split)

    @abstractmethod
    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Decode what `parts` names: "source", "target", names of `aux`; what the id does not have is left out.

        Raises ContractError naming the file, what is wrong with it and what to do.
        """

    def scene(self, sample_id: str) -> str | None:
        """The group that this sample belongs to; None where the grouping is not known."""
        return None

    @property
    def keeps_official_leaks(self) -> bool:
        """Does the split that was asked for cut scenes, as the published one does? Records then say "leaking"."""
        return False

    def files(self, sample_id: str) -> tuple[Path, ...]:
        """The files behind a sample; empty for a dataset made by code."""
        return ()

    def source_file(self, sample_id: str) -> Path | None:
        """The file that is the source image, and nothing else of any sample; None where there is no such one file."""
        return None

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, without decoding where the format allows."""
        return next(iter(self.read(sample_id).parts().values())).shape[1:]  # type: ignore[return-value]

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the image lies, if its file says so; translations are then written as GeoTIFF."""
        return None
