"""The float64 self of SSIM, MS-SSIM and their conventions: see `certify_selves`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float

Plane = Float[np.ndarray, "H W"]
Image = Float[np.ndarray, "H W C"]

POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
GAUSSIAN = np.exp(-(np.arange(-5, 6) ** 2) / 4.5) / np.exp(-(np.arange(-5, 6) ** 2) / 4.5).sum()
FLAT7 = np.full(7, 1 / 7)


def bands_of(x: Image, y: Image) -> Iterator[tuple[Plane, Plane]]:
    """The bands of both images, one after the other."""
    return zip(np.moveaxis(x, 2, 0), np.moveaxis(y, 2, 0), strict=True)


def stretched(x: Image, peak: float) -> Image:
    """Clamp(v + 0.5) for v in [-1, 1], as values in [0, 1]."""
    return np.clip((2 * x / peak - 1) + 0.5, 0, 1)


def windowed(image: Plane, weights: Float[np.ndarray, " side"]) -> Plane:
    """The weighted mean of the window around every pixel where it fits."""
    side = len(weights)
    rows = sum(w * image[i : len(image) - side + 1 + i] for i, w in enumerate(weights))
    return sum(w * rows[:, i : rows.shape[1] - side + 1 + i] for i, w in enumerate(weights))


def similarity(
    x: Plane,
    y: Plane,
    peak: float,
    weights: Float[np.ndarray, " side"] = GAUSSIAN,
    sample: bool = False,
    clip: bool = False,
) -> tuple[float, float]:
    """Means of SSIM and of its contrast-structure term over one band; with covariances of samples; negative terms as 0."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mx, my = windowed(x, weights), windowed(y, weights)
    # about the middle, where float64 loses least
    u, v = x - peak / 2, y - peak / 2
    mu, mv = windowed(u, weights), windowed(v, weights)
    n = len(weights) ** 2
    factor = n / (n - 1) if sample else 1
    pairs = ((u, u, mu, mu), (v, v, mv, mv), (u, v, mu, mv))
    sx, sy, sxy = (factor * (windowed(a * b, weights) - ma * mb) for a, b, ma, mb in pairs)
    contrast = (2 * sxy + c2) / (sx + sy + c2)
    contrast = np.maximum(contrast, 0) if clip else contrast
    return float(np.mean((2 * mx * my + c1) / (mx**2 + my**2 + c1) * contrast)), float(np.mean(contrast))


def reflected(band: Plane) -> Plane:
    """With a border of 5 px."""
    return np.pad(band, 5, mode="reflect")


def ssim(x: Image, y: Image, peak: float) -> float:
    """Where the Gaussian window fits."""
    return float(np.mean([similarity(a, b, peak)[0] for a, b in bands_of(x, y)]))


def ssim_torchmetrics(x: Image, y: Image, peak: float) -> float:
    """With a reflected border."""
    return float(np.mean([similarity(reflected(a), reflected(b), peak)[0] for a, b in bands_of(x, y)]))


def ssim_cdiffset(x: Image, y: Image, peak: float) -> float:
    """As torchmetrics, of the stretched images."""
    return ssim_torchmetrics(stretched(x, peak), stretched(y, peak), 1)


def ssim_piq(x: Image, y: Image, peak: float) -> float:
    """Of means over squares of round(smaller side / 256) px."""
    side = max(1, round(min(x.shape[:2]) / 256))
    height, width = x.shape[0] // side * side, x.shape[1] // side * side
    places = list(product(range(side), repeat=2))
    x, y = (np.mean([z[i:height:side, j:width:side] for i, j in places], axis=0) for z in (x, y))
    return ssim(x, y, peak)


def _luma(x: Image) -> Image:
    red, green, blue = (np.float32(w) * x[..., [i]] for i, w in enumerate((0.299, 0.587, 0.114)))
    return red + green + blue


def ssim_pyiqa(x: Image, y: Image, peak: float) -> float:
    """Of the luma in whole levels, in float32 up to the rounding; negative terms as 0; other than three bands as they are."""
    x, y = (z.astype(np.float32) / np.float32(peak) for z in (x, y))
    if x.shape[2] == 3:
        x, y = (_luma(z) for z in (x, y))
    x, y = (np.rint(z * np.float32(255)).astype(np.float64) for z in (x, y))
    return float(np.mean([similarity(a, b, 255, clip=True)[0] for a, b in bands_of(x, y)]))


def ssim_skimage(x: Image, y: Image, peak: float) -> float:
    """A flat window of 7 px, covariances of samples."""
    return float(np.mean([similarity(a, b, peak, FLAT7, sample=True)[0] for a, b in bands_of(x, y)]))


def _halved(band: Plane) -> Plane:
    band = band[: len(band) // 2 * 2, : band.shape[1] // 2 * 2]
    return (band[::2, ::2] + band[1::2, ::2] + band[::2, 1::2] + band[1::2, 1::2]) / 4


def _terms(a: Plane, b: Plane, peak: float, pad_odd: bool = False, reflect_last: bool = False) -> Float[np.ndarray, " 5"]:
    """What MS-SSIM raises to its powers: four contrast-structure terms, and the whole of SSIM at the last scale."""
    terms = []
    for _ in POWERS[:-1]:
        terms.append(similarity(a, b, peak)[1])
        if pad_odd and (a.shape[0] % 2 or a.shape[1] % 2):
            a, b = (np.pad(c, ((1, 0), (1, 0)), mode="edge") for c in (a, b))
        a, b = _halved(a), _halved(b)
    a, b = (reflected(c) if reflect_last else c for c in (a, b))
    return np.array([*terms, similarity(a, b, peak)[0]])


def _product(terms: Float[np.ndarray, " 5"]) -> float:
    return float(np.prod(np.maximum(terms, 0) ** np.array(POWERS)))


def ms_ssim(x: Image, y: Image, peak: float) -> float:
    """An odd last row or column is left out."""
    return float(np.mean([_product(_terms(a, b, peak)) for a, b in bands_of(x, y)]))


def ms_ssim_piq(x: Image, y: Image, peak: float) -> float:
    """The first row and column are repeated where a side is odd."""
    return float(np.mean([_product(_terms(a, b, peak, pad_odd=True)) for a, b in bands_of(x, y)]))


def ms_ssim_torchmetrics(x: Image, y: Image, peak: float) -> float:
    """The product of the means over all bands; the last scale with a reflected border."""
    return _product(np.mean([_terms(a, b, peak, reflect_last=True) for a, b in bands_of(x, y)], axis=0))
