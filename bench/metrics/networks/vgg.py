"""The convolutions of VGG-16 (Simonyan and Zisserman, ICLR 2015, https://arxiv.org/abs/1409.1556, configuration D)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# index in torchvision's `features`, bands in, bands out; a 2x2 max pooling stands between the blocks
BLOCKS = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
    ((24, 512, 512), (26, 512, 512), (28, 512, 512)),
)
LEAST_PX = 16  # below it the fourth pooling has nothing left


def shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """The weights by name, with `prefix` before torchvision's index, and their shapes."""
    convolutions = [convolution for block in BLOCKS for convolution in block]
    weights = {f"{prefix}{i}.weight": (wide, narrow, 3, 3) for i, narrow, wide in convolutions}
    return weights | {f"{prefix}{i}.bias": (wide,) for i, _, wide in convolutions}


def maps(weights: Mapping[str, Tensor], prefix: str, x: Float[Tensor, "B 3 H W"]) -> Iterator[Float[Tensor, "B _ _ _"]]:
    """The map after the last ReLU of each of the five blocks, before its pooling: 64, 128, 256, 512, 512 bands."""
    for number, block in enumerate(BLOCKS):
        if number:
            x = F.max_pool2d(x, 2)
        for i, _, _ in block:
            x = F.conv2d(x, weights[f"{prefix}{i}.weight"], weights[f"{prefix}{i}.bias"], padding=1).relu_()
        yield x


def last_map(weights: Mapping[str, Tensor], prefix: str, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 512 h w"]:
    """The map after the last ReLU: relu5_3."""
    return deque(maps(weights, prefix, x), maxlen=1).pop()
