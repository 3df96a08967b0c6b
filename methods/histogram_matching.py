"""Histogram matching: the source's brightness order with the colours of the training targets.

Gonzalez and Fittes, Gray-level transformations for interactive image enhancement, 1977.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Card, Method, Pairs

LEVELS = 256  # of an 8-bit image


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class HistogramMatching(Method):
    """Maps each image's brightness ranks to the quantiles of the training targets, band by band.

    Brightness is the mean over source bands. Every translation has the histogram of the pooled training targets, as far
    as ties in its source allow; any increasing change of the source's brightness leaves it as it is.
    """

    card = Card(
        title="histogram matching",
        paper="what the right colours score without any learning: below it, a translation gets even the histogram wrong",
        year=2026,
        supervision="none",
        channels="any",
        role="floor",
        evaluations=0,
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}
    fitted = ("histogram",)
    histogram: Tensor  # (C_target, LEVELS), pixels of each 8-bit level in all training targets

    def fit(self, pairs: Iterable[Pairs]) -> None:
        """Count the 8-bit levels of each band over all training targets."""
        histogram = torch.zeros(self.target_channels, LEVELS, dtype=torch.int64)
        for part in pairs:
            levels = ((part.target + 1.0) * 127.5).round().clamp(0, LEVELS - 1).long().cpu()  # (B, C, H, W)
            histogram += torch.stack([levels[:, band].flatten().bincount(minlength=LEVELS) for band in range(levels.shape[1])])
        self.histogram = histogram.to(self.histogram.device)

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """For each pixel, the target level at the quantile of its brightness within its own image."""
        quantile = _mid_ranks(source.mean(dim=1).flatten(1))  # (B, H W)
        cumulative = self.histogram.double().cumsum(dim=1)  # (C, LEVELS)
        wanted = quantile * cumulative[0, -1]  # pixels that are darker, in each image
        levels = torch.stack([torch.searchsorted(band, wanted) for band in cumulative], dim=1)  # (B, C, H W)
        return (levels.float() / 127.5 - 1.0).unflatten(2, source.shape[2:])


def _mid_ranks(values: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """The share of its row's values below each value, in (0, 1); equal values share the middle of their ranks."""
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    return (below + not_above).double() / (2 * values.shape[1])
