"""Pictures of matching: the template in a frame as large as the search image, and the search image with both places."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from sarbench.bench.images import quantise
from sarbench.bench.matcher import template_px

TRUE, FOUND = (255, 255, 255), (255, 0, 0)  # RGB of the frames
LINE_PX = 2


def framed(template: Float[np.ndarray, "C h w"], side_px: int) -> UInt8[np.ndarray, "side side 3"]:
    """The template in the middle of a white square."""
    canvas = np.full((side_px, side_px, 3), 255, np.uint8)
    image = _rgb(template)
    top, left = ((side_px - side) // 2 for side in image.shape[:2])
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def places_shown(
    search: Float[np.ndarray, "C H W"], true: tuple[int, int], found: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The search image with a white frame where the template lies, and a red one where it was found, which covers it."""
    image, side = _rgb(search), template_px(search.shape[1])
    for (top, left), colour in ((true, TRUE), (found, FOUND)):
        cv2.rectangle(image, (left, top), (left + side - 1, top + side - 1), colour, LINE_PX)
    return image


def _rgb(image: Float[np.ndarray, "C H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The first three bands, or the first as grey."""
    bands = quantise(image[:3] if len(image) >= 3 else image[:1]).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(bands, (*bands.shape[:2], 3)))
