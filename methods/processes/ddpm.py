"""Gaussian diffusion (Ho et al., 2020): how much of an image is left at a step, and the noise in place of the rest.

Steps t run from 0, hardly any noise, to T - 1, hardly anything else. `abar`, Ho's alpha-bar, is the share of the
image's variance that is left; the noise has 1 - abar. A level is a number, or a tensor of one number a row.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import uniform

Level: TypeAlias = float | Float[Tensor, " B"]


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
    abar = _of_rows(abar, z)
    return abar**0.5 * z + (1.0 - abar) ** 0.5 * eps


def clean(z_t: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], abar: Level) -> Float[Tensor, "B ..."]:
    """What `noised` was given, if eps is the noise that it was given."""
    abar = _of_rows(abar, z_t)
    return (z_t - (1.0 - abar) ** 0.5 * eps) / abar**0.5


def noise_of_velocity(z_t: Float[Tensor, "B ..."], v: Float[Tensor, "B ..."], abar: Level) -> Float[Tensor, "B ..."]:
    """The noise in z_t, given the velocity v = sqrt(abar) eps - sqrt(1 - abar) z (Salimans and Ho, 2022, Sec. 4).

    An error of v is an error sqrt(abar) times as large of the noise, and sqrt(1 - abar) times as large of `clean`: so a
    network that predicts v, however bad, never sends the first sampling steps far out of the range of images.
    """
    abar = _of_rows(abar, z_t)
    return abar**0.5 * v + (1.0 - abar) ** 0.5 * z_t


def _of_rows(level: Level, like: Tensor) -> float | Tensor:
    """A level a row, ready to be multiplied with tensors (B, ...)."""
    return level.reshape(-1, *[1] * (like.ndim - 1)) if isinstance(level, Tensor) else level
