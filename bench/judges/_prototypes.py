"""Class prototypes of ProDA and what is said with their help: soft assignments, denoised labels, the structure loss.

Zhang et al., CVPR 2021, https://arxiv.org/abs/2101.10979. Features are (B, D, h, w), assignments (B, classes, h, w).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.judges._confusion import UNLABELLED


class Prototypes(nn.Module):
    """The mean feature of each class."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.zeros(classes, channels))
        self.register_buffer("count", torch.zeros(classes))  # pixels that made it

    @property
    def known(self) -> Bool[Tensor, " classes"]:
        """The classes that have one."""
        return self.count > 0

    @torch.no_grad()
    def gather(self, features: Float[Tensor, "B D h w"], labels: Int64[Tensor, "B h w"]) -> None:
        """Eq. 6, over everything that was gathered so far."""
        sums, counts = class_sums(features, labels, len(self.count))
        total = self.count + counts
        self.mean.copy_((self.mean * self.count[:, None] + sums) / total.clamp(min=1)[:, None])
        self.count.copy_(total)

    @torch.no_grad()
    def move(self, features: Float[Tensor, "B D h w"], labels: Int64[Tensor, "B h w"], decay: float) -> None:
        """Eq. 7: eta <- lambda eta + (1 - lambda) eta', for classes that the batch shows; a first one is taken as it is."""
        sums, counts = class_sums(features, labels, len(self.count))
        seen = counts > 0
        new = sums / counts.clamp(min=1)[:, None]
        keep = torch.where(self.known, decay, 0.0)[:, None]
        self.mean.copy_(torch.where(seen[:, None], keep * self.mean + (1 - keep) * new, self.mean))
        self.count.add_(counts)

    def assignments(self, features: Float[Tensor, "B D h w"], tau: float) -> Float[Tensor, "B classes h w"]:
        """Eq. 5: softmax over classes of minus the distance to their prototypes; 0 for classes without one.

        All classes alike where none has one.
        """
        flat = features.flatten(2).transpose(1, 2).float()  # (B, h w, D)
        distances = torch.cdist(flat, self.mean.expand(len(flat), -1, -1))
        if self.known.any():
            distances = distances.masked_fill(~self.known, torch.inf)
        found = (-distances / tau).softmax(2)
        return found.transpose(1, 2).unflatten(2, features.shape[2:])


def class_sums(
    features: Float[Tensor, "B D h w"], labels: Int64[Tensor, "B h w"], classes: int
) -> tuple[Float[Tensor, "classes D"], Float[Tensor, " classes"]]:
    """The sum of features over the pixels of each class, and their number."""
    known = labels != UNLABELLED
    weights = F.one_hot(labels.where(known, 0), classes).to(torch.float32) * known[..., None]  # (B, h, w, classes)
    weights, vectors = weights.flatten(0, 2).T, features.movedim(1, 3).flatten(0, 2).float()  # (classes, n), (n, D)
    return weights @ vectors, weights.sum(1)


def denoised(
    probabilities: Float[Tensor, "B classes H W"], assignments: Float[Tensor, "B classes h w"]
) -> Int64[Tensor, "B H W"]:
    """Eq. 4: the class of the highest product of what was first said and what the prototypes say now."""
    weights = F.interpolate(assignments, size=probabilities.shape[2:], mode="bilinear", align_corners=False)
    return (weights * probabilities).argmax(1)


def structure(weak: Float[Tensor, "B classes h w"], strong: Float[Tensor, "B classes h w"]) -> Float[Tensor, ""]:
    """KL(z_T || z_T'), a mean over pixels: the strong view shall be assigned as the weak one is."""
    smallest = torch.finfo(torch.float32).tiny
    return (weak * (weak.clamp(min=smallest).log() - strong.clamp(min=smallest).log())).sum(1).mean()
