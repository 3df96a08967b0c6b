"""What the photo datasets share: two images side by side in one file (pix2pix), or two folders of unpaired images (CycleGAN).

Photos and drawings of 8 bits, 0..255 to [-1, 1]. None of these sets says which images show one place or thing, so
their official splits stay unverified.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option
from sarbench.bench.images import Window, as_rgb, find_images, read_image, remembered

DIRECTIONS = ("AtoB", "BtoA")

_read = remembered(16)  # both halves of a file are read one after the other, by a few threads at once


class SideBySide(FolderDataset):
    """Pairs in one file, the halves being left and right. A subclass lists the files by `halves`, and says what is `left`."""

    source_channels = target_channels = 3

    @property
    @abstractmethod
    def left(self) -> str:
        """What the left half is: "source" or "target"."""

    def halves(self, folder: Path) -> dict[str, Files]:
        """The pairs of a folder by name; ContractError where it does not exist."""
        return {name: Files({"source": (file,), "target": (file,)}) for name, file in find_images(folder).items()}

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> Float[np.ndarray, "3 H W"]:
        """One half of the file."""
        pixels = _read(paths[0], window)
        middle = _middle(paths[0], pixels.shape[1])
        return as_rgb(paths[0], pixels[:, :middle] if part == self.left else pixels[:, middle:])

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px of one half."""
        height, width = super().size(sample_id)
        return height, _middle(self.files(sample_id)[0], width)


class TwoDomains(FolderDataset):
    """Unpaired images in trainA, trainB, testA and testB; ids are split/A/name and split/B/name. A grey photo is repeated.

    The option `direction` says which domain is the source.
    """

    source_channels = target_channels = 3
    options = {"direction": Option("AtoB", "which domain is the source: AtoB or BtoA", DIRECTIONS)}

    def listing(self) -> Listing:
        """Every image of both domains."""
        source = self.option["direction"][0]
        found: Listing = {"train": {}, "test": {}}
        for split, names in found.items():
            for side in ("A", "B"):
                if not (self.root / f"{split}{side}").is_dir():
                    raise self.wrong_layout(f"no folder {split}{side}")
                part = "source" if side == source else "target"
                for name, file in find_images(self.root / f"{split}{side}").items():
                    names[f"{side}/{name}"] = Files({part: (file,)})
        return found

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> Float[np.ndarray, "3 H W"]:
        """The image, in colour."""
        return as_rgb(paths[0], read_image(paths[0], window=window), grey=True)


def _middle(path: Path, width: int) -> int:
    if width % 2:
        raise ContractError(f"{path} is {width} px wide; two images side by side have an even width: download the file again")
    return width // 2
