"""Cross-modal semantic consistency: the source and its translation mean the same, as a whole and segment by segment."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Distance = Literal["mse", "l2", "l1", "cos"]


def global_distance(
    source: Float[Tensor, "B D"], translated: Float[Tensor, "B D"], kind: Distance = "mse"
) -> Float[Tensor, ""]:
    """Distance of two images' embeddings, averaged over the batch; the source is the fixed end.

    Yang et al. (2025), Eq. 12, which leaves the norm open; "mse" is that of Chan et al. (2022), whose loss it cites.
    """
    source, translated = source.detach().float(), translated.float()
    if kind == "cos":
        return (1 - F.cosine_similarity(source, translated, dim=1)).mean()
    if kind == "l2":
        return ((source - translated).square().sum(dim=1) + 1e-12).sqrt().mean()
    return F.l1_loss(translated, source) if kind == "l1" else F.mse_loss(translated, source)


def local_cross_entropy(
    source: Float[Tensor, "B K C"], translated: Float[Tensor, "B K C"], present: Float[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the classes of each segment, both given as log-probabilities; averaged over the segments present.

    Yang et al. (2025), Eq. 11, with a mean over the K segments in place of the sum; the source is the fixed end.
    """
    entropy = -(source.detach().float().exp() * translated.float()).sum(dim=2)  # (B, K)
    return (entropy * present).sum() / present.sum().clamp_min(1)


def present_segments(segments: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K"]:
    """1 for a segment with at least one pixel, else 0."""
    return (segments.sum(dim=(2, 3)) > 0).to(torch.float32)
