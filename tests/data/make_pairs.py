"""A tiny folder of pairs: SAR-like grey and optical-like colour images of the same smooth field, three scenes a split."""

import sys
from pathlib import Path

import cv2
import numpy as np

VARIANTS: tuple[dict[str, str], ...] = ({"scene": r"(scene\d+)_"},)


def make(root: Path) -> None:
    """Write train/{sar,opt} and test/{sar,opt}, 32 px, two images a scene."""
    for split, first in (("train", 0), ("test", 10)):
        for scene in range(first, first + 3):
            for tile in range(2):
                rng = np.random.default_rng([scene, tile])
                field = cv2.GaussianBlur(rng.random((32, 32)), (0, 0), 3)
                field = (field - field.min()) / np.ptp(field)
                colour = np.stack([field, 1 - field, field**2], axis=2)
                for folder, image in (("sar", field), ("opt", colour)):
                    path = root / split / folder / f"scene{scene}_{tile}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), np.rint(image * 255).astype(np.uint8))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
