"""A scorer of image content that needs no training: where the edges are, and how strong, whatever the sensor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

POOL = 4  # px: edges of what is larger than speckle
GRID = 16  # cells a side of an embedding


class EdgeScorer(nn.Module):
    """Stands in for CLIP where its weights are not: the same two questions, answered from edges.

    Edge strength is the gradient of the mean band after pooling by 4 px, standardised over the image; so gain, offset and
    an inversion of contrast, in which SAR and optical images differ, change nothing.
    """

    centres: Tensor

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(-1.0, 2.5, classes), persistent=False)

    def embed(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """Standardised edge strength on a grid of 16x16 cells."""
        return F.adaptive_avg_pool2d(edge_strength(images), GRID).flatten(1)

    def classify(self, images: Float[Tensor, "B C H W"], segments: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K classes"]:
        """Log-probability that a place in a segment is of each class of edge strength."""
        edges = edge_strength(images)  # (B, 1, h, w)
        votes = torch.softmax(-2.0 * (edges - self.centres[:, None, None]).square(), dim=1)  # (B, classes, h, w)
        weights = F.adaptive_avg_pool2d(segments.float(), (edges.shape[2], edges.shape[3])).flatten(2)  # (B, K, h w)
        share = weights @ votes.flatten(2).mT / weights.sum(dim=2, keepdim=True).clamp_min(1e-6)
        return (share + 1e-6).log()


def edge_strength(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 h w"]:
    """Gradient magnitude of the pooled mean band, with mean 0 and variance 1 over the image; a flat image is 0."""
    grey = F.avg_pool2d(images.float().mean(dim=1, keepdim=True), POOL)
    padded = F.pad(grey, (0, 1, 0, 1), mode="replicate")
    dy = padded[:, :, 1:, :-1] - grey
    dx = padded[:, :, :-1, 1:] - grey
    # Kept from 0, where the root has no slope.
    strength = (dy.square() + dx.square() + 1e-4).sqrt()
    centred = strength - strength.mean(dim=(2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=(2, 3), keepdim=True) + 1e-5)
