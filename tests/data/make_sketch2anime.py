"""A tiny fake of the anime sketch colorization pairs: PNG of 32x64 px, the coloured drawing left and the sketch right."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"left": "sketch"})
NUMBERS = {"train": (4, 5, 1000), "val": (6, 7)}


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 32, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 32, channels)), (0, 0), 3)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 32, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    for split, numbers in NUMBERS.items():
        (root / "data" / split).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            area = np.rint(smooth(number, 1) * 3)
            edge = np.abs(cv2.Laplacian(area[:, :, 0], cv2.CV_64F)) > 0.5
            colour = np.where(edge[:, :, None], 0.0, 0.4 + 0.2 * area * (1.0, 0.9, 0.8) * smooth(number + 2000, 3))
            sketch = np.repeat(np.where(edge, 0.1, 1.0)[:, :, None], 3, axis=2)
            pixels = (np.clip(np.concatenate([colour, sketch], axis=1), 0, 1) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "data" / split / f"{number}.png")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
