"""SEN1-2: Sentinel-1 and Sentinel-2 patches of the same places, four seasons, all inhabited continents, 8 bit.

Source: Sentinel-1 IW GRD, VV, 10 m, scaled to 8 bits by the authors. 1 band, or three equal ones; uint8; 0 to 255 becomes -1
    to 1. `channels=repeat`: three equal channels.
Target: Sentinel-2, R, G, B (B4, B3, B2), 10 m, scaled to 8 bits by the authors. 3 bands; uint8; 0 to 255 becomes -1 to 1.
Splits: none official. Ours: scenes drawn by a hash of season and scene number, share `test_share`, 0.1 by default; a scene
    stays on its side whatever else was downloaded. Group: season and scene number. Patches of a scene overlap, so a split by
    patch would leak; some regions are known to occur in more than one scene, which a split by scene can't see.
    `season`: one of spring, summer, fall, winter, or all (default).
Size: 282,384 pairs, 256x256 px: spring 75,724, summer 53,508, fall 86,370, winter 66,782.
Licence: CC BY 4.0.
Reference: Schmitt, Hughes, Zhu (2018), ISPRS Annals IV-1, 10.5194/isprs-annals-IV-1-141-2018.
Layout: ROIs1158_spring/{s1_1,s2_1,...}/ROIs1158_spring_{s1,s2}_1_p30.png, and ROIs1868_summer, ROIs1970_fall,
    ROIs2017_winter; at least one. Also the selection by terrain that circulates on Kaggle:
    v_2/{agri,barrenland,grassland,urban}/{s1,s2}/ROIs1158_spring_{s1,s2}_1_p30.png, with or without v_2.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.folders import REPEAT, Files, FolderDataset, Listing, Option, drawn, matched, share
from sarbench.bench.images import Window, scale
from sarbench.datasets.families.radar_sets import named, read_bands, read_grey

SEASONS = {"spring": "ROIs1158_spring", "summer": "ROIs1868_summer", "fall": "ROIs1970_fall", "winter": "ROIs2017_winter"}
TERRAINS = ("agri", "barrenland", "grassland", "urban")
PARTS = {"s1": "source", "s2": "target"}


class Sen12(FolderDataset):
    """SEN1-2 as downloaded; splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="SEN1-2",
        source="Sentinel-1 IW GRD, VV, 10 m, 8 bit",
        target="Sentinel-2, B4 B3 B2, 10 m, 8 bit",
        task="sar to optical",
        group="season and scene number",
        licence="CC BY 4.0",
        reference="https://doi.org/10.5194/isprs-annals-IV-1-141-2018",
        gsd_m=10.0,
        get="Download the seasons' archives from https://mediatum.ub.tum.de/1436631 and unpack them into one folder.",
    )
    source_channels, target_channels = 1, 3
    options = {
        "channels": REPEAT,
        "season": Option("all", "which season", ("all", *SEASONS)),
        "test_share": Option("0.1", "share of the scenes to test on", parse=share),
    }
    layout = """\
ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p30.png
ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.png
ROIs1868_summer/..., ROIs1970_fall/..., ROIs2017_winter/...   (at least one season)
or v_2/{agri,barrenland,grassland,urban}/{s1,s2}/ROIs1158_spring_{s1,s2}_1_p30.png"""

    def listing(self) -> Listing:
        """Every pair, from the names alone."""
        found: dict[str, dict[str, Path]] = {part: {} for part in PARTS.values()}
        seasons = "|".join(SEASONS.values()) if self.option["season"] == "all" else SEASONS[self.option["season"]]
        for kind, part in PARTS.items():
            name = re.compile(rf"({seasons})_{kind}_(\d+)_(p\d+)\.png")
            for terrain, folder in self._folders(kind):
                for groups, path in named(folder, name).items():
                    season, scene, patch = groups.rsplit("_", 2)
                    found[part][f"{terrain}{season}/{scene}/{patch}"] = path
        if not any(found.values()):
            raise self.wrong_layout(f"no images of season={self.option['season']}")
        listing: Listing = {"train": {}, "test": {}}
        for sample, files in matched(found).items():
            scene = "/".join(sample.split("/")[-3:-1])
            listing[drawn("sen12", scene, self.option["test_share"])][sample] = Files(files, scene)
        return listing

    def _folders(self, kind: str) -> list[tuple[str, Path]]:
        """The folders of one sensor, each with what its ids begin with."""
        of_seasons = [folder for season in SEASONS.values() for folder in sorted(self.root.glob(f"{season}/{kind}_*"))]
        home = self.root / "v_2" if (self.root / "v_2").is_dir() else self.root
        return [("", folder) for folder in of_seasons] + [(f"{terrain}/", home / terrain / kind) for terrain in TERRAINS]

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """Grey SAR, colour optical; 8 bits."""
        if part == "source":
            return scale(read_grey(paths[0]), 0, 255)
        return scale(read_bands(paths[0], 3, ("uint8",), window=window), 0, 255)
