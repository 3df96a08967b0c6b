"""Sketch2Anime (Anime Sketch Colorization Pair): line drawings and the coloured drawing, side by side; sketch to colour.

Source: the sketch, 3 equal or nearly equal bands; 8 bit, 0..255 to [-1, 1].
Target: the coloured drawing, RGB.
Labels: none.
Splits: official: train = train, test = val. The artist or series of a drawing is not stated, so the split counts as unverified.
Size: 14,224 and 3,545 pairs of 512x512 px.
Licence: see the page of the data set; the drawings are their artists'.
Reference: T. Kim, https://www.kaggle.com/ktaebum/anime-sketch-colorization-pair

Layout, as the archive unpacks (the folder above data may be given too), each file 512x1024 px (height x width):

    train/1.png
    val/1.png

The coloured drawing is on the left; where a packing has it the other way round, say `left=sketch`.
"""

from __future__ import annotations

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.folders import Listing, Option
from sarbench.datasets.families.photo_sets import SideBySide


class Sketch2Anime(SideBySide):
    """Sketches and coloured drawings."""

    card = DatasetCard(
        title="Sketch2Anime",
        source="line drawing, 3 bands, 8 bit",
        target="coloured drawing, RGB, 8 bit",
        task="sketch to colour",
        group=None,
        licence="see the page of the data set; drawings of their artists",
        reference="https://www.kaggle.com/ktaebum/anime-sketch-colorization-pair",
        get="Unpack the archive of https://www.kaggle.com/ktaebum/anime-sketch-colorization-pair.",
    )
    options = {"left": Option("colour", "what the left half shows: colour or sketch", ("colour", "sketch"))}
    layout = "  train/1.png ...\n  val/1.png ..."

    def listing(self) -> Listing:
        """Every pair; the official val is what is tested on."""
        root = self.inner("train", "data")
        if not (root / "val").is_dir():
            raise self.wrong_layout("no folder val")
        return {"train": self.halves(root / "train"), "test": self.halves(root / "val")}

    @property
    def left(self) -> str:
        """The sketch is the source."""
        return "source" if self.option["left"] == "sketch" else "target"
