"""A U-Net on an EfficientNet encoder, for one image, or siamese for two images that share the encoder.

Encoder and decoder are those of segmentation-models-pytorch, which SRUIT's judge follows (arXiv 2502.11468, Sec. 4.1), but
for its padding, which is that of a 240 px image whatever the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.judges.networks.efficientnet import EfficientNet

Fusion = Literal["none", "concatenation", "difference"]


class DecoderBlock(nn.Module):
    """Twice the size, the skip beside it, two convolutions."""

    def __init__(self, c_in: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c in (c_in + c_skip, c_out):
            layers += [nn.Conv2d(c, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Doubled by repetition."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.layers(x if skip is None else torch.cat([x, skip], dim=1))


class SiameseUNet(nn.Module):
    """Class scores for each pixel of one image ("none"), or of two that go through one encoder.

    `fusion` says how the two feature maps of a size become one before the decoder: side by side, or their absolute
    difference. With an EfficientNet-b1 (width 1.0, depth 1.1), the decoder (256, 128, 64, 32, 16) and one class there are
    8,344,945 parameters for one image or a difference, and 9,409,393 side by side. Sides are multiples of 32 px.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        width: float = 1.0,
        depth: float = 1.1,
        decoder: Sequence[int] = (256, 128, 64, 32, 16),
        fusion: Fusion = "difference",
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.encoder = EfficientNet(in_channels, width=width, depth=depth, momentum=momentum)
        wide = [c * (2 if fusion == "concatenation" else 1) for c in reversed(self.encoder.channels)]
        inputs, skips = [wide[0], *decoder[:-1]], [*wide[1:], 0]
        self.decoder = nn.ModuleList(
            DecoderBlock(c_in, c_skip, c_out) for c_in, c_skip, c_out in zip(inputs, skips, decoder, strict=True)
        )
        self.head = nn.Conv2d(decoder[-1], classes, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"] | None = None
    ) -> Float[Tensor, "B classes H W"]:
        """Scores before the softmax or sigmoid, float32."""
        if second is None:
            maps = self.encoder(first)
        else:
            both = self.encoder(torch.cat([first, second]))  # one pass, so that batch statistics are of both
            pairs = [feature.chunk(2) for feature in both]
            maps = [torch.cat([a, b], dim=1) if self.fusion == "concatenation" else (a - b).abs() for a, b in pairs]
        *skips, h = maps
        for block in self.decoder:
            h = block(h, skips.pop() if skips else None)
        return self.head(h).float()
