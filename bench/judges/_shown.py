"""What a judge is shown: pairs of images and their answers as a dataset, for the harness's own loader.

A side is a part of the track's dataset, or a folder of translations; either may get an artefact planted. All sides pass
through 8 bits, as translations do, so that no judge can tell a translation by its levels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sarbench.bench.dataset import BOTH, Dataset, Georeference, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import find_images, quantise, read_image, scale
from sarbench.bench.material import Images, Material, centre_crop, crop_corner
from sarbench.bench.storage import digest

Plant = Callable[[UInt8[np.ndarray, "H W C"], str], UInt8[np.ndarray, "H W C"]]


@dataclass(frozen=True)
class Side:
    """Where the images of one side come from."""

    part: str = ""  # of the dataset, such as "target"; empty: `folders` holds them
    folders: Mapping[str, Path] | None = None  # split -> translations, by sample id
    plant: Plant | None = None


class Shown(Dataset):
    """Registered images of two sides, cut as the track's test images are, and the answers on their grid."""

    def __init__(
        self,
        images: Images,
        splits: Mapping[str, tuple[str, ...]],
        first: Side,
        second: Side,
        answer: str,
        crop_px: int | None,
    ) -> None:
        self.images, self.splits, self.answer, self.crop_px = images, dict(splits), answer, crop_px
        self.sides = {"source": first, "target": second}
        self.aux = (answer,)
        self._contents: dict[str, str] = {}
        self.card = replace(images.dataset.card, paired=True)  # type: ignore[misc]
        self.files_of = {
            name: {i: path for folder in (side.folders or {}).values() for i, path in find_images(folder).items()}
            for name, side in self.sides.items()
        }
        shape = next(iter(self.read(splits["test"][0]).parts().values())).shape
        self.source_channels = self.target_channels = shape[0]

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids that are shown."""
        return self.splits[split]

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Both images, and the answers where they are asked for."""
        found = {name: scale(self.pixels(name, sample_id), 0.0, 255.0).transpose(2, 0, 1) for name in BOTH if name in parts}
        aux = {self.answer: self._cut(sample_id, self.answer)} if self.answer in parts else {}
        return Sample(found.get("source"), found.get("target"), aux)

    def pixels(self, side_name: str, sample_id: str) -> UInt8[np.ndarray, "H W C"]:
        """The pixels of one side; ContractError for a translation that is missing."""
        side = self.sides[side_name]
        if side.part:
            pixels = quantise(self._cut(sample_id, side.part)).transpose(1, 2, 0)
        elif sample_id in self.files_of[side_name]:
            pixels = read_image(self.files_of[side_name][sample_id])
        else:
            raise ContractError(f"{sample_id} has no translation in {', '.join(map(str, (side.folders or {}).values()))}")
        return side.plant(pixels, sample_id) if side.plant else pixels

    def _cut(self, sample_id: str, part: str) -> np.ndarray:
        return centre_crop(self.images.parts(sample_id, (part,))[part], self.crop_px)

    def scene(self, sample_id: str) -> str | None:
        """That of the track's dataset."""
        return self.images.dataset.scene(sample_id)

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, after the crop."""
        height, width = self.images.dataset.size(sample_id)
        return (height, width) if self.crop_px is None else (min(height, self.crop_px), min(width, self.crop_px))

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the cut image lies."""
        where = self.images.dataset.georeference(sample_id)
        return where.moved(*crop_corner(self.images.dataset.size(sample_id), self.crop_px)) if where else None

    def content(self, split: str) -> str:
        """The hash of everything that is shown of a split: equal images are one content, wherever they come from."""
        if split not in self._contents:
            self._contents[split] = digest(*self._parts(split))
        return self._contents[split]

    def _parts(self, split: str) -> Iterator[bytes | str]:
        for sample_id in self.splits[split]:
            yield sample_id
            for name in BOTH:
                pixels = self.pixels(name, sample_id)
                yield str(pixels.shape)
                yield np.ascontiguousarray(pixels).tobytes()
            yield np.ascontiguousarray(self._cut(sample_id, self.answer).astype(np.uint8)).tobytes()

    def material(self, like: Material) -> Material:
        """The same as material of the training loop."""
        train, test = self.splits["train"], self.splits["test"]
        return Material(Images(self), train, test, train, test, like.identity)
