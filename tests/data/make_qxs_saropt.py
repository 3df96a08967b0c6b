"""A tiny fake of QXS-SAROPT: 8-bit PNG of 32x32 px instead of 256x256, 15 of the 20,000 numbers, with the published lists."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sarbench.datasets.synthetic import Synthetic

VARIANTS: tuple[dict[str, str], ...] = ({}, {"split": "random", "channels": "repeat"}, {"split": "cdiffset"})
NUMBERS = (1, 2, 3, 10, 499, 500, 501, 1999, 2000, 2001, 2002, 2500, 2501, 4999, 20000)
TESTED = (10, 500, 20000)  # by the fake's published list


def make(root: Path) -> None:
    """Write the fake below `root`; SAR is stored as three equal channels where the number is even."""
    land = Synthetic(size_px="32", n_train="16")
    for number, place in zip(NUMBERS, land.ids("train"), strict=False):
        sample = land.read(place)
        for folder, image in (("sar_256_oc_0.2", sample.source), ("opt_256_oc_0.2", sample.target)):
            pixels = np.rint((image + 1.0) * 127.5).astype(np.uint8).transpose(1, 2, 0)
            if pixels.shape[2] == 1:
                pixels = np.repeat(pixels, 3, axis=2) if number % 2 == 0 else pixels[:, :, 0]
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"{number}.png")
    for split, numbers in (("train", set(NUMBERS) - set(TESTED)), ("test", TESTED)):
        (root / f"{split}_eo_list.txt").write_text("".join(f"opt_256_oc_0.2/{n}.png\n" for n in sorted(numbers)))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
