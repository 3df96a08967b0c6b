"""Structural similarity of one image to its reference: local means, contrasts and correlation.

Unit: none, in [-1, 1]; higher is better; 1 for identical images.
Formula: Eq. 13 of the paper, (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2)), with an 11x11 Gaussian
window of sigma 1.5, population covariances, C1 = (0.01 peak)^2 and C2 = (0.03 peak)^2; the mean over the windows that lie
wholly inside the image (no padding, no downsampling), then the mean over the bands.
Source: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861
Misleads: as PSNR does on misregistered pairs; and areas flat on both sides (water, nodata) score near 1 and lift
the mean.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs

RADIUS = 5
SIGMA = 1.5
K1, K2 = 0.01, 0.03
_weights = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
WINDOW = _weights / _weights.sum()  # the 2-D window is its outer product with itself


def ssim(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """SSIM of each pair, (B,) float64. ContractError for unlike sides, and for images smaller than the window (11 px)."""
    check_pairs(translated, reference, "ssim", least_px=2 * RADIUS + 1)
    peak, bands = translated.peak, translated.pixels.shape[3]
    pairs = zip(translated.pixels, reference.pixels, strict=True)
    return np.array([np.mean([_of_band(x[:, :, i], y[:, :, i], peak) for i in range(bands)]) for x, y in pairs])


def _of_band(x: Shaped[np.ndarray, "H W"], y: Shaped[np.ndarray, "H W"], peak: int) -> float:
    # float64: in float32 the variance of a flat bright area cancels, and SSIM is off by up to 3e-5
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    product, power = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _windowed(x * y) - product
    variances = _windowed(x**2 + y**2) - power  # only their sum is needed: four maps, not five
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    return float(np.mean((2 * product + c1) * (2 * covariance + c2) / ((power + c1) * (variances + c2))))


def _windowed(x: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H-10 W-10"]:
    return cv2.sepFilter2D(x, cv2.CV_64F, WINDOW, WINDOW)[RADIUS:-RADIUS, RADIUS:-RADIUS]


metric = Metric(
    name="ssim",
    signature="ssim;gauss11s1.5;rgb-mean;range255;valid;v1",
    unit="",
    higher_is_better=True,
    rows=ssim,
)
