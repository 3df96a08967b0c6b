"""A picture of the world: `python -m sarbench.datasets.world.gallery docs/gallery.jpg`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from sarbench.datasets.world.materials import CLASSES
from sarbench.datasets.world.scene import Scene

SCENES = (33, 41, 2, 11)  # of seed 0, one a row
SIZE_PX, GAP_PX, TITLE_PX = 256, 6, 30
CLASS_COLOURS = (
    (0.20, 0.45, 0.75), (0.66, 0.50, 0.36), (0.93, 0.82, 0.45), (0.62, 0.80, 0.40),
    (0.13, 0.42, 0.20), (0.35, 0.35, 0.38), (0.85, 0.25, 0.22),
)  # fmt: skip
CHANGED = (1.0, 0.25, 0.15)
INK, PAPER = (40, 40, 40), (255, 255, 255)


def columns(index: int) -> dict[str, Float[np.ndarray, "H W 3"]]:
    """The pictures of one scene by title, in [0, 1]; the rendered one is of another land, as it is in the dataset."""
    scene = Scene(0, index, SIZE_PX)
    summer, winter = scene.optical(1, "summer"), scene.optical(2, "winter")
    changed = scene.labels(1) != scene.labels(2)
    grey = 0.6 * winter.mean(axis=0, keepdims=True) + 0.1
    images = {
        "SAR": scene.sar(looks=4).repeat(3, axis=0),
        "optical, summer": summer,
        "optical, winter": winter,
        "what has changed": np.where(changed, np.array(CHANGED)[:, None, None], grey),
        "classes": np.array(CLASS_COLOURS)[scene.labels(1)[0]].transpose(2, 0, 1),
        "rendered": Scene(0, index, SIZE_PX, game=True).rendered(),
    }
    return {title: image.transpose(1, 2, 0) for title, image in images.items()}


def picture() -> UInt8[np.ndarray, "H W 3"]:
    """All scenes below each other, with titles above and the classes' colours below."""
    rows = [columns(index) for index in SCENES]
    step = SIZE_PX + GAP_PX
    width, height = len(rows[0]) * step - GAP_PX, len(rows) * step - GAP_PX + 2 * TITLE_PX
    page = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for column, title in enumerate(rows[0]):
        draw.text((column * step + SIZE_PX // 2, TITLE_PX // 2), title, INK, font, anchor="mm")
        for row, images in enumerate(rows):
            tile = Image.fromarray(np.rint(images[title] * 255.0).astype(np.uint8))
            page.paste(tile, (column * step, TITLE_PX + row * step))
    for number, (name, colour) in enumerate(zip(CLASSES, CLASS_COLOURS, strict=True)):
        left, middle = number * 120 + 4, height - TITLE_PX // 2
        draw.rectangle((left, middle - 7, left + 14, middle + 7), tuple(round(255 * part) for part in colour))
        draw.text((left + 22, middle), name, INK, font, anchor="lm")
    return np.asarray(page)


def main() -> None:
    """Write the picture to the path given."""
    if len(sys.argv) != 2:
        raise SystemExit("say where to write it: python -m sarbench.datasets.world.gallery PATH")
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture()).save(path, quality=90)


if __name__ == "__main__":
    main()
