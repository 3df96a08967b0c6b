"""A tiny fake of horse2zebra: JPEG of 32x32 px, unpaired; one zebra is grey, as some of the real ones are."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "BtoA"})
NAMES = {
    "trainA": ("n02381460_1001", "n02381460_1002", "n02381460_1011"),
    "trainB": ("n02391049_1", "n02391049_10", "n02391049_1003", "n02391049_2"),
    "testA": ("n02381460_1000", "n02381460_1010"),
    "testB": ("n02391049_100", "n02391049_1000", "n02391049_1020"),
}
GREY = "n02391049_10"


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 32, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 32, channels)), (0, 0), 3)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 32, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    stripes = 0.5 + 0.5 * np.sin(np.arange(32) * 0.8)[:, None, None]
    for folder, names in NAMES.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            coat = stripes if folder.endswith("B") else np.array([0.5, 0.3, 0.1])
            photo = Image.fromarray(((0.5 * coat + 0.5 * smooth(sum(name.encode()), 3)) * 255).astype(np.uint8))
            (photo.convert("L") if name == GREY else photo).save(root / folder / f"{name}.jpg", quality=95)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
