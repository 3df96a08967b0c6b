"""Cross-correlation of a template with an image by FFT, channel by channel, and its two normalisations.

Everything is computed in float32 at least, also under autocast, or in float64 for float64; and it is differentiable.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Normalisation = Literal["full", "valid", "ncc"]
FLAT = {torch.float32: 1e-6, torch.float64: 1e-11}  # variance a position below which a window counts as flat
EPS = 1e-8  # of a range that is divided by


def similarity(
    template: Float[Tensor, "B C h w"], search: Float[Tensor, "B C H W"], normalisation: Normalisation
) -> Float[Tensor, "B P Q"]:
    """How alike a template is to each place that it fits into, in [0, 1], a mean over channels; P = H - h + 1, Q = W - w + 1.

    full   each channel's correlation from its least to its largest value over the whole map, where the template also hangs
           over the border, as the released code of S2M2-SAR has it
    valid  the same over the places where the template fits
    ncc    normalised cross-correlation: (1 + c) / 2, with the coefficient c of the template and the window below it
    """
    with torch.autocast("cuda" if search.is_cuda else "cpu", enabled=False):  # there is none of the meta device
        wide = torch.promote_types(torch.promote_types(template.dtype, search.dtype), torch.float32)
        template, search = template.to(wide), search.to(wide)
        if normalisation == "ncc":
            return (1 + ncc(template, search).mean(1)) / 2  # not below 0, since surfaces of two levels are multiplied
        whole = full_correlation(template, search) if normalisation == "full" else valid_correlation(template, search)
        least, largest = whole.amin((2, 3), keepdim=True), whole.amax((2, 3), keepdim=True)
        scaled = (whole - least) / (largest - least + EPS)
        return (_valid_part(scaled, template, search) if normalisation == "full" else scaled).mean(1)


def full_correlation(template: Float[Tensor, "B C h w"], search: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H+h-1 W+w-1"]:
    """sum_ij template[i, j] search[y - h + 1 + i, x - w + 1 + j], the image being 0 outside: all places of any overlap."""
    (h, w), (H, W) = template.shape[2:], search.shape[2:]
    sides = H + h - 1, W + w - 1
    whole = _by_fft(template.flip(2, 3), search, (_fast(sides[0]), _fast(sides[1])), conjugate=False)
    return whole[..., : sides[0], : sides[1]]


def valid_correlation(template: Float[Tensor, "B C h w"], search: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H-h+1 W-w+1"]:
    """sum_ij template[i, j] search[y + i, x + j], for the places where the template fits."""
    (h, w), (H, W) = template.shape[2:], search.shape[2:]
    # A period as long as the image is enough: a template that fits does not reach round the border.
    return _by_fft(template, search, (_fast(H), _fast(W)), conjugate=True)[..., : H - h + 1, : W - w + 1]


def ncc(template: Float[Tensor, "B C h w"], search: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H-h+1 W-w+1"]:
    """The correlation coefficient of the template with each window that it fits onto, in [-1, 1]; 0 where one is flat."""
    h, w = template.shape[2:]
    n = h * w
    template = template - template.mean((2, 3), keepdim=True)
    search = search - search.mean((2, 3), keepdim=True)  # changes no coefficient, and keeps the sums of windows small
    product = valid_correlation(template, search)
    energy = box_sum(search.square(), h, w) - box_sum(search, h, w).square() / n
    own = template.square().sum((2, 3), keepdim=True)
    flat = (own < FLAT[search.dtype] * n) | (energy < FLAT[search.dtype] * n)
    scale = torch.where(flat, 1.0, own * energy.clamp_min(0)).sqrt()
    return torch.where(flat, 0.0, product / scale).clamp(-1, 1)


def box_sum(x: Float[Tensor, "*B H W"], h: int, w: int) -> Float[Tensor, "*B H-h+1 W-w+1"]:
    """The sum over each window of h x w, by running sums."""
    for dim, side in ((-1, w), (-2, h)):
        running = F.pad(x.cumsum(dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
        x = running.narrow(dim, side, x.shape[dim] - side + 1) - running.narrow(dim, 0, x.shape[dim] - side + 1)
    return x


def _valid_part(whole: Tensor, template: Tensor, search: Tensor) -> Tensor:
    (h, w), (H, W) = template.shape[2:], search.shape[2:]
    return whole[..., h - 1 : H, w - 1 : W]


def _by_fft(a: Tensor, b: Tensor, sides: tuple[int, int], *, conjugate: bool) -> Tensor:
    of_a = torch.fft.rfft2(a, s=sides)
    return torch.fft.irfft2((of_a.conj() if conjugate else of_a) * torch.fft.rfft2(b, s=sides), s=sides)


def _fast(side: int) -> int:
    """The next length that is a product of 2, 3, 5 and 7, for which transforms are fast."""
    while True:
        rest = side
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return side
        side += 1
