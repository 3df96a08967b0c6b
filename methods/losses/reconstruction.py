"""Distances between an image and the one it should be."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def l1(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean absolute difference, in float32 whatever the precision of its arguments."""
    return (fake.float() - real.float()).abs().mean()


def mse(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean squared difference, in float32."""
    return (fake.float() - real.float()).square().mean()


def pseudo_huber(fake: Float[Tensor, "B ..."], real: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    """sqrt(||d||^2 + c^2) - c for the difference d of each row as a whole, with c = 0.00054 sqrt(its length); in float32.

    Song and Dhariwal (2024), Sec. 3.3.
    """
    d = (fake.float() - real.float()).flatten(1)
    c = 0.00054 * d.shape[1] ** 0.5
    return (d.square().sum(dim=1) + c**2).sqrt() - c


def huber(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"], delta: float = 1.0) -> Float[Tensor, ""]:
    """Mean of d^2 / 2 for differences d up to delta, and of delta (|d| - delta / 2) beyond (Huber, 1964); in float32."""
    return F.huber_loss(fake.float(), real.float(), delta=delta)
