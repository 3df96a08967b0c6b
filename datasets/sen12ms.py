"""SEN12MS: Sentinel-1, Sentinel-2 and land cover at the same places, four seasons, all inhabited continents.

Source: Sentinel-1 IW GRD, 10 m. 2 bands VV, VH; float32, dB. `channels`: `vv` (default), `repeat` (VV three times) or
    `vv-vh-diff` (VV, VH and VV - VH). VV: `source_range`, -25 to 0 dB by default, becomes -1 to 1; VH: -32.5 to 0 dB;
    VV - VH: 0 to 20 dB. Values outside are clipped.
Target: Sentinel-2 L1C, 10 m (B1, B9, B10 of 60 m and six bands of 20 m resampled). 13 bands B1 to B8, B8A, B9 to B12; uint16,
    top-of-atmosphere reflectance times 10,000. R, G, B = B4, B3, B2; `target_range`, 0 to 3,000 by default, becomes -1 to 1.
Aux: "labels", IGBP class 1 to 17 (MODIS, 500 m, resampled) as 0 to 16, anything else as 255; absent where no lc_N folder was
    downloaded. "nir", B8, 0 to 10,000 becomes -1 to 1, a range of its own, since vegetation exceeds that of the target.
Splits: official, by scene: the 26 hold-out scenes of the authors are the test part; or, where they lie in the folder,
    `train_list.txt` and `test_list.txt` (names of s2 files; the published ones say the same, yours may select fewer). Seasons
    and scenes that were not downloaded are left out. `split=drawn`: scenes drawn by a hash, share `test_share`.
    Group: season and scene number. Scenes of one number in two seasons are different places.
Size: 180,662 triplets, 256x256 px, 252 scenes. ROIs1868_summer_s1_146_p202 is damaged (NaN) and left out, as the authors do.
Licence: CC BY 4.0.
Reference: Schmitt, Hughes, Qiu, Zhu (2019), ISPRS Annals IV-2/W7, 10.5194/isprs-annals-IV-2-W7-153-2019; hold-out scenes:
    github.com/schmitt-muc/SEN12MS, splits.
Layout: ROIs1158_spring/{s1_1,s2_1,lc_1,...}/ROIs1158_spring_{s1,s2,lc}_1_p30.tif, and ROIs1868_summer, ROIs1970_fall,
    ROIs2017_winter. The folders s2_cloudy_N of SEN12MS-CR are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option, drawn, listed, matched, share
from sarbench.bench.images import Window
from sarbench.datasets.families.radar_sets import (
    NIR,
    NIR_RANGE,
    RED_GREEN_BLUE,
    SENTINEL_OPTIONS,
    named,
    read_bands,
    read_lines,
    read_sentinel_1,
    read_sentinel_2,
)

SCENE = re.compile(r"(s1|s2|lc)_(\d+)")
NAME = re.compile(r"(ROIs\d+_[a-z]+)_(?:s1|s2|lc)_(\d+)_(p\d+)(?:\.tif)?")
SEASONS = ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter")
PARTS = {"s1": "source", "s2": "target", "lc": "labels"}
HOLD_OUT = {
    "ROIs1158_spring": (15, 17, 63, 97, 124, 146),
    "ROIs1868_summer": (15, 19, 43, 72, 79, 104, 131),
    "ROIs1970_fall": (30, 35, 39, 47, 61, 120, 141, 144),
    "ROIs2017_winter": (32, 64, 107, 135, 146),
}
DAMAGED = "ROIs1868_summer/146/p202"

NOT_LABELLED = 255


class Sen12MS(FolderDataset):
    """SEN12MS as downloaded; bands, ranges, splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="SEN12MS",
        source="Sentinel-1 IW GRD, VV and VH, 10 m, float32 dB",
        target="Sentinel-2 L1C, B4 B3 B2, 10 m, uint16 reflectance times 10,000",
        task="sar to optical",
        group="season and scene number",
        licence="CC BY 4.0",
        reference="https://doi.org/10.5194/isprs-annals-IV-2-W7-153-2019",
        gsd_m=10.0,
        get="Download the seasons' archives from https://mediatum.ub.tum.de/1474000 and unpack them into one folder.",
    )
    source_channels, target_channels = 1, 3
    classes = (
        "evergreen needleleaf forest",
        "evergreen broadleaf forest",
        "deciduous needleleaf forest",
        "deciduous broadleaf forest",
        "mixed forest",
        "closed shrubland",
        "open shrubland",
        "woody savanna",
        "savanna",
        "grassland",
        "permanent wetland",
        "cropland",
        "urban",
        "cropland and natural vegetation",
        "snow and ice",
        "barren",
        "water",
    )
    options = {
        **SENTINEL_OPTIONS,
        "split": Option("official", "official: lists or hold-out scenes; drawn: by a hash of the scene", ("official", "drawn")),
        "test_share": Option("0.1", "split=drawn: share of the scenes to test on", parse=share),
    }
    layout = """\
ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p30.tif
ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.tif
ROIs1158_spring/lc_1/ROIs1158_spring_lc_1_p30.tif   (labels; may be left out as a whole)
ROIs1868_summer/..., ROIs1970_fall/..., ROIs2017_winter/...   (at least one season)
train_list.txt, test_list.txt   (may be left out)"""

    def __init__(self, root: Path | None, **options: str) -> None:
        super().__init__(root, **options)
        if self.option["channels"] == "vv-vh-diff":
            self.source_channels = 3

    def listing(self) -> Listing:
        """Every triplet, from the names alone."""
        found: dict[str, dict[str, Path]] = {part: {} for part in PARTS.values()}
        for season in SEASONS:
            folders = sorted((self.root / season).iterdir()) if (self.root / season).is_dir() else []
            for folder in folders:
                if kind := SCENE.fullmatch(folder.name):
                    patches = named(folder, re.compile(rf"{season}_{folder.name}_(p\d+)\.tif"))
                    found[PARTS[kind[1]]].update({f"{season}/{kind[2]}/{patch}": path for patch, path in patches.items()})
        if not found["source"] and not found["target"]:
            raise self.wrong_layout("no folders ROIs.../s1_N and s2_N")
        if not found["labels"]:
            del found["labels"]
        self.aux = (*(("labels",) if "labels" in found else ()), "nir")
        samples = matched(found)
        samples.pop(DAMAGED, None)
        listing: Listing = {"train": {}, "test": {}}
        for name, split in self._splits(samples).items():
            listing[split][name] = Files({**samples[name], "nir": samples[name]["target"]}, name.rpartition("/")[0])
        return listing

    def _splits(self, samples: dict[str, dict[str, tuple[Path, ...]]]) -> dict[str, str]:
        if self.option["split"] == "drawn":
            return {name: drawn("sen12ms", name.rpartition("/")[0], self.option["test_share"]) for name in samples}
        lists = {split: self.root / f"{split}_list.txt" for split in ("train", "test")}
        present = [path.name for path in lists.values() if path.is_file()]
        if len(present) == 1:
            raise ContractError(f"{self.root} has {present[0]} alone; both lists are needed, or none")
        if present:
            return self._listed(samples, lists)
        held_out = {f"{season}/{scene}" for season, scenes in HOLD_OUT.items() for scene in scenes}
        return {name: "test" if name.rpartition("/")[0] in held_out else "train" for name in samples}

    def _listed(self, samples: dict[str, dict[str, tuple[Path, ...]]], lists: dict[str, Path]) -> dict[str, str]:
        downloaded = {name.rpartition("/")[0] for name in samples}
        splits: dict[str, str] = {}
        bad = []
        for split, path in lists.items():
            for line in read_lines(path):
                match = NAME.fullmatch(line)
                name = "/".join(match.groups()) if match else ""
                if not match:
                    bad.append(f"{path.name}: {line} is no name of a SEN12MS patch")
                elif splits.get(name, split) != split:
                    bad.append(f"{line} stands in both lists")
                elif name in samples:
                    splits[name] = split
                elif name.rpartition("/")[0] in downloaded and name != DAMAGED:
                    bad.append(f"{path.name}: {line} is not there, but its scene is")
        if bad:
            raise ContractError(f"{self.root}: the lists of the split do not fit:{listed(bad)}")
        return splits

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """The bands that the part needs, scaled; labels as class indices."""
        if part == "source":
            return read_sentinel_1(paths[0], self.option["channels"], self.option["source_range"], window)
        if part == "labels":
            igbp = read_bands(paths[0], 4, ("uint16",), (1,), window).astype(np.int64)
            return np.where((igbp >= 1) & (igbp <= len(self.classes)), igbp - 1, NOT_LABELLED)
        if part == "nir":
            return read_sentinel_2(paths[0], NIR, NIR_RANGE, window)
        return read_sentinel_2(paths[0], RED_GREEN_BLUE, self.option["target_range"], window)
