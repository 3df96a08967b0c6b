"""A tiny fake of CDD: JPEG tiles of 32x32 px as in the release, and below `summer_winter` two whole scenes as PNG and JPEG."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SCENES = {"layout": "scenes", "season": "summer_winter", "tile_px": "32"}
VARIANTS: tuple[dict[str, str], ...] = ({}, {"test_split": "val"}, SCENES, {**SCENES, "split": "paper"})
COUNTS = {"train": 4, "val": 2, "test": 3}


def smooth(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (height, width, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width, channels)), (0, 0), 4)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(height, width, channels)


def write_pair(place: Path, name: str, seed: int, height: int, width: int) -> None:
    """A summer, the winter of the same place with snow and something new in it, and the map of what is new."""
    for folder in ("A", "B", "OUT"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    ground = smooth(seed, height, width, 3)
    new = smooth(seed + 500, height, width, 1) > 0.75
    winter = np.where(new, (0.6, 0.2, 0.2), 0.6 + 0.4 * ground.mean(axis=2, keepdims=True))
    for folder, image in (("A", ground * (0.5, 0.9, 0.4)), ("B", winter), ("OUT", new[:, :, 0])):
        Image.fromarray((image * 255).astype(np.uint8)).save(place / folder / name, quality=95)


def make(root: Path) -> None:
    """Write the fakes below `root`."""
    tiles = root / "ChangeDetectionDataset" / "Real" / "subset"
    for split, count in COUNTS.items():
        for i in range(count):
            write_pair(tiles / split, f"{i:05d}.jpg", 10 * len(split) + i, 32, 32)
    write_pair(root / "summer_winter", "1.png", 1000, 96, 320)
    write_pair(root / "summer_winter", "2.jpg", 1001, 70, 325)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
