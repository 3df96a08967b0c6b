"""Contrastive losses between the patches of an image and those of its translation.

Each takes unit vectors (B, n, C) of one layer: w of the output, the queries, and z of the input at the same positions.
Row by row, the positive of query i is z_i and its negatives are the other z_j of the same image. Gradients flow into
whatever is not detached; the papers detach z. Everything is computed in float32, also under autocast.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

HdceForm = Literal["normalised", "printed", "source_code"]


def patch_nce(w: Float[Tensor, "B n C"], z: Float[Tensor, "B n C"], tau: float = 0.07) -> Float[Tensor, ""]:
    """InfoNCE of CUT (Park et al., 2020), Eq. 3: the cross-entropy of picking the positive among all patches."""
    logits = _products(w, z) / tau  # (B, n, n)
    return (logits.logsumexp(dim=2) - _diagonal(logits)).mean()


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
    s = _products(w, z) / tau  # (B, n, n)
    itself = torch.eye(n, dtype=torch.bool, device=s.device)
    hardness = (beta * _products(z, z).detach()).masked_fill(itself, -torch.inf)
    if form == "source_code":
        weights = (hardness - hardness.amax(dim=2, keepdim=True)).exp()  # softmax over its own maximum
        negatives = (weights * s).masked_fill(itself, -torch.inf).logsumexp(dim=2)
    elif form == "printed":
        negatives = (hardness + s).logsumexp(dim=2)
    else:
        negatives = (hardness.log_softmax(dim=2) + s).logsumexp(dim=2) + math.log(n - 1)
    return (negatives - _diagonal(s)).mean()


def _products(a: Tensor, b: Tensor) -> Tensor:
    """All inner products within a row, (B, n, n), in float32."""
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float().transpose(1, 2)


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=1, dim2=2)
