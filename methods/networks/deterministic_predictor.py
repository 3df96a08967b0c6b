"""The deterministic branch of DGDM (Yoon et al., 2024) for one frame: a first estimate, and the features behind it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

LAYER_SCALE = 1e-6  # what a ConvNeXt block starts to add with


class DeterministicPredictor(nn.Module):
    """Encoder to a quarter of the size, ConvNeXt blocks there, and a decoder that doubles the size twice.

    width   channels of everything
    blocks  ConvNeXt blocks at the smallest size
    The first features of the encoder are added before the last layer of the decoder.
    """

    factor = 4  # how many times smaller the features are than the image

    def __init__(self, channels_in: int, channels_out: int, *, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.first = _layer(channels_in, width)
        self.encoder = nn.Sequential(_layer(width, width, stride=2), _layer(width, width), _layer(width, width, stride=2))
        self.middle = nn.Sequential(*[ConvNeXtBlock(width) for _ in range(blocks)])
        self.decoder = nn.Sequential(_layer(width, width, up=True), _layer(width, width), _layer(width, width, up=True))
        self.last = nn.Sequential(_layer(width, width), nn.Conv2d(width, channels_out, 1))

    def forward(self, x: Float[Tensor, "B C_in H W"]) -> tuple[Float[Tensor, "B C_out H W"], Float[Tensor, "B D h w"]]:
        """The estimate, float32, and the features of the last block, a quarter of the size."""
        first = self.first(x)
        features = self.middle(self.encoder(first))
        return self.last(self.decoder(features) + first).float(), features


class ConvNeXtBlock(nn.Module):
    """ConvNeXt (Liu et al., 2022): positions mixed within each channel by a 7x7 convolution, then channels by two layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            ChannelNorm(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        return x + self.scale * self.layers(x)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of the channels of each position."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        return super().forward(x.movedim(1, 3)).movedim(3, 1)


def _layer(channels_in: int, channels_out: int, *, stride: int = 1, up: bool = False) -> nn.Sequential:
    """A 3x3 convolution, that may halve or double the size, normalised."""
    if up:
        convolution = nn.Sequential(nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1), nn.PixelShuffle(2))
    else:
        convolution = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1))
    return nn.Sequential(*convolution, ChannelNorm(channels_out), nn.SiLU())
