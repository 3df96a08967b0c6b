"""Two autoencoders, one a domain, that may share the layers next to their latent space."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks import normalization
from sarbench.methods.networks.resnet_generator import ResidualBlock

Domain = Literal["A", "B"]


class CoupledAutoencoders(nn.Module):
    """The generators of SRUIT (Fang et al.), Sec. 3.2 and 4.4: E_A, D_A and E_B, D_B around one latent space.

    An encoder is a convolution with a kernel of `outer_kernel`, `halvings` strided ones, and residual blocks; a decoder
    mirrors it, and doubles by nearest neighbour before a convolution, since transposed ones leave a chequerboard. With
    `shared` the residual blocks of both encoders are one module, and so are those of both decoders. Instance
    normalisation and ReLU throughout, no skip from encoder to decoder, no noise. H and W are multiples of 2^halvings.
    """

    def __init__(
        self,
        channels: dict[Domain, int],
        *,
        width: int = 64,
        outer_kernel: int = 7,
        halvings: int = 4,
        encoder_blocks: int = 2,
        decoder_blocks: int = 2,
        shared: bool = True,
    ) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(halvings + 1)]  # 64, 128, 256, 512, 512
        owners = ("AB",) if shared else ("A", "B")

        def blocks(n: int) -> nn.ModuleDict:
            return nn.ModuleDict({owner: nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(n))) for owner in owners})

        self.owner = {domain: "AB" if shared else domain for domain in ("A", "B")}
        self.down = nn.ModuleDict({domain: _down(channels[domain], widths, outer_kernel) for domain in ("A", "B")})
        self.high_encoder = blocks(encoder_blocks)
        self.high_decoder = blocks(decoder_blocks)
        self.up = nn.ModuleDict({domain: _up(widths, channels[domain], outer_kernel) for domain in ("A", "B")})

    def encode(self, x: Float[Tensor, "B C H W"], domain: Domain) -> Float[Tensor, "B C_latent h w"]:
        """The latent features of images of a domain: E_A(x) or E_B(x)."""
        return self.high_encoder[self.owner[domain]](self.down[domain](x))

    def decode(self, z: Float[Tensor, "B C_latent h w"], domain: Domain) -> Float[Tensor, "B C H W"]:
        """Float32 images in [-1, 1] of a domain: D_A(z) or D_B(z)."""
        image = self.up[domain](self.high_decoder[self.owner[domain]](z))
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(image.float())


def _down(channels: int, widths: list[int], kernel: int) -> nn.Sequential:
    stack: list[nn.Module] = [_activated(_same(channels, widths[0], kernel))]
    for c_in, c_out in pairwise(widths):
        stack.append(_activated(nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)))
    return nn.Sequential(*stack)


def _up(widths: list[int], channels: int, kernel: int) -> nn.Sequential:
    stack: list[nn.Module] = []
    for c_in, c_out in pairwise(widths[::-1]):
        stack += [nn.Upsample(scale_factor=2, mode="nearest"), _activated(_same(c_in, c_out, 3))]
    stack.append(_same(widths[0], channels, kernel))
    return nn.Sequential(*stack)


def _same(c_in: int, c_out: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, padding_mode="reflect")


def _activated(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, normalization.layer("instance", convolution.out_channels), nn.ReLU(inplace=True))
