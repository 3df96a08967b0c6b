"""The U-Net of conditional consistency models: it knows a real noise level, and keeps one feature map for every block."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.methods.networks.diffusion_unet import Form, ResidualBlock, Upsample, gathered

NOISE_SCALE = 0.02  # spread of the random frequencies that the noise level is described by


class ConsistencyUNet(nn.Module):
    """U-Net that the code of Bhagat et al. (2025) takes from an open implementation of improved consistency training.

    widths  channels of the stem, then of each size but the smallest, which has as many as the one before; so there are
            as many sizes as widths. H and W are multiples of `multiple`
    blocks  residual blocks at each size, as many on the way up as on the way down; there is no bottleneck
    heads   attention heads at each size; 0: no attention there
    noise   width of the description of the noise level
    groups  of the group normalisations; narrow networks need fewer, since one of every channel alone hides the noise level
    patch   side of the blocks of pixels that the network takes as one, with all their channels; 1: single pixels
    For the paper's 6 to 3 channels: widths (128, 128, 256, 512), blocks (2, 2, 4, 4), heads (0, 0, 8, 8).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        heads: Sequence[int],
        noise: int = 256,
        groups: int = 32,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.multiple = patch * 2 ** (len(widths) - 1)
        rates = nn.init.normal_(torch.empty(noise // 2), std=NOISE_SCALE)
        self.rates = nn.Parameter(rates, requires_grad=False)  # drawn once, never learned
        self.noise = nn.Sequential(nn.Linear(noise, 4 * noise), nn.SiLU(), nn.Linear(4 * noise, noise), nn.SiLU())
        self.stem = nn.Conv2d(channels_in * patch**2, widths[0], 3, padding=1)
        form = Form(groups=groups, project=True)
        spans = list(zip(widths, [*widths[1:], widths[-1]], blocks, heads, strict=True))

        self.down = nn.ModuleList()
        for level, (c_in, c_out, count, n_heads) in enumerate(spans):
            self.down.extend(Step(c_in if i == 0 else c_out, c_out, noise, n_heads, form) for i in range(count))
            if level < len(spans) - 1:
                self.down.append(Folded(c_out))
        self.up = nn.ModuleList()
        for level, (c_in, c_out, count, n_heads) in reversed(list(enumerate(spans))):
            if level < len(spans) - 1:
                self.up.append(Upsample(c_out))
            self.up.extend(Step(2 * c_out, c_in if i == count - 1 else c_out, noise, n_heads, form) for i in range(count))
        self.head = nn.Conv2d(widths[0], channels_out * patch**2, 3, padding=1)

    def forward(self, z: Float[Tensor, "B C_in H W"], sigma: Float[Tensor, " B"]) -> Float[Tensor, "B C_out H W"]:
        """The output for z at the noise level sigma, float32."""
        angles = 2.0 * math.pi * sigma.float()[:, None] * self.rates
        noise = self.noise(torch.cat([angles.sin(), angles.cos()], dim=1))
        h = self.stem(nn.functional.pixel_unshuffle(z, self.patch))
        kept = []
        for layer in self.down:
            h = layer(h, noise)
            if isinstance(layer, Step):
                kept.append(h)
        for layer in self.up:
            h = layer(torch.cat([h, kept.pop()], dim=1) if isinstance(layer, Step) else h, noise)
        return nn.functional.pixel_shuffle(self.head(h).float(), self.patch)


class Step(nn.Module):
    """A residual block, then attention if it has heads."""

    def __init__(self, channels_in: int, channels_out: int, noise: int, heads: int, form: Form) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, noise, form)
        self.attention = NormedAttention(channels_out, heads, form) if heads else nn.Identity()

    def forward(self, h: Float[Tensor, "B C_in H W"], noise: Float[Tensor, "B D"]) -> Float[Tensor, "B C_out H W"]:
        """The same size, other channels."""
        return self.attention(self.block(h, noise))


class NormedAttention(nn.Module):
    """A projection of x plus what every position gathers from all others, normalised before and after."""

    def __init__(self, channels: int, heads: int, form: Form) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Sequential(form.norm(channels), nn.Conv2d(channels, 3 * channels, 1, bias=False))
        self.out = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), form.norm(channels))
        self.skip = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        return self.skip(x) + self.out(gathered(self.qkv(x), self.heads))


class Folded(nn.Module):
    """Half the size: a 1x1 convolution of blocks of 2x2 positions, each taken as one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, h: Float[Tensor, "B C H W"], noise: Tensor | None = None) -> Float[Tensor, "B C h w"]:
        """Half the height and width."""
        return self.layer(nn.functional.pixel_unshuffle(h, 2))
