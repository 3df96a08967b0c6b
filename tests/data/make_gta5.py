"""A tiny fake of GTA5: 8 frames of 30x52 px, label maps as palette images of Cityscapes' label ids, split.mat."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

VARIANTS: tuple[dict[str, str], ...] = ({}, {"direction": "labels2image", "test_split": "test"})
SPLIT = {"trainIds": (1, 2, 3, 4), "valIds": (5, 6), "testIds": (7, 8, 24966)}  # the last is in a part not downloaded
LABEL_IDS = (0, 7, 8, 11, 17, 21, 23, 26, 34, 33)  # 0 and 34 are not scored


def smooth(seed: int, channels: int) -> np.ndarray:
    """A smooth field in [0, 1], (30, 52, channels)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((30, 52, channels)), (0, 0), 4)
    return ((noise - noise.min()) / (noise.max() - noise.min())).reshape(30, 52, channels)


def make(root: Path) -> None:
    """Write the fake below `root`."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, 9):
        place = (smooth(number, 1)[:, :, 0] * 9.99).astype(int)
        frame = 0.7 * place[:, :, None] / 9 + 0.3 * smooth(100 + number, 3)
        Image.fromarray((frame * 255).astype(np.uint8)).save(root / "images" / f"{number:05d}.png")
        labels = Image.fromarray(np.take(LABEL_IDS, place).astype(np.uint8))
        labels.putpalette([level for i in range(35) for level in (7 * i, 255 - 7 * i, (40 * i) % 256)])
        labels.save(root / "labels" / f"{number:05d}.png")
    savemat(root / "split.mat", {name: np.array(numbers, np.uint16)[:, None] for name, numbers in SPLIT.items()})


if __name__ == "__main__":
    make(Path(sys.argv[1]))
