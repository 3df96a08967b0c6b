"""The one promise that every metric of a pair needs: both sides are alike, and large enough."""

from __future__ import annotations

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch


def check_pairs(translated: ImageBatch, reference: ImageBatch, metric: str, least_px: int = 1) -> None:
    """Raise ContractError where the two sides differ in shape, dtype or peak, or an image is smaller than `least_px`."""
    a, b = translated.pixels, reference.pixels
    if a.shape != b.shape or a.dtype != b.dtype or translated.peak != reference.peak:
        raise ContractError(
            f"{metric} compares images of one shape, dtype and peak (B, H, W, C), got {a.shape} {a.dtype} {translated.peak} "
            f"and {b.shape} {b.dtype} {reference.peak}; bring both sides to one grid and depth first"
        )
    height, width = a.shape[1:3]
    if min(height, width) < least_px:
        raise ContractError(
            f"{metric} needs images of at least {least_px}x{least_px} px, got {height}x{width}; leave {metric} out"
        )
