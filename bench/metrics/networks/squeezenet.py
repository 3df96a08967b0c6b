"""The convolutions of SqueezeNet 1.1, as torchvision has them (Iandola et al., 2016, https://arxiv.org/abs/1602.07360)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FIRES = (3, 4, 6, 7, 9, 10, 11, 12)  # index in torchvision's `features`
POOLED = (3, 6, 9)  # the fires that a 3x3 max pooling of stride 2 precedes; it counts a window that leaves the map
SHOWN = (4, 7, 9, 10, 11, 12)  # the fires whose maps LPIPS reads, beside the first ReLU
LEAST_PX = 17  # below it the third pooling has nothing left


def maps(weights: Mapping[str, Tensor], x: Float[Tensor, "B 3 H W"]) -> Iterator[Float[Tensor, "B _ _ _"]]:
    """The seven maps that LPIPS reads: 64, 128, 256, 384, 384, 512, 512 bands."""

    def convolved(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, weights[f"features.{name}.weight"], weights[f"features.{name}.bias"], stride, padding).relu_()

    x = convolved("0", x, stride=2)
    yield x
    for i in FIRES:
        if i in POOLED:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = convolved(f"{i}.squeeze", x)
        x = torch.cat((convolved(f"{i}.expand1x1", x), convolved(f"{i}.expand3x3", x, padding=1)), 1)
        if i in SHOWN:
            yield x
