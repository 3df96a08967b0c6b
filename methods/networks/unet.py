"""The U-Net generator of pix2pix: an encoder and a decoder of equal depth, with a skip at every size."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import uniform
from sarbench.methods.networks import normalization

DROPOUT_BLOCKS = 3  # the innermost decoder blocks that have dropout: CD512-CD1024-CD1024 in the paper


class UNet(nn.Module):
    """U-Net of Isola et al. (2017), Sec. 6.1.1, with batch normalisation; H and W are multiples of 2^halvings.

    Width 64 with 8 halvings is the paper's network for 256x256 px: the bottleneck is 1x1, so it has no normalisation,
    and there are 54,413,955 parameters from 3 to 3 channels.
    """

    def __init__(
        self, source_channels: int, target_channels: int, *, width: int = 64, halvings: int = 8, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [width * min(2**level, 8) for level in range(halvings)]  # 64, 128, 256, 512, 512, ...
        self.down = nn.ModuleList()
        for level, (c_in, c_out) in enumerate(zip([source_channels, *widths], widths, strict=False)):
            bare = level in (0, halvings - 1)
            norm = normalization.layer("none" if bare else "batch", c_out)
            self.down.append(nn.Sequential(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False), norm))
        self.up = nn.ModuleList()
        for level in reversed(range(1, halvings)):
            c_in = widths[level] * (1 if level == halvings - 1 else 2)  # the skip doubles it
            c_out = widths[level - 1]
            deconvolution = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False)
            self.up.append(nn.Sequential(deconvolution, normalization.layer("batch", c_out)))
        self.head = nn.ConvTranspose2d(2 * widths[0], target_channels, 4, stride=2, padding=1)

    def forward(
        self, x: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C_target H W"]:
        """Translate images in [-1, 1] to float32 images in [-1, 1].

        `seeds` is the noise z of the paper: dropout drawn for each row from its seed, in any mode; None: no dropout.
        """
        h = self.down[0](x)
        skips = [h]
        for down in self.down[1:]:
            h = down(F.leaky_relu(h, 0.2))
            skips.append(h)
        h = skips.pop()
        for level, up in enumerate(self.up):
            h = up(F.relu(h))
            if seeds is not None and level < DROPOUT_BLOCKS:
                h = keyed_dropout(h, seeds, self.dropout, f"dropout {level}")
            h = torch.cat([h, skips.pop()], dim=1)
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(self.head(F.relu(h)).float())


def keyed_dropout(h: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"], p: float, purpose: str) -> Float[Tensor, "B C H W"]:
    """Dropout (Srivastava et al., 2014) whose mask for a row depends on that row's seed alone, not on batch or rank."""
    if p == 0.0:
        return h
    kept = uniform(seeds, h.shape[1:], purpose).to(h.device, non_blocking=True) >= p
    return h * kept / (1.0 - p)
