"""A small variational autoencoder whose latent code a diffusion process can run in; trained by the run that uses it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks.diffusion_unet import GROUPS, Downsample, ResidualBlock, Upsample


class Encoder(nn.Module):
    """Images to the distribution of their latent code, 2^levels times smaller; nothing is done at full size.

    A KL term, however weakly weighted, moves mean^2 + variance to 1 on average, since the decoder does not care about
    the scale of the code: so no factor need be measured, as latent diffusion does for an autoencoder made elsewhere.
    """

    def __init__(self, channels: int, latent_channels: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.factor = 2 ** len(widths)  # how many times smaller the code is than the image
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), ResidualBlock(widths[0], widths[0])]
        for c_in, c_out in pairwise(widths):
            layers += [Downsample(c_in), ResidualBlock(c_in, c_out)]
        layers += [nn.GroupNorm(GROUPS, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], 2 * latent_channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B L h w"], Float[Tensor, "B L h w"]]:
        """Mean and log variance of the code of images in [-1, 1], float32."""
        mean, log_var = self.layers(image).float().chunk(2, dim=1)
        return mean, log_var.clamp(-20.0, 10.0)  # where exp() is far from 0 and from overflow


class Decoder(nn.Module):
    """Latent codes to images."""

    def __init__(self, channels: int, latent_channels: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(latent_channels, widths[-1], 3, padding=1), ResidualBlock(widths[-1], widths[-1])]
        for c_in, c_out in pairwise(widths[::-1]):
            layers += [Upsample(c_in), ResidualBlock(c_in, c_out)]
        layers += [nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 4 * channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.PixelShuffle(2))

    def forward(self, z: Float[Tensor, "B L h w"]) -> Float[Tensor, "B C H W"]:
        """Images about [-1, 1], not clamped, float32."""
        return self.layers(z).float()
