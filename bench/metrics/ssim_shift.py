"""SSIM that forgives a misregistration of up to 3 px: at the shift by whole pixels that fits best.

Unit: none, in [-1, 1]; higher is better; 1 where the shift makes the pair identical.
Formula: ssim of the reference's interior, 3 px from the border, against the translated image's window at one shift of -3 to 3
px on each axis: that of least squared error, which psnr_shift takes too; or ssim without a shift, where that is larger. So it
is never less than the SSIM of the same interior unshifted, and one shift belongs to a pair, whatever the metric: the largest
of all 49 values would hand every method the luck of 49 draws. On real pairs they differ by 0.005 on average where an image
hardly resembles its reference, and not at all where it is a shifted, blurred or noisy copy.
Source: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861; the tolerance is
the suite's own.
Misleads: shifts alone are forgiven, not rotations or parallax; a method that moves everything by 2 px is forgiven too, so
read it beside ssim; and half a pixel, which blurs, is beyond it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._shifts import RADIUS_PX, Errors, best_shift, moved, squared_errors
from sarbench.bench.metrics._structure import GAUSSIAN, mean_similarity


def ssim_shift(
    translated: ImageBatch, reference: ImageBatch, k: int = RADIUS_PX, errors: Errors | None = None
) -> Float[np.ndarray, " B"]:
    """SSIM of each pair at its shift of least squared error of up to k px, or unshifted if larger; (B,) float64.

    `errors`: what `squared_errors` gave for this k; None: computed here.
    ContractError for unlike sides, and for images whose interior is smaller than the window (2 k + 11 px).
    """
    check_pairs(translated, reference, "ssim_shift", least_px=2 * k + len(GAUSSIAN.weights))
    shifts = best_shift(translated, reference, k, errors)
    y = np.stack([moved(image, 0, 0, k) for image in reference.pixels])
    unshifted = np.stack([moved(image, 0, 0, k) for image in translated.pixels])
    rows = mean_similarity(unshifted, y, translated.peak).mean(1)
    off = np.flatnonzero(shifts.any(1))
    if off.size:
        x = np.stack([moved(translated.pixels[i], *shifts[i], k) for i in off])
        rows[off] = np.maximum(rows[off], mean_similarity(x, y[off], translated.peak).mean(1))
    return rows


metric = Metric(
    name="ssim_shift",
    signature="ssim_shift;least-squares-of-k3-or-0;interior;gauss11s1.5;rgb-mean;range255;valid;v1",
    unit="",
    higher_is_better=True,
    rows=ssim_shift,
    shared={"errors": squared_errors},
    ranked=False,
)
