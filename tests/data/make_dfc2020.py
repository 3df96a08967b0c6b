"""A tiny fake of DFC2020 as packed by the contest: 32x32 px instead of 256x256, three patches to train on, four to test on."""

import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"channels": "repeat", "target_range": "0,3500"},
    {"channels": "vv-vh-diff", "source_range": "-20,0"},
)
PATCHES = {("ROIs0000_validation", "validation"): (0, 30, 31), ("ROIs0000_test", "0"): (7, 12, 609, 4000)}
SIZE_PX = 32
CLASSES = np.array([10, 9, 6, 4, 1, 7, 7], np.uint8)  # of Synthetic's water, soil, crop, grass, forest, road, building
BAND_BRIGHTNESS = (0.9, 0.95, 1.0, 1.0, 1.2, 1.8, 2.0, 2.2, 2.3, 0.6, 0.05, 1.6, 1.2)  # B1 to B8, B8A, B9 to B12


def write(path: Path, values: np.ndarray) -> None:
    """Bands (C, H, W) as a pixel-interleaved TIFF without a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", interleave="pixel", **shape) as file:
            file.write(values)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    land = Synthetic(size_px=str(SIZE_PX), n_train="16")
    places = iter(land.ids("train"))
    for (folder, end), patches in PATCHES.items():
        for patch in patches:
            sample = land.read(next(places), ("source", "target", "labels"))
            vv = sample.source[0] * 15.0 - 10.0  # Synthetic's [-1, 1] is -25 to 5 dB
            colour = (sample.target + 1.0) / 2.0
            bands = np.stack([brightness * colour.mean(axis=0) for brightness in BAND_BRIGHTNESS])
            bands[[3, 2, 1]] = colour
            layers = {
                "s1": np.stack([vv, vv - 6.0 - 2.0 * sample.target[1]]).astype(np.float32),
                "s2": np.rint(3000.0 * bands).astype(np.uint16),
                "dfc": CLASSES[sample.aux["labels"]],
            }
            for kind, values in layers.items():
                write(root / folder / f"{kind}_{end}" / f"{folder}_{kind}_{end}_p{patch}.tif", values)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
