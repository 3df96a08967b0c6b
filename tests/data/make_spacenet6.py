"""A tiny fake of SpaceNet 6: tiles of 48x48 px over 450 m instead of 900x900, three strips over one ground, empty corners."""

import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"channels": "repeat", "scaling": "percentile"},
    {"channels": "hh-mean-vv"},
    {"channels": "hh-mean-vv", "scaling": "percentile", "split": "random"},
)
STRIPS = ("20190804111224_20190804111453", "20190822070610_20190822070846", "20190823162315_20190823162606")
SIZE_PX, TILE_M = 48, 450.0
TOP_M, LEFT_M = 5_752_000.0, (593_510.0, 594_410.0, 595_085.0, 595_310.0, 595_760.0)  # the third reaches over the border
FILE = "train/AOI_11_Rotterdam/{layer}/SN6_Train_AOI_11_Rotterdam_{layer}_{strip}_tile_{tile}.tif"


def write(path: Path, values: np.ndarray, left_m: float) -> None:
    """Bands (C, H, W) as a pixel-interleaved GeoTIFF in UTM zone 31 N."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    pixel_m = TILE_M / width
    where = {"crs": "EPSG:32631", "transform": Affine(pixel_m, 0.0, left_m, 0.0, -pixel_m, TOP_M)}
    with rasterio.open(path, "w", driver="GTiff", interleave="pixel", photometric="MINISBLACK", **shape, **where) as file:
        file.write(values)


def make(root: Path) -> None:
    """Write the fake below `root`; one ground has one optical image, and other speckle in each strip."""
    land = Synthetic(size_px=str(SIZE_PX), n_train="16")
    row, column = np.mgrid[:SIZE_PX, :SIZE_PX]
    for number, (place, left_m) in enumerate(zip(land.ids("train"), LEFT_M, strict=False)):
        sample = land.read(place)
        optical = np.rint((sample.target + 1.0) * 127.5).astype(np.uint8)
        for i, strip in enumerate(STRIPS):
            speckle = np.random.default_rng([i, number]).gamma(4.0, 0.25, (4, SIZE_PX, SIZE_PX))
            level = np.array([40.0, 28.0, 28.0, 38.0])[:, None, None]  # HH, HV, VH, VV
            sar = np.clip(level + 15.0 * sample.source + 4.0 * np.log10(speckle), 0.5, 92.0).astype(np.float32)
            sar[:, row + column < 10 + 8 * i] = 0.0
            for layer, values in (("SAR-Intensity", sar), ("PS-RGB", optical)):
                write(root / FILE.format(layer=layer, strip=strip, tile=100 * i + number), values, left_m)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
