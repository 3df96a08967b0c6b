"""Structural similarity of one image to its reference: local means, contrasts and correlation.

Unit: none, in [-1, 1]; higher is better; 1 for identical images.
Formula: Eq. 13 of the paper, (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2)), with an 11x11 Gaussian
window of sigma 1.5, population covariances, C1 = (0.01 peak)^2 and C2 = (0.03 peak)^2; the mean over the windows that lie
wholly inside the image (no padding, no downsampling), then the mean over the bands.
Conventions: torchmetrics pads the image by reflection, and counts the border; piq first shrinks images of 384 px and more by
a whole factor; pyiqa takes the luma of RGB in whole levels, and negative contrast-structure terms as 0; skimage takes a flat
7x7 window and sample covariances; cdiffset clamps v + 0.5 to [0, 1] for v in [-1, 1], then does as torchmetrics does.
Source: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861
Misleads: as PSNR does on misregistered pairs; and areas flat on both sides (water, nodata) score near 1 and lift the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics import _conventions
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._structure import GAUSSIAN, Window, mean_similarity, reflected

UNIFORM7 = Window(np.full(7, 1 / 7), k2=0.03 * (48 / 49) ** 0.5)  # sample covariances: C2 over their factor, 49 / 48
PIQ_SIDE = 256  # px; piq averages over squares of round(smaller side / 256) px


def ssim(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """SSIM of each pair, (B,) float64. ContractError for unlike sides, and for images smaller than the window (11 px)."""
    check_pairs(translated, reference, "ssim", least_px=len(GAUSSIAN.weights))
    return mean_similarity(translated.pixels, reference.pixels, translated.peak).mean(1)


def _shrunk(images: ImageBatch) -> Float[np.ndarray, "B h w C"]:
    height, width, bands = images.pixels.shape[1:]
    factor = max(1, round(min(height, width) / PIQ_SIDE))
    height, width = height // factor, width // factor
    whole = _conventions.unit(images)[:, : height * factor, : width * factor]
    return whole.reshape(-1, height, factor, width, factor, bands).mean((2, 4))


def _convention(
    name: str,
    settings: str,
    prepare: Callable[[ImageBatch], Float[np.ndarray, "B H W C"]],
    peak: float = 1,
    window: Window = GAUSSIAN,
) -> Metric:
    """SSIM as another suite defines it: of the images that `prepare` makes, whose white is `peak`."""

    def rows(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
        check_pairs(translated, reference, f"ssim@{name}", least_px=len(window.weights))
        return mean_similarity(prepare(translated), prepare(reference), peak, window).mean(1)

    return Metric(name=f"ssim@{name}", signature=f"ssim@{name};{settings};v1", unit="", higher_is_better=True, rows=rows)


metric = Metric(
    name="ssim",
    signature="ssim;gauss11s1.5;rgb-mean;range255;valid;v1",
    unit="",
    higher_is_better=True,
    rows=ssim,
)

compat = {
    "torchmetrics": _convention(
        "torchmetrics", "gauss11s1.5;rgb-mean;range1;reflect", lambda images: reflected(_conventions.unit(images))
    ),
    "piq": _convention("piq", "shrunk-by-round(side/256);gauss11s1.5;rgb-mean;range1;valid", _shrunk),
    "pyiqa": _convention(
        "pyiqa",
        "luma601-rounded;gauss11s1.5;range255;valid;contrast-clipped",
        _conventions.luma,
        255,
        replace(GAUSSIAN, clip=True),
    ),
    "skimage": _convention("skimage", "uniform7;sample-covariance;rgb-mean;range1;valid", _conventions.unit, window=UNIFORM7),
    "cdiffset": _convention(
        "cdiffset", "clamp(v+0.5);gauss11s1.5;rgb-mean;range1;reflect", lambda images: reflected(_conventions.stretched(images))
    ),
}
