"""Peak signal-to-noise ratio of one image against its reference.

Unit: dB; higher is better; infinite for identical images.
Formula: 10 log10(peak^2 / MSE), with the squared errors of all bands pooled into one MSE per image. The peak comes from
the pixel type (255 or 65535), never from the values, and the squared errors are summed as integers. A board's figure is
the mean of the images' values, which is not the PSNR of the pooled error of the set.
Source: the definition used since at least Huynh-Thu and Ghanbari, Electronics Letters 44(13), 2008,
https://doi.org/10.1049/el:20080522
Misleads: where pairs are misregistered by a pixel or two, it prefers a blurred image to a sharp and right one.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs


def psnr(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """PSNR of each pair in dB, (B,) float64; inf where a pair is identical. ContractError for unlike sides."""
    check_pairs(translated, reference, "psnr")
    peak = translated.peak
    pairs = zip(translated.pixels, reference.pixels, strict=True)
    # cv2 widens integers before it subtracts; numpy would wrap around
    errors = [cv2.norm(x.reshape(-1), y.reshape(-1), cv2.NORM_L2SQR) / x.size for x, y in pairs]
    return np.array([10 * math.log10(peak**2 / error) if error else math.inf for error in errors])


metric = Metric(
    name="psnr",
    signature="psnr;rgb-mse;range255;v1",
    unit="dB",
    higher_is_better=True,
    rows=psnr,
    decimals=2,
)
