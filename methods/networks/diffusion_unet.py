"""A small U-Net that predicts the noise of a diffusion process: residual blocks that know the step, some attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8  # of the group normalisations, which never look beyond their row


class DiffusionUNet(nn.Module):
    """U-Net of Ho et al. (2020), App. B, for any widths; H and W are multiples of 2^(levels - 1).

    widths  channels at each size, largest size first; multiples of 8
    blocks  residual blocks at each size on the way down, one more on the way up
    heads   attention heads at each size; 0: no attention there. The bottleneck has the last size's, or none
    The last convolution starts at zero, so an untrained network predicts no noise.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, widths: Sequence[int], blocks: int, heads: Sequence[int]
    ) -> None:
        super().__init__()
        self.width = widths[0]
        time = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(widths[0], time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = nn.Conv2d(channels_in, widths[0], 3, padding=1)

        self.down = nn.ModuleList()
        kept, c = [widths[0]], widths[0]  # channels of what the way up will be given
        for level, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Stage(c, width, time, heads[level]))
                kept.append(c := width)
            if level < len(widths) - 1:
                self.down.append(Downsample(c))
                kept.append(c)
        self.middle = nn.ModuleList([Stage(c, c, time, heads[-1]), Stage(c, c, time, 0)])
        self.up = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Stage(c + kept.pop(), width, time, heads[level]))
                c = width
            if level:
                self.up.append(Upsample(c))
        last = nn.Conv2d(c, channels_out, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.head = nn.Sequential(nn.GroupNorm(GROUPS, c), nn.SiLU(), last)

    def forward(self, z: Float[Tensor, "B C_in H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B C_out H W"]:
        """The prediction for z at step t, float32."""
        time = self.time(sinusoids(t, self.width))  # (B, 4 width)
        h = self.stem(z)
        kept = [h]
        for layer in self.down:
            h = layer(h, time)
            kept.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for layer in self.up:
            h = layer(h if isinstance(layer, Upsample) else torch.cat([h, kept.pop()], dim=1), time)
        return self.head(h).float()


def sinusoids(t: Int64[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Sine and cosine of the step at wavelengths from 2 pi to 10,000 times as much (Vaswani et al., 2017, Sec. 3.5)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000.0) / half))
    angles = t.float()[:, None] * rates  # (B, width / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Stage(nn.Module):
    """A residual block, then attention if it has heads."""

    def __init__(self, channels_in: int, channels_out: int, time: int, heads: int) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, time)
        self.attention = Attention(channels_out, heads) if heads else nn.Identity()

    def forward(self, h: Float[Tensor, "B C_in H W"], time: Float[Tensor, "B D"]) -> Float[Tensor, "B C_out H W"]:
        """The same size, other channels."""
        return self.attention(self.block(h, time))


class ResidualBlock(nn.Module):
    """x + f(x, t) with two 3x3 convolutions; the step shifts the channels between them. `time` 0: x + f(x)."""

    def __init__(self, channels_in: int, channels_out: int, time: int = 0) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels_out, 3, padding=1)
        )
        self.time = nn.Linear(time, channels_out) if time else None
        self.second = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_out), nn.SiLU(), nn.Conv2d(channels_out, channels_out, 3, padding=1)
        )
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Float[Tensor, "B C_in H W"], time: Float[Tensor, "B D"] | None = None) -> Float[Tensor, "B C_out H W"]:
        """The same size, other channels."""
        h = self.first(x)
        if self.time is not None:
            h = h + self.time(time)[:, :, None, None]
        return self.skip(x) + self.second(h)


class Attention(nn.Module):
    """x plus what every position gathers from all others."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        rows, _, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(rows, 3, self.heads, -1, height * width).transpose(3, 4)
        q, k, v = qkv.unbind(dim=1)  # (B, heads, H W, C / heads) each
        gathered = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(gathered.transpose(2, 3).reshape(x.shape))


class Downsample(nn.Module):
    """Half the size, by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Float[Tensor, "B C H W"], time: Tensor | None = None) -> Float[Tensor, "B C h w"]:
        """Half the height and width."""
        return self.layer(h)


class Upsample(nn.Module):
    """Twice the size, by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Float[Tensor, "B C h w"], time: Tensor | None = None) -> Float[Tensor, "B C H W"]:
        """Twice the height and width."""
        return self.layer(F.interpolate(h, scale_factor=2.0, mode="nearest"))
