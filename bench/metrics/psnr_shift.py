"""PSNR that forgives a misregistration of up to 3 px: the best over all shifts by whole pixels.

Unit: dB; higher is better; infinite where a shift makes the pair identical.
Formula: the reference's interior, 3 px from the border, is compared with the translated image's window at each of the 7x7
shifts of -3 to 3 px; the largest PSNR counts. Every shift sees the same reference pixels, and no border is invented. It is
never less than the PSNR of the same interior unshifted. How many images are best at which shift: `best_shift` of _shifts.py.
Source: that a pixel or two of misregistration outweighs a heavy blur is measured in Remote Sensing 12(21), 3472, 2020,
https://doi.org/10.3390/rs12213472; the tolerance is the suite's own.
Misleads: shifts alone are forgiven, not rotations or parallax; a method that moves everything by 2 px is forgiven too, so
read it beside psnr; and where an image resembles its reference at no shift, the best of 49 poor values is a little less poor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._shifts import RADIUS_PX, Errors, squared_errors
from sarbench.bench.metrics.psnr import decibels


def psnr_shift(
    translated: ImageBatch, reference: ImageBatch, k: int = RADIUS_PX, errors: Errors | None = None
) -> Float[np.ndarray, " B"]:
    """PSNR of each pair in dB at its best shift of up to k px, (B,) float64; inf for no error there.

    `errors`: what `squared_errors` gave for this k; None: computed here.
    ContractError for unlike sides, and for images without an interior (2 k + 1 px).
    """
    check_pairs(translated, reference, "psnr_shift", least_px=2 * k + 1)
    errors = squared_errors(translated, reference, k) if errors is None else errors
    return decibels(errors.min((1, 2)) / translated.peak**2)


metric = Metric(
    name="psnr_shift",
    signature="psnr_shift;best-of-k3;interior;rgb-mse;range255;v1",
    unit="dB",
    higher_is_better=True,
    rows=psnr_shift,
    shared={"errors": squared_errors},
    ranked=False,
    decimals=2,
)
