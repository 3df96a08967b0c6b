"""A tiny fake of SAR2Opt: JPEG of 60x60 px instead of 600x600, 15 overlapping tiles of each of two images, official names."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = ({}, {"split": "disjoint"}, {"channels": "repeat"})
ROWS, COLUMNS = (0, 240, 480, 720, 960), (0, 240, 480)  # px, at a tenth of the scale here
TRAINED = 10  # tiles of 15, from top to bottom


def make(root: Path) -> None:
    """Write the fake below `root`."""
    land = Synthetic(size_px="160", n_train="2")
    for number, place in zip((1, 12), land.ids("train"), strict=True):
        sample = land.read(place)
        tiles = [(row, column) for row in ROWS for column in COLUMNS]
        for i, (row, column) in enumerate(tiles):
            for side, image in (("A", sample.source), ("B", sample.target)):
                pixels = np.rint((image + 1.0) * 127.5).astype(np.uint8)
                tile = pixels[:, row // 10 : row // 10 + 60, column // 10 : column // 10 + 60]
                folder = root / f"{'train' if i < TRAINED else 'test'}{side}"
                folder.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(tile[0] if len(tile) == 1 else np.ascontiguousarray(tile.transpose(1, 2, 0)))
                picture.save(folder / f"{number}_{row}_{column}.jpg", quality=95)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
