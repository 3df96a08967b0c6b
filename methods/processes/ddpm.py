"""Gaussian diffusion (Ho et al., 2020): how much of an image is left at a step, and the noise in place of the rest.

Steps t run from 0, hardly any noise, to T - 1, hardly anything else. `abar`, Ho's alpha-bar, is the share of the
image's variance that is left; the noise has 1 - abar. A level is a number, or a tensor of one number a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import uniform

Variance = Literal["large", "small"]
Level: TypeAlias = float | Float[Tensor, " B"]


def linear(first: float, last: float, T: int) -> Float[Tensor, " T"]:
    """Betas of Ho et al. (2020), evenly spaced; scaled by 1000 / T, so that any T leaves as little of the image; float64."""
    return torch.linspace(first, last, T, dtype=torch.float64) * (1000.0 / T)


def scaled_linear(first: float, last: float, T: int) -> Float[Tensor, " T"]:
    """Betas of latent diffusion (Rombach et al., 2022): the roots of the betas are evenly spaced; float64."""
    return torch.linspace(first**0.5, last**0.5, T, dtype=torch.float64) ** 2


def alpha_bar(betas: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """abar_t, the product of 1 - beta_s over s <= t (Ho et al., 2020, Eq. 4)."""
    return torch.cumprod(1.0 - betas, dim=0)


def random_steps(seeds: Int64[Tensor, " B"], T: int, purpose: str) -> Int64[Tensor, " B"]:
    """A step in 0..T-1 for each row, all equally likely, drawn from the row's seed."""
    return (uniform(seeds, (), purpose).double() * T).long()


def noised(z: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], abar: Level) -> Float[Tensor, "B ..."]:
    """sqrt(abar) z + sqrt(1 - abar) eps (Ho et al., 2020, Eq. 4): the forward process in one jump."""
    abar = of_rows(abar, z)
    return abar**0.5 * z + (1.0 - abar) ** 0.5 * eps


def clean(z_t: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], abar: Level) -> Float[Tensor, "B ..."]:
    """What `noised` was given, if eps is the noise that it was given."""
    abar = of_rows(abar, z_t)
    return (z_t - (1.0 - abar) ** 0.5 * eps) / abar**0.5


def spread_steps(T: int, steps: int) -> list[int]:
    """The steps to visit, noisiest first: T - 1 and 0, and between them as evenly as whole numbers can be."""
    if not 2 <= steps <= T:
        raise ValueError(f"{steps} sampling steps of a process of {T}; choose from 2 to {T}")
    return [round((T - 1) * i / (steps - 1)) for i in reversed(range(steps))]


def posterior(
    z_t: Float[Tensor, "B ..."], z: Float[Tensor, "B ..."], abar: float, abar_next: float, variance: Variance = "large"
) -> tuple[Float[Tensor, "B ..."], float]:
    """Mean and variance at the cleaner level abar_next, given the image z (Ho et al., 2020, Eq. 7).

    The variance is one of the two in Ho's Sec. 3.2: "large" is exact for images of unit variance, "small" for a known one.
    """
    kept = abar / abar_next  # 1 - beta of the step that skips all levels between
    weight = abar_next**0.5 * (1.0 - kept) / (1.0 - abar)
    share = (1.0 - abar_next) / (1.0 - abar)
    return weight * z + kept**0.5 * share * z_t, (1.0 - kept) * (share if variance == "small" else 1.0)


def sample(
    predict: Callable[[Float[Tensor, "B ..."], int], Float[Tensor, "B ..."]],
    z: Float[Tensor, "B ..."],
    abar: Sequence[float],
    steps: Sequence[int],
    noise: Callable[[int], Float[Tensor, "B ..."]],
    variance: Variance = "large",
) -> Float[Tensor, "B ..."]:
    """Walk from pure noise z through `steps`, noisiest first, with fresh noise at each (Ho et al., 2020, Algorithm 2).

    predict  `predict(z_t, t)` is the noise in z_t; the image that follows from it is clipped to [-1, 1]
    abar     of every step of the process, not only of those visited
    noise    `noise(t)` is standard normal, like z; not asked for at the last step, which gives the image
    variance  of the fresh noise, as in `posterior`; with few steps, later ones can't take away what "large" adds
    """
    levels = [abar[t] for t in steps] + [1.0]
    for t, now, after in zip(steps, levels, levels[1:], strict=False):
        image = clean(z, predict(z, t).to(z.dtype), now).clamp(-1.0, 1.0)
        mean, spread = posterior(z, image, now, after, variance)
        z = mean if after == 1.0 else mean + spread**0.5 * noise(t)
    return z


def of_rows(level: Level, like: Tensor) -> float | Tensor:
    """A level a row, ready to be multiplied with tensors (B, ...)."""
    return level.reshape(-1, *[1] * (like.ndim - 1)) if isinstance(level, Tensor) else level
