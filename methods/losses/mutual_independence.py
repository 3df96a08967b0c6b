"""The mutual-independence loss of S2M2-SAR: mutual information of two feature maps by soft histograms."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6


def mutual_information(
    a: Float[Tensor, "B C H W"],
    b: Float[Tensor, "B C H W"],
    *,
    bins: int = 32,
    pool: int = 8,
    scale: Literal["clamp", "minmax"] = "clamp",
) -> Float[Tensor, " B"]:
    """Mutual information in nats between the values of two maps at equal places and channels, for each sample.

    Both are averaged over windows of `pool` px and brought into [0, 1]: by clamping, as the released code does, which
    takes the gradient from what lies outside; or from the least to the largest value of each sample. Each value is spread
    over bins on [0, 1] by a Gaussian as wide as their spacing, with weights that sum to 1:

        p_ab = mean of outer products, p_a and p_b = means;  sum p_ab log(p_ab / (p_a p_b + 1e-6) + 1e-6)
    """
    pool = min(pool, *a.shape[2:])  # of a map that is smaller than a window, the whole
    with torch.autocast(a.device.type, enabled=False):
        of_a, of_b = (_weights(F.avg_pool2d(x.float(), pool).flatten(1), bins, scale) for x in (a, b))  # (B, n, bins)
        joint = of_a.transpose(1, 2) @ of_b / of_a.shape[1]  # (B, bins, bins)
        independent = of_a.mean(1)[:, :, None] * of_b.mean(1)[:, None, :]
        return (joint * torch.log(joint / (independent + EPS) + EPS)).sum((1, 2))


def _weights(values: Float[Tensor, "B n"], bins: int, scale: str) -> Float[Tensor, "B n bins"]:
    if scale == "clamp":
        values = values.clamp(0, 1)
    else:
        least, largest = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        values = (values - least) / (largest - least + EPS)
    centres = torch.linspace(0, 1, bins, device=values.device)
    return torch.softmax(-0.5 * ((values[:, :, None] - centres) * (bins - 1)).square(), dim=2)
