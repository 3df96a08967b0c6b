"""Blind image quality of a deep bilinear network: how good would people call this photograph? No reference is read.

Unit: none, roughly 0 to 1 (the mean opinion scores of KonIQ-10k, scaled); higher is better. Values can leave that range.
Formula: the last maps of VGG-16 (relu5_3) and of S-CNN, a small network that learned to name synthetic distortions; the mean
over positions of their outer product, +1e-8, square root, scaled to unit length; a linear layer. Where the maps differ in size
(sides that are no multiples of 16 px) that of S-CNN is resized to VGG's, bilinear with corners aligned.
The image is read at its own size, as the official code does, standardised by ImageNet's mean and spread; an image of one
band is repeated to three. Weights: pyiqa's DBCNN_KonIQ10k, which holds all three parts; the official repository publishes
S-CNN alone. Float32, TF32 off; pooling and linear layer in float64.
Source: Zhang, Ma, Yan, Deng and Wang, IEEE TCSVT 30(1), 2020, https://arxiv.org/abs/1907.02665
Table 3 of SRUIT reports DBCNN (22.87 to 29.20) and names PIQ, a package that has no DBCNN (0.8.0); pyiqa has. Those values
are on another scale, of weights that are not named, so the two must not be compared.
Misleads: it has seen photographs of daily life and their faults. It does not know what an image should show: a sharp and
wrong translation beats a hazy target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from sarbench.bench import assets
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._parallel import loaded_once

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PIXELS_AT_ONCE = 4 * 256 * 256


def dbcnn(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """DBCNN of each image, (B,) float64; on the GPU where there is one.

    Raises AssetMissing without the weights; ContractError for sides below 16 px, and bands other than 1 or 3.
    """
    from sarbench.bench.metrics.networks import running

    return of_weights(_weights(running.device()), translated)


def of_weights(weights: dict[str, Tensor], translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """DBCNN under weights that `networks.dbcnn.weights` made ready; their device is where it runs."""
    from sarbench.bench.metrics.networks import dbcnn as network
    from sarbench.bench.metrics.networks import running, vgg

    running.refuse_bands(translated, "dbcnn", vgg.LEAST_PX)
    return running.rows(translated, lambda x: network.scores(weights, x), weights["fc.weight"].device, PIXELS_AT_ONCE)


@loaded_once
def _weights(where: torch.device) -> dict[str, Tensor]:
    from sarbench.bench.metrics.networks import dbcnn as network

    return network.weights(assets.load_state_dict("dbcnn"), where)


metric = Metric(
    name="dbcnn",
    signature="dbcnn;koniq10k;own-size;imagenet-standardised;rgb;grey-repeated;range255;v1",
    unit="",
    higher_is_better=True,
    rows=dbcnn,
    reads=("translated",),
    assets=("dbcnn",),
)
