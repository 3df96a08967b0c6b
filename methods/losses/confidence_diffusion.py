"""The C-Diff loss (Do et al., 2024): noise prediction in which the network says where its prediction can be trusted.

Four readings of it, by name:

- "official"     the authors' code: a beta-NLL (Seitzer et al., 2022) of a Gaussian whose variance v is predicted
- "eq3_sq"       Eq. 3 with the residual squared, which makes it twice such a likelihood with c = 1/v at beta = 1
- "eq3_literal"  Eq. 3 to the letter, with the signed residual inside the norm; its optimum is not at zero residual
- "mse"          the mean squared error, which leaves the confidence alone

All compute in float32, whatever the precision of their arguments. For raw = 0 the confidence is 1 in each.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["official", "eq3_sq", "eq3_literal", "mse"]

TAU = math.log(2.0 * math.pi)  # the margin of Eq. 3
V_MIN, V_MAX = 1e-6, 10.0  # official code
SHIFT_V = math.log(math.expm1(1.0 - V_MIN))  # official code: softplus(SHIFT_V) + V_MIN = 1
SHIFT_C = math.log(math.expm1(1.0))  # softplus(SHIFT_C) = 1: the confidence starts at 1
C_MIN = 1e-6  # of Eq. 3, whose logarithm has no floor


def variance(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The variance v in [1e-6, 10] that the official code makes of the network's last channel."""
    return (F.softplus(raw.float() + SHIFT_V) + V_MIN).clamp(V_MIN, V_MAX)


def confidence(raw: Float[Tensor, "*shape"], mode: Mode) -> Float[Tensor, "*shape"]:
    """The confidence c > 0 that the loss `mode` means by the network's last channel: 1/v, or c itself (Eq. 3)."""
    if mode in ("eq3_sq", "eq3_literal"):
        return F.softplus(raw.float() + SHIFT_C).clamp_min(C_MIN)
    return 1.0 / variance(raw)


def c_diff(
    eps: Float[Tensor, "B C H W"],
    eps_hat: Float[Tensor, "B C H W"],
    raw: Float[Tensor, "B 1 H W"],
    beta: Float[Tensor, " B"],
    mode: Mode,
) -> Float[Tensor, ""]:
    """The loss of predicting the noise eps as eps_hat with the confidence that `raw` stands for.

    beta  of each row. "official": from 0, the plain likelihood, to 1, at which eps_hat learns as under a squared error.
          Eq. 3: the power of c.
    """
    residual = eps.float() - eps_hat.float()
    beta = beta.float()[:, None, None, None]
    if mode == "mse":
        return residual.square().mean()
    if mode == "official":
        v = variance(raw)
        likelihood = 0.5 * (residual.square() / v + v.log() + TAU)
        return (likelihood * v.detach() ** beta).mean()
    c = confidence(raw, mode)
    if mode == "eq3_sq":
        return (residual.square() * c**beta - beta * c.log() + TAU).mean()
    terms = residual * c**beta - beta * c.log() + TAU  # Eq. 3
    return torch.linalg.vector_norm(terms, dim=(1, 2, 3)).mean()
