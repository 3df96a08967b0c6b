"""The convolutions of AlexNet, as torchvision has them (Krizhevsky, 2014, https://arxiv.org/abs/1404.5997)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))  # index in torchvision's `features`, stride, padding
POOLED = (3, 6)  # the layers that a 3x3 max pooling of stride 2 precedes
LEAST_PX = 31  # below it the second pooling has nothing left


def maps(weights: Mapping[str, Tensor], x: Float[Tensor, "B 3 H W"]) -> Iterator[Float[Tensor, "B _ _ _"]]:
    """The map after each of the five ReLUs: 64, 192, 384, 256, 256 bands."""
    for index, stride, padding in LAYERS:
        if index in POOLED:
            x = F.max_pool2d(x, 3, 2)
        x = F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], stride, padding).relu_()
        yield x
