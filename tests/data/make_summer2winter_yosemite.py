"""A tiny fake of summer2winter_yosemite: JPEG of 32x32 px, unpaired."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "BtoA"})
COUNTS = {"trainA": 4, "trainB": 3, "testA": 2, "testB": 3}


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 32, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 32, channels)), (0, 0), 3)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 32, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    for start, (folder, count) in enumerate(COUNTS.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            snow = 0.4 * folder.endswith("B")
            photo = snow + (1 - snow) * smooth(100 * start + i, 3) * (0.6, 0.9, 0.5)
            name = f"2011-0{i + 1}-14 0{start}_11_58.jpg"
            Image.fromarray((photo * 255).astype(np.uint8)).save(root / folder / name, quality=95)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
