"""The three pixel contrasts of SePiCo, and the statistics of classes that they need.

Xie et al., TPAMI 2023, https://arxiv.org/abs/2204.08808. q are pixels' features of length 1, (n, A); a class k is known by its
mean mu_k and the diagonal of its covariance Sigma_k, (classes, A), or by a bank of its features, (classes, M, A). Classes of
which nothing is known yet take no part: they are no negatives, and their pixels are left out.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.judges._prototypes import class_sums

Features = Float[Tensor, "n A"]


class Statistics(nn.Module):
    """Mean and variance of each class's features, over all that was seen; and the newest of its image means."""

    def __init__(self, classes: int, channels: int, memory: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.variance: Tensor
        self.count: Tensor
        self.bank: Tensor
        self.filled: Tensor
        self.register_buffer("mean", torch.zeros(classes, channels))
        self.register_buffer("variance", torch.zeros(classes, channels))
        self.register_buffer("count", torch.zeros(classes))  # pixels
        self.register_buffer("bank", torch.zeros(classes, memory, channels))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.int64))  # how often the bank was written to

    @property
    def known(self) -> Bool[Tensor, " classes"]:
        """The classes that were seen."""
        return self.count > 0

    @torch.no_grad()
    def see(self, features: Float[Tensor, "B A h w"], labels: Int64[Tensor, "B h w"]) -> None:
        """Merge what a batch shows into mean and variance (Chan's parallel formula), and its image means into the bank."""
        classes, memory = len(self.count), self.bank.shape[1]
        sums, counts = class_sums(features, labels, classes)
        squares, _ = class_sums(features.float() ** 2, labels, classes)
        own = counts.clamp(min=1)[:, None]
        mean = sums / own
        variance = (squares / own - mean**2).clamp(min=0)
        total = (self.count + counts).clamp(min=1)[:, None]
        apart = mean - self.mean
        part = counts[:, None] / total
        spread = (self.variance * self.count[:, None] + variance * counts[:, None]) / total
        self.variance.copy_(spread + apart**2 * part * (1 - part))
        self.mean.add_(apart * part)
        self.count.add_(counts)
        for image, label in zip(features, labels, strict=True):
            sums, counts = class_sums(image[None], label[None], classes)
            for k in counts.nonzero()[:, 0].tolist():
                self.bank[k, int(self.filled[k]) % memory] = sums[k] / counts[k]
                self.filled[k] += 1


def centroid_contrast(
    q: Features, labels: Int64[Tensor, " n"], mean: Float[Tensor, "classes A"], known: Bool[Tensor, " classes"], tau: float
) -> Float[Tensor, ""]:
    """ProtoCL: -log of exp(q mu+ / tau) over the sum over all classes; a mean over pixels."""
    return _cross_entropy(q @ mean.T / tau, labels, known)


def distribution_contrast(
    q: Features,
    labels: Int64[Tensor, " n"],
    mean: Float[Tensor, "classes A"],
    variance: Float[Tensor, "classes A"],
    known: Bool[Tensor, " classes"],
    tau: float,
) -> Float[Tensor, ""]:
    """DistCL: the upper bound, by Jensen's inequality, of contrast with infinitely many features of Gaussian classes.

    E exp(q p_k / tau) = exp(q mu_k / tau + q Sigma_k q / (2 tau^2)) for each class, while the positive's own term is
    linear in p: so its variance, which the softmax holds in the numerator too, is added again behind the logarithm.
    """
    spread = (q**2) @ variance.T / (2 * tau**2)
    usable = known[labels]
    again = spread.gather(1, labels[:, None])[:, 0] * usable
    return _cross_entropy(q @ mean.T / tau + spread, labels, known) + again.sum() / usable.sum().clamp(min=1)


def bank_contrast(
    q: Features, labels: Int64[Tensor, " n"], bank: Float[Tensor, "classes M A"], filled: Int64[Tensor, " classes"], tau: float
) -> Float[Tensor, ""]:
    """BankCL: the mean, over the bank's positives, of -log of their exp over it and those of the other classes.

    A class of negatives counts by the exp of its mean similarity, as in the authors' code.
    """
    known, memory = filled > 0, bank.shape[1]
    there = torch.arange(memory, device=q.device) < filled.clamp(max=memory)[:, None]  # (classes, M)
    similar = torch.einsum("na,kma->nkm", q, bank) / tau
    means = (similar * there).sum(2) / there.sum(1).clamp(min=1)
    own = F.one_hot(labels, len(filled)).bool()
    negatives = means.masked_fill(own | ~known, -torch.inf).logsumexp(1, keepdim=True)  # (n, 1)
    positives = similar.gather(1, labels[:, None, None].expand(-1, 1, memory))[:, 0]  # (n, M)
    each = torch.logaddexp(positives, negatives) - positives
    mine = there[labels]
    lost = (each * mine).sum(1) / mine.sum(1).clamp(min=1)
    return (lost * known[labels]).sum() / known[labels].sum().clamp(min=1)


def diversity(q: Features, mean: Float[Tensor, "classes A"], known: Bool[Tensor, " classes"], tau: float) -> Float[Tensor, ""]:
    """The regulariser: cross-entropy of the mean feature's likeness to the classes with all alike, over K log K; 1 at least.

    The authors' code adds it with the other sign, which is least where one class takes all.
    """
    n = int(known.sum())
    if n < 2 or not len(q):
        return q.sum() * 0.0
    likeness = (q.mean(0) @ mean[known].T / tau).log_softmax(0)
    return -likeness.sum() / (n * math.log(n))


def _cross_entropy(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], known: Tensor) -> Float[Tensor, ""]:
    usable = known[labels]
    if not usable.any():
        return logits.sum() * 0.0
    logits = logits.masked_fill(~known, -torch.inf)
    return F.cross_entropy(logits[usable], labels[usable])
