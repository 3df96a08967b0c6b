"""Discriminators that judge overlapping patches: one logit a patch, and no decision about the whole image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks import normalization
from sarbench.methods.networks.normalization import Norm


class PatchDiscriminator(nn.Module):
    """PatchGAN of Isola et al. (2017), Sec. 6.1.2: 4x4 convolutions, `layers` of them with stride 2, then two with 1.

    With 3 strided layers each logit sees 70x70 px (2,764,737 parameters for 3 channels with instance normalisation),
    with 2 it sees 34x34 px, with 1 16x16 px.
    """

    def __init__(self, channels: int, *, width: int = 64, layers: int = 3, norm: Norm = "instance") -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(layers + 1)]  # 64, 128, 256, 512
        stack: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            bias = normalization.needs_bias(norm)
            stack += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=1, bias=bias),
                normalization.layer(norm, widths[level]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        stack.append(nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.layers = nn.Sequential(*stack)

    def forward(self, *images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B 1 h w"]:
        """Logits that the images are real, judged together: D(y), or conditionally D(x, y)."""
        return self.layers(torch.cat(images, dim=1))


class PixelDiscriminator(nn.Module):
    """The 1x1 discriminator of Isola et al. (2017), Sec. 6.1.2: judges each pixel's colour alone.

    8,705 parameters for 3 channels with instance normalisation.
    """

    def __init__(self, channels: int, *, width: int = 64, norm: Norm = "instance") -> None:
        super().__init__()
        bias = normalization.needs_bias(norm)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            normalization.layer(norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, *images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B 1 H W"]:
        """Logits that the images are real, judged together."""
        return self.layers(torch.cat(images, dim=1))
