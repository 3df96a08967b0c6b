"""Attention by class activation maps: a small classifier of domains says which channels tell them apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sarbench.methods.networks import initialization


class Attended(NamedTuple):
    """What the attention gives."""

    features: Float[Tensor, "B C h w"]
    logits: Float[Tensor, "B 2"]  # of the domain: by mean and by maximum over the image


class ClassActivation(nn.Module):
    """CAM attention of U-GAT-IT (Kim et al., 2020), Sec. 2.1.1: weights of the classifiers scale the features.

    Two linear classifiers without bias, on each channel's mean and maximum; the features times the weights of the one and
    of the other, joined, pass a 1x1 convolution. `spectral`: the classifiers are under spectral normalisation, and so are
    the weights that scale the features, for which the official PyTorch code takes those before it.
    """

    def __init__(self, channels: int, *, spectral: bool = False) -> None:
        super().__init__()

        def classifier() -> nn.Module:
            linear = initialization.normal(nn.Linear(channels, 1, bias=False))
            return spectral_norm(linear) if spectral else linear

        self.by_mean, self.by_maximum = classifier(), classifier()
        self.mix = initialization.normal(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Float[Tensor, "B C h w"]) -> Attended:
        """The features, weighted; and the logits that the image is of the first domain."""
        views, logits = [], []
        for classifier, pooled in ((self.by_mean, x.mean(dim=(2, 3))), (self.by_maximum, x.amax(dim=(2, 3)))):
            weight: Tensor = classifier.weight  # type: ignore[assignment]  # (1, C); read once, since spectral normalisation makes it anew
            logits.append(F.linear(pooled, weight))
            views.append(x * weight[:, :, None, None])
        return Attended(self.mix(torch.cat(views, dim=1)), torch.cat(logits, dim=1))
