"""Random fields: fractal ones for the land, white ones for texture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from sarbench.datasets.world.exact import single, words


def fractal(
    rng: Generator, size_px: int, coarsest_px: int, finest_px: int = 1, slope: float = 4.0
) -> Float32[np.ndarray, "H W"]:
    """A random field of mean 0 and variance 1: white lattices at spacings coarsest_px, ..., 4, 2, finest_px, smoothed, summed.

    Octaves whose amplitude falls by 2^(-(slope - 2) / 2) from one to the next sum up to a power spectrum that is flat at long
    wavelengths and falls by frequency^(-slope) at short ones, i.e. close to von Karman's (f^2 + f0^2)^(-slope / 2). Adding
    detail to a smoothed lattice step by step is successive random addition (The Science of Fractal Images, 1988, ch. 1 and 2);
    smoothing is subdivision by the cubic B-spline, near a Gaussian and so without a grid's directions. Spacings are powers
    of two.
    """
    sizes = [size_px]
    while 1 << (len(sizes) - 1) < coarsest_px:
        sizes.append(sizes[-1] // 2 + 3)
    top = len(sizes) - 1
    amplitudes = _amplitudes(top, finest_px.bit_length() - 1, slope)
    field = _white(rng, sizes[top]) * amplitudes[top]
    for level in range(top - 1, -1, -1):
        down, right = int(rng.integers(2)), int(rng.integers(2))  # the lattice's place against the image is random too
        n = sizes[level]
        field = doubled(field)[down : down + n, right : right + n]
        if amplitudes[level]:
            field = field + _white(rng, n) * amplitudes[level]
    return np.ascontiguousarray(field)


def doubled(lattice: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "H W"]:
    """The lattice at half its spacing, by the subdivision rule of the uniform cubic B-spline: (2h - 4, 2w - 4)."""
    rows = np.empty((2 * len(lattice) - 4, lattice.shape[1]), np.float32)
    middle, after = lattice[1:-1], lattice[2:]
    rows[0::2] = 0.75 * middle + 0.125 * (lattice[:-2] + after)
    rows[1::2] = 0.5 * (middle + after)
    field = np.empty((len(rows), 2 * lattice.shape[1] - 4), np.float32)
    middle, after = rows[:, 1:-1], rows[:, 2:]
    field[:, 0::2] = 0.75 * middle + 0.125 * (rows[:, :-2] + after)
    field[:, 1::2] = 0.5 * (middle + after)
    return field


def _white(rng: Generator, size_px: int) -> Float32[np.ndarray, "H W"]:
    """Independent uniform numbers in [-1, 1)."""
    return words(rng, size_px, size_px).view("<i2") * np.float32(2.0**-15)


@lru_cache(maxsize=64)
def _amplitudes(top: int, bottom: int, slope: float) -> tuple[float, ...]:
    """The factor of each level's white lattice, finest level first; levels below `bottom` add nothing."""
    gain = 2.0 ** ((slope - 2.0) / 2.0)
    raw = [gain ** (level - top) if level >= bottom else 0.0 for level in range(top + 1)]
    variance = sum(a * a * _kept_variance(level) for level, a in enumerate(raw)) / 3.0  # 1/3: of a number in [-1, 1)
    return tuple(single(a / variance**0.5) for a in raw)


def _kept_variance(levels: int) -> float:
    """Which share of a lattice's variance is left after so many subdivisions, on average over the image."""
    line = np.array([1.0])
    for _ in range(levels):
        wide = np.zeros(2 * len(line) + 3)
        for shift, weight in enumerate((0.125, 0.5, 0.75, 0.5, 0.125)):
            wide[shift : shift + 2 * len(line) : 2] += weight * line
        line = wide
    return float((line**2).sum() / 2**levels) ** 2
