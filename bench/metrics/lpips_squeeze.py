"""Learned perceptual image patch similarity with the features of SqueezeNet 1.1, another number than `lpips`.

Unit: none, from 0; lower is better; 0 for identical images.
Formula: as `lpips`, with seven maps of torchvision's SqueezeNet 1.1: the first ReLU, and the outputs of the fire modules 2,
4, 5, 6, 7 and 8 (`features` 4, 7, 9, 10, 11, 12).
Source: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018, https://arxiv.org/abs/1801.03924; torchmetrics and pyiqa offer it
under the same name.
Misleads: as `lpips` does.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._lpips import prepared


def lpips_squeeze(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """LPIPS v0.1 (SqueezeNet 1.1) of each pair, (B,) float64; on the GPU where there is one.

    Raises AssetMissing without SqueezeNet's weights; ContractError for unlike sides, sides below 17 px, and bands other
    than 1 or 3.
    """
    from sarbench.bench.metrics.networks.lpips import SQUEEZE, load

    return load(SQUEEZE).distances(translated, reference)


metric = Metric(
    name="lpips_squeeze",
    signature="lpips_squeeze;v0.1;squeezenet1.1;rgb;grey-repeated;range255;v1",
    unit="",
    higher_is_better=False,
    rows=lpips_squeeze,
    prepared=prepared("SQUEEZE"),
    assets=("squeezenet1_1",),
)
