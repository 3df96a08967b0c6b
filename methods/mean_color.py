"""The mean colour of the training targets as every translation: what a score gives for seeing nothing at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Card, Method, Pairs


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class MeanColor(Method):
    """One flat image for all sources: the constant of least squared error, so of the highest PSNR over pooled pixels."""

    card = Card(
        title="mean colour",
        paper="what a flat image scores: below it, a translation knows less than the average of the training targets",
        year=2026,
        supervision="none",
        channels="any",
        role="floor",
        evaluations=0,
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}
    fitted = ("color",)
    color: Tensor  # (C_target,) in [-1, 1]

    def fit(self, pairs: Iterable[Pairs]) -> None:
        """Average each band over all pixels of all training targets."""
        total = torch.zeros(self.target_channels, dtype=torch.float64)
        pixels = 0
        for part in pairs:
            total += part.target.double().sum(dim=(0, 2, 3)).cpu()
            pixels += part.target[:, 0].numel()
        self.color = (total / pixels).float().to(self.color.device)

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The mean colour everywhere."""
        rows, _, height, width = source.shape
        return self.color[None, :, None, None].repeat(rows, 1, height, width)
