"""Consistency models (Song et al., 2023), trained without a teacher model (improved: Song and Dhariwal, 2024).

z = y + sigma eps at the noise level sigma; a consistency function gives, for every z on the way of one y, that y. Levels
go up with their index. The constants are those of Song and Dhariwal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import uniform
from sarbench.methods.processes.ddpm import of_rows

RHO = 7.0  # how much closer the small levels are than the large ones
SIGMA_DATA = 0.5  # about the spread of images in [-1, 1]
P_MEAN, P_STD = -1.1, 2.0  # of log sigma: which levels are trained on how often


def levels(n: int, sigma_min: float, sigma_max: float) -> Float[Tensor, " n"]:
    """Noise levels, n of them, from sigma_min to sigma_max (Karras et al., 2022, Eq. 5); float64."""
    first, last = sigma_min ** (1 / RHO), sigma_max ** (1 / RHO)
    return torch.linspace(first, last, n, dtype=torch.float64) ** RHO


def random_pairs(seeds: Int64[Tensor, " B"], sigmas: Float[Tensor, " n"], purpose: str) -> Int64[Tensor, " B"]:
    """For each row the index i of a pair of neighbours (sigma_i, sigma_i+1), drawn from the row's seed.

    As often as a log-normal distribution falls between the two (Song and Dhariwal, 2024, Sec. 3.5).
    """
    below = torch.erf((sigmas.double().log() - P_MEAN) / (math.sqrt(2.0) * P_STD))
    share = torch.cumsum(below.diff(), dim=0)
    drawn = uniform(seeds, (), purpose).double() * share[-1]
    return torch.searchsorted(share, drawn, right=True).clamp_max(len(sigmas) - 2)


def consistent(
    network: Callable[[Float[Tensor, "B ..."], Float[Tensor, " B"]], Float[Tensor, "B ..."]],
    z: Float[Tensor, "B ..."],
    sigma: Float[Tensor, " B"],
    sigma_min: float,
) -> Float[Tensor, "B ..."]:
    """The consistency function that a network of (z, sigma) makes: z itself at sigma_min (Song et al., 2023, App. C).

    The network sees z scaled to about unit spread (Karras et al., 2022, Table 1).
    """
    above = sigma - sigma_min
    skip = SIGMA_DATA**2 / (above**2 + SIGMA_DATA**2)
    spread = (sigma**2 + SIGMA_DATA**2).sqrt()
    given = network(z / of_rows(spread, z), sigma).to(z.dtype)
    return of_rows(skip, z) * z + of_rows(SIGMA_DATA * above / spread, z) * given


def sample(
    estimate: Callable[[Float[Tensor, "B ..."], float], Float[Tensor, "B ..."]],
    noise: Callable[[int], Float[Tensor, "B ..."]],
    sigmas: Sequence[float],
    sigma_min: float,
) -> Float[Tensor, "B ..."]:
    """The image from pure noise, through the levels `sigmas`, highest first (Song et al., 2023, Algorithm 1).

    estimate  `estimate(z, sigma)` is the consistency function; what it gives is clipped to [-1, 1]
    noise     `noise(i)` is standard normal, for level i of sigmas: at the first it is all there is, then it is added again
    """
    y = estimate(sigmas[0] * noise(0), sigmas[0]).clamp(-1.0, 1.0)
    for i, sigma in enumerate(sigmas[1:], 1):
        z = y + math.sqrt(sigma**2 - sigma_min**2) * noise(i)
        y = estimate(z, sigma).clamp(-1.0, 1.0)
    return y
