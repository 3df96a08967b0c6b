"""SpaceNet 6: airborne SAR of four polarisations and a WorldView-2 image over the port of Rotterdam, 0.5 m.

Source: Capella Space aircraft, X band, 204 strips of August 2019, 0.5 m. 4 bands HH, HV, VH, VV; float32; 0 where nothing was
    measured, in large corners. The unit is not documented: values run from 0 to about 92 (as the challenge's second-placed
    solution scales them), which looks like decibels with an offset, so no logarithm is taken.
    `channels`: `hh` (default), `repeat` (HH three times) or `hh-mean-vv` (HH, (HV + VH) / 2, VV, as in C-DiffSET).
    `scaling=range` (default): `source_range`, 0 to 92 by default, becomes -1 to 1. `scaling=percentile`: the 1st to the 99th
    percentile of each band of each tile becomes -1 to 1, as in C-DiffSET, but of the pixels that hold data; there the empty
    corners count too. No data becomes -1 either way.
Target: WorldView-2, pansharpened R, G, B (layer PS-RGB), one day, 0.5 m. 3 bands, uint8; 0 to 255 becomes -1 to 1.
Aux: "valid", 1 where any band holds data and 0 elsewhere.
Splits: only the part named train has optical images, so it is split here. About 20 strips cover each place, all paired with the
    one optical image: a split by strip or by tile puts the same target on both sides. `split=ground` (default): the easternmost
    fifth, tiles whose left edge is at 595,310 m or further east, is the test part, as the validation part of the challenge's
    baseline; tiles that reach into it from the west are left out (about 8 %). `split=random`: 2,721 / 680 tiles drawn
    as C-DiffSET draws; its list is not published, and such a split leaks.
    Group: cell of 450 m in which the upper left corner lies. The listing reads the header of each SAR tile for it.
Size: 3,401 tiles, 900x900 px, overlapping; about 200 places.
Licence: CC BY-SA 4.0.
Reference: Shermeyer et al. (2020), CVPR Workshops, https://arxiv.org/abs/2004.06500; validation part:
    github.com/CosmiQ/CosmiQ_SN6_Baseline; places and strips: README of the winner in
    github.com/SpaceNetChallenge/SpaceNet_SAR_Buildings_Solutions; percentiles, channels and draw:
    github.com/KAIST-VICLab/C-DiffSET.
Layout: train/AOI_11_Rotterdam/{SAR-Intensity,PS-RGB}/SN6_Train_AOI_11_Rotterdam_{SAR-Intensity,PS-RGB}_START_END_tile_K.tif;
    the folder AOI_11_Rotterdam may be given itself.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option, matched, value_range
from sarbench.bench.images import Window, read_georeference, scale
from sarbench.datasets.families.radar_sets import named, read_bands, sampled

LAYERS = {"source": "SAR-Intensity", "target": "PS-RGB"}
HH, HV, VH, VV = 1, 2, 3, 4
BANDS = 4
BORDER_EASTING_M = 595_310.0  # UTM zone 31 N
TILE_M = 450.0
FLAT = 1 / 1024  # the least distance of two percentiles, as in C-DiffSET


class SpaceNet6(FolderDataset):
    """SpaceNet 6 as downloaded; bands, scaling, splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="SpaceNet 6",
        source="Capella airborne X-band SAR, HH HV VH VV, 0.5 m, float32",
        target="WorldView-2 pansharpened RGB, 0.5 m, uint8",
        task="sar to optical",
        group="cell of 450 m on the ground",
        licence="CC BY-SA 4.0",
        reference="https://arxiv.org/abs/2004.06500",
        gsd_m=0.5,
        get="Download SN6_buildings_AOI_11_Rotterdam_train.tar.gz from s3://spacenet-dataset/spacenet/SN6_buildings/tarballs/ "
        "and unpack it.",
    )
    source_channels, target_channels = 1, 3
    aux = ("valid",)
    options = {
        "channels": Option(
            "hh", "hh; repeat: HH three times; hh-mean-vv: HH, (HV + VH) / 2, VV", ("hh", "repeat", "hh-mean-vv")
        ),
        "scaling": Option("range", "range: source_range; percentile: 1 to 99 % of each band and tile", ("range", "percentile")),
        "source_range": Option("0,92", "LO,HI: the SAR values that become -1 and 1 with scaling=range", parse=value_range),
        "split": Option("ground", "ground: test on the east; random: as C-DiffSET draws, leaks", ("ground", "random")),
    }
    layout = """\
train/AOI_11_Rotterdam/SAR-Intensity/SN6_Train_AOI_11_Rotterdam_SAR-Intensity_20190804111224_20190804111453_tile_8691.tif
train/AOI_11_Rotterdam/PS-RGB/SN6_Train_AOI_11_Rotterdam_PS-RGB_20190804111224_20190804111453_tile_8691.tif"""

    def __init__(self, root: Path | None, **options: str) -> None:
        super().__init__(root, **options)
        if self.option["channels"] == "hh-mean-vv":
            self.source_channels = 3

    @property
    def keeps_official_leaks(self) -> bool:
        """A draw by tile puts one place on both sides."""
        return self.option["split"] == "random"

    def listing(self) -> Listing:
        """Every tile that has both layers, by strip and number."""
        places = (self.root / "train" / "AOI_11_Rotterdam", self.root / "AOI_11_Rotterdam", self.root)
        folder = next((place for place in places if (place / LAYERS["source"]).is_dir()), None)
        if folder is None:
            raise self.wrong_layout("no folder SAR-Intensity")
        name = r"SN6_Train_AOI_11_Rotterdam_{}_(\d+_\d+)_(tile_\d+)\.tif"
        found = {part: named(folder / layer, re.compile(name.format(layer))) for part, layer in LAYERS.items()}
        samples = matched(found)
        drawn = sampled(samples) if self.option["split"] == "random" else frozenset()
        listing: Listing = {"train": {}, "test": {}}
        for sample, files in samples.items():
            strip, tile = sample.split("_tile_")
            left_m, top_m = _corner(files["source"][0])
            cell = math.floor((left_m - BORDER_EASTING_M) / TILE_M)
            scene = f"{BORDER_EASTING_M + cell * TILE_M:.0f} E, {math.floor(top_m / TILE_M) * TILE_M:.0f} N"
            if self.option["split"] == "random":
                split = "test" if sample in drawn else "train"
            elif BORDER_EASTING_M - TILE_M < left_m < BORDER_EASTING_M:
                continue
            else:
                split = "test" if left_m >= BORDER_EASTING_M else "train"
            listing[split][f"{strip}/tile_{tile}"] = Files({**files, "valid": files["source"]}, scene)
        return listing

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """The bands that the part needs, scaled; "valid" as 0 and 1."""
        if part == "target":
            return scale(read_bands(paths[0], 3, ("uint8",), window=window), 0, 255)
        if part == "valid":
            bands = read_bands(paths[0], BANDS, ("float32",), window=window)
            return (bands != 0).any(axis=0, keepdims=True).astype(np.int64)
        chosen = (HH, HV, VH, VV) if self.option["channels"] == "hh-mean-vv" else (HH,)
        bands = read_bands(paths[0], BANDS, ("float32",), chosen, window)
        scaled = [self._scaled(band) for band in bands]
        if len(chosen) == 1:
            return scaled[0][None]
        hh, hv, vh, vv = scaled
        return np.stack([hh, (hv + vh) / 2, vv])

    def _scaled(self, band: Shaped[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
        data = band != 0
        low, high = self.option["source_range"]
        if self.option["scaling"] == "percentile":
            low, high = np.percentile(band[data], (1, 99)) if data.any() else (0.0, 0.0)
            high = max(high, low + FLAT)
        return np.where(data, scale(band, low, high), np.float32(-1.0))


def _corner(path: Path) -> tuple[float, float]:
    """Easting and northing of a tile's upper left corner, in m."""
    place = read_georeference(path)
    if place is None or "UTM zone 31N" not in place.crs:
        raise ContractError(f"{path} is not georeferenced in UTM zone 31 N; replace it by the file as downloaded")
    return place.transform[2], place.transform[5]
