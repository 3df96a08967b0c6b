"""Spatial correlation coefficient: does the fine structure of an image go along with that of its reference?

Unit: none, in [-1, 1]; higher is better; 1 for identical images that are not flat.
Formula: both images pass the Laplacian high-pass filter with eight neighbours, wherever it lies wholly inside the image; each
band's two results have one correlation coefficient over the whole image; the mean over the bands. A band that is flat on
either side has no structure to correlate and counts as 0. Brightness and contrast play no part.
Conventions: torchmetrics, sewar and cdiffset take the local form, see scc_local: where half of an image is flat on both
sides, theirs is about half of this one.
Source: Zhou, Civco and Silander, Int. J. Remote Sensing 19(4), 1998, https://doi.org/10.1080/014311698215973
Misleads: the strongest edges decide, so that a few roofs outweigh all the fields around them; and a pixel of misregistration
takes nearly all of it away.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics import scc_local
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._parallel import each

LEAST_PX = 4  # below it the filter leaves fewer than four places to correlate


def scc(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """SCC of each pair, (B,) float64. ContractError for unlike sides, and for images smaller than 4 px."""
    check_pairs(translated, reference, "scc", least_px=LEAST_PX)
    x, y = translated.pixels, reference.pixels
    tasks = [(i, band) for i in range(len(x)) for band in range(x.shape[3])]

    def work(task: tuple[int, int], planes: list[Float[np.ndarray, "H W"]]) -> float:
        i, band = task
        return _correlation(cv2.extractChannel(x[i], band), cv2.extractChannel(y[i], band), *planes)

    shape = x.shape[1:3]
    return np.reshape(each(work, tasks, lambda: [np.empty(shape) for _ in range(3)]), (len(x), -1)).mean(1)


def _correlation(
    x: Shaped[np.ndarray, "H W"],
    y: Shaped[np.ndarray, "H W"],
    high_x: Float[np.ndarray, "H W"],
    high_y: Float[np.ndarray, "H W"],
    product: Float[np.ndarray, "H W"],
) -> float:
    """The correlation of two bands' high-pass results; the last three are memory to overwrite."""
    for plane, high in ((x, high_x), (y, high_y)):
        cv2.filter2D(plane, cv2.CV_64F, scc_local.LAPLACIAN, dst=high)
        high[[0, -1]] = 0  # the border has no neighbours on one side, and takes no part: it adds nothing to any sum
        high[:, [0, -1]] = 0
    # the values are whole numbers, so the sums are exact up to 2^53, and integers keep them so: flat is exactly flat
    n = (x.shape[0] - 2) * (x.shape[1] - 2)
    sum_x, sum_y = int(high_x.sum()), int(high_y.sum())
    square_x, square_y, covariance = (
        n * int(np.multiply(a, b, out=product).sum()) for a, b in ((high_x, high_x), (high_y, high_y), (high_x, high_y))
    )
    variances = (square_x - sum_x**2) * (square_y - sum_y**2)
    return (covariance - sum_x * sum_y) / sqrt(variances) if variances > 0 else 0.0


metric = Metric(
    name="scc",
    signature="scc;laplacian8;valid;global;flat0;rgb-mean;v2",
    unit="",
    higher_is_better=True,
    rows=scc,
)

compat = {
    name: replace(local, name=f"scc@{name}", signature=local.signature.replace("scc_local@", "scc@"))
    for name, local in scc_local.compat.items()
}
