"""A small fake of OSCD: three cities, each band a TIFF of uint16, change maps as TIFF (1, 2) and PNG with alpha (0, 255)."""

import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import rasterio
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"tile_px": "64", "value_range": "0,4000"})
CITIES = {"Train": {"abudhabi": (260, 256), "bercy": (256, 520)}, "Test": {"dubai": (256, 300)}}
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth field in [0, 1], (height, width)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width)), (0, 0), 4)
    return (noise - noise.min()) / (noise.max() - noise.min())


def write_tiff(path: Path, values: np.ndarray) -> None:
    """One band, without a place, as the rectified bands are."""
    height, width = values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype, compress="deflate"
        ) as file:
            file.write(values, 1)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    prefix = "Onera Satellite Change Detection dataset - "
    for split, cities in CITIES.items():
        for seed, (city, (height, width)) in enumerate(cities.items()):
            images, labels = root / f"{prefix}Images" / city, root / f"{prefix}{split} Labels" / city / "cm"
            changed = smooth(seed + 50, height, width) > 0.7
            for number, band in enumerate(BANDS):
                # bands that no loader reads are flat, so that they are small
                shape = smooth(seed + 7, height, width) if band in ("B02", "B03", "B04", "B08") else np.zeros((height, width))
                ground = 200 + 2500 * shape + 60 * number
                for date, values in ((1, ground), (2, np.where(changed, 3500, 0.9 * ground))):
                    write_tiff(images / f"imgs_{date}_rect" / f"{band}.tif", values.astype(np.uint16))
            (images / "dates.txt").write_text("date_1: 20160101\ndate_2: 20180101\n")
            write_tiff(labels / f"{city}-cm.tif", changed.astype(np.uint8) + 1)
            Image.fromarray(np.dstack([changed.astype(np.uint8) * 255] * 3 + [np.full_like(changed, 255, np.uint8)])).save(
                labels / "cm.png"
            )
    (root / f"{prefix}Images" / "train.txt").write_text(",".join(CITIES["Train"]))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
