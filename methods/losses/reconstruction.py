"""Distances between an image and the one it should be."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def l1(fake: Float[Tensor, "*shape"], real: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean absolute difference, in float32 whatever the precision of its arguments."""
    return (fake.float() - real.float()).abs().mean()
