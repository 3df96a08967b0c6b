"""Losses on similarity surfaces: against a known place, and against a pseudo-label that the matcher made itself."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def at_place(logits: Float[Tensor, "B P Q"], place: Int64[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Cross-entropy of the softmax over all places against the one that is right, (row, column)."""
    return F.cross_entropy(logits.flatten(1), place[:, 0] * logits.shape[2] + place[:, 1])


def coarse_place(place: Int64[Tensor, "B 2"], fine: tuple[int, int], coarse: tuple[int, int]) -> Int64[Tensor, "B 2"]:
    """The place on a coarser surface that covers a place of a finer one: floor(place * coarse / fine)."""
    return place * place.new_tensor(coarse) // place.new_tensor(fine)


def pseudo_label(surface: Float[Tensor, "B P Q"], sharpness: float) -> Float[Tensor, "B P Q"]:
    """The softmax over all places of sharpness times a surface; no gradient passes."""
    flat = (sharpness * surface.detach()).flatten(1).softmax(1)
    return flat.unflatten(1, surface.shape[1:])


def against_pseudo_label(logits: Float[Tensor, "B P Q"], label: Float[Tensor, "B P Q"]) -> Float[Tensor, ""]:
    """Cross-entropy of the softmax over all places against a distribution over them."""
    return F.cross_entropy(logits.flatten(1), label.flatten(1))
