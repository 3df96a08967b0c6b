"""Patch discriminators at several scales: one looks at the image, the next at half its size, and so on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks.normalization import Norm
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator


class MultiscaleDiscriminator(nn.Module):
    """Discriminators of pix2pixHD (Wang et al., 2018), Sec. 3.2: equal networks, each with weights of its own.

    Each scale is the one before under a 3x3 mean with stride 2, which at the border counts the image's own pixels alone.
    """

    def __init__(self, channels: int, *, scales: int = 3, width: int = 64, layers: int = 3, norm: Norm = "instance") -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(channels, width=width, layers=layers, norm=norm) for _ in range(scales))

    def forward(self, *images: Float[Tensor, "B _ H W"]) -> list[Float[Tensor, "B 1 h w"]]:
        """Logits that the images are real, judged together, from the finest scale to the coarsest."""
        return _judged_at_each_scale(self.scales, torch.cat(images, dim=1))


class StridedMultiscaleDiscriminator(nn.Module):
    """Discriminators of MUNIT (Huang et al., 2018), App. B.1, which DRIT++ takes too: all strided, without normalisation.

    At each of the scales above: `layers` 4x4 convolutions with stride 2 and twice the width each, reflected at the
    border, then a 1x1 convolution. 8,271,171 parameters for 3 channels. `slope` is that of the leaky ReLUs.
    """

    def __init__(self, channels: int, *, scales: int = 3, width: int = 64, layers: int = 4, slope: float = 0.2) -> None:
        super().__init__()
        widths = [channels, *(width * 2**level for level in range(layers))]

        def network() -> nn.Sequential:
            stack: list[nn.Module] = []
            for c_in, c_out in pairwise(widths):
                convolution = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, padding_mode="reflect")
                stack += [convolution, nn.LeakyReLU(slope, inplace=True)]
            return nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 1))

        self.scales = nn.ModuleList(network() for _ in range(scales))

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B 1 h w"]]:
        """Logits that the image is real, from the finest scale to the coarsest."""
        return _judged_at_each_scale(self.scales, x)


def _judged_at_each_scale(scales: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    logits = []
    for level, D in enumerate(scales):
        if level:
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        logits.append(D(x))
    return logits
