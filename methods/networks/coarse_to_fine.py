"""A translator in two stages: at half size with the context that attention finds, then at full size guided by the first."""

from __future__ import annotations

from math import lcm
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks import initialization
from sarbench.methods.networks.local_attention import LocalSelfAttention
from sarbench.methods.networks.resnet_generator import ResNetGenerator


class Stages(NamedTuple):
    """What one pass gives; all float32 in [-1, 1]."""

    fine: Float[Tensor, "B C_target H W"]
    coarse: Float[Tensor, "B C_target H/2 W/2"]
    auxiliary: Float[Tensor, "B 1 H/2 W/2"]  # near infrared, or what stands in for it


class CoarseToFine(nn.Module):
    """Our reading of CFCA-SET (Lee et al., 2023): SAR to one auxiliary band, then, with its features, to the target.

    Both coarse networks are `ResNetGenerator`s with local attention behind their first layer; the second sees the source and
    the first one's last features. The fine network is a `ResNetGenerator` that sees the source and both coarse images,
    doubled in size. H and W are multiples of `size_multiple`.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: int = 6,
        fine_width: int = 64,
        fine_blocks: int = 3,
        outer_kernel: int = 7,
        window: int = 8,
        heads: int = 4,
    ) -> None:
        super().__init__()
        layers = {"width": width, "blocks": blocks, "outer_kernel": outer_kernel, "window": window, "heads": heads}
        self.auxiliary = AttentiveGenerator(source_channels, 1, **layers)
        self.coarse = AttentiveGenerator(source_channels + width, target_channels, **layers)
        guided = source_channels + target_channels + 1
        self.fine = ResNetGenerator(guided, target_channels, width=fine_width, blocks=fine_blocks, outer_kernel=outer_kernel)
        self.size_multiple = 2 * lcm(4, window)
        initialization.normal(self, 0.02)

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Stages:
        """Translate images in [-1, 1]."""
        half = F.avg_pool2d(x, 2)
        context = self.auxiliary.features(half)
        auxiliary = self.auxiliary.image(context)
        coarse = self.coarse.image(self.coarse.features(torch.cat([half, context.to(half.dtype)], dim=1)))
        guides = F.interpolate(torch.cat([coarse, auxiliary], dim=1), scale_factor=2, mode="bilinear", align_corners=False)
        return Stages(self.fine(torch.cat([x, guides], dim=1)), coarse, auxiliary)


class AttentiveGenerator(ResNetGenerator):
    """CycleGAN's generator with local self-attention between its first layer and its first halving."""

    def __init__(
        self, source_channels: int, target_channels: int, *, width: int, blocks: int, outer_kernel: int, window: int, heads: int
    ) -> None:
        super().__init__(source_channels, target_channels, width=width, blocks=blocks, outer_kernel=outer_kernel)
        self.attend = LocalSelfAttention(width, window=window, heads=heads)

    def features(self, x: Float[Tensor, "B C_source H W"]) -> Float[Tensor, "B width H W"]:
        """The last features, at full size."""
        return self.up(self.blocks(self.down(self.attend(self.stem(x)))))

    def image(self, features: Float[Tensor, "B width H W"]) -> Float[Tensor, "B C_target H W"]:
        """The image that these features are of: float32 in [-1, 1]."""
        return torch.tanh(self.head(features).float())

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Float[Tensor, "B C_target H W"]:
        """Translate images in [-1, 1] to float32 images in [-1, 1]."""
        return self.image(self.features(x))
