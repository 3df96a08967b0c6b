"""Learned perceptual image patch similarity: a distance of AlexNet features, weighted to agree with human judgement.

Unit: none, from 0; lower is better; 0 for identical images.
Formula: Eq. 1 of the paper: features after each of the five ReLUs, each pixel's feature vector scaled to unit length; the
squared differences weighted by the learned heads, summed over channels, averaged over pixels, summed over the layers.
Version 0.1: the network is torchvision's AlexNet, the heads are the file of the `lpips` package. Float32, TF32 off.
Pixels are taken to [-1, 1] by their typed range; an image of one band is repeated to three.
Source: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018, https://arxiv.org/abs/1801.03924
Misleads: the network saw photographs, not overhead images, let alone SAR; an order of methods is worth more than a value.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._lpips import prepared


def lpips(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """LPIPS v0.1 (AlexNet) of each pair, (B,) float64; on the GPU where there is one.

    Raises AssetMissing without AlexNet's weights; ContractError for unlike sides, sides below 31 px, and bands other than
    1 or 3.
    """
    from sarbench.bench.metrics.networks.lpips import ALEX, load

    return load(ALEX).distances(translated, reference)


metric = Metric(
    name="lpips",
    signature="lpips;v0.1;alex;rgb;grey-repeated;range255;v1",
    unit="",
    higher_is_better=False,
    rows=lpips,
    prepared=prepared("ALEX"),
    assets=("alexnet",),
)
