"""A network run over an image of any size, window by window, with overlaps averaged."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MULTIPLE = 4  # of a window's sides: generators halve twice
LEAST = 8  # px of a window's sides: two at a quarter, which a reflection by one needs


def slide(
    network: Callable[[Float[Tensor, "B C h w"]], Float[Tensor, "B C_out h w"]],
    x: Float[Tensor, "B C H W"],
    window: tuple[int, int],
) -> Float[Tensor, "B C_out H W"]:
    """The network's output over the image, in float32: the mean of all windows that hold a pixel.

    Windows lie half a window apart, the last one at the far edge. A window is as large as asked, cut to the image and
    rounded up to sides that a network can take; an image smaller than that is continued by its border.
    """
    height, width = x.shape[2:]
    h, w = (allowed(min(side, length)) for side, length in zip(window, (height, width), strict=True))
    x = F.pad(x, (0, max(0, w - width), 0, max(0, h - height)), mode="replicate")
    total: Tensor | None = None
    count = torch.zeros(x.shape[2:], device=x.device)
    for top in starts(x.shape[2], h):
        for left in starts(x.shape[3], w):
            place = (..., slice(top, top + h), slice(left, left + w))
            out = network(x[place]).float()
            if total is None:
                total = out.new_zeros(*out.shape[:2], *x.shape[2:])
            total[place] += out
            count[place] += 1.0
    assert total is not None
    return (total / count)[..., :height, :width]


def allowed(side: int) -> int:
    """The next side that a window may have."""
    return max(LEAST, -(-side // MULTIPLE) * MULTIPLE)


def starts(length: int, side: int) -> list[int]:
    """Where windows begin along an image's side: every half window, and one that ends with the image."""
    last = length - side
    return [*range(0, last, max(1, side // 2)), last]
