"""The learned half of S3OIL's cross-set matching: queries, keys and values of two sets' features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.methods.networks.attention_moments import attention_moments, normalised


class CrossSetAlignment(nn.Module):
    """What the unpaired set's features would be with the statistics of the paired set's, level by level.

    Yang et al. (2025), Eqs. 1 to 7. `widths` are the channels of the levels, finest first. The paper gives no initial
    weights: f and g begin with attention weights of unit spread, h as the identity.
    """

    def __init__(self, widths: Sequence[int], key_width: int) -> None:
        super().__init__()
        seen = list(accumulate(widths))  # channels of levels 1..i joined
        self.f = nn.ModuleList(nn.Conv2d(n, key_width, 1, bias=False) for n in seen)
        self.g = nn.ModuleList(nn.Conv2d(n, key_width, 1, bias=False) for n in seen)
        self.h = nn.ModuleList(nn.Conv2d(n, n, 1) for n in widths)
        for convolution in (*self.f, *self.g):
            nn.init.normal_(convolution.weight, 0.0, convolution.in_channels**-0.5 * key_width**-0.25)  # type: ignore
        for convolution in self.h:
            nn.init.dirac_(convolution.weight)  # type: ignore[arg-type]
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(
        self, F_u: Sequence[Float[Tensor, "B _ h w"]], F_p: Sequence[Float[Tensor, "B _ h w"]]
    ) -> list[Float[Tensor, "B _ h w"]]:
        """F_align of each level; row k of the unpaired set attends to row k of the paired one."""
        aligned = []
        for i, (u, p) in enumerate(zip(F_u, F_p, strict=True)):
            Q = self.f[i](normalised(_joined(F_u[: i + 1])))  # Eq. 2
            K = self.g[i](normalised(_joined(F_p[: i + 1])))  # Eq. 3
            V = self.h[i](p)  # Eq. 4
            M, S = attention_moments(Q.flatten(2), K.flatten(2), V.flatten(2))  # Eqs. 5 and 6, (B, C_i, h w) each
            aligned.append(S.reshape(u.shape) * normalised(u) + M.reshape(u.shape))  # Eq. 7
        return aligned


def _joined(levels: Sequence[Tensor]) -> Float[Tensor, "B _ h w"]:
    """Levels 1 to i at the size of level i, joined along the channels.  Eq. 1."""
    *finer, last = levels
    size = last.shape[2:]
    shrunk = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in finer]
    return torch.cat([*shrunk, last], dim=1)
