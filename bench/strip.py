"""Pictures for boards: one method's translations side by side, and all methods one below the other.

Tiles are cropped, never resized: what a board shows are the pixels that were scored.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from sarbench.bench.errors import ContractError

QUALITY = 92
GAP_PX = 4
LABEL_PX = 20  # font size
MAX_SIDE_PX = 8192  # of a row; larger files are refused before they are decoded


def tiles(images: Sequence[UInt8[np.ndarray, "H W C"]], max_px: int = 192) -> bytes:
    """The images' centre crops side by side, in order, as a JPEG.

    uint8 (H, W, C) of any sizes; a side above `max_px` is cropped to it. One or two channels are shown as the first in
    grey, more as the first three.
    """
    if not images:
        raise ContractError("no image was given to show; give at least one")
    return _jpeg(_beside([_tile(image, max_px) for image in images]))


def compose(rows: Sequence[tuple[str, bytes]]) -> bytes:
    """Rows of tiles below each other, each with its label at the left, as a JPEG.

    A row is a label and a JPEG as `tiles` makes it. ContractError names the row whose bytes are no such picture.
    """
    if not rows:
        raise ContractError("no row was given to show; give at least one")
    font = ImageFont.load_default(size=LABEL_PX)
    pictures = [_decode(label, data) for label, data in rows]
    label_px = max(round(font.getlength(label)) for label, _ in rows) + 4 * GAP_PX
    width = label_px + max(picture.width for picture in pictures)
    height = sum(picture.height for picture in pictures) + GAP_PX * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    top = 0
    for (label, _), picture in zip(rows, pictures, strict=True):
        draw.text((2 * GAP_PX, top + picture.height // 2), label, fill="black", font=font, anchor="lm")
        canvas.paste(picture, (label_px, top))
        top += picture.height + GAP_PX
    return _jpeg(canvas)


def _tile(image: UInt8[np.ndarray, "H W C"], max_px: int) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ContractError(f"a picture needs uint8 (H, W, C), got {image.dtype} {image.shape}")
    height, width = (min(side, max_px) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    bands = image[top : top + height, left : left + width, : 3 if image.shape[2] >= 3 else 1]
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(bands, (height, width, 3))))


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    return canvas


def _decode(label: str, data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise ContractError(f"the tiles of {label} are {image.width}x{image.height} px, at most {MAX_SIDE_PX}")
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise ContractError(f"the tiles of {label} can't be read as a JPEG ({error}); run it again") from error


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
