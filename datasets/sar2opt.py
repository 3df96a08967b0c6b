"""SAR2Opt: TerraSAR-X and Google Earth tiles, cut from ten images, 1 m.

Source: TerraSAR-X, X band, one polarisation, 1 m, scaled to 8 bits by the authors. 1 band, or three equal ones; uint8; 0 to 255
    becomes -1 to 1. `channels=repeat`: three equal channels. SAR lies in the folders A; where a copy has it in B, say
    `direction=BtoA`. The source is SAR either way, and a source that is coloured is refused.
Target: Google Earth, R, G, B, 1 m. 3 bands; uint8; 0 to 255 becomes -1 to 1.
Splits: official, by folder: 1,450 / 627. The names are IMAGE_ROW_COLUMN, rows and columns in steps of 240 px, so that tiles of
    600 px overlap; the training part is the first 70 % of each image from top to bottom, and 312 of its tiles share pixels with
    304 of the test tiles. `split=official` (default) keeps that and says that it leaks. `split=disjoint`: the same 627 test
    tiles, and the 1,138 training tiles that share no pixel with any of them.
    Group: the image; with `split=disjoint` what is left of it on either side. Unknown where the names are others.
Size: 2,077 pairs, 600x600 px.
Licence: none stated; optical imagery of Google Earth.
Reference: Zhao et al. (2022), IEEE Geoscience and Remote Sensing Letters 19, https://ieeexplore.ieee.org/document/9779739;
    names and split: github.com/KAIST-VICLab/ReFlowSET, splits/sar2opt.
Layout: {trainA,trainB,testA,testB}/11_1200_240.jpg, or .png; equal names in A and B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import REPEAT, Files, FolderDataset, Listing, Option, matched
from sarbench.bench.images import Window, find_images, scale
from sarbench.datasets.families.radar_sets import read_bands, read_grey

NAME = re.compile(r"(\d+)_(\d+)_(\d+)")
TILE_PX = 600


class SAR2Opt(FolderDataset):
    """SAR2Opt as downloaded; splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="SAR2Opt",
        source="TerraSAR-X, X band, 1 m, 8 bit",
        target="Google Earth RGB, 1 m, 8 bit",
        task="sar to optical",
        group="the image that the tiles were cut from, or its part on either side of a gap",
        licence="none stated; optical imagery of Google Earth",
        reference="https://ieeexplore.ieee.org/document/9779739",
        gsd_m=1.0,
        get="Follow the link at https://github.com/MarsZhaoYT/SAR2Opt-Heterogeneous-Dataset and unpack the four folders.",
    )
    source_channels, target_channels = 1, 3
    options = {
        "channels": REPEAT,
        "direction": Option("AtoB", "AtoB: SAR lies in A; BtoA: SAR lies in B", ("AtoB", "BtoA")),
        "split": Option(
            "official", "official: overlapping tiles; disjoint: without them in training", ("official", "disjoint")
        ),
    }
    layout = """\
trainA/11_1200_240.jpg, testA/...   (SAR)
trainB/11_1200_240.jpg, testB/...   (optical)"""

    @property
    def keeps_official_leaks(self) -> bool:
        """The official split cuts images."""
        return self.option["split"] == "official"

    def listing(self) -> Listing:
        """Every pair, from the names alone."""
        folders = [f"{split}{side}" for split in ("train", "test") for side in "AB"]
        if missing := [name for name in folders if not (self.root / name).is_dir()]:
            raise self.wrong_layout(f"no folder {', '.join(missing)}")
        sides = dict(zip(("source", "target"), "AB" if self.option["direction"] == "AtoB" else "BA", strict=True))
        samples = matched(
            {
                part: {
                    f"{split}/{name}": path
                    for split in ("train", "test")
                    for name, path in find_images(self.root / f"{split}{side}").items()
                }
                for part, side in sides.items()
            }
        )
        places = {sample: NAME.fullmatch(sample.partition("/")[2]) for sample in samples}
        if self.option["split"] == "disjoint":
            kept = self._disjoint(places)
            samples = {sample: files for sample, files in samples.items() if sample in kept}
        listing: Listing = {"train": {}, "test": {}}
        for sample, files in samples.items():
            split, _, name = sample.partition("/")
            place = places[sample]
            part = f", {split} part" if self.option["split"] == "disjoint" else ""
            listing[split][name] = Files(files, f"image {place[1]}{part}" if place else None)
        return listing

    def _disjoint(self, places: Mapping[str, re.Match[str] | None]) -> set[str]:
        """The test tiles, and the training tiles that share no pixel with one of them."""
        known = {sample: place for sample, place in places.items() if place}
        if unknown := sorted(places.keys() - known.keys()):
            raise ContractError(
                f"{self.root}: split=disjoint needs names such as 11_1200_240, found {unknown[0]}; say split=official"
            )
        tiles = np.array([[int(number) for number in place.groups()] for place in known.values()]).reshape(-1, 3)
        tested = np.array([sample.startswith("test/") for sample in known])
        apart = np.abs(tiles[:, None] - tiles[tested])  # (tiles, test tiles, 3)
        near = ((apart[:, :, 0] == 0) & (apart[:, :, 1:] < TILE_PX).all(axis=2)).any(axis=1)
        return {sample for sample, keep in zip(known, tested | ~near, strict=True) if keep}

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """Grey SAR, colour optical; 8 bits."""
        if part == "source":
            other = "BtoA" if self.option["direction"] == "AtoB" else "AtoB"
            return scale(read_grey(paths[0], f"if SAR lies in the other folder, say --data-option direction={other}"), 0, 255)
        return scale(read_bands(paths[0], 3, ("uint8",), window=window), 0, 255)
