"""A distance that forgives a target which lies a few pixels off, patch by patch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sarbench.methods.losses.reconstruction import l1


def shift_tolerant_l1(
    fake: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"], *, reach: int, patch: int
) -> Float[Tensor, ""]:
    """Mean absolute difference to the target, each patch of which is shifted by what suits the fake best; in float32.

    reach  largest shift in px, up, down, left and right: (2 reach + 1)^2 shifts are tried
    patch  side in px of the patches that shift together
    Our reading of the misalignment-resistant loss of CFCA-SET (Lee et al., 2023), after the shift-invariant loss of the same
    group's SIPSA-Net (2021). Memory does not grow with the number of shifts.
    """
    return l1(fake, best_shifted(target, fake, reach=reach, patch=patch))


@torch.no_grad()
def best_shifted(
    target: Float[Tensor, "B C H W"], fake: Float[Tensor, "B C H W"], *, reach: int, patch: int
) -> Float[Tensor, "B C H W"]:
    """The target, each patch shifted to where it differs least from the fake; the smaller shift where two are as good.

    Beyond the border the target goes on as its last pixels. The patches at the far edges are what is left of the image.
    """
    fake, target = fake.float(), target.float()
    height, width = target.shape[2:]
    rows = torch.arange(height, device=target.device) // patch
    columns = torch.arange(width, device=target.device) // patch
    padded = F.pad(target, (reach,) * 4, mode="replicate")
    best, least = target, _patch_means(target, fake, patch)
    for down, right in _shifts(reach)[1:]:
        shifted = padded[:, :, reach + down : reach + down + height, reach + right : reach + right + width]
        error = _patch_means(shifted, fake, patch)
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better[:, :, rows[:, None], columns], shifted, best)
    return best


def _shifts(reach: int) -> list[tuple[int, int]]:
    """All shifts, the nearest first."""
    steps = range(-reach, reach + 1)
    return sorted(((down, right) for down in steps for right in steps), key=lambda s: (s[0] ** 2 + s[1] ** 2, s))


def _patch_means(first: Tensor, second: Tensor, patch: int) -> Float[Tensor, "B 1 h w"]:
    return F.avg_pool2d((first - second).abs().mean(dim=1, keepdim=True), patch, ceil_mode=True)
