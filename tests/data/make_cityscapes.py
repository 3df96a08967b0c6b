"""A tiny fake of Cityscapes: 32x64 px, three cities, 8-bit label ids of which some are not scored."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "image2labels"})
FRAMES = {"train": ("aachen", "bochum"), "val": ("frankfurt",), "test": ("berlin",)}
LABEL_IDS = (1, 7, 8, 11, 21, 23, 24, 26, 4, 33)  # 1 and 4 are not scored


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (32, 64, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((32, 64, channels)), (0, 0), 4)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(32, 64, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    for split, cities in FRAMES.items():
        for city in cities:
            for frame in range(2):
                name = f"{city}_000000_{frame:06d}"
                photos, maps = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
                photos.mkdir(parents=True, exist_ok=True)
                maps.mkdir(parents=True, exist_ok=True)
                place = (smooth(sum(name.encode()), 1)[:, :, 0] * 9.99).astype(int)
                ids = np.take(LABEL_IDS, place).astype(np.uint8)
                photo = 0.7 * place[:, :, None] / 9 + 0.3 * smooth(frame, 3)
                Image.fromarray((photo * 255).astype(np.uint8)).save(photos / f"{name}_leftImg8bit.png")
                Image.fromarray(np.zeros_like(ids) if split == "test" else ids).save(maps / f"{name}_gtFine_labelIds.png")
                Image.fromarray(ids.astype(np.uint16) * 1000).save(maps / f"{name}_gtFine_instanceIds.png")
                (maps / f"{name}_gtFine_polygons.json").write_text("{}")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
