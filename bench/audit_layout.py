"""Blocks of a picture: text, tiles, rows and columns of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

WIDTH_PX, MARGIN_PX, GAP_PX = 1240, 24, 8
TITLE_PX, HEADING_PX, TEXT_PX, SMALL_TEXT_PX = 22, 19, 15, 13  # font sizes
LINE = 1.35  # from line to line, in font sizes
BLACK = (0, 0, 0)

Tile = UInt8[np.ndarray, "h w 3"]


def text(
    line: str, size: int = TEXT_PX, width: int = WIDTH_PX - 2 * MARGIN_PX, colour: tuple[int, int, int] = BLACK
) -> Image.Image:
    """A line in black or another colour, broken between words where it is wider than `width`."""
    font = ImageFont.load_default(size=size)
    pieces = [""]
    for word in line.split(" "):
        longer = f"{pieces[-1]} {word}" if pieces[-1] else word
        if font.getlength(longer) > width and pieces[-1]:
            pieces.append(word)
        else:
            pieces[-1] = longer
    step = round(LINE * size)
    block = Image.new("RGB", (max(1, *(round(font.getlength(piece)) + 2 for piece in pieces)), step * len(pieces)), "white")
    draw = ImageDraw.Draw(block)
    for i, piece in enumerate(pieces):
        draw.text((0, i * step), piece, fill=colour, font=font)
    return block


def ending(name: str, most: int) -> str:
    """A name cut to so many characters; its end tells more than its beginning."""
    return name if len(name) <= most else "..." + name[3 - most :]


def tiles(images: Sequence[Tile]) -> Image.Image:
    """Tiles side by side."""
    return beside([Image.fromarray(image) for image in images])


def wide(block: Image.Image, width: int) -> Image.Image:
    """A block on white ground of so many px."""
    canvas = Image.new("RGB", (width, block.height), "white")
    canvas.paste(block, (0, 0))
    return canvas


def beside(blocks: Sequence[Image.Image], gap: int = GAP_PX) -> Image.Image:
    """Blocks side by side."""
    canvas = Image.new("RGB", (sum(b.width + gap for b in blocks) - gap, max(b.height for b in blocks)), "white")
    left = 0
    for block in blocks:
        canvas.paste(block, (left, 0))
        left += block.width + gap
    return canvas


def below(blocks: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Blocks one below the other."""
    canvas = Image.new("RGB", (max(b.width for b in blocks), sum(b.height + gap for b in blocks) - gap), "white")
    top = 0
    for block in blocks:
        canvas.paste(block, (0, top))
        top += block.height + gap
    return canvas
