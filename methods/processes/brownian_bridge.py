"""The Brownian bridge (Li et al., 2023): a process that ends at the source x, where diffusion ends in noise.

Steps t run from 0, almost the target y, to T - 1, almost x; m, the share of x, goes up with them. A level is a number, or
a tensor of one number a row. What a network learns to say of z_t is z_t - y: how far it is from the target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sarbench.methods.processes.ddpm import Level, of_rows

M_FIRST, M_LAST = 0.001, 0.999  # of the authors' code; the paper's t / T would be 0 and 1, without any noise


def shares(T: int) -> Float[Tensor, " T"]:
    """m_t, evenly spaced; float64."""
    return torch.linspace(M_FIRST, M_LAST, T, dtype=torch.float64)


def variance(m: float | Tensor, s: float) -> float | Tensor:
    """delta_t = 2 s (m_t - m_t^2): of the noise at a level (Li et al., 2023, Sec. 3.2); s / 2 at most, half-way."""
    return 2.0 * s * (m - m * m)


def noised(
    y: Float[Tensor, "B ..."], x: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], m: Level, s: float
) -> Float[Tensor, "B ..."]:
    """(1 - m) y + m x + sqrt(delta) eps (Li et al., 2023, Sec. 3.2): the forward process in one jump."""
    m = of_rows(m, y)
    return (1.0 - m) * y + m * x + variance(m, s) ** 0.5 * eps


def step(
    z_t: Float[Tensor, "B ..."],
    y: Float[Tensor, "B ..."],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "B ..."],
    levels: tuple[float, float],
    s: float,
    eta: float = 1.0,
) -> Float[Tensor, "B ..."]:
    """From the first of two levels m to the second, nearer y, if z_t came from y (Li et al., 2023, Sec. 3.2).

    eta  share of the standard deviation that is fresh noise: 1 is the posterior, 0 adds none. Whatever it is, z at the
         new level has the variance that the process has there: the authors' code is true to it only for 1
    """
    m, m_next = levels
    delta, delta_next = variance(m, s), variance(m_next, s)
    fresh = eta**2 * (delta - delta_next * ((1.0 - m) / (1.0 - m_next)) ** 2) * delta_next / delta
    known = (1.0 - m_next) * y + m_next * x
    return known + ((delta_next - fresh) / delta) ** 0.5 * (z_t - (1.0 - m) * y - m * x) + fresh**0.5 * noise


def sample(
    predict: Callable[[Float[Tensor, "B ..."], int], Float[Tensor, "B ..."]],
    z: Float[Tensor, "B ..."],
    x: Float[Tensor, "B ..."],
    steps: Sequence[int],
    noise: Callable[[int], Float[Tensor, "B ..."]],
    *,
    T: int,
    s: float,
    eta: float = 1.0,
    clip: bool = False,
) -> Float[Tensor, "B ..."]:
    """Walk from z at the first of `steps`, the nearest to x, to the target (Li et al., 2023, Algorithm 2).

    predict  `predict(z_t, t)` is z_t - y
    z        where to start: x itself, or `noised` of a first estimate of y
    noise    `noise(t)` is standard normal, like z; not asked for at the last step, which gives the target
    clip     hold every estimate of y in [-1, 1]
    """
    m = shares(T).tolist()
    for t, after in zip(steps, [*steps[1:], None], strict=True):
        y = z - predict(z, t).to(z.dtype)
        y = y.clamp(-1.0, 1.0) if clip else y
        z = y if after is None else step(z, y, x, noise(t), (m[t], m[after]), s, eta)
    return z
