"""Features of an image at chosen positions, projected to unit vectors: what patchwise contrastive losses compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import uniform


class PatchProjector(nn.Module):
    """The network F (or H) of CUT (Park et al., 2020), Sec. 3 and App. C.1: for each layer an MLP of two linear layers.

    560,384 parameters for CUT's five layers, with a width of 256.
    """

    def __init__(self, channels: Sequence[int], *, width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels)

    def forward(
        self, features: Sequence[Tensor], positions: Sequence[Int64[Tensor, "B n"]]
    ) -> list[Float[Tensor, "B n width"]]:
        """Unit vectors in float32, layer by layer, of feature maps (B, C, h, w) at flat positions in [0, h w)."""
        layers = zip(features, positions, strict=True)
        return [self.project(layer, feature, where) for layer, (feature, where) in enumerate(layers)]

    def project(self, layer: int, feature: Float[Tensor, "B C h w"], where: Int64[Tensor, "B n"]) -> Float[Tensor, "B n width"]:
        """The unit vectors of one layer, counted from 0."""
        picked = at_positions(feature, where)
        return F.normalize(self.heads[layer](picked).float(), dim=2, eps=1e-7)


def at_positions(feature: Float[Tensor, "B C h w"], where: Int64[Tensor, "B n"]) -> Float[Tensor, "B n C"]:
    """The vectors of a map at flat positions in [0, h w)."""
    flat = feature.flatten(2)  # (B, C, h w)
    return flat.gather(2, where[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def draw_positions(features: Sequence[Tensor], n: int, seeds: Int64[Tensor, " B"], purpose: str) -> list[Int64[Tensor, "B n"]]:
    """Up to n different positions a row and layer, each row's from its own seed; all of a map that has no more than n."""
    drawn = []
    for layer, feature in enumerate(features):
        places = feature.shape[2] * feature.shape[3]
        order = uniform(seeds, (places,), f"{purpose} {layer}").topk(min(n, places), dim=1).indices  # (B, n)
        drawn.append(order.to(feature.device, non_blocking=True))
    return drawn


class Patches(NamedTuple):
    """Unit vectors of an image after and before its translation, at the same positions; layer by layer (B, n, C)."""

    w: Sequence[Float[Tensor, "B n C"]]  # of the output: the queries
    z: Sequence[Float[Tensor, "B n C"]]  # of the input, without gradient

    def split(self, rows: int) -> list[Patches]:
        """The patches of so many images at a time."""
        w, z = (list(zip(*(v.split(rows) for v in side), strict=True)) for side in self)
        return [Patches(*both) for both in zip(w, z, strict=True)]

    def mean(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, ""]:
        """The mean over the layers of a loss of (w, z)."""
        return torch.stack([loss(w, z) for w, z in zip(self.w, self.z, strict=True)]).mean()


def matched_patches(
    project: PatchProjector, before: Sequence[Tensor], after: Sequence[Tensor], n: int, seeds: Int64[Tensor, " S"], purpose: str
) -> Patches:
    """Up to n patches a row and layer of features before and after a translation.

    Rows are S, or several times S: then rows i, S + i, ... have their positions from seed i.
    """
    copies = len(after[0]) // len(seeds)
    positions = [p.repeat(copies, 1) for p in draw_positions(after, n, seeds, purpose)]
    with torch.no_grad():
        z = project(before, positions)
    return Patches(project(after, positions), z)
