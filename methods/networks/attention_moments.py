"""Cross-set alignment: what one set's features would look like with the attended statistics of another set."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

EPS = 1e-6  # floor of the variance under the root, whose gradient at 0 would be infinite
LARGEST = 1024 * 1024  # weights (queries x keys) of one image that are kept for the backward pass
ROWS = 512  # queries at a time where there would be more


def normalised(x: Float[Tensor, "B C *grid"]) -> Float[Tensor, "B C *grid"]:
    """Each channel of each image with mean 0 and variance 1 over its positions; a flat channel becomes 0."""
    flat = x.flatten(2).float()
    centred = flat - flat.mean(dim=2, keepdim=True)
    return (centred * torch.rsqrt(centred.square().mean(dim=2, keepdim=True) + 1e-5)).reshape(x.shape)


def attention_moments(
    Q: Float[Tensor, "B C_k N_u"], K: Float[Tensor, "B C_k N_p"], V: Float[Tensor, "B C_i N_p"]
) -> tuple[Float[Tensor, "B C_i N_u"], Float[Tensor, "B C_i N_u"]]:
    """Mean M and standard deviation S of V's positions under the attention softmax(Q^T K), for each query, in float32.

    S is taken about V's spatial mean, which changes nothing in exact arithmetic: E[v^2] - E[v]^2 of values far from 0
    loses all its digits. It is at least sqrt(1e-6). Above 1024 x 1024 weights the matrix is made in parts of 512
    queries and again in the backward pass, so memory grows with the positions, not with their square.

    Yang et al. (2025), Eqs. 5 and 6; AdaAttN (Liu et al., 2021), Eqs. 4 to 6. No 1/sqrt(C_k): neither has one.
    """
    with torch.autocast(Q.device.type, enabled=False):
        Q, K, V = Q.float(), K.float(), V.float()
        centre = V.mean(dim=2, keepdim=True)
        V = V - centre
        if Q.shape[2] * K.shape[2] <= LARGEST:
            M, S = _moments(Q, K, V)
        else:
            parts = [checkpoint(_moments, part, K, V, use_reentrant=False) for part in Q.split(ROWS, dim=2)]
            M, S = (torch.cat(part, dim=2) for part in zip(*parts, strict=True))
        return M + centre, S


def _moments(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    A = torch.softmax(Q.mT @ K, dim=2)  # Eq. 5, (B, N_u, N_p)
    M = V @ A.mT  # Eq. 6
    variance = V.square() @ A.mT - M.square()
    return M, variance.clamp_min(EPS).sqrt()
