"""FCN-8s on VGG-16: Long, Shelhamer and Darrell, CVPR 2015, https://arxiv.org/abs/1411.4038

Layers and crops are those of the authors' Caffe network, with which pix2pix scored labels-to-photo translations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.errors import ContractError

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of VGG-16, in each block; a 2x2 max pooling behind each
WIDTHS = (1, 2, 4, 8, 8)  # of each block, in units of the first
BORDER_PX = 100  # around the image in the Caffe network, so that the 7x7 of fc6 fits into small images
CROPS = {"pool4": 5, "pool3": 9, "score": 31}  # px by which the border's maps reach over, each at its own size
DROPOUT = 0.5
CITYSCAPES_MEAN = (72.78044, 83.21195, 73.45286)  # of 255: what pix2pix's scoring code subtracts

Padding = Literal["border", "same"]


class FCN8s(nn.Module):
    """Class scores for each pixel, from the maps at 1/32, 1/16 and 1/8 of the size.

    With width 64, head 4096, and 21 classes it has 134,489,759 parameters. "border" is the Caffe network, for sides of any
    length; "same" keeps every map on its grid, needs no border, and takes sides that are multiples of 32 px. `norm`: batch
    normalisation behind every convolution of VGG, for networks that start from random weights.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        width: int = 64,
        head: int = 4096,
        padding: Padding = "border",
        norm: bool = False,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.blocks = nn.ModuleList()
        c_in = in_channels
        for n, times in zip(CONVOLUTIONS, WIDTHS, strict=True):
            layers: list[nn.Module] = []
            for _ in range(n):
                layers.append(nn.Conv2d(c_in, width * times, 3, padding=1))
                layers += [nn.BatchNorm2d(width * times)] * norm + [nn.ReLU(inplace=True)]
                c_in = width * times
            self.blocks.append(nn.Sequential(*layers))
        self.fc6 = nn.Conv2d(c_in, head, 7, padding=3 if padding == "same" else 0)
        self.fc7 = nn.Conv2d(head, head, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.score_fr = nn.Conv2d(head, classes, 1)
        self.score_pool4 = nn.Conv2d(8 * width, classes, 1)
        self.score_pool3 = nn.Conv2d(4 * width, classes, 1)
        inner, outer = (1, 4) if padding == "same" else (0, 0)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2, padding=inner, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, padding=inner, bias=False)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, padding=outer, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.ConvTranspose2d):  # Sec. 4.1: bilinear interpolation, then learned
                module.weight.data = bilinear(module.in_channels, module.kernel_size[0])
        for score in (self.score_fr, self.score_pool4, self.score_pool3):  # Sec. 4.2: zero, so that nothing is disturbed
            nn.init.zeros_(score.weight)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes H W"]:
        """Scores before the softmax, float32."""
        height, width = x.shape[2:]
        bordered = self.padding == "border"
        h = F.pad(x, (BORDER_PX - 1,) * 4) if bordered else x  # the first convolution's own padding is the last pixel
        pools: list[Tensor] = []
        for block in self.blocks:
            h = F.max_pool2d(block(h), 2, ceil_mode=True)
            pools.append(h)
        h = self.dropout(F.relu(self.fc6(h)))
        h = self.dropout(F.relu(self.fc7(h)))
        h = self.upscore2(self.score_fr(h))
        for name, score, up, pool in (
            ("pool4", self.score_pool4, self.upscore_pool4, pools[3]),
            ("pool3", self.score_pool3, self.upscore8, pools[2]),
        ):
            h = up(h + _cut(score(pool), h, CROPS[name] if bordered else 0))
        start = CROPS["score"] if bordered else 0
        return h[:, :, start : start + height, start : start + width].float()

    def load_vgg16(self, weights: Mapping[str, Tensor]) -> None:
        """Take up torchvision's VGG-16 up to its second fully connected layer; ContractError for another network."""
        convolutions = [m for m in self.blocks.modules() if isinstance(m, nn.Conv2d)]
        numbers = [n for block in _vgg_numbers() for n in block]
        names = [*(f"features.{n}" for n in numbers), "classifier.0", "classifier.3"]
        for name, layer in zip(names, [*convolutions, self.fc6, self.fc7], strict=True):
            found = {kind: weights.get(f"{name}.{kind}") for kind in ("weight", "bias")}
            if any(value is None or value.numel() != getattr(layer, kind).numel() for kind, value in found.items()):
                raise ContractError(f"these are not the weights of a VGG-16 of this width: {name} does not fit")
            for kind, value in found.items():
                getattr(layer, kind).data.copy_(value.reshape(getattr(layer, kind).shape))  # type: ignore[union-attr]

    def load_caffe(self, layers: Mapping[str, Sequence[Float[np.ndarray, "..."]]]) -> None:
        """Take up the authors' own layers, by their names, such as pix2pix's of Cityscapes (asset fcn-8s-cityscapes).

        That network wants BGR bands of 0 to 255 minus `CITYSCAPES_MEAN`, and images of 1024x2048 px. ContractError where a
        layer is missing or does not fit.
        """
        convolutions = [m for m in self.blocks.modules() if isinstance(m, nn.Conv2d)]
        names = [f"conv{b + 1}_{i + 1}" for b, n in enumerate(CONVOLUTIONS) for i in range(n)]
        own: dict[str, nn.Conv2d | nn.ConvTranspose2d] = dict(zip(names, convolutions, strict=True))
        own |= {name: module for name, module in self.named_children() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)}
        for name, module in own.items():
            blobs = layers.get(name, ())
            targets = [p for p in (module.weight, module.bias) if p is not None]
            if len(blobs) != len(targets) or any(blob.size != p.numel() for blob, p in zip(blobs, targets, strict=True)):
                raise ContractError(
                    f"these are not the weights of this FCN-8s: its layer {name} is {[tuple(p.shape) for p in targets]}, "
                    f"the file has {[blob.shape for blob in blobs]}; of {len(layers)} layers: {', '.join(list(layers)[:40])}"
                )
            for blob, p in zip(blobs, targets, strict=True):
                p.data.copy_(torch.from_numpy(blob).reshape(p.shape))


def bilinear(channels: int, kernel: int) -> Float[Tensor, "C C k k"]:
    """The weights of a transposed convolution that interpolates each channel linearly."""
    centre = (kernel - 1) / 2
    ramp = 1 - (torch.arange(kernel) - centre).abs() / ((kernel + 1) // 2)
    weights = torch.zeros(channels, channels, kernel, kernel)
    weights[range(channels), range(channels)] = ramp[:, None] * ramp[None]
    return weights


def _cut(h: Tensor, like: Tensor, start: int) -> Tensor:
    return h[:, :, start : start + like.shape[2], start : start + like.shape[3]]


def _vgg_numbers() -> list[list[int]]:
    """The places of the convolutions in torchvision's list of layers: each is followed by a ReLU, each block by a pooling."""
    numbers, at = [], 0
    for n in CONVOLUTIONS:
        numbers.append([at + 2 * i for i in range(n)])
        at += 2 * n + 1
    return numbers
