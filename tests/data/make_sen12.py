"""A tiny fake of SEN1-2: 8-bit PNG of 32x32 px instead of 256x256, two seasons, five scenes of two or three patches."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = ({}, {"channels": "repeat"}, {"season": "winter", "test_share": "0.5"})
SCENES = {  # spring 12 and winter 4 are drawn for the test part
    "ROIs1158_spring": {1: (30, 169), 2: (5, 6), 12: (1, 2, 10)},
    "ROIs2017_winter": {3: (30, 31), 4: (100, 200)},
}


def make(root: Path) -> None:
    """Write the fake below `root`."""
    land = Synthetic(size_px="32", n_train="16")
    places = iter(land.ids("train"))
    for season, scenes in SCENES.items():
        for scene, patches in scenes.items():
            for patch in patches:
                sample = land.read(next(places))
                for kind, image in (("s1", sample.source), ("s2", sample.target)):
                    pixels = np.rint((image + 1.0) * 127.5).astype(np.uint8)
                    folder = root / season / f"{kind}_{scene}"
                    folder.mkdir(parents=True, exist_ok=True)
                    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
                    picture.save(folder / f"{season}_{kind}_{scene}_p{patch}.png")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
