"""ERGAS: the relative error of all bands together (erreur relative globale adimensionnelle de synthese).

Unit: none, in percent of the bands' means; from 0; lower is better; 0 for identical images.
Formula: 100 (h / l) sqrt(mean over bands of (RMSE of the band / mean of the band in the reference)^2), in which h / l, the
pixel size of the fused image by that of the coarse one it was made from, is 1 here: a translation changes no pixel size.
Conventions: torchmetrics and sewar take pan-sharpening's h / l = 1 / 4, and so a quarter of this;
where a band of the reference is black theirs is infinite, or undefined where both are.
Source: Wald, Data Fusion: Definitions and Architectures, Presses de l'Ecole des Mines, 2002; Wald, Fusion of Earth Data,
2000.
Misleads: made for radiances, in which 0 is no light; 8-bit pixels are often stretched, and a dark band of the reference
(water) then outweighs all others.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs, squared_error

PAN_SHARPENING = 1 / 4  # h / l that libraries assume


def ergas(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """ERGAS of each pair at h / l = 1, (B,) float64; NaN where a band of the reference is black.

    ContractError for unlike sides.
    """
    rows, black = _rows(translated, reference)
    return np.where(black, np.nan, rows)


def _rows(translated: ImageBatch, reference: ImageBatch) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
    """The formula as it stands, and where a band of the reference is black."""
    check_pairs(translated, reference, "ergas")
    errors, means = np.empty((2, len(reference), reference.pixels.shape[3]))
    for i, (x, y) in enumerate(zip(translated.pixels, reference.pixels, strict=True)):
        for band, (a, b) in enumerate(zip(cv2.split(x), cv2.split(y), strict=True)):
            errors[i, band] = squared_error(a, b) / a.size
            means[i, band] = cv2.sumElems(b)[0] / b.size  # the sum is a whole number, and exact
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * np.sqrt(np.mean(errors / means**2, axis=1)), (means == 0).any(axis=1)


def _at_a_quarter(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    return PAN_SHARPENING * _rows(translated, reference)[0]


metric = Metric(
    name="ergas",
    signature="ergas;ratio1;rgb;v1",
    unit="%",
    higher_is_better=False,
    rows=ergas,
    decimals=2,
    undefined="a band of the reference is black",
)

compat = {
    name: replace(
        metric,
        name=f"ergas@{name}",
        signature=f"ergas@{name};ratio1/4;rgb;v2",
        rows=_at_a_quarter,
        undefined="a band is black on both sides",
    )
    for name in ("torchmetrics", "sewar")
}
