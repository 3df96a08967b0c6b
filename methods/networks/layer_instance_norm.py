"""Normalisation that learns, channel by channel, how much of it is by instance and how much by layer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LayerInstanceNorm(nn.Module):
    """(Ada)LIN of U-GAT-IT (Kim et al., 2020), Eq. 1: rho of instance normalisation and 1 - rho of layer normalisation.

    `adaptive`: scale and shift are given with the input, and rho begins at 0.9; else they are learned, and rho begins at 0;
    both as in the official code. Variances are those of all positions (of one channel, of all channels), in float32; the
    official PyTorch code takes the variance of the rows' variances.
    """

    def __init__(self, channels: int, *, adaptive: bool = False) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((channels,), 0.9 if adaptive else 0.0))
        if not adaptive:
            self.gamma = nn.Parameter(torch.ones(channels))
            self.beta = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        gamma: Float[Tensor, "B C"] | None = None,
        beta: Float[Tensor, "B C"] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Normalise, then scale by gamma and shift by beta: those given, or the layer's own."""
        gamma, beta = (self.gamma[None], self.beta[None]) if gamma is None or beta is None else (gamma, beta)
        x = x.float()
        rho = self.rho[:, None, None]
        mixed = rho * F.instance_norm(x) + (1 - rho) * F.group_norm(x, 1)
        return gamma.float()[:, :, None, None] * mixed + beta.float()[:, :, None, None]

    @torch.no_grad()
    def clip_rho(self) -> None:
        """Bring rho back into [0, 1]; Sec. 2.1.1: bounds are imposed at each update of the parameters."""
        self.rho.clamp_(0.0, 1.0)
