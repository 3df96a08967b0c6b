"""Losses between the patches of an image and those of its translation.

Each takes unit vectors (B, n, C) of one layer: w of the output, the queries, and z of the input at the same positions.
Row by row, the positive of query i is z_i and its negatives are the other z_j of the same image. Gradients flow into
whatever is not detached; the papers detach z. Everything is computed in float32, also under autocast.

Above `BLOCK` patches, queries are compared with all patches in blocks that the backward pass computes anew, so that memory
grows with the number of patches and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HdceForm = Literal["normalised", "printed", "source_code"]
BLOCK = 1024  # queries that are compared with all patches at once


def patch_nce(w: Float[Tensor, "B n C"], z: Float[Tensor, "B n C"], tau: float = 0.07) -> Float[Tensor, ""]:
    """InfoNCE of CUT (Park et al., 2020), Eq. 3: the cross-entropy of picking the positive among all patches."""

    def of(queries: slice) -> Tensor:
        logits = _products(w[:, queries], z) / tau  # (B, m, n)
        return logits.logsumexp(dim=2) - _own(logits, queries)

    return _each_query(of, w.shape[1]).mean()


def hdce(
    w: Float[Tensor, "B n C"],
    z: Float[Tensor, "B n C"],
    *,
    beta: float,
    tau: float = 0.07,
    form: HdceForm = "normalised",
) -> Float[Tensor, ""]:
    """Hard decoupled contrastive loss: the positive is not in the denominator, and negatives near it weigh more.

    SemST (Zhao et al., 2024), Eqs. 7 to 9, after SRC (Jung et al., 2022) and Robinson et al. (2021). Per query i, with
    s_ij = w_i.z_j / tau, c_ij = z_i.z_j, j over the N = n - 1 negatives and omega_i = softmax_j(beta c_ij):

    normalised   -s_ii + log(N sum_j omega_ij exp(s_ij)): Eq. 8, its expectation under q_beta self-normalised
    printed      -s_ii + log(sum_j exp(beta c_ij) exp(s_ij)): Eq. 9 as printed, without the constant that makes q_beta a density
    source_code  -s_ii + log(sum_j exp(omega_ij s_ij / max_k omega_ik)): the code of SRC, which weighs the similarities
                 themselves; its gamma is 1 / beta. Its printed value is another, its gradient this one's.

    The weights carry no gradient.
    """
    n = w.shape[1]
    if n < 2:
        raise ValueError(f"hdce needs a negative, so two patches or more, got {n}")

    def of(queries: slice) -> Tensor:
        s = _products(w[:, queries], z) / tau  # (B, m, n)
        itself = torch.arange(n, device=s.device) == torch.arange(n, device=s.device)[queries, None]
        hardness = (beta * _products(z[:, queries], z).detach()).masked_fill(itself, -torch.inf)
        if form == "source_code":
            weights = (hardness - hardness.amax(dim=2, keepdim=True)).exp()  # softmax over its own maximum
            negatives = (weights * s).masked_fill(itself, -torch.inf).logsumexp(dim=2)
        elif form == "printed":
            negatives = (hardness + s).logsumexp(dim=2)
        else:
            negatives = (hardness.log_softmax(dim=2) + s).logsumexp(dim=2) + math.log(n - 1)
        return negatives - _own(s, queries)

    return _each_query(of, n).mean()


def relation_divergence(w: Float[Tensor, "B n C"], z: Float[Tensor, "B n C"]) -> Float[Tensor, ""]:
    """Semantic relation consistency of SRC (Jung et al., 2022): do the patches resemble each other as they did before?

    Per patch i, the Jensen-Shannon divergence, in nats, of softmax_j(w_i.w_j) and softmax_j(z_i.z_j), the patch itself
    among them; summed over the patches of an image, so that it grows with their number, and averaged over the images.
    """

    def of(queries: slice) -> Tensor:
        p = _products(w[:, queries], w).log_softmax(dim=2)  # (B, m, n)
        q = _products(z[:, queries], z).log_softmax(dim=2)
        middle = torch.logaddexp(p, q) - math.log(2.0)
        return 0.5 * (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(dim=2)

    return _each_query(of, w.shape[1]).sum(dim=1).mean()


def _each_query(of: Callable[[slice], Tensor], n: int) -> Float[Tensor, "B n"]:
    """What `of` says of each query, block by block."""
    if n <= BLOCK:
        return of(slice(0, n))
    blocks = [slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]
    return torch.cat([checkpoint(of, block, use_reentrant=False) for block in blocks], dim=1)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """All inner products within a row, in float32."""
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float().transpose(1, 2)


def _own(x: Float[Tensor, "B m n"], queries: slice) -> Float[Tensor, "B m"]:
    """Each query's entry for the patch at its own position."""
    return x[:, :, queries].diagonal(dim1=1, dim2=2)
