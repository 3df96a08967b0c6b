"""The source itself as the translation: a method that scores below it has harmed its input."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Card, Method


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Identity(Method):
    """The source, its bands fitted to the target's: unchanged for equal counts, else their mean in every band."""

    card = Card(
        title="identity",
        paper="what the untranslated source scores: below it, a translation harms",
        year=2026,
        supervision="none",
        channels="any",
        role="floor",
        evaluations=0,
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """A copy of the source; one band is repeated, several become their mean where the counts differ."""
        if self.source_channels == self.target_channels:
            return source.clone()
        return source.mean(dim=1, keepdim=True).repeat(1, self.target_channels, 1, 1)
