"""The U-Net of diffusion processes: residual blocks that know the step, and some attention; in the form of several papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8  # of the group normalisations, which never look beyond their row


@dataclass(frozen=True)
class Form:
    """How a paper's residual blocks and attention are made; the default is that of Ho et al. (2020)."""

    groups: int = GROUPS  # of the group normalisations, or as many of them as divide the channels
    scale_shift: bool = False  # the step scales and shifts what is normalised; else it is added before that
    zero: bool = False  # the last convolution of every residual branch starts at zero
    project: bool = False  # the skip of every residual block is a 1x1 convolution; else only where channels change

    def norm(self, channels: int) -> nn.GroupNorm:
        """A group normalisation of this form."""
        return nn.GroupNorm(math.gcd(self.groups, channels), channels)


HO = Form()
GUIDED = Form(groups=32, scale_shift=True, zero=True)  # Dhariwal and Nichol (2021), Sec. 3


class DiffusionUNet(nn.Module):
    """U-Net of Ho et al. (2020), App. B, for any widths; H and W are multiples of `multiple`.

    widths   channels at each size, largest size first; multiples of 8
    blocks   residual blocks at each size on the way down, one more on the way up
    heads    attention heads at each size; 0: no attention there
    middle_heads  of the bottleneck; None: as many as the last size has
    form     of the blocks: `HO` or `GUIDED`
    residual_resampling  sizes change inside residual blocks (Dhariwal and Nichol, 2021); else by convolutions
    patch    side of the blocks of pixels that the network takes as one, with all their channels; 1: single pixels
    The last convolution starts at zero, so an untrained network predicts no noise.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        widths: Sequence[int],
        blocks: int,
        heads: Sequence[int],
        middle_heads: int | None = None,
        form: Form = HO,
        residual_resampling: bool = False,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.patch = widths[0], patch
        self.multiple = patch * 2 ** (len(widths) - 1)
        time = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(widths[0], time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = nn.Conv2d(channels_in * patch**2, widths[0], 3, padding=1)

        self.down = nn.ModuleList()
        kept, c = [widths[0]], widths[0]  # channels of what the way up will be given
        for level, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Stage(c, width, time, heads[level], form))
                kept.append(c := width)
            if level < len(widths) - 1:
                self.down.append(ResidualBlock(c, c, time, form, "down") if residual_resampling else Downsample(c))
                kept.append(c)
        central = heads[-1] if middle_heads is None else middle_heads
        self.middle = nn.ModuleList([Stage(c, c, time, central, form), Stage(c, c, time, 0, form)])
        self.up = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Stage(c + kept.pop(), width, time, heads[level], form))
                c = width
            if level:
                self.up.append(ResidualBlock(c, c, time, form, "up") if residual_resampling else Upsample(c))
        last = zeroed(nn.Conv2d(c, channels_out * patch**2, 3, padding=1))
        self.head = nn.Sequential(form.norm(c), nn.SiLU(), last)

    def forward(self, z: Float[Tensor, "B C_in H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B C_out H W"]:
        """The prediction for z at step t, float32."""
        time = self.time(sinusoids(t, self.width))  # (B, 4 width)
        h = self.stem(F.pixel_unshuffle(z, self.patch))
        kept = [h]
        for layer in self.down:
            h = layer(h, time)
            kept.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for layer in self.up:
            h = layer(torch.cat([h, kept.pop()], dim=1) if isinstance(layer, Stage) else h, time)
        return F.pixel_shuffle(self.head(h).float(), self.patch)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and biases of zero, so that what it ends starts out as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def sinusoids(t: Int64[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Sine and cosine of the step at wavelengths from 2 pi to 10,000 times as much (Vaswani et al., 2017, Sec. 3.5)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000.0) / half))
    angles = t.float()[:, None] * rates  # (B, width / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Stage(nn.Module):
    """A residual block, then attention if it has heads."""

    def __init__(self, channels_in: int, channels_out: int, time: int, heads: int, form: Form = HO) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, time, form)
        self.attention = Attention(channels_out, heads, form) if heads else nn.Identity()

    def forward(self, h: Float[Tensor, "B C_in H W"], time: Float[Tensor, "B D"]) -> Float[Tensor, "B C_out H W"]:
        """The same size, other channels."""
        return self.attention(self.block(h, time))


class ResidualBlock(nn.Module):
    """x + f(x, t) with two 3x3 convolutions; the step acts on the channels between them. `time` 0: x + f(x).

    resample  "down" halves the size by means over 2x2, "up" doubles it by repetition, both in x and inside f
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        time: int = 0,
        form: Form = HO,
        resample: Literal["", "down", "up"] = "",
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = form.scale_shift, resample
        self.first = nn.Sequential(form.norm(channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.time = nn.Linear(time, channels_out * (2 if form.scale_shift else 1)) if time else None
        last = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.second = nn.Sequential(form.norm(channels_out), nn.SiLU(), zeroed(last) if form.zero else last)
        same = channels_in == channels_out and not form.project
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Float[Tensor, "B C_in H W"], time: Float[Tensor, "B D"] | None = None) -> Float[Tensor, "B C_out h w"]:
        """Other channels, and another size only with `resample`."""
        norm, activation, convolution = self.first
        h = convolution(self._resampled(activation(norm(x))))
        if self.time is not None:
            told = self.time(time)[:, :, None, None]
            if self.scale_shift:
                norm, activation, convolution = self.second
                scale, shift = told.chunk(2, dim=1)
                return self.skip(self._resampled(x)) + convolution(activation(norm(h) * (1.0 + scale) + shift))
            h = h + told
        return self.skip(self._resampled(x)) + self.second(h)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x


class Attention(nn.Module):
    """x plus what every position gathers from all others."""

    def __init__(self, channels: int, heads: int, form: Form = HO) -> None:
        super().__init__()
        self.heads = heads
        self.norm = form.norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        out = nn.Conv2d(channels, channels, 1)
        self.out = zeroed(out) if form.zero else out

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        return x + self.out(gathered(self.qkv(self.norm(x)), self.heads))


def gathered(qkv: Float[Tensor, "B C3 H W"], heads: int) -> Float[Tensor, "B C H W"]:
    """What every position gathers from all by attention; C3 are the queries, keys and values, in this order."""
    rows, channels, height, width = qkv.shape
    q, k, v = qkv.reshape(rows, 3, heads, -1, height * width).transpose(3, 4).unbind(dim=1)  # (B, heads, H W, C / heads)
    found = F.scaled_dot_product_attention(q, k, v)
    return found.transpose(2, 3).reshape(rows, channels // 3, height, width)


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
