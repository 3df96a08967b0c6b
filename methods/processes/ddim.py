"""Deterministic sampling of a diffusion process in few steps: DDIM with eta = 0 (Song et al., 2021, Eq. 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from sarbench.methods.processes import ddpm


def leading_steps(T: int, steps: int, offset: int = 1) -> list[int]:
    """The steps to visit, noisiest first, with "leading" spacing: multiples of T // steps, moved up by `offset`.

    1,000 steps in 50: 981, 961, ..., 1. The last of the T steps is the highest, so an offset can't leave them.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"{steps} sampling steps of a process of {T}; choose from 1 to {T}")
    return [min(i * (T // steps) + offset, T - 1) for i in reversed(range(steps))]


def step(z_t: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], abar: float, abar_next: float) -> Float[Tensor, "B ..."]:
    """From the level abar to the cleaner abar_next along the predicted noise (Song et al., 2021, Eq. 12, sigma = 0)."""
    return ddpm.noised(ddpm.clean(z_t, eps, abar), eps, abar_next)


def sample(
    predict: Callable[[Float[Tensor, "B ..."], int], Float[Tensor, "B ..."]],
    z: Float[Tensor, "B ..."],
    abar: Sequence[float],
    steps: Sequence[int],
    abar_end: float = 1.0,
) -> Float[Tensor, "B ..."]:
    """Walk from pure noise z through `steps`, noisiest first; `predict(z_t, t)` gives the noise in z_t.

    abar      of every step of the process, not only of those visited
    abar_end  of what is returned: 1 is free of noise; Stable Diffusion stops at abar of step 0
    The walk is kept in the precision of z, whatever that of the predictions.
    """
    levels = [abar[t] for t in steps] + [abar_end]
    for t, now, after in zip(steps, levels, levels[1:], strict=False):
        z = step(z, predict(z, t).to(z.dtype), now, after)
    return z
