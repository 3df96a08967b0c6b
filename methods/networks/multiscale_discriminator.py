"""Patch discriminators at several scales: one looks at the image, the next at half its size, and so on."""

from __future__ import annotations

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
        x = torch.cat(images, dim=1)
        logits = []
        for level, D in enumerate(self.scales):
            if level:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            logits.append(D(x))
        return logits
