"""Root mean square error of one image against its reference, in grey levels.

Unit: grey levels of 255; lower is better; 0 for identical images.
Formula: the root of the mean squared difference over all pixels and bands of an image, times 255 / peak; the squares are
summed as integers. A board's figure is the mean of the images' values, not the root of the pooled error of the set.
Conventions: gcgan, the released evaluation behind the Photo->Map figures that SemST's table continues, divides the squared
differences of all bands by the number of pixels alone: sqrt(3) times this for RGB. It first resizes to 256x256 px; here
nothing is.
Source: the evaluation of Photo->Map of Fu et al., CVPR 2019, https://arxiv.org/abs/1809.05852
Misleads: as PSNR does, of which it is a function: it prefers a blurred image to a sharp one that is a pixel off.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs, mean_squared_error


def rmse(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """RMSE of each pair in grey levels, (B,) float64. ContractError for unlike sides."""
    check_pairs(translated, reference, "rmse")
    return np.sqrt(mean_squared_error(translated, reference)) * (255 / translated.peak)


def _of_gcgan(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    return rmse(translated, reference) * np.sqrt(translated.pixels.shape[3])


metric = Metric(
    name="rmse",
    signature="rmse;rgb-mse;levels255;v1",
    unit="grey levels",
    higher_is_better=False,
    rows=rmse,
    decimals=2,
)

compat = {
    "gcgan": replace(metric, name="rmse@gcgan", signature="rmse@gcgan;rgb-squares-summed;levels255;v1", rows=_of_gcgan),
}
