"""An autoencoder of a domain that takes an image apart into a content map and a style vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks.normalization import adaptive_instance_norm
from sarbench.methods.networks.resnet_generator import ResidualBlock


class StyleAutoencoder(nn.Module):
    """E^c, E^s and G of one domain in MUNIT (Huang et al., 2018), Sec. 5.1 and App. B.1.

    The style reaches the decoder as the statistics of its AdaIN layers alone, which an MLP makes from it; they are handed
    from call to call, never kept. Width 64 with 4 blocks: 15,026,187 parameters from 3 to 3 channels. H and W are
    multiples of 2^halvings.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        halvings: int = 2,
        blocks: int = 4,
        style_size: int = 8,
        style_halvings: int = 4,
        mlp_width: int = 256,
        outer_kernel: int = 7,
        up_kernel: int = 5,
    ) -> None:
        super().__init__()
        deep = width * 2**halvings
        self.E_content = nn.Sequential(
            *_halving(channels, width, halvings, outer_kernel, normalised=True), *(ResidualBlock(deep) for _ in range(blocks))
        )
        # No normalisation: it would take away the mean and spread of features, which are the style.
        style = _halving(channels, width, halvings, outer_kernel, normalised=False)
        for _ in range(style_halvings - halvings):
            style += [_same(deep, deep, 4, stride=2), nn.ReLU(inplace=True)]
        self.E_style = nn.Sequential(*style, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(deep, style_size))
        self.mlp = nn.Sequential(
            nn.Linear(style_size, mlp_width),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_width, mlp_width),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_width, blocks * 4 * deep),  # two layers a block, a mean and a deviation each
        )
        self.blocks = nn.ModuleList(AdaptiveResidualBlock(deep) for _ in range(blocks))
        up: list[nn.Module] = []
        for level in range(halvings):
            c_in, c_out = deep // 2**level, deep // 2 ** (level + 1)
            norm = nn.GroupNorm(1, c_out)  # of one group: the paper's layer normalisation
            up += [nn.Upsample(scale_factor=2, mode="nearest"), _same(c_in, c_out, up_kernel), norm, nn.ReLU(inplace=True)]
        self.up = nn.Sequential(*up)
        self.head = _same(width, channels, outer_kernel)

    def content(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C_deep h w"]:
        """E^c(x)."""
        return self.E_content(x)

    def style(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B style_size"]:
        """E^s(x), in float32."""
        return self.E_style(x).float()

    def decode(self, content: Float[Tensor, "B C_deep h w"], style: Float[Tensor, "B style_size"]) -> Float[Tensor, "B C H W"]:
        """G(c, s): float32 images in [-1, 1]."""
        statistics = self.mlp(style).unflatten(1, (len(self.blocks), 4, -1))  # (B, blocks, 4, C_deep)
        h = content
        for i, block in enumerate(self.blocks):
            h = block(h, statistics[:, i])
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(self.head(self.up(h)).float())


class AdaptiveResidualBlock(nn.Module):
    """x + f(x) with two reflection-padded 3x3 convolutions, each under AdaIN with statistics from outside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _same(channels, channels, 3)
        self.second = _same(channels, channels, 3)

    def forward(self, x: Float[Tensor, "B C H W"], statistics: Float[Tensor, "B 4 C"]) -> Float[Tensor, "B C H W"]:
        """Statistics: mean and deviation after the first convolution, then after the second."""
        mean, std, second_mean, second_std = statistics.unbind(dim=1)
        h = F.relu(adaptive_instance_norm(self.first(x), mean, std))
        return x + adaptive_instance_norm(self.second(h), second_mean, second_std)


def _halving(channels: int, width: int, halvings: int, kernel: int, *, normalised: bool) -> list[nn.Module]:
    """A convolution that keeps the size, then 4x4 ones with stride 2 and twice the width each."""
    stack: list[nn.Module] = []
    for convolution in (
        _same(channels, width, kernel),
        *(_same(width * 2**level, width * 2 ** (level + 1), 4, stride=2) for level in range(halvings)),
    ):
        norm = [nn.InstanceNorm2d(convolution.out_channels)] if normalised else []
        stack += [convolution, *norm, nn.ReLU(inplace=True)]
    return stack


def _same(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A reflection-padded convolution that keeps the size, or with stride 2 halves it."""
    return nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=(kernel - 1) // 2, padding_mode="reflect")
