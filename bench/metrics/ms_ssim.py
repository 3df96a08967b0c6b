"""Multi-scale structural similarity: SSIM's contrast and structure at five sizes of the image, its luminance at the last.

Unit: none, in [0, 1]; higher is better; 1 for identical images.
Formula: Eq. 7 of the paper: the product over five scales of the mean contrast-structure term, and at the fifth scale the mean
of the whole of SSIM, to the powers 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333; window and constants of ssim, no padding. From
scale to scale the image is averaged over squares of 2x2 px; an odd last row or column is left out. A mean below 0 has no such
power, and counts as 0. The mean over the bands comes last. Sides of less than 176 px are too small for the fifth window.
Conventions: torchmetrics takes the means over all bands before the product, and pads the image by reflection at the fifth
scale; piq repeats the first row and column where a side is odd.
Source: Wang, Simoncelli and Bovik, Asilomar Conference, 2003, https://doi.org/10.1109/ACSSC.2003.1292216
Misleads: one scale at which the means do not go along makes it 0, whatever the others say; and it forgives a shift of a pixel
or two more than ssim does, but a blur still more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._structure import GAUSSIAN, mean_similarity, reflected

POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Sec. 3.2; from the finest scale to the coarsest
LEAST_PX = len(GAUSSIAN.weights) * 2 ** (len(POWERS) - 1)


def ms_ssim(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """MS-SSIM of each pair, (B,) float64. ContractError for unlike sides, and for sides of less than 176 px."""
    check_pairs(translated, reference, "ms_ssim", least_px=LEAST_PX)
    return _product(_scales(translated, reference)).mean(1)


def _of_torchmetrics(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, "ms_ssim@torchmetrics", least_px=LEAST_PX)
    return _product([term.mean(1) for term in _scales(translated, reference, last=reflected)])


def _of_piq(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, "ms_ssim@piq", least_px=LEAST_PX)
    return _product(_scales(translated, reference, before_halving=_even)).mean(1)


Change = Callable[[Shaped[np.ndarray, "B H W C"]], Shaped[np.ndarray, "B h w C"]]


def _as_it_is(images: Shaped[np.ndarray, "B H W C"]) -> Shaped[np.ndarray, "B H W C"]:
    return images


def _scales(
    translated: ImageBatch, reference: ImageBatch, before_halving: Change = _as_it_is, last: Change = _as_it_is
) -> list[Float[np.ndarray, "B C"]]:
    """The mean term of each scale, from the finest to the coarsest."""
    x, y = translated.pixels, reference.pixels
    terms = []
    for _ in POWERS[:-1]:
        terms.append(mean_similarity(x, y, translated.peak, luminance=False))
        x, y = _halved(before_halving(x)), _halved(before_halving(y))
    return [*terms, mean_similarity(last(x), last(y), translated.peak)]


def _halved(images: Shaped[np.ndarray, "B H W C"]) -> Float[np.ndarray, "B H/2 W/2 C"]:
    """Means over squares of 2x2 px; exact, since four scales divide a whole number by 256 at most."""
    height, width = (side // 2 * 2 for side in images.shape[1:3])
    rows = np.add(images[:, 0:height:2], images[:, 1:height:2], dtype=np.float64)
    return (rows[:, :, 0:width:2] + rows[:, :, 1:width:2]) / 4


def _even(images: Shaped[np.ndarray, "B H W C"]) -> Shaped[np.ndarray, "B h w C"]:
    odd = max(side % 2 for side in images.shape[1:3])
    return np.pad(images, ((0, 0), (odd, 0), (odd, 0), (0, 0)), mode="edge")


def _product(terms: Sequence[Float[np.ndarray, "B ..."]]) -> Float[np.ndarray, "B ..."]:
    return np.prod([np.maximum(term, 0) ** power for term, power in zip(terms, POWERS, strict=True)], axis=0)


metric = Metric(
    name="ms_ssim",
    signature="ms_ssim;scales5-mean2x2;gauss11s1.5;rgb-mean;range255;valid;v1",
    unit="",
    higher_is_better=True,
    rows=ms_ssim,
)

compat = {
    "torchmetrics": replace(
        metric,
        name="ms_ssim@torchmetrics",
        signature="ms_ssim@torchmetrics;scales5-mean2x2;gauss11s1.5;rgb-before-product;range1;last-reflect;v1",
        rows=_of_torchmetrics,
    ),
    "piq": replace(
        metric,
        name="ms_ssim@piq",
        signature="ms_ssim@piq;scales5-mean2x2-padded;gauss11s1.5;rgb-mean;range1;valid;v1",
        rows=_of_piq,
    ),
}
