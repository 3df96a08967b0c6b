"""A tiny fake of SEN12MS: 32x32 px instead of 256x256, two seasons, five scenes of two or three patches, official names."""

import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"channels": "repeat"},
    {"channels": "vv-vh-diff", "source_range": "-20,0", "target_range": "0,3500"},
    {"split": "drawn", "test_share": "0.5"},
)
SCENES = {  # 15 and 64 are hold-out scenes
    "ROIs1158_spring": {1: (30, 169), 15: (1, 2, 10), 106: (7, 8)},
    "ROIs2017_winter": {1: (30, 31), 64: (100, 200)},
}
SIZE_PX = 32
IGBP = np.array([17, 16, 12, 10, 4, 13, 13], np.uint16)  # of Synthetic's water, soil, crop, grass, forest, road, building
BAND_BRIGHTNESS = (0.9, 0.95, 1.0, 1.0, 1.2, 1.8, 2.0, 2.2, 2.3, 0.6, 0.05, 1.6, 1.2)  # B1 to B8, B8A, B9 to B12


def write(path: Path, values: np.ndarray, east_m: float, north_m: float) -> None:
    """Bands (C, H, W) as a pixel-interleaved GeoTIFF in UTM, 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    where = {"crs": "EPSG:32737", "transform": Affine(10.0, 0.0, east_m, 0.0, -10.0, north_m)}
    with rasterio.open(path, "w", driver="GTiff", interleave="pixel", **shape, **where) as file:
        file.write(values)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    land = Synthetic(size_px=str(SIZE_PX), n_train="32")
    places = iter(land.ids("train"))
    for season, scenes in SCENES.items():
        for scene, patches in scenes.items():
            for patch in patches:
                sample = land.read(next(places), ("source", "target", "labels"))
                vv = sample.source[0] * 15.0 - 10.0  # Synthetic's [-1, 1] is -25 to 5 dB
                cross = -6.0 - 2.0 * sample.target[1]
                colour = (sample.target + 1.0) / 2.0
                grey = colour.mean(axis=0)
                bands = np.stack([brightness * grey for brightness in BAND_BRIGHTNESS])
                bands[[3, 2, 1]] = colour
                igbp = IGBP[sample.aux["labels"][0]]
                layers = {
                    "s1": np.stack([vv, vv + cross]).astype(np.float32),
                    "s2": np.rint(3000.0 * bands).astype(np.uint16),
                    "lc": np.stack([igbp, igbp + 10, igbp + 20, igbp + 30]),
                }
                for name, values in layers.items():
                    file = root / season / f"{name}_{scene}" / f"{season}_{name}_{scene}_p{patch}.tif"
                    write(file, values, 380_000.0 + 10 * SIZE_PX * patch, 8_100_000.0 + 10_000.0 * scene)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
