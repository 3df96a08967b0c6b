"""Tiny fakes of LEVIR-CD: PNG of 32x32 px, masks of 0 and 255; whole images by split, and cuts in one folder with lists."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"test_split": "val"})
COUNTS = {"train": 3, "val": 1, "test": 2}


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 32, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 32, channels)), (0, 0), 3)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 32, channels)


def write_pair(place: Path, name: str, seed: int) -> None:
    """Two dates of a town, of which the second has one building more, and the mask of that building."""
    for folder in ("A", "B", "label"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    town = 0.6 * smooth(seed, 3)
    built = np.zeros((32, 32), bool)
    built[4 + seed % 8 : 16, 8:20] = seed % 3 > 0
    later = np.where(built[:, :, None], 0.9, 0.8 * town + 0.1)
    Image.fromarray((town * 255).astype(np.uint8)).save(place / "A" / f"{name}.png")
    Image.fromarray((later * 255).astype(np.uint8)).save(place / "B" / f"{name}.png")
    Image.fromarray(built.astype(np.uint8) * 255).save(place / "label" / f"{name}.png")


def make(root: Path) -> None:
    """Write the fake of LEVIR-CD as downloaded below `root`."""
    for split, count in COUNTS.items():
        for i in range(1, count + 1):
            write_pair(root / split, f"{split}_{i}", 10 * len(split) + i)


def make_cuts(root: Path) -> None:
    """Write four cuts an image into one folder with lists, as many use the set."""
    (root / "list").mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        names = [f"{split}_{i}_{top:04d}_{left:04d}" for i in range(1, count + 1) for top in (0, 32) for left in (0, 32)]
        for seed, name in enumerate(names):
            write_pair(root, name, 100 * len(split) + seed)
        (root / "list" / f"{split}.txt").write_text("".join(f"{name}.png\n" for name in names))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
