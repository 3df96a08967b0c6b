"""The residual generator and the patch discriminator of CUT, which blur before they halve, and features on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks import normalization
from sarbench.methods.networks.resnet_generator import ResidualBlock


class Translation(NamedTuple):
    """What one pass of the generator gives."""

    image: Float[Tensor, "B C_target H W"]  # float32 in [-1, 1]
    features: list[Tensor]  # as `encode` gives them
    bottleneck: Float[Tensor, "B 4*width H/4 W/4"]  # after the last residual block


class AntialiasedResNetGenerator(nn.Module):
    """Generator of CUT (Park et al., 2020), App. C.1, with the blurs of Zhang (2019); H and W are multiples of 4.

    CycleGAN's residual generator, whose strided convolutions become a convolution and a blurred halving, and whose
    transposed ones a bilinear doubling and a convolution; equally many parameters: 11,378,179 for 3 to 3 channels.
    """

    def __init__(self, source_channels: int, target_channels: int, *, width: int = 64, blocks: int = 9) -> None:
        super().__init__()

        def activated(convolution: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(convolution, normalization.layer("instance", convolution.out_channels), nn.ReLU())

        self.stem = activated(nn.Conv2d(source_channels, width, 7, padding=3, padding_mode="reflect"))
        self.down = nn.ModuleList(activated(nn.Conv2d(c, 2 * c, 3, padding=1)) for c in (width, 2 * width))
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(blocks))
        self.up = nn.ModuleList(activated(nn.Conv2d(c, c // 2, 3, padding=1)) for c in (4 * width, 2 * width))
        self.head = nn.Conv2d(width, target_channels, 7, padding=3, padding_mode="reflect")
        self.tapped_blocks = (0, blocks // 2)  # of nine: the first and the fifth
        self.feature_channels = (source_channels, 2 * width, 4 * width, 4 * width, 4 * width)

    def encode(self, x: Float[Tensor, "B C H W"], tap: int | None = None) -> list[Tensor]:
        """Features from shallow to deep: pixels, both widening convolutions, the first and the middle residual block.

        The five layers of CUT (numbers 0, 4, 8, 12 and 16 of its list): the convolutions before their normalisation,
        at H and H/2; the blocks at H/4. With a `tap` only the layers up to that one, counted from 0.
        """
        return self._features(x, self._stages()[:tap])

    def forward(self, x: Float[Tensor, "B C_source H W"]) -> Translation:
        """Translate images in [-1, 1], and keep the features of `encode`."""
        features = self._features(x, self._stages())
        bottleneck = self._deepen(features[-1])
        return Translation(self._paint(bottleneck), features, bottleneck)

    def resume(self, feature: Float[Tensor, "B C h w"], tap: int) -> Float[Tensor, "B C_target H W"]:
        """The image that the rest of the network makes of a feature of `encode`, that number `tap`."""
        for stage in self._stages()[tap:]:
            feature = stage(feature)
        return self._paint(self._deepen(feature))

    def _features(self, x: Tensor, stages: Iterable[Callable[[Tensor], Tensor]]) -> list[Tensor]:
        features = [x]
        for stage in stages:
            features.append(stage(features[-1]))
        return features

    def _stages(self) -> list[Callable[[Tensor], Tensor]]:
        """From each feature of `encode` to the next."""
        first, second = (down for down in self.down if isinstance(down, nn.Sequential))
        middle = self.tapped_blocks[1]
        return [
            lambda x: first[0](self.stem(x)),  # before its normalisation
            lambda h: second[0](blurred_half(first[1:](h))),
            lambda h: self.blocks[0](blurred_half(second[1:](h))),
            lambda h: _through(self.blocks[1 : middle + 1], h),
        ]

    def _deepen(self, h: Tensor) -> Tensor:
        return _through(self.blocks[self.tapped_blocks[1] + 1 :], h)

    def _paint(self, h: Tensor) -> Tensor:
        for up in self.up:
            h = up(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False))
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(self.head(h).float())


class AntialiasedPatchDiscriminator(nn.Module):
    """PatchGAN of CUT's code: as `PatchDiscriminator` with instance norm, but strides become blurred halvings.

    A logit sees more than the 70x70 px of the strided one; 2,764,737 parameters for 3 channels.
    """

    def __init__(self, channels: int, *, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels, *(width * min(2**level, 8) for level in range(layers + 1))]
        self.layers = nn.ModuleList(nn.Conv2d(c_in, c_out, 4, padding=1) for c_in, c_out in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, *images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B 1 h w"]:
        """Logits that the images are real, judged together."""
        h = torch.cat(images, dim=1)
        for level, convolution in enumerate(self.layers):
            h = convolution(h)
            if level:
                h = F.instance_norm(h)
            h = F.leaky_relu(h, 0.2)
            if level < len(self.layers) - 1:
                h = blurred_half(h)
        return self.head(h)


def blurred_half(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H/2 W/2"]:
    """Half the side, rounded up, under the binomial kernel (1, 2, 1)/4 centred on every second pixel; borders reflect.

    The blur of Zhang (2019), Sec. 3.2, with the filter of CUT's code.
    """
    row = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4.0
    kernel = (row[:, None] * row).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _through(layers: Iterable[nn.Module], h: Tensor) -> Tensor:
    for layer in layers:
        h = layer(h)
    return h
