"""The share of pixels that are nearly right, for the two thresholds that papers use."""

from __future__ import annotations

from functools import reduce

import cv2
import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs


def accuracy(translated: ImageBatch, reference: ImageBatch, delta: int) -> Float[np.ndarray, " B"]:
    """The pixels of each pair, in %, whose error is below `delta` grey levels of 255 in every band; (B,) float64."""
    check_pairs(translated, reference, f"accuracy_delta{delta}")
    limit = delta * translated.peak / 255
    pixels = translated.pixels.shape[1] * translated.pixels.shape[2]
    rows = []
    for x, y in zip(translated.pixels, reference.pixels, strict=True):
        # cv2 widens integers before it subtracts; numpy would wrap around
        worst = reduce(cv2.max, cv2.split(cv2.absdiff(x, y)))
        rows.append(100 * np.count_nonzero(worst < limit) / pixels)
    return np.array(rows)


def accuracy_metric(delta: int) -> Metric:
    """The metric of one threshold."""

    def rows(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
        return accuracy(translated, reference, delta)

    return Metric(
        name=f"accuracy_delta{delta}",
        signature=f"accuracy_delta{delta};rgb-max;below{delta};levels255;v1",
        unit="%",
        higher_is_better=True,
        rows=rows,
        decimals=2,
    )
