"""Peak signal-to-noise ratio of one image against its reference.

Unit: dB; higher is better; infinite for identical images.
Formula: 10 log10(peak^2 / MSE), with the squared errors of all bands pooled into one MSE per image. The peak comes from the
pixel type (255 or 65535), never from the values, and the squared errors are summed as integers. A board's figure is the mean
of the images' values, which is not the PSNR of the pooled error of the set.
Conventions: torchmetrics gives the same for one image, but its class pools the error of a set; piq and pyiqa add 1e-8 to the
error of images in [0, 1], so that identical images have 80 dB; cdiffset clamps v + 0.5 to [0, 1] for v in [-1, 1].
Source: the definition used since at least Huynh-Thu and Ghanbari, Electronics Letters 44(13), 2008,
https://doi.org/10.1049/el:20080522
Misleads: where pairs are misregistered by a pixel or two, it prefers a blurred image to a sharp and right one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._conventions import stretched
from sarbench.bench.metrics._pairs import check_pairs, mean_squared_error

PIQ_EPSILON = 1e-8  # piq and pyiqa add it to the mean squared error of images in [0, 1]


def psnr(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """PSNR of each pair in dB, (B,) float64; inf where a pair is identical. ContractError for unlike sides."""
    check_pairs(translated, reference, "psnr")
    return decibels(mean_squared_error(translated, reference) / translated.peak**2)


def decibels(error: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """PSNR of mean squared errors given as shares of the squared peak; inf for no error."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def _of_piq(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, "psnr")
    return decibels(mean_squared_error(translated, reference) / translated.peak**2 + PIQ_EPSILON)


def _of_cdiffset(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, "psnr")
    difference = stretched(translated) - stretched(reference)
    return decibels(np.mean(difference**2, axis=(1, 2, 3)))


metric = Metric(
    name="psnr",
    signature="psnr;rgb-mse;range255;v1",
    unit="dB",
    higher_is_better=True,
    rows=psnr,
    decimals=2,
)

compat = {
    "torchmetrics": replace(metric, name="psnr@torchmetrics", signature="psnr@torchmetrics;rgb-mse;range1;per-image;v1"),
    "piq": replace(metric, name="psnr@piq", signature="psnr@piq;rgb-mse+1e-8;range1;v1", rows=_of_piq),
    "pyiqa": replace(metric, name="psnr@pyiqa", signature="psnr@pyiqa;rgb-mse+1e-8;range1;v1", rows=_of_piq),
    "cdiffset": replace(metric, name="psnr@cdiffset", signature="psnr@cdiffset;clamp(v+0.5);rgb-mse;v1", rows=_of_cdiffset),
}
