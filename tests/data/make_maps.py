"""A tiny fake of pix2pix' maps: JPEG of 32x64 px, a photo left and its map right."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "BtoA"})
NUMBERS = {"train": (1, 2, 3, 10), "val": (1, 2)}


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
            place = np.rint(smooth(seed, 1) * 3) / 3
            photo, drawn = 0.5 * place + 0.5 * smooth(seed + 1000, 3), 1.0 - 0.5 * place * (1.0, 0.8, 0.6)
            pixels = (np.concatenate([photo, drawn], axis=1) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / f"{number}.jpg", quality=95)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
