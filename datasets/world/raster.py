"""Slopes, shadows, blur and shifts of images."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

from sarbench.datasets.world.exact import single

Vector = tuple[float, float, float]  # x to the right, y down, z up


def gradient(field: Float32[np.ndarray, "H W"]) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """Change a pixel, downwards and to the right: half the difference of the two neighbours, one-sided at the border."""
    down, right = np.empty_like(field), np.empty_like(field)
    np.subtract(field[2:], field[:-2], out=down[1:-1])
    np.subtract(field[:, 2:], field[:, :-2], out=right[:, 1:-1])
    down[1:-1] *= np.float32(0.5)
    right[:, 1:-1] *= np.float32(0.5)
    down[0], down[-1] = field[1] - field[0], field[-1] - field[-2]
    right[:, 0], right[:, -1] = field[:, 1] - field[:, 0], field[:, -1] - field[:, -2]
    return down, right


def cosine(height_m: Float32[np.ndarray, "H W"], pixel_m: float, towards: Vector) -> Float32[np.ndarray, "H W"]:
    """The cosine of the angle between a surface's normal and a unit vector."""
    down, right = gradient(height_m)
    right *= np.float32(1.0 / pixel_m)
    down *= np.float32(1.0 / pixel_m)
    found = right * np.float32(-towards[0])
    found -= down * np.float32(towards[1])
    found += np.float32(towards[2])
    right *= right
    down *= down
    right += down
    right += np.float32(1.0)
    found /= np.sqrt(right, out=right)
    return found


def blurred(image: Float32[np.ndarray, "... H W"]) -> Float32[np.ndarray, "... H-2 W-2"]:
    """The image under a sensor's point spread of (1, 6, 1) / 8 each way; the outermost pixels are used up."""
    rows = image[..., :-2, :] + image[..., 2:, :]
    rows *= np.float32(1.0 / 6.0)
    rows += image[..., 1:-1, :]
    columns = rows[..., :-2] + rows[..., 2:]
    columns *= np.float32(1.0 / 6.0)
    columns += rows[..., 1:-1]
    columns *= np.float32(0.5625)  # (6 / 8)^2
    return columns


def moved(
    image: Float32[np.ndarray, "... H W"], down_px: float, right_px: float, edge_px: int
) -> Float32[np.ndarray, "... H-2E W-2E"]:
    """The image moved by a part of a pixel or more, and cut by edge_px on each side, which must exceed the move by 2.

    Cubic convolution (Keys, 1981, a = -1/2): exact for whole pixels, and close to a band-limited shift between them.
    """
    for axis, shift in ((-2, down_px), (-1, right_px)):
        whole = int(np.floor(-shift))
        weights = _keys(-shift - whole)
        n = image.shape[axis] - 2 * edge_px
        first = edge_px + whole - 1
        taps = [image.take(range(first + k, first + k + n), axis) * np.float32(weight) for k, weight in enumerate(weights)]
        image = taps[0] + taps[1] + taps[2] + taps[3]
    return image


def _keys(t: float) -> tuple[float, float, float, float]:
    """Weights of the pixels at -1, 0, 1, 2 for the place t in [0, 1)."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


def cast_shadow(height_m: Float32[np.ndarray, "H W"], pixel_m: float, towards: Vector) -> Float32[np.ndarray, "H W"]:
    """How much of each pixel's ground lies in the shadow of something higher, from 0 to 1; `towards` points to the light.

    A thing of height h throws a shadow h / tan(elevation of the light) long, away from the light. The last metre below the
    shadow's upper edge is half light.
    """
    flat = single(math.hypot(towards[0], towards[1]))
    fall_m = pixel_m * towards[2] / flat  # of the shadow's upper edge, a pixel
    height, width = height_m.shape
    edge_m = np.zeros_like(height_m)
    for step in range(1, int(float(height_m.max()) / fall_m) + 2):
        right, down = round(-towards[0] / flat * step), round(-towards[1] / flat * step)
        if abs(right) < width and abs(down) < height:
            here = edge_m[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            there = height_m[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
            np.maximum(here, there - np.float32(step * fall_m), out=here)
    edge_m -= height_m
    return np.clip(edge_m, 0.0, 1.0, out=edge_m)
