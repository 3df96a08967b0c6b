"""Distances between an image and the one it should be."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def l1(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean absolute difference, in float32 whatever the precision of its arguments."""
    return (fake.float() - real.float()).abs().mean()


def huber(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"], delta: float = 1.0) -> Float[Tensor, ""]:
    """Mean of d^2 / 2 for differences d up to delta, and of delta (|d| - delta / 2) beyond (Huber, 1964); in float32."""
    return F.huber_loss(fake.float(), real.float(), delta=delta)
