"""The Siamese ResNet-FPN of S2M2-SAR: one image to features at two levels, with the same weights for both sensors."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks import initialization


class ResidualFPN(nn.Module):
    """A residual encoder of five levels and a feature pyramid, as in the released code of S2M2-SAR; sides multiples of 16.

    Encoder levels lie at 1, 2, 4, 8 and 16 px, halved by max-pooling, with `widths` channels. The pyramid climbs from the
    coarsest: doubled bilinearly, plus a 1x1 convolution of the encoder's level, then two 3x3 convolutions. 10,031,648
    parameters at widths 32 to 512 and 3 channels; biases stand in the encoder alone.
    """

    def __init__(self, channels: int, *, widths: Sequence[int] = (32, 64, 128, 256, 512), groups: int = 32) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.encoder = nn.ModuleList(_Block(i, o, groups) for i, o in zip(inputs, widths, strict=True))
        self.top = nn.Conv2d(widths[-1], widths[-1], 1, bias=False)
        fine, coarse = widths[-2::-1], widths[:0:-1]  # from the coarsest level up
        self.lateral = nn.ModuleList(nn.Conv2d(i, o, 1, bias=False) for i, o in zip(fine, coarse, strict=True))
        self.merged = nn.ModuleList(_merger(i, o, groups) for i, o in zip(coarse, fine, strict=True))
        self.deep_channels, self.shallow_channels = widths[-2], widths[0]
        initialization.kaiming(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B D H/8 W/8"], Float[Tensor, "B S H W"]]:
        """The deep and the shallow level."""
        levels = []
        for depth, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if depth else x)
            levels.append(x)
        x, maps = self.top(x), []
        for lateral, merge, level in zip(self.lateral, self.merged, levels[-2::-1], strict=True):
            doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = merge(doubled + lateral(level))
            maps.append(x)
        return maps[0], maps[-1]


class _Block(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, each under group normalisation."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()

        def normalised(i: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, outputs, kernel, padding=kernel // 2), group_norm(outputs, groups))

        self.body = nn.Sequential(normalised(inputs, 3), nn.ReLU(), normalised(outputs, 3), nn.ReLU())
        self.shortcut = normalised(inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def _merger(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, bias=False),
        group_norm(inputs, groups),
        nn.LeakyReLU(0.01),
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
    )


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group normalisation of that many groups, or of as many as there are channels."""
    return nn.GroupNorm(min(groups, channels), channels)
