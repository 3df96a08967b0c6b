"""Matching of a network's answers to a weakly and a strongly perturbed view of one image, in windows of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from sarbench.bench.interface import uniform

SHIFT = 0.1  # largest shift of the weak view, as a share of the side
CUTOUT = 4  # the strong view's square is a side divided by this

# The 25 sub-policies that AutoAugment learned on ImageNet (Cubuk et al., 2019, appendix): operation, probability,
# magnitude from 0 to 9. Rotations and shears are left out, since the two views must stay aligned, and so are colour
# operations, which one band has not.
POLICY: tuple[tuple[tuple[str, float, int], ...], ...] = (
    (("posterize", 0.4, 8),),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0),),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("solarize", 0.6, 8),),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (),
    (("equalize", 0.6, 0),),
    (("equalize", 0.8, 0),),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("contrast", 1.0, 8),),
    (),
    (("solarize", 0.8, 7),),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("equalize", 1.0, 0),),
    (("equalize", 0.6, 0),),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("contrast", 1.0, 8),),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)
MOST = max(len(row) for row in POLICY)


@torch.no_grad()
def weak_view(x: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
    """Each row mirrored left to right with probability 1/2 and shifted by up to a tenth of its sides, reflected at the border.

    A row's draw depends on its seed alone.
    """
    coin, down, right = uniform(seeds.cpu(), (3,), "weak view").unbind(dim=1)  # (B,) each
    rows = _reflected(x.shape[2], down)  # (B, H)
    columns = _reflected(x.shape[3], right)
    columns = torch.where(coin[:, None] < 0.5, columns.flip(1), columns)
    b = torch.arange(len(x))[:, None, None]
    at = [index.to(x.device) for index in (b, rows[:, :, None], columns[:, None, :])]
    return x.permute(0, 2, 3, 1)[at[0], at[1], at[2]].permute(0, 3, 1, 2)


def _reflected(side: int, draw: Float[Tensor, " B"]) -> Int64[Tensor, "B side"]:
    shift = ((2 * draw - 1) * SHIFT * side).round().long()
    at = torch.arange(side) + shift[:, None]
    last = side - 1
    return last - (last - at.abs()).abs()


@torch.no_grad()
def strong_view(x: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
    """Each row under a random sub-policy of AutoAugment, band by band, and with a grey square cut out (Cutout); in [-1, 1]."""
    draws = uniform(seeds.cpu(), (3 + 2 * MOST,), "strong view").tolist()
    views = [_strong(image, draw) for image, draw in zip(x, draws, strict=True)]
    return torch.stack(views)


def _strong(image: Float[Tensor, "C H W"], draw: Sequence[float]) -> Float[Tensor, "C H W"]:
    which, top, left, *coins = draw
    bands = ((image.float() + 1) / 2).clamp(0, 1)[:, None]  # (C, 1, H, W): each band is a grey image to torchvision
    for i, (name, probability, magnitude) in enumerate(POLICY[int(which * len(POLICY))]):
        if coins[2 * i] < probability:
            bands = _operation(bands, name, magnitude, coins[2 * i + 1] < 0.5)
    view = 2 * bands[:, 0].clamp(0, 1) - 1
    height, width = view.shape[1:]
    square = max(1, min(height, width) // CUTOUT)
    y, x = int(top * (height - square + 1)), int(left * (width - square + 1))
    view[:, y : y + square, x : x + square] = 0.0
    return view.to(image.dtype)


def _operation(bands: Tensor, name: str, magnitude: int, negative: bool) -> Tensor:
    strength = 0.1 * magnitude * (-1 if negative else 1)
    if name == "contrast":
        return tv.adjust_contrast(bands, 1 + strength)
    if name == "sharpness":
        return tv.adjust_sharpness(bands, 1 + strength)
    if name == "posterize":
        return tv.posterize(bands, 8 - round(magnitude * 4 / 9))
    if name == "solarize":
        return tv.solarize(bands, 1 - magnitude / 9)
    plain = {"equalize": tv.equalize, "autocontrast": tv.autocontrast, "invert": tv.invert}
    return plain[name](bands)


def window_l1(
    first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"], scales: Sequence[int]
) -> Float[Tensor, ""]:
    """Mean absolute difference in random windows of each scale (px), summed over the scales.

    As many windows a scale as cover 128x128 px: 64 of 16, 16 of 32, 4 of 64 px. A scale larger than the image is the
    whole image. Every window is at equal places in both; places depend on a row's seed alone.
    Source: Yang et al. (2025), Eq. 9, with windows of the answers in place of the inputs.
    """
    difference = (first.float() - second.float()).abs().mean(dim=1)  # (B, H, W)
    total = difference.new_zeros(())
    for scale in scales:
        share = coverage(seeds, (difference.shape[1], difference.shape[2]), scale).to(difference.device)
        total = total + (share * difference).sum(dim=(1, 2)).mean()
    return total


def coverage(seeds: Int64[Tensor, " B"], size: tuple[int, int], scale: int) -> Float[Tensor, "B H W"]:
    """The share of a row's random windows of that scale that each pixel has; sums to 1 over the image."""
    height, width = size
    h, w = min(scale, height), min(scale, width)
    n = max(1, (128 // scale) ** 2)
    draw = uniform(seeds.cpu(), (2, n), f"windows {scale}")
    top, left = (draw[:, 0] * (height - h + 1)).long(), (draw[:, 1] * (width - w + 1)).long()  # (B, n) each
    corners = torch.zeros(len(seeds), height + 1, width + 1)
    b = torch.arange(len(seeds))[:, None].expand_as(top)
    for dy, dx, sign in ((0, 0, 1.0), (h, 0, -1.0), (0, w, -1.0), (h, w, 1.0)):
        corners.index_put_((b, top + dy, left + dx), torch.full(top.shape, sign), accumulate=True)
    count = corners.cumsum(dim=1).cumsum(dim=2)[:, :height, :width]  # windows over each pixel, exact in float32
    return count / (n * h * w)
