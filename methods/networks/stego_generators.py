"""StegoGAN's generators: the way back takes out what the source cannot know, and the way there may be given it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks import normalization
from sarbench.methods.networks.resnet_generator import ResidualBlock, ResNetGenerator


class ReceivingGenerator(ResNetGenerator):
    """CycleGAN's generator, to whose features a hidden message can be added after `place` residual blocks.

    A residual block of its own reads the message first. 12,558,339 parameters from 3 to 3 channels.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: int = 9,
        place: int = 8,
        outer_kernel: int = 7,
    ) -> None:
        super().__init__(source_channels, target_channels, width=width, blocks=blocks, outer_kernel=outer_kernel)
        self.place = place
        self.fusion = ResidualBlock(4 * width)

    def forward(
        self, x: Float[Tensor, "B C_source H W"], message: Float[Tensor, "B C_latent h w"] | None = None
    ) -> Float[Tensor, "B C_target H W"]:
        """Translate images in [-1, 1] to float32 images in [-1, 1]; without a message, from the image alone."""
        h = self.blocks[: self.place](self.down(self.stem(x)))
        if message is not None:
            h = h + self.fusion(message)
        return self.decode(self.blocks[self.place :](h))


class Split(NamedTuple):
    """What one pass of the way back gives."""

    image: Float[Tensor, "B C_target H W"]  # float32 in [-1, 1], without the unmatchable part
    message: Float[Tensor, "B C_latent H/4 W/4"]  # features of the unmatchable part
    unmatchable: Float[Tensor, "B 1 H/4 W/4"]  # float32 in [0, 1]: how far a place is unmatchable, its largest channel


class SplittingGenerator(ResNetGenerator):
    """CycleGAN's generator, whose features are parted after `place` residual blocks by a mask in [0, 1] that it predicts.

    Three 3x3 convolutions predict the mask, a value for each channel. 13,148,419 parameters from 3 to 3 channels.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        width: int = 64,
        blocks: int = 9,
        place: int = 8,
        outer_kernel: int = 7,
    ) -> None:
        super().__init__(source_channels, target_channels, width=width, blocks=blocks, outer_kernel=outer_kernel)
        self.place = place
        c = 4 * width

        def convolution() -> list[nn.Module]:
            return [nn.Conv2d(c, c, 3, padding=1), normalization.layer("instance", c), nn.ReLU(inplace=True)]

        self.mask = nn.Sequential(*convolution(), *convolution(), nn.Conv2d(c, c, 3, padding=1))

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Split:  # type: ignore[override]
        """Translate the matchable part of images in [-1, 1], and export the rest."""
        h = self.blocks[: self.place](self.down(self.stem(x)))
        matchable = torch.sigmoid(self.mask(h).float())
        unmatchable = (1.0 - matchable).amax(dim=1, keepdim=True)
        return Split(self.decode(self.blocks[self.place :](h * matchable)), h * (1.0 - matchable), unmatchable)


def at_full_size(mask: Float[Tensor, "B 1 h w"], image: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B 1 H W"]:
    """The mask on the grid of an image, bilinearly."""
    return F.interpolate(mask, image.shape[2:], mode="bilinear", align_corners=False)
