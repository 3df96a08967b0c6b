"""Cross-set alignment: what one set's features would look like with the attended statistics of another set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-6  # floor of the variance under the root, whose gradient at 0 would be infinite
BLOCK = 1024 * 1024  # weights (queries x keys) of one image that are in memory at a time


def normalised(x: Float[Tensor, "B C *grid"]) -> Float[Tensor, "B C *grid"]:
    """Each channel of each image with mean 0 and variance 1 over its positions; a flat channel becomes 0."""
    flat = x.flatten(2).float()
    centred = flat - flat.mean(dim=2, keepdim=True)
    return (centred * torch.rsqrt(centred.square().mean(dim=2, keepdim=True) + 1e-5)).reshape(x.shape)


def attention_moments(
    Q: Float[Tensor, "B C_k N_u"], K: Float[Tensor, "B C_k N_p"], V: Float[Tensor, "B C_i N_p"]
) -> tuple[Float[Tensor, "B C_i N_u"], Float[Tensor, "B C_i N_u"]]:
    """Mean M and standard deviation S of V's positions under the attention softmax(Q^T K), for each query.

    Both are in float32 (float64 where the inputs are). S is taken about V's spatial mean, which changes nothing in
    exact arithmetic: E[v^2] - E[v]^2 of values far from 0 loses all its digits. It is at least sqrt(1e-6).
    Above 1024 x 1024 weights the matrix is never whole: each pass makes it a block at a time, so memory grows with the
    positions and not with their square. Gradients are exact there too, but cannot be differentiated again.

    Yang et al. (2025), Eqs. 5 and 6; AdaAttN (Liu et al., 2021), Eqs. 4 to 6. No 1/sqrt(C_k): neither has one.
    Blocks that are made again from the saved log-sum-exp: FlashAttention (Dao et al., 2022), section 3.
    """
    with torch.autocast(Q.device.type, enabled=False):
        Q, K, V = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (Q, K, V))
        centre = V.detach().mean(dim=2, keepdim=True)  # no gradient: where the centre is changes neither M nor S
        moments = _moments if Q.shape[2] * K.shape[2] <= BLOCK else _MomentsInBlocks.apply
        M, S = moments(Q, K, V, centre)
        return M + centre, S


def _moments(Q: Tensor, K: Tensor, V: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of V - centre and S with the whole matrix: a tenth faster while that is small, as nothing is made again."""
    v = V - centre
    A = torch.softmax(Q.mT @ K, dim=2)  # Eq. 5, (B, N_u, N_p)
    M = v @ A.mT  # Eq. 6
    variance = v.square() @ A.mT - M.square()
    return M, variance.clamp_min(EPS).sqrt()


class _MomentsInBlocks(torch.autograd.Function):
    """`_moments`, for which each pass makes the weights anew: of some queries going forward, of some keys going back."""

    @staticmethod
    def forward(ctx: Any, Q: Tensor, K: Tensor, V: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        v = V - centre  # made again too: not kept for the backward pass
        v_squared = v.square()
        M, S = (V.new_empty(*V.shape[:2], Q.shape[2]) for _ in range(2))
        log_sum = Q.new_empty(len(Q), Q.shape[2], 1)
        room = Q.new_empty(len(Q), _width(Q, K), K.shape[2])  # one for all blocks: freed ones are not always reused
        for rows in _blocks(Q, K):
            A = room[:, : rows.stop - rows.start]
            torch.bmm(Q[:, :, rows].mT, K, out=A)
            top = A.amax(dim=2, keepdim=True)
            A.sub_(top).exp_()
            total = A.sum(dim=2, keepdim=True)  # divides the sums over positions, which are fewer than the weights
            log_sum[:, rows] = top + total.log()
            M[:, :, rows] = mean = (v @ A.mT).div_(total.mT)  # Eq. 6
            S[:, :, rows] = (v_squared @ A.mT).div_(total.mT).sub_(mean.square()).clamp_min_(EPS).sqrt_()
        ctx.save_for_backward(Q, K, V, centre, M, S, log_sum)
        return M, S

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, grad_M: Tensor, grad_S: Tensor) -> tuple[Tensor | None, ...]:
        Q, K, V, centre, M, S, log_sum = ctx.saved_tensors
        with torch.autocast(Q.device.type, enabled=False):
            # S^2 = A v^2 - (A v)^2, so: gradients with respect to A v^2 and to A v
            grad_second = (grad_S / S).mul_(0.5).masked_fill_(S.new_tensor(EPS).sqrt() >= S, 0)
            grad_first = torch.addcmul(grad_M, M, grad_second, value=-2)
            # of softmax: dA - sum_p A dA, whose sum is that of the gradients times A v and A v^2
            shared = (grad_first * M + grad_second * (S.square() + M.square())).sum(dim=1).unsqueeze(2)
            dQ, dK, dV = torch.zeros_like(Q), torch.empty_like(K), torch.empty_like(V)
            room = Q.new_empty(2, len(Q), Q.shape[2], _width(K, Q))
            for columns in _blocks(K, Q):
                A, dA = room[..., : columns.stop - columns.start]
                k, v = K[:, :, columns], V[:, :, columns] - centre
                torch.bmm(Q.mT, k, out=A).sub_(log_sum).exp_()
                dV[:, :, columns] = (grad_second @ A).mul_(v).mul_(2).add_(grad_first @ A)
                torch.bmm(grad_first.mT, v, out=dA).baddbmm_(grad_second.mT, v.square()).sub_(shared).mul_(A)
                dK[:, :, columns] = Q @ dA
                dQ.baddbmm_(k, dA.mT)
        return dQ, dK, dV, None


def _width(parted: Tensor, whole: Tensor) -> int:
    """How many positions of `parted` make a block against all of `whole`."""
    return min(parted.shape[2], max(1, BLOCK // whole.shape[2]))


def _blocks(parted: Tensor, whole: Tensor) -> Iterator[slice]:
    n, width = parted.shape[2], _width(parted, whole)
    return (slice(start, min(start + width, n)) for start in range(0, n, width))
