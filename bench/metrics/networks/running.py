"""How the network of a metric runs: float32 without shortcuts, no gradients, a bounded number of pixels at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch


def device() -> torch.device:
    """The GPU where there is one, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def exact(where: torch.device) -> Iterator[None]:
    """Convolutions in float32, always by the same algorithm: no TF32, no autocast, no search for the fastest one.

    Matrix products keep torch's own switch: take them in float64, which it does not reach. On a CPU it may be entered from
    several threads at a time; the switches of a GPU are the process's own.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(where.type, enabled=False))
        if where.type != "cpu":
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
        yield


def rows(
    images: ImageBatch,
    of: Callable[[Float[Tensor, "n 3 H W"]], Tensor],
    where: torch.device,
    pixels_at_once: int,
    least_px: int = 0,
) -> Float[np.ndarray, "B ..."]:
    """What a network says of each image, float64: `of` gets float32 RGB in [0, 1], a few images at a time (see `parts`)."""
    with exact(where):
        cut = parts(images, pixels_at_once, least_px)
        return torch.cat([of(unit_rgb(images.pixels[part], images.peak, where)) for part in cut]).double().cpu().numpy()


def parts(images: ImageBatch, pixels_at_once: int, least_px: int = 0) -> Iterator[slice]:
    """Slices that cut a batch into runs of at most so many pixels, and at least one image.

    An image counts as at least `least_px` squared, for a network that enlarges what is smaller. What runs together depends
    on the size of the images, not on the caller's batch; what an image gets can still differ by float rounding with the
    number of images beside it.
    """
    _, height, width, _ = images.pixels.shape
    step = max(1, pixels_at_once // max(height * width, least_px**2))
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def unit_rgb(pixels: Shaped[np.ndarray, "B H W C"], peak: int, where: torch.device) -> Float[Tensor, "B 3 H W"]:
    """Pixels as float32 RGB in [0, 1] on a device, channels last in memory, as the convolutions are fastest."""
    x = torch.from_numpy(pixels.astype(np.float32)).to(where) / peak
    return x.expand(-1, -1, -1, 3).permute(0, 3, 1, 2)


def channels_last(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The weights whose names begin so, kernels channels last in memory, which saves a copy at every call."""
    chosen = {name: value for name, value in weights.items() if name.startswith(prefix)}
    last = torch.channels_last
    return {name: value.contiguous(memory_format=last) if value.ndim == 4 else value for name, value in chosen.items()}


def standardised(x: Float[Tensor, "B 3 H W"], mean: tuple[float, ...], spread: tuple[float, ...]) -> Float[Tensor, "B 3 H W"]:
    """(x - mean) / spread, band by band."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(spread)[:, None, None]


def refuse_bands(images: ImageBatch, metric: str, least_px: int = 1) -> None:
    """Raise ContractError for images that a network of RGB can't take: neither 1 nor 3 bands, or too small."""
    _, height, width, bands = images.pixels.shape
    if bands not in (1, 3):
        raise ContractError(f"{metric} takes images of 1 or 3 bands, got {bands}; leave {metric} out")
    if min(height, width) < least_px:
        raise ContractError(
            f"{metric} needs images of at least {least_px}x{least_px} px, got {height}x{width}; leave {metric} out"
        )
