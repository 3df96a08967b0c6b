"""Relative squared-loss mutual information between pairs of numbers: how far they are from being independent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

CENTRES = 9  # a side of the grid of kernels over [-1, 1]^2
ALPHA = 0.5  # share of the product of the marginals in the denominator
RIDGE = 0.05
MEMORY_FLOATS = 2**25  # of the largest intermediate tensor: 128 MiB


def rsmi(
    x: Float[Tensor, "*batch n"], y: Float[Tensor, "*batch n"], *, sigma: float = 0.5, kernel_sign: int = -1
) -> Float[Tensor, " *batch"]:
    """Estimate rSMI from n pairs (x_k, y_k) in [-1, 1], for every item of the batch at once; larger for dependent pairs.

    SemST (Zhao et al., 2024), Eqs. 2 and 3, by the estimator of SCC (Guo et al., 2022) and RuLSIF (Yamada et al., 2013):
    the relative density ratio of the product of the marginals to its equal mixture with the joint, as a sum of 81 product
    kernels phi(x - u_i) phi(y - v_j) on a 9 x 9 grid, phi(d) = exp(kernel_sign d^2 / (2 sigma^2)). A Gaussian has the sign
    -1; the released code of SCC has +1, and sigma 1.

    Computed in float32, also under autocast; in float64 for float64 and for the sign +1. The linear systems are solved by
    one batched Cholesky factorisation, of which no gradient is taken: see `_Solved`. Nothing of the 81 x 81 systems is
    kept for the backward pass, and large batches are solved in parts. Differentiable once.
    """
    with torch.autocast(x.device.type, enabled=False):
        # With the sign +1 kernels grow with the distance, and float32 can't tell the ridge from rounding.
        result = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        wide = torch.float64 if kernel_sign > 0 else result
        n = x.shape[-1]
        K = _kernels(x.to(wide).reshape(-1, n), sigma, kernel_sign)  # (items, 9, n)
        L = _kernels(y.to(wide).reshape(-1, n), sigma, kernel_sign)
        items = max(1, MEMORY_FLOATS // (CENTRES**2 * max(n, CENTRES**2)))
        values = [_of_kernels(*some) for some in zip(K.split(items), L.split(items), strict=True)]
        return torch.cat(values).reshape(x.shape[:-1]).to(result)


def _kernels(x: Tensor, sigma: float, sign: int) -> Tensor:
    centres = torch.linspace(-1.0, 1.0, CENTRES, dtype=x.dtype, device=x.device)
    return torch.exp(sign * (x[:, None, :] - centres[:, None]) ** 2 / (2.0 * sigma**2))


class _Solved(NamedTuple):
    """At a = (H + ridge)^-1 h, rSMI = 2 a'h - a'Ha - 1 = a'h + ridge a'a - 1, so with g = (H + ridge)^-1 (h + 2 ridge a)

        d rSMI = (a + g)'dh - g'dH a

    and the gradient needs neither that of the factorisation nor the 81 x 81 matrices again.
    """

    value: Tensor  # (items,)
    a: Tensor  # (items, 9, 9)
    g: Tensor  # (items, 9, 9)


@torch.no_grad()
def _solve(K: Tensor, L: Tensor) -> _Solved:
    items, side, n = K.shape
    # K_i L_j K_k L_l is (K_i K_k)(L_j L_l), and either product has 45 different values for its 81 pairs.
    first, second = torch.triu_indices(side, side, device=K.device)
    different = (K[:, first] * K[:, second]) @ (L[:, first] * L[:, second]).transpose(1, 2) / n  # (items, 45, 45)
    pair = torch.empty(side, side, dtype=torch.int64, device=K.device)
    pair[first, second] = pair[second, first] = torch.arange(len(first), device=K.device)
    joint = different[:, pair[:, None, :, None], pair[None, :, None, :]]  # (items, i, j, k, l)
    # Sums over independent pairs factorise: the product of the marginals needs 9 x 9 matrices alone.
    marginal = torch.einsum("bik,bjl->bijkl", K @ K.transpose(1, 2) / n, L @ L.transpose(1, 2) / n)
    H = (ALPHA * marginal + (1.0 - ALPHA) * joint).reshape(items, side**2, side**2)
    H.diagonal(dim1=1, dim2=2).add_(RIDGE)
    h = _h(K, L).reshape(items, side**2, 1)
    # By Cholesky, as torch's batched LU fails on a CPU with two threads; unchecked, so that the host need not wait.
    factor = torch.linalg.cholesky_ex(H).L
    a = torch.cholesky_solve(h, factor)
    g = torch.cholesky_solve(h + 2.0 * RIDGE * a, factor)
    value = ((h + RIDGE * a) * a).sum(dim=(1, 2)) - 1.0
    return _Solved(value, a.reshape(items, side, side), g.reshape(items, side, side))


def _h(K: Tensor, L: Tensor) -> Tensor:
    return K.mean(dim=2)[:, :, None] * L.mean(dim=2)[:, None]  # (items, 9, 9)


def _of_kernels(K: Tensor, L: Tensor) -> Tensor:
    value, a, g = _solve(K.detach(), L.detach())
    if not (torch.is_grad_enabled() and (K.requires_grad or L.requires_grad)):
        return value
    n = K.shape[2]

    def of_pairs(weights: Tensor) -> Tensor:
        return ((weights.transpose(1, 2) @ K) * L).sum(dim=1)  # sum_ij weights_ij K_ik L_jk, (items, n)

    joint = (of_pairs(g) * of_pairs(a)).mean(dim=1)
    K_K, L_L = K @ K.transpose(1, 2) / n, L @ L.transpose(1, 2) / n  # (items, 9, 9)
    product = (g * (K_K @ a @ L_L)).sum(dim=(1, 2))
    moving = ((a + g) * _h(K, L)).sum(dim=(1, 2)) - ALPHA * product - (1.0 - ALPHA) * joint
    return value + (moving - moving.detach())  # rSMI's value, and its gradient
