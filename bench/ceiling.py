"""Scores as shares of what can be reached: 0 is the best method that learns nothing, 1 the true ground seen a second time.

A method is judged by one image of the ground, which has its own noise and its own error of registration: the right answer,
taken again, would not score as an identical image does. `second_look` makes that second image from the reference, as far as
one image tells; its score is the ceiling. The honeypots are no ceilings: they are spoilt further, and in one way each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.keys import key

NAME = "second_look"  # as a row of a board
ABOUT = "the target image, seen a second time: moved by half a pixel, with noise as strong as its own"
SIGNATURE = "second-look;offset0.5px-lanczos4;noise-median;v1"  # stands beside a share: another ceiling is another share
OFFSET_PX = 0.5  # two products on one pixel grid may be this far apart before either grid could be said to be wrong
LANCZOS_PX = 4
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)  # blind to planes
NOISE_GAIN = 6  # the root of the sum of its squares: by so much it multiplies the deviation of white noise
MEDIAN_OF_NORMAL = 0.6744897501960817  # of |x|, for x of variance 1


def second_look(
    reference: Shaped[np.ndarray, "H W C"], sample_id: str, offset_px: float = OFFSET_PX
) -> Shaped[np.ndarray, "H W C"]:
    """The reference as another image of the same ground might show it; uint8 or uint16, the same for the same sample.

    Moved by `offset_px` in a direction that depends on the sample's id (Lanczos, border by reflection), plus Gaussian noise
    as strong as the reference's own, rounded and clipped. Give a data set's measured offset where there is one.
    """
    rng = np.random.default_rng(key("second_look", sample_id))
    angle = rng.uniform(0, 2 * math.pi)
    weights_y, weights_x = (_lanczos(offset_px * part(angle)) for part in (math.sin, math.cos))
    image = reference.astype(np.float64)
    moved = cv2.sepFilter2D(image, cv2.CV_64F, weights_x, weights_y, borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)
    noisy = moved + noise_sigma(reference) * rng.standard_normal(image.shape)
    return np.clip(np.rint(noisy), 0, np.iinfo(reference.dtype).max).astype(reference.dtype)


def noise_sigma(image: Shaped[np.ndarray, "H W C"]) -> Float[np.ndarray, " C"]:
    """The standard deviation of each band's noise in levels, estimated from the image alone; from above, since texture counts.

    Immerkaer, Computer Vision and Image Understanding 64(2), 1996, https://doi.org/10.1006/cviu.1996.0060, with the median of
    |image * mask| in place of its mean, so that edges count less; 0 where most of a band is flat.
    """
    planes = (cv2.filter2D(plane, cv2.CV_64F, NOISE_MASK)[1:-1, 1:-1] for plane in cv2.split(image))
    return np.array([float(np.median(np.abs(plane))) for plane in planes]) / (
        MEDIAN_OF_NORMAL * math.sqrt((NOISE_MASK**2).sum())
    )


def share(value: float, floors: Iterable[float], ceiling: float, higher_is_better: bool) -> float:
    """(value - floor) / (ceiling - floor), with the best of the board's floors; NaN where that says nothing.

    Below 0: worse than a method that learns nothing. Above 1: nearer to this very reference than a second look would be, as an
    image that is smoother than the truth can be. NaN: a value is not finite, there is no floor, or the ceiling does not
    beat the best floor, so that the metric can't tell the truth from a floor on these data.
    """
    sign = 1 if higher_is_better else -1
    floor = max((sign * floor for floor in floors if not math.isnan(floor)), default=math.nan)
    reach = sign * ceiling - floor
    if not (math.isfinite(value) and math.isfinite(reach) and reach > 0):
        return math.nan
    return (sign * value - floor) / reach


def _lanczos(offset_px: float) -> Float[np.ndarray, " 2a+1"]:
    """The weights that read an image `offset_px` to the right of each pixel; they sum to 1."""
    x = np.arange(-LANCZOS_PX, LANCZOS_PX + 1) - offset_px
    weights = np.where(np.abs(x) < LANCZOS_PX, np.sinc(x) * np.sinc(x / LANCZOS_PX), 0)
    return weights / weights.sum()
