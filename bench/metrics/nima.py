"""Neural image assessment: the mean score, 1 to 10, that photographers would give this image. No reference is read.

Unit: score points, 1 to 10; higher is better.
Formula: a network gives the share p_k of raters for each score k = 1 ... 10; the value is the sum of k p_k. The network is
Inception-ResNet-v2 on the middle 299x299 px of the image resized so that its shorter side has 299 px (bilinear, antialiased),
values in [-1, 1]; an image of one band is repeated to three. Float32, TF32 off; mean of the last map and linear layer in
float64. Weights: pyiqa's NIMA_InceptionV2_ava, whose name says Inception-v2 and whose tensors are Inception-ResNet-v2's.
Conventions: `vgg16`, the same with VGG-16 on 224x224 px, standardised by ImageNet's mean and spread: pyiqa's NIMA_VGG16_ava.
Source: Talebi and Milanfar, IEEE TIP 27(8), 2018, https://arxiv.org/abs/1709.05424. The paper squeezes the whole image to a
square, and has VGG-16, Inception-v2 and MobileNet; its weights were not published, and both used here are pyiqa's.
Table 3 of SRUIT reports NIMA (3.57 to 3.90) and names PIQ, a package that has no NIMA (0.8.0); pyiqa has. Which network it was
is not said, so the two must not be compared.
Misleads: it has learned what photographers like (AVA), not whether an image is right; aerial images score alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from sarbench.bench import assets
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._parallel import loaded_once

if TYPE_CHECKING:
    from torch import Tensor

    from sarbench.bench.metrics.networks.nima import Backbone

PIXELS_AT_ONCE = 8 * 299 * 299


def nima(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """NIMA (Inception-ResNet-v2) of each image in [1, 10], (B,) float64; on the GPU where there is one.

    Raises AssetMissing without the weights; ContractError for bands other than 1 or 3.
    """
    from sarbench.bench.metrics.networks.nima import INCEPTION_RESNET

    return of_weights(INCEPTION_RESNET, _weights(INCEPTION_RESNET), translated)


def nima_vgg16(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """NIMA (VGG-16) of each image, as `nima`."""
    from sarbench.bench.metrics.networks.nima import VGG

    return of_weights(VGG, _weights(VGG), translated)


def of_weights(backbone: Backbone, weights: dict[str, Tensor], translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """NIMA under weights that `networks.nima.weights` made ready; their device is where it runs."""
    from sarbench.bench.metrics.networks import nima as network
    from sarbench.bench.metrics.networks import running

    running.refuse_bands(translated, "nima")
    where = weights[f"{network.HEAD}.bias"].device
    shares = running.rows(
        translated, lambda x: network.distributions(backbone, weights, x), where, PIXELS_AT_ONCE, backbone.side
    )
    return mean_score(shares)


def mean_score(distributions: Float[np.ndarray, "B 10"]) -> Float[np.ndarray, " B"]:
    """The mean of the scores 1, 2, ... under each distribution."""
    return distributions @ np.arange(1, distributions.shape[1] + 1)


@loaded_once
def _weights(backbone: Backbone) -> dict[str, Tensor]:
    from sarbench.bench.metrics.networks import nima as network
    from sarbench.bench.metrics.networks import running

    return network.weights(backbone, assets.load_state_dict(backbone.asset), running.device())


metric = Metric(
    name="nima",
    signature="nima;inception-resnet-v2;ava;short-side299-bilinear-antialias;middle299;rgb;grey-repeated;range255;v1",
    unit="points",
    higher_is_better=True,
    rows=nima,
    reads=("translated",),
    assets=("nima",),
)

compat = {
    "vgg16": Metric(
        name="nima@vgg16",
        signature="nima@vgg16;ava;short-side224-bilinear-antialias;middle224;rgb;grey-repeated;range255;v1",
        unit="points",
        higher_is_better=True,
        rows=nima_vgg16,
        reads=("translated",),
        assets=("nima_vgg16",),
    )
}
