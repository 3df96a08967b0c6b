"""A tiny fake of SYNTHIA-RAND-CITYSCAPES: 38x64 px, 16-bit label maps of 3 channels, 12 images from 6 blocks of 50 numbers."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"test_share": "0.5", "direction": "labels2image"})
NUMBERS = [50 * block + frame for block in (0, 1, 2, 3, 30, 61) for frame in (7, 48)]


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (38, 64, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((38, 64, channels)), (0, 0), 4)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(38, 64, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    base = root / "RAND_CITYSCAPES"
    for folder in ("RGB", "GT/LABELS"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for number in NUMBERS:
        ids = (smooth(number, 1)[:, :, 0] * 22.99).astype(np.uint16)
        image = 0.7 * ids[:, :, None] / 22 + 0.3 * smooth(10_000 + number, 3)
        Image.fromarray((image * 255).astype(np.uint8)).save(base / "RGB" / f"{number:07d}.png")
        instances = 40 * ids
        channels = np.stack([np.zeros_like(ids), instances, ids], axis=2)  # OpenCV writes the last channel first
        cv2.imwrite(str(base / "GT" / "LABELS" / f"{number:07d}.png"), channels)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
