"""U-GAT-IT's generator: what it attends to sets how its decoder normalises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks import initialization
from sarbench.methods.networks.class_activation import ClassActivation
from sarbench.methods.networks.layer_instance_norm import LayerInstanceNorm


class Translation(NamedTuple):
    """What one pass of the generator gives."""

    image: Float[Tensor, "B C_target H W"]  # float32 in [-1, 1]
    logits: Float[Tensor, "B 2"]  # that the image given is of the source domain
    attention: Float[Tensor, "B 1 H/4 W/4"]  # attended features, summed over channels: at least 0, without a scale


class AttentionGenerator(nn.Module):
    """Generator of U-GAT-IT (Kim et al., 2020), appendix; H and W are multiples of 4.

    Two halvings, residual blocks, attention by class activation maps, residual blocks under AdaLIN, two doublings under LIN.
    gamma and beta of AdaLIN come from two fully connected layers on the attended features: on all of them where `side` is
    given, so that H = W = side (278,959,808 parameters at 256 px from 3 to 3 channels), else on their means (10,589,888).
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: int = 4,
        outer_kernel: int = 7,
        side: int | None = None,
    ) -> None:
        super().__init__()
        self.whole = side is not None
        c = 4 * width
        flat = c * (side // 4) ** 2 if side else c

        def down(c_in: int, c_out: int, kernel: int, stride: int) -> list[nn.Module]:
            return [_convolution(c_in, c_out, kernel, stride), nn.InstanceNorm2d(c_out), nn.ReLU(inplace=True)]

        self.down = nn.Sequential(
            *down(source_channels, width, outer_kernel, 1), *down(width, 2 * width, 3, 2), *down(2 * width, c, 3, 2)
        )
        self.blocks = nn.Sequential(*(_ResidualBlock(c) for _ in range(blocks)))
        self.attend = ClassActivation(c)
        self.style = nn.Sequential(
            nn.Linear(flat, c, bias=False), nn.ReLU(inplace=True), nn.Linear(c, c, bias=False), nn.ReLU(inplace=True)
        )
        self.gamma, self.beta = nn.Linear(c, c, bias=False), nn.Linear(c, c, bias=False)
        self.adaptive_blocks = nn.ModuleList(_AdaptiveBlock(c) for _ in range(blocks))
        self.up = nn.ModuleList(_Doubling(c // n) for n in (1, 2))
        self.head = _convolution(width, target_channels, outer_kernel, 1)
        initialization.normal(self, 0.02)

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Translation:
        """Translate images in [-1, 1], and say which domain they look like, and why."""
        features, logits = self.attend(self.blocks(self.down(x)))
        h = F.relu(features)
        attention = h.sum(dim=1, keepdim=True).float()
        style = self.style(h.flatten(1) if self.whole else h.mean(dim=(2, 3)))
        gamma, beta = self.gamma(style), self.beta(style)  # (B, C) each
        for block in self.adaptive_blocks:
            h = block(h, gamma, beta)
        for up in self.up:
            h = up(h)
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return Translation(torch.tanh(self.head(h).float()), logits, attention)

    def clip_rho(self) -> None:
        """Bring rho of every (Ada)LIN back into [0, 1]."""
        for module in self.modules():
            if isinstance(module, LayerInstanceNorm):
                module.clip_rho()


class _ResidualBlock(nn.Module):
    """x + f(x) under instance normalisation, which needs no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.layers = nn.Sequential(
            _convolution(c, c, 3, 1),
            nn.InstanceNorm2d(c),
            nn.ReLU(inplace=True),
            _convolution(c, c, 3, 1),
            nn.InstanceNorm2d(c),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _AdaptiveBlock(nn.Module):
    """x + f(x) under AdaLIN, both times with the same scale and shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_convolution(channels, channels, 3, 1) for _ in range(2))
        self.norms = nn.ModuleList(LayerInstanceNorm(channels, adaptive=True) for _ in range(2))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        h = F.relu(self.norms[0](self.convolutions[0](x), gamma, beta))
        return x + self.norms[1](self.convolutions[1](h), gamma, beta)


class _Doubling(nn.Module):
    """Nearest neighbour, then a convolution to half the channels under LIN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = _convolution(channels, channels // 2, 3, 1)
        self.norm = LayerInstanceNorm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.convolution(F.interpolate(x, scale_factor=2, mode="nearest"))))


def _convolution(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=False)
