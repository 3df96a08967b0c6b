"""Normalised cross-correlation of the grey images: where a matcher that learns nothing finds a template."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sarbench.bench.interface import Card
from sarbench.bench.matcher import Matcher
from sarbench.methods.networks import correlation


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class NCC(Matcher):
    """The coefficient between template and window, both the mean of their bands; by FFT and running sums in float64."""

    card = Card(
        title="normalised cross-correlation",
        paper="what comparing grey levels finds: below it, a matcher knows less than the images as they are",
        year=2026,
        supervision="none",
        channels="any",
        role="floor",
        evaluations=0,
        task="matching",
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}

    def match(
        self, template: Float[Tensor, "B C_source h w"], search: Float[Tensor, "B C_target H W"]
    ) -> Float[Tensor, "B P Q"]:
        """The coefficient at each place, in [-1, 1]; 0 where the template or the window is flat."""
        grey, there = (image.double().mean(1, keepdim=True) for image in (template, search))
        return correlation.ncc(grey, there)[:, 0].float()
