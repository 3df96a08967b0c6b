"""How far to trust the local translation, and how far the global one, pixel by pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScaleAttention(nn.Module):
    """The scale map M_s of SemST (Zhao et al., 2024), Sec. 3.3, after HRDA (Hoyer et al., 2022): a small head on features.

    Two 3x3 convolutions and a sigmoid; 148,097 parameters for 256 channels with a width of 64.
    """

    def __init__(self, channels: int, *, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 h w"]:
        """The share of the local translation in [0, 1], float32: 1 is local alone."""
        return torch.sigmoid(self.layers(features).float())
