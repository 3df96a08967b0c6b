"""DFC2020: the high-resolution part of the IEEE GRSS data fusion contest 2020, Sentinel-1, Sentinel-2 and land cover.

Source: Sentinel-1 IW GRD, 10 m. 2 bands VV, VH; floating point, dB. `channels`: `vv` (default), `repeat` (VV three times) or
    `vv-vh-diff` (VV, VH and VV - VH). VV: `source_range`, -25 to 0 dB by default, becomes -1 to 1; VH: -32.5 to 0 dB;
    VV - VH: 0 to 20 dB. Values outside are clipped.
Target: Sentinel-2 L1C, 10 m. 13 bands B1 to B8, B8A, B9 to B12; uint16, top-of-atmosphere reflectance times 10,000. R, G, B =
    B4, B3, B2; `target_range`, 0 to 3,000 by default, becomes -1 to 1.
Aux: "labels", land cover of 10 m in the contest's simplified IGBP classes 1 to 10 as 0 to 9, anything else as 255; savanna and
    snow are named but do not occur. "nir", B8, 0 to 10,000 becomes -1 to 1.
Splits: official. As downloaded from IEEE DataPort: the contest's validation part to train on, its test part to test on (the
    contest itself trained on SEN12MS). As repacked in Copernicus-Bench: `dfc-train-new.csv` and `dfc-test-new.csv`; the
    validation list is left out. Group: none known, since names are numbers and the files do not say where they lie: unverified.
Size: 986 / 5,128 patches, 256x256 px.
Licence: CC BY.
Reference: Schmitt, Hughes, Ghamisi, Yokoya, Hänsch (2019), IEEE DataPort, 10.21227/rha7-m332.
Layout: ROIs0000_validation/{s1,s2,dfc}_validation/ROIs0000_validation_{s1,s2,dfc}_validation_p30.tif and
    ROIs0000_test/{s1,s2,dfc}_0/ROIs0000_test_{s1,s2,dfc}_0_p609.tif; or all files in {s1,s2,dfc}/ with the lists beside.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, listed, matched
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

PARTS = {"s1": "source", "s2": "target", "dfc": "labels"}
CONTEST = {"train": ("ROIs0000_validation", "validation"), "test": ("ROIs0000_test", "0")}  # folder, and what names end in
LISTS = {"train": "dfc-train-new.csv", "test": "dfc-test-new.csv"}
NAME = r"ROIs0000_(test|validation)_{}_(?:0|validation)_(p\d+)\.tif"

CLASS_TYPES = ("uint8", "int8", "uint16", "int16", "int32", "int64")
NOT_LABELLED = 255


class DFC2020(FolderDataset):
    """DFC2020 as downloaded; bands, ranges, splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="DFC2020",
        source="Sentinel-1 IW GRD, VV and VH, 10 m, dB",
        target="Sentinel-2 L1C, B4 B3 B2, 10 m, uint16 reflectance times 10,000",
        task="sar to optical",
        group=None,
        licence="CC BY",
        reference="https://doi.org/10.21227/rha7-m332",
        gsd_m=10.0,
        get="Download the validation and test archives from https://doi.org/10.21227/rha7-m332 and unpack them in one folder.",
    )
    source_channels, target_channels = 1, 3
    aux = ("labels", "nir")
    classes = (
        "forest",
        "shrubland",
        "savanna",
        "grassland",
        "wetland",
        "cropland",
        "urban",
        "snow and ice",
        "barren",
        "water",
    )
    options = SENTINEL_OPTIONS
    layout = """\
ROIs0000_validation/s1_validation/ROIs0000_validation_s1_validation_p30.tif, and s2_validation, dfc_validation
ROIs0000_test/s1_0/ROIs0000_test_s1_0_p609.tif, and s2_0, dfc_0
or s1/, s2/, dfc/ with all files, and dfc-train-new.csv, dfc-test-new.csv"""

    def __init__(self, root: Path | None, **options: str) -> None:
        super().__init__(root, **options)
        if self.option["channels"] == "vv-vh-diff":
            self.source_channels = 3

    def listing(self) -> Listing:
        """Every triplet, in either packing, from the names alone."""
        if all((self.root / name).is_file() for name in LISTS.values()):
            splits = self._of_lists()
        elif all((self.root / folder).is_dir() for folder, _ in CONTEST.values()):
            splits = {}
            for split, (folder, end) in CONTEST.items():
                places = {part: self.root / folder / f"{kind}_{end}" for kind, part in PARTS.items()}
                splits[split] = self._samples(places)
        else:
            raise self.wrong_layout("neither both parts of the contest nor the lists of the other packing")
        return {
            split: {name: Files({**files, "nir": files["target"]}) for name, files in samples.items()}
            for split, samples in splits.items()
        }

    def _samples(self, places: dict[str, Path]) -> dict[str, dict[str, tuple[Path, ...]]]:
        """The triplets whose parts lie in these folders, by names such as test_p609."""
        names = {part: re.compile(NAME.format(kind)) for kind, part in PARTS.items()}
        return matched({part: named(folder, names[part]) for part, folder in places.items()})

    def _of_lists(self) -> dict[str, dict[str, dict[str, tuple[Path, ...]]]]:
        samples = self._samples({part: self.root / kind for kind, part in PARTS.items()})
        name = re.compile(NAME.format("dfc"))
        splits: dict[str, dict[str, dict[str, tuple[Path, ...]]]] = {"train": {}, "test": {}}
        bad = []
        for split, file in LISTS.items():
            for line in read_lines(self.root / file):
                match = name.fullmatch(line)
                sample = "_".join(match.groups()) if match else ""
                if sample not in samples:
                    bad.append(f"{file}: {line} is not in the folder dfc")
                elif split == "test" and sample in splits["train"]:
                    bad.append(f"{line} stands in both lists")
                else:
                    splits[split][sample] = samples[sample]
        if bad:
            raise ContractError(f"{self.root}: the lists of the split do not fit:{listed(bad)}")
        return splits

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """The bands that the part needs, scaled; labels as class indices."""
        if part == "source":
            return read_sentinel_1(paths[0], self.option["channels"], self.option["source_range"], window)
        if part == "labels":
            land = read_bands(paths[0], 1, CLASS_TYPES, window=window).astype(np.int64)
            return np.where((land >= 1) & (land <= len(self.classes)), land - 1, NOT_LABELLED)
        if part == "nir":
            return read_sentinel_2(paths[0], NIR, NIR_RANGE, window)
        return read_sentinel_2(paths[0], RED_GREEN_BLUE, self.option["target_range"], window)
