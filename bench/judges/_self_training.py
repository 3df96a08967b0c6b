"""What segmenters that adapt themselves share: losses on labels that may be missing, pseudo labels, copies, strong views.

Probabilities and scores are (B, classes, H, W); labels are (B, H, W), 255 where there is none.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import normal, uniform
from sarbench.bench.judges._confusion import UNLABELLED

Scores = Float[Tensor, "B classes H W"]
Labels = Int64[Tensor, "B H W"]

SMALLEST = 1e-4  # what stands in for log 0 of a one-hot label: as symmetric cross-entropy's authors clip it


# --- Losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(scores: Scores, labels: Labels, weights: Float[Tensor, "B H W"] | None = None) -> Float[Tensor, ""]:
    """The mean over labelled pixels; 0 where none is. `weights`: of each pixel's part in that mean's numerator."""
    lost = F.cross_entropy(scores, labels, ignore_index=UNLABELLED, reduction="none")
    lost = lost if weights is None else lost * weights
    return lost.sum() / (labels != UNLABELLED).sum().clamp(min=1)


def symmetric_cross_entropy(scores: Scores, labels: Labels, alpha: float, beta: float) -> Float[Tensor, ""]:
    """Sums alpha CE(p, y) + beta CE(y, p), y one-hot; Wang et al., ICCV 2019, https://arxiv.org/abs/1908.06112, Eq. 7.

    The second part is -sum_k p_k log y_k = -log(1e-4) (1 - p_y), bounded, so that a wrong label can't pull without end.
    """
    known = labels != UNLABELLED
    right = scores.softmax(1).gather(1, labels.where(known, 0)[:, None])[:, 0]
    reverse = -torch.log(scores.new_tensor(SMALLEST)) * (1 - right)
    return alpha * cross_entropy(scores, labels) + beta * (reverse * known).sum() / known.sum().clamp(min=1)


def fooling(logits: Float[Tensor, "B 1 h w"], real: bool) -> Float[Tensor, ""]:
    """Binary cross-entropy of a discriminator's logits with one answer everywhere."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, float(real), dtype=torch.float32))


def telling_apart(D: nn.Module, source: Scores, target: Scores) -> dict[str, Tensor]:
    """The losses of a discriminator of class maps, halved: the source's are real, the target's are not."""
    return {"source": 0.5 * fooling(D(source.detach()), True), "target": 0.5 * fooling(D(target.detach()), False)}


# --- Pseudo labels ---------------------------------------------------------------------------------------------------


def confident_labels(probabilities: Scores, threshold: float) -> Labels:
    """The class of the highest probability where that is above the threshold, 255 elsewhere."""
    most, labels = probabilities.max(1)
    return labels.masked_fill(most <= threshold, UNLABELLED)


def labels_at(labels: Labels, size: tuple[int, int], classes: int, least: float) -> Int64[Tensor, "B h w"]:
    """Labels on a coarser grid: the class that holds at least that share of a cell, 255 where none does."""
    spread = F.one_hot(labels.where(labels != UNLABELLED, classes), classes + 1).movedim(3, 1).float()
    share, found = F.adaptive_avg_pool2d(spread, size)[:, :classes].max(1)
    return found.masked_fill((share < least) | (share == 0), UNLABELLED)


# --- Copies of a network ---------------------------------------------------------------------------------------------


class Still(nn.Module):
    """A copy of a network that no optimiser moves: it is told to take or to follow the original, and is always in eval mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.network.eval()

    def train(self, mode: bool = True) -> Still:
        """Stays in eval mode."""
        return super().train(False)  # type: ignore[return-value]

    @torch.no_grad()
    def follow(self, network: nn.Module, decay: float) -> None:
        """Move every number towards the original's: x <- decay x + (1 - decay) original; counters are taken over."""
        for mine, other in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, 1.0 - decay)
            else:
                mine.copy_(other)

    def take(self, network: nn.Module) -> None:
        """Become equal to the original."""
        self.follow(network, 0.0)


# --- Views -----------------------------------------------------------------------------------------------------------


def strong_view(
    images: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"], jitter: float, noise: float, hole: float
) -> Float[Tensor, "B C H W"]:
    """The images in other colours, with noise, and with a square of `hole` of the shorter side greyed out; keyed by seed.

    jitter   contrast by a factor in [1 - jitter, 1 + jitter], brightness by up to +-jitter, each band by its own
    noise    standard deviation, on the scale of [-1, 1]
    No pixel moves, so labels stay true.
    """
    channels, height, width = images.shape[1:]
    contrast, brightness = (
        uniform(seeds, (2, channels, 1, 1), "strong view, colour").to(images.dtype).mul(2).sub(1).mul(jitter).unbind(1)
    )
    seen = images * (1 + contrast) + brightness + noise * normal(seeds, (channels, height, width), "strong view, noise")
    side = int(hole * min(height, width))
    if side:
        place = uniform(seeds, (2,), "strong view, hole")
        top, left = (place * place.new_tensor([height - side + 1, width - side + 1])).long().unbind(1)
        rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
        down = (rows >= top[:, None]) & (rows < top[:, None] + side)  # (B, H)
        across = (columns >= left[:, None]) & (columns < left[:, None] + side)  # (B, W)
        seen = seen.masked_fill((down[:, :, None] & across[:, None])[:, None], 0.0)
    return seen.clamp(-1, 1)


def mixed_by_class(
    images: Float[Tensor, "B C H W"],
    labels: Labels,
    onto: Float[Tensor, "B C H W"],
    onto_labels: Labels,
    seeds: Int64[Tensor, " B"],
    classes: int,
) -> tuple[Float[Tensor, "B C H W"], Labels, Float[Tensor, "B H W"]]:
    """ClassMix (Olsson et al., WACV 2021, https://arxiv.org/abs/2007.07936): half of an image's classes, pasted onto another.

    Gives the mixed images, their labels, and a mask that is 1 where the first image shows. Of an odd number of classes the
    larger half is pasted.
    """
    order = uniform(seeds, (classes,), "class mix")  # (B, classes)
    there = torch.stack([(labels == k).flatten(1).any(1) for k in range(classes)], 1)
    ranks = order.masked_fill(~there, 2.0).argsort(1).argsort(1)
    chosen = there & (ranks < (there.sum(1, keepdim=True) + 1) // 2)
    known = labels != UNLABELLED
    mask = chosen.gather(1, labels.where(known, 0).flatten(1)).view_as(labels) & known
    return torch.where(mask[:, None], images, onto), torch.where(mask, labels, onto_labels), mask.to(images.dtype)
