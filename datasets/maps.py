"""Maps (pix2pix): aerial photos and map tiles of one place, side by side; photo to map.

Source: the aerial photo, the left half; 8-bit RGB of Google Maps, ground sample distance not stated; 0..255 to [-1, 1].
Target: the map, the right half; `direction=BtoA` turns the pair round.
Labels: none.
Splits: official: train = train, test = val. The paper parts them at the median latitude with a buffer between; the file names
don't say where an image lies, so the split counts as unverified.
Size: 1,096 and 1,098 pairs of 600x600 px.
Licence: none stated; the imagery is Google's.
Reference: Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004

Layout, as maps.tar.gz unpacks, each file 600x1200 px (height x width):

    train/1.jpg
    val/1.jpg
"""

from __future__ import annotations

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.folders import Listing, Option
from sarbench.datasets.families.photo_sets import DIRECTIONS, SideBySide


class Maps(SideBySide):
    """Aerial photos (A) and maps (B)."""

    card = DatasetCard(
        title="Maps (pix2pix)",
        source="aerial photo, RGB, 8 bit (direction=BtoA: the map)",
        target="map tile, RGB, 8 bit",
        task="photo to map",
        group=None,
        licence="none stated; imagery of Google Maps",
        reference="https://arxiv.org/abs/1611.07004",
        get="Unpack maps.tar.gz of http://efrosgans.eecs.berkeley.edu/pix2pix/datasets.",
    )
    options = {"direction": Option("AtoB", "AtoB: from photo to map; BtoA: from map to photo", DIRECTIONS)}
    layout = "  train/1.jpg ...\n  val/1.jpg ..."

    def listing(self) -> Listing:
        """Every pair; the official val is what is tested on."""
        for folder in ("train", "val"):
            if not (self.root / folder).is_dir():
                raise self.wrong_layout(f"no folder {folder}")
        return {"train": self.halves(self.root / "train"), "test": self.halves(self.root / "val")}

    @property
    def left(self) -> str:
        """The photo is on the left."""
        return "source" if self.option["direction"] == "AtoB" else "target"
