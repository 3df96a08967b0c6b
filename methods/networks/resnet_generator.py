"""The residual generator of CycleGAN, after Johnson et al. (2016): two halvings, residual blocks, two doublings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks import normalization
from sarbench.methods.networks.normalization import Norm


class ResNetGenerator(nn.Module):
    """Generator of Zhu et al. (2017), Sec. 7.2; H and W are multiples of 4.

    Width 64 is the paper's, with 9 blocks for 256x256 px and more (11,378,179 parameters from 3 to 3 channels), or 6
    for 128x128 px (7,837,699). Convolutions at full size and in the blocks pad by reflection.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: int = 9,
        outer_kernel: int = 7,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        bias = normalization.needs_bias(norm)

        def activated(convolution: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(convolution, normalization.layer(norm, channels), nn.ReLU(inplace=True))

        def down(channels: int) -> nn.Sequential:
            return activated(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias), 2 * channels)

        def up(channels: int) -> nn.Sequential:
            convolution = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            return activated(convolution, channels // 2)

        def outer(c_in: int, c_out: int, bias: bool) -> nn.Conv2d:
            return nn.Conv2d(c_in, c_out, outer_kernel, padding=outer_kernel // 2, padding_mode="reflect", bias=bias)

        self.stem = activated(outer(source_channels, width, bias), width)  # (B, width, H, W)
        self.down = nn.Sequential(down(width), down(2 * width))  # (B, 4 width, H/4, W/4)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width, norm) for _ in range(blocks)))
        self.up = nn.Sequential(up(4 * width), up(2 * width))  # (B, width, H, W)
        self.head = outer(width, target_channels, True)

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Float[Tensor, "B C_target H W"]:
        """Translate images in [-1, 1] to float32 images in [-1, 1]."""
        return self.decode(self.blocks(self.down(self.stem(x))))

    def decode(self, h: Float[Tensor, "B 4*width H/4 W/4"]) -> Float[Tensor, "B C_target H W"]:
        """The image that features after the residual blocks are of."""
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(self.head(self.up(h)).float())


class ResidualBlock(nn.Module):
    """x + f(x) with two reflection-padded 3x3 convolutions; nothing after the sum."""

    def __init__(self, channels: int, norm: Norm = "instance") -> None:
        super().__init__()
        bias = normalization.needs_bias(norm)

        def convolution() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias)

        self.layers = nn.Sequential(
            convolution(),
            normalization.layer(norm, channels),
            nn.ReLU(inplace=True),
            convolution(),
            normalization.layer(norm, channels),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return x + f(x)."""
        return x + self.layers(x)
