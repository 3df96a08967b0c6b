"""The target of the most similar training source as the translation: what pure memory scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Card, Method, Pairs, setting


@dataclass(frozen=True)
class Config:
    """How sources are compared."""

    thumbnail_px: int = setting(16, "ours: coarse enough that speckle averages out")


class NearestNeighbor(Method):
    """Remembers all training pairs; sources are compared by the L2 distance of their mean-pooled thumbnails."""

    card = Card(
        title="nearest neighbour",
        paper="what recalling a training image scores: below it, a translation is worse than memory",
        year=2026,
        supervision="paired",
        channels="any",
        role="floor",
        evaluations=0,
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}
    fitted = ("thumbnails", "targets")
    config: Config
    thumbnails: Tensor  # (N, C_source * thumbnail_px^2), of the training sources
    targets: Tensor  # (N, C_target, H, W) in 8 bits, a quarter of float32

    def fit(self, pairs: Iterable[Pairs]) -> None:
        """Remember a thumbnail of every training source, and every training target."""
        thumbnails, targets = [], []
        for part in pairs:
            thumbnails.append(self._thumbnail(part.source).cpu())
            targets.append(((part.target + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu())
        self.thumbnails = torch.cat(thumbnails).to(self.thumbnails.device)
        self.targets = torch.cat(targets).to(self.targets.device)

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The remembered target of the nearest source, the first of equals; resized bilinearly to the source's grid."""
        # Row by row: a matrix product of many rows rounds otherwise than of one, and could tip a near tie.
        nearest = torch.stack([((self.thumbnails - row) ** 2).sum(dim=1).argmin() for row in self._thumbnail(source)])
        recalled = self.targets[nearest].float() / 127.5 - 1.0
        if recalled.shape[2:] == source.shape[2:]:
            return recalled
        return F.interpolate(recalled, size=source.shape[2:], mode="bilinear", align_corners=False, antialias=True)

    def _thumbnail(self, source: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(source, self.config.thumbnail_px).flatten(1)  # (B, C * thumbnail_px^2)
