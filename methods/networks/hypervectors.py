"""Hypervectors: feature maps of an image hashed to one long vector a place, and the networks that work on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class HyperProjector(nn.Module):
    """Locality-sensitive hashing of VSAIT (Theiss et al., 2022), Sec. 3.2, by fixed random projections.

    At each place the patches of all maps, `kernels` wide and as far apart, are joined to one vector; its cosine with each
    of `size` random directions is the hypervector. The directions are part of the state, since nothing works without them.
    """

    def __init__(self, channels: Sequence[int], kernels: Sequence[int], *, size: int = 4096) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        for i, (c, kernel) in enumerate(zip(channels, kernels, strict=True)):
            self.register_buffer(f"directions_{i}", torch.randn(size, c, kernel, kernel))

    def forward(self, features: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B size h w"]:
        """Hypervectors in [-1, 1], in float32; every map has `kernel` positions for each place of the result."""
        products, energies, lengths = [], [], []
        for i, (feature, kernel) in enumerate(zip(features, self.kernels, strict=True)):
            directions = getattr(self, f"directions_{i}")
            products.append(F.conv2d(feature, directions, stride=kernel).float())
            energies.append(F.avg_pool2d(feature.float().square().sum(dim=1, keepdim=True), kernel) * kernel**2)
            lengths.append(directions.square().sum(dim=(1, 2, 3)))
        product, energy, length = (torch.stack(parts).sum(dim=0) for parts in (products, energies, lengths))
        return product / ((energy + 1e-12).sqrt() * length.sqrt()[:, None, None])


class HyperMapper(nn.Module):
    """The mapping F of VSAIT, Sec. 3.3: for each hypervector the one to bind it with; at first equal everywhere."""

    def __init__(self, size: int) -> None:
        super().__init__()
        last = nn.Conv2d(size, size, 1)
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(nn.Conv2d(size, size, 1), nn.ReLU(inplace=True), last)

    def forward(self, v: Float[Tensor, "B size h w"]) -> Float[Tensor, "B size h w"]:
        """Values in (-1, 1), in float32."""
        return torch.tanh(self.layers(v).float())


class HyperDiscriminator(nn.Module):
    """D of VSAIT: three 1x1 convolutions, so each hypervector is judged alone; 5,245,953 parameters for 4096 numbers."""

    def __init__(self, size: int, *, width: int = 1024) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(size, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, v: Float[Tensor, "B size h w"]) -> Float[Tensor, "B 1 h w"]:
        """Logits that the hypervectors are of real targets."""
        return self.layers(v)
