"""Facades (pix2pix): photos of facades and their label maps, side by side; labels to photo.

Source: the label map as a colour image, the right half; `direction=AtoB` turns the pair round. The files are JPEG, so the
colours are not exact and no class can be read back.
Target: the photo, the left half; 8-bit RGB, 0..255 to [-1, 1].
Labels: none.
Splits: official: train = train, test = test or by `test_split=val` val. Which photos show one building is not stated, so the
split counts as unverified.
Size: 400 train, 100 val and 106 test pairs of 256x256 px.
Licence: none stated for this packing of the CMP Facade Database.
Reference: Tylecek and Sara, GCPR 2013, https://cmp.felk.cvut.cz/~tylecr1/facade/; packed by https://arxiv.org/abs/1611.07004

Layout, as facades.tar.gz unpacks, each file 256x512 px (height x width):

    train/1.jpg
    val/1.jpg
    test/1.jpg
"""

from __future__ import annotations

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.folders import Listing, Option
from sarbench.datasets.families.photo_sets import DIRECTIONS, SideBySide


class Facades(SideBySide):
    """Photos (A) and label maps (B) of facades."""

    card = DatasetCard(
        title="Facades (pix2pix)",
        source="label map as a colour image, 8 bit (direction=AtoB: the photo)",
        target="RGB photo of a facade, 8 bit",
        task="labels to photo",
        group=None,
        licence="none stated",
        reference="https://cmp.felk.cvut.cz/~tylecr1/facade/",
        get="Unpack facades.tar.gz of http://efrosgans.eecs.berkeley.edu/pix2pix/datasets.",
    )
    options = {
        "direction": Option("BtoA", "BtoA: from labels to photo; AtoB: from photo to labels", DIRECTIONS),
        "test_split": Option("test", "the official split to test on", ("val", "test")),
    }
    layout = "  train/1.jpg ...\n  val/1.jpg ...\n  test/1.jpg ..."

    def listing(self) -> Listing:
        """Every pair of the two splits that were asked for."""
        folders = {"train": "train", "test": self.option["test_split"]}
        for folder in folders.values():
            if not (self.root / folder).is_dir():
                raise self.wrong_layout(f"no folder {folder}")
        return {split: self.halves(self.root / folder) for split, folder in folders.items()}

    @property
    def left(self) -> str:
        """The photo is on the left."""
        return "source" if self.option["direction"] == "AtoB" else "target"
