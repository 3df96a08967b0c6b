"""A tiny fake of pix2pix' facades: JPEG of 32x64 px, a photo left and its label map right."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "AtoB", "test_split": "val"})
NUMBERS = {"train": (1, 2, 3), "val": (1,), "test": (1, 2)}
COLOURS = np.array([(0, 0, 170), (0, 85, 255), (0, 255, 170), (255, 170, 0)]) / 255  # wall, window, sill, door


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 32, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 32, channels)), (0, 0), 3)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 32, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    for split, numbers in NUMBERS.items():
        (root / split).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            seed = 100 * len(split) + number
            place = (smooth(seed, 1)[:, :, 0] * 3.99).astype(int)
            photo = 0.6 * place[:, :, None] / 3 + 0.4 * smooth(seed + 1000, 3)
            pixels = (np.concatenate([photo, COLOURS[place]], axis=1) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / f"{number}.jpg", quality=95)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
