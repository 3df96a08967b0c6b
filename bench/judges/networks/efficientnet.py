"""EfficientNet (Tan and Le, ICML 2019, https://arxiv.org/abs/1905.11946) as an encoder: feature maps at five sizes.

Layers, padding and order of parameters follow efficientnet-pytorch, so that its published weights fit; the classifier and
the convolution before it, which no segmentation network runs, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.errors import ContractError

STEM = 32


@dataclass(frozen=True)
class Stage:
    """A row of table 1 of the paper, for EfficientNet-b0."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
TAPPED = (1, 2, 4, 6)  # stages whose output is the last of its size; the stem's is the first feature map
DROP_CONNECT = 0.2  # of the last block; it rises linearly from 0
NOT_RUN = ("_conv_head.", "_bn1.", "_fc.")  # of efficientnet-pytorch: what stands behind the last stage


def scaled_width(width: int, by: float) -> int:
    """A width times the coefficient, to the nearest multiple of 8, never more than a tenth below it."""
    wide = width * by
    rounded = max(8, int(wide + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wide else rounded


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does: an odd pixel goes to the bottom and to the right."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False) -> None:
        super().__init__(c_in, c_out, kernel, stride=stride, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Out is ceil(side / stride)."""
        pads: list[int] = []
        for side, kernel, stride in zip(reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True):
            missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=momentum)


class Block(nn.Module):
    """Mobile inverted bottleneck with squeeze and excitation; a skip where input and output are alike."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int, drop: float, momentum: float) -> None:
        super().__init__()
        wide, squeezed = c_in * expansion, max(1, c_in // 4)
        apart = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self.expand = (
            nn.Sequential(SameConv(c_in, wide, 1), _norm(wide, momentum), nn.SiLU()) if expansion > 1 else nn.Identity()
        )
        self.depthwise = nn.Sequential(apart, _norm(wide, momentum), nn.SiLU())
        self.squeeze = SameConv(wide, squeezed, 1, bias=True)
        self.excite = SameConv(squeezed, wide, 1, bias=True)
        self.project = nn.Sequential(SameConv(wide, c_out, 1), _norm(c_out, momentum))
        self.drop = drop
        self.skips = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """In training, a row's block is left out with the block's probability (stochastic depth)."""
        h = self.depthwise(self.expand(x))
        gate = self.excite(F.silu(self.squeeze(h.mean((2, 3), keepdim=True))))
        h = self.project(h * torch.sigmoid(gate))
        if not self.skips:
            return h
        if self.training and self.drop:
            kept = torch.rand(len(h), 1, 1, 1, device=h.device) >= self.drop
            h = h * kept / (1.0 - self.drop)
        return x + h


class EfficientNet(nn.Module):
    """The encoder; `width` and `depth` are the paper's coefficients: 1.0 and 1.1 for b1, which has 6,101,024 parameters.

    `momentum` is the share of a new batch in the running statistics: 0.01 in the paper, which takes hundreds of steps.
    """

    def __init__(self, in_channels: int, *, width: float = 1.0, depth: float = 1.1, momentum: float = 0.01) -> None:
        super().__init__()
        stem = scaled_width(STEM, width)
        repeats = [math.ceil(stage.repeats * depth) for stage in STAGES]
        self.stem = nn.Sequential(SameConv(in_channels, stem, 3, stride=2), _norm(stem, momentum), nn.SiLU())
        self.stages = nn.ModuleList()
        self.channels = [stem]  # of the feature maps, from large to small
        c_in, number = stem, 0
        for i, (stage, n) in enumerate(zip(STAGES, repeats, strict=True)):
            c_out, blocks = scaled_width(stage.width, width), []
            for first in (True, *(False for _ in range(n - 1))):
                drop = DROP_CONNECT * number / sum(repeats)
                stride = stage.stride if first else 1
                blocks.append(Block(c_in, c_out, stage.kernel, stride, stage.expansion, drop, momentum))
                c_in, number = c_out, number + 1
            self.stages.append(nn.Sequential(*blocks))
            self.channels += [c_out] if i in TAPPED else []

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ h w"]]:
        """Feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""
        h = self.stem(x)
        found = [h]
        for i, stage in enumerate(self.stages):
            h = stage(h)
            found += [h] if i in TAPPED else []
        return found

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take up a state dict of efficientnet-pytorch, for three channels; ContractError for one of another network."""
        theirs = [(name, value) for name, value in weights.items() if not name.startswith(NOT_RUN)]
        own = self.state_dict()
        fits = len(theirs) == len(own) and all(
            value.shape == mine.shape and name.rpartition(".")[2] == key.rpartition(".")[2]
            for (name, value), (key, mine) in zip(theirs, own.items(), strict=False)
        )
        if not fits:
            raise ContractError("these are not the weights of this EfficientNet, as efficientnet-pytorch publishes them")
        self.load_state_dict({key: value for key, (_, value) in zip(own, theirs, strict=True)})
