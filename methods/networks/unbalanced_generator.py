"""The unbalanced generator of S3OIL, after FG-GAN: a deep residual encoder, dense blocks, and a slim decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks import initialization
from sarbench.methods.networks.residual_encoder import NormLayer, ResidualEncoder, instance


class UnbalancedGenerator(nn.Module):
    """Encoder of ResNet-50's layers; dense blocks at the bottom; transposed convolutions with skips from the encoder.

    Yang et al. (2025), Sec. IV-A2, gives these parts and 30.6 million parameters, but no table of layers. The middle and
    the decoder have instance normalisation; `encoder_norm` is the encoder's. H and W are multiples of `size_multiple`.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        middle: int = 512,
        dense_blocks: int = 2,
        dense_layers: int = 6,
        growth: int = 32,
        decoder: Sequence[int] = (128, 128, 80, 64, 64),
        head: int = 7,
        encoder_norm: NormLayer = instance,
    ) -> None:
        super().__init__()
        if len(decoder) != len(blocks) + 1:
            raise ValueError(f"{len(blocks)} levels and the stem need {len(blocks) + 1} decoder widths, got {len(decoder)}")
        self.encoder = ResidualEncoder(source_channels, width=width, blocks=blocks, norm=encoder_norm)
        *skips, bottom = self.encoder.widths
        self.middle = nn.Sequential(
            nn.Conv2d(bottom, middle, 1), *(DenseBlock(middle, dense_layers, growth) for _ in range(dense_blocks))
        )
        self.up = nn.ModuleList(
            UpBlock(c_in, c_skip, c_out)
            for (c_in, c_out), c_skip in zip(pairwise((middle, *decoder)), (*reversed(skips), 0), strict=True)
        )
        self.head = nn.Conv2d(decoder[-1], target_channels, head, padding=head // 2, padding_mode="reflect")
        for part in (self.middle, self.up, self.head):
            initialization.normal(part, 0.02)

    @property
    def size_multiple(self) -> int:
        """A halving for the stem and each level; twice that, as normalising needs more than one position at the bottom."""
        return 2 ** (len(self.up) + 1)

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Float[Tensor, "B C_target H W"]:
        """Translate images in [-1, 1] to float32 images in [-1, 1]."""
        *skips, h = self.encoder(x)
        h = self.middle(h)
        for up in self.up:
            h = up(h, skips.pop() if skips else None)
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(self.head(h).float())


class DenseBlock(nn.Module):
    """A dense block of DenseNet (Huang et al., 2017): each layer sees all earlier ones; a 1x1 transition to `channels`."""

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()

        def layer(c_in: int) -> nn.Sequential:
            return nn.Sequential(
                nn.InstanceNorm2d(c_in),
                nn.ReLU(),
                nn.Conv2d(c_in, 4 * growth, 1),
                nn.InstanceNorm2d(4 * growth),
                nn.ReLU(),
                nn.Conv2d(4 * growth, growth, 3, padding=1),
            )

        self.layers = nn.ModuleList(layer(channels + i * growth) for i in range(layers))
        self.transition = nn.Conv2d(channels + layers * growth, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return self.transition(x)


class UpBlock(nn.Module):
    """Double the size by a transposed convolution, join the encoder's features of that size, and mix by a 3x3 one."""

    def __init__(self, c_in: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1), nn.InstanceNorm2d(c_out), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(c_out + c_skip, c_out, 3, padding=1), nn.InstanceNorm2d(c_out), nn.ReLU())

    def forward(
        self, x: Float[Tensor, "B C_in h w"], skip: Float[Tensor, "B C_skip H W"] | None
    ) -> Float[Tensor, "B C_out H W"]:
        """Twice the height and width."""
        h = self.up(x)
        return self.mix(h if skip is None else torch.cat([h, skip], dim=1))
