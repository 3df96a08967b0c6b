"""Images made from the target images: on every board, never ranked. A metric that prefers one to every method is gameable.

They know the answer and spoil it in one way each, so a metric's taste shows: a blur keeps pixels but no texture, a shift
keeps all texture but no pixel, noise keeps the mean and adds texture that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from sarbench.bench.keys import key

BLUR_SIGMA_PX = 3.0
SHIFT_PX = 2
NOISE_SIGMA = 0.1  # of the range


@dataclass(frozen=True)
class Honeypot:
    """A way to spoil a target image: `make(target, sample_id)`, uint8 (H, W, C) to the same shape, without state."""

    name: str
    about: str
    make: Callable[[UInt8[np.ndarray, "H W C"], str], UInt8[np.ndarray, "H W C"]]


def oracle_blur(target: UInt8[np.ndarray, "H W C"], sample_id: str) -> UInt8[np.ndarray, "H W C"]:
    """The target under a Gaussian of sigma 3 px, cut at 4 sigma, border by reflection."""
    side = 2 * round(4 * BLUR_SIGMA_PX) + 1
    # In float64: on uint8 OpenCV works in fixed point, which is more than a grey level off.
    blurred = cv2.GaussianBlur(target.astype(np.float64), (side, side), BLUR_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return np.rint(blurred).astype(np.uint8).reshape(target.shape)


def oracle_shift(target: UInt8[np.ndarray, "H W C"], sample_id: str) -> UInt8[np.ndarray, "H W C"]:
    """The target moved 2 px to the right and 2 px down; the uncovered border by reflection."""
    height, width = target.shape[:2]
    return np.pad(target, ((SHIFT_PX, 0), (SHIFT_PX, 0), (0, 0)), mode="reflect")[:height, :width]


def oracle_noise(target: UInt8[np.ndarray, "H W C"], sample_id: str) -> UInt8[np.ndarray, "H W C"]:
    """The target plus Gaussian noise of sigma 0.1 of the range, clipped; the noise depends on the sample's id alone."""
    noise = np.random.default_rng(key("oracle_noise", sample_id)).normal(0.0, 255 * NOISE_SIGMA, target.shape)
    return np.clip(np.rint(target + noise), 0, 255).astype(np.uint8)


HONEYPOTS = {
    honeypot.name: honeypot
    for honeypot in (
        Honeypot("oracle_blur", "the target image, blurred by a Gaussian of sigma 3 px", oracle_blur),
        Honeypot("oracle_shift", "the target image, moved 2 px to the right and down", oracle_shift),
        Honeypot("oracle_noise", "the target image with Gaussian noise of a tenth of the range", oracle_noise),
    )
}
