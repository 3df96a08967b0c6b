"""Learned perceptual image patch similarity with the features of VGG-16, another number than `lpips`.

Unit: none, from 0; lower is better; 0 for identical images.
Formula: as `lpips`, with the maps relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of torchvision's VGG-16.
Conventions: `cdiffset` is what the evaluation code of C-DiffSET does, whose file says that the published numbers were made so:
values in [-1, 1] become clamp(x + 0.5, 0, 1), a stretch that clips the darkest and the brightest quarter, and go into the
network as if they were in [-1, 1]. That code scores float images; here they are the 8 or 16 bits that were written.
Source: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018, https://arxiv.org/abs/1801.03924; C-DiffSET, Tables 1 and 2.
Misleads: as `lpips` does; and a paper that says LPIPS alone may mean either network.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._lpips import prepared


def lpips_vgg(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """LPIPS v0.1 (VGG-16) of each pair, (B,) float64; on the GPU where there is one.

    Raises AssetMissing without VGG-16's weights; ContractError for unlike sides, sides below 16 px, and bands other than
    1 or 3.
    """
    from sarbench.bench.metrics.networks.lpips import VGG, load

    return load(VGG).distances(translated, reference)


def lpips_vgg_cdiffset(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """The same, as the evaluation code of C-DiffSET has it."""
    from sarbench.bench.metrics.networks.lpips import VGG, cdiffset, load

    return load(VGG, cdiffset).distances(translated, reference)


metric = Metric(
    name="lpips_vgg",
    signature="lpips_vgg;v0.1;vgg16;rgb;grey-repeated;range255;v1",
    unit="",
    higher_is_better=False,
    rows=lpips_vgg,
    prepared=prepared("VGG"),
    assets=("vgg16",),
)

compat = {
    "cdiffset": Metric(
        name="lpips_vgg@cdiffset",
        signature="lpips_vgg@cdiffset;v0.1;vgg16;rgb;grey-repeated;range255;clamp(x+0.5);not-rescaled;cdiffset;v1",
        unit="",
        higher_is_better=False,
        rows=lpips_vgg_cdiffset,
        assets=("vgg16",),
    )
}
