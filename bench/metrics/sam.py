"""Spectral angle: by how much does the colour, or spectrum, of a pixel point elsewhere than the reference's?

Unit: degrees, from 0 to 90; lower is better; 0 where every pixel is a multiple of its reference.
Formula: the angle between the two vectors of band values, averaged over the pixels of an image. From Lagrange's identity,
atan2(|x ^ y|, x . y), which unlike arccos is exact for small angles. A pixel that is black on both sides counts as 0, one
that is black on one side alone as 90: black has no direction, but leaving it out would reward it. Needs 2 bands or more.
Conventions: both in radians, by arccos: torchmetrics gives NaN for an image with a black pixel, sewar leaves such pixels out.
Source: Yuhas, Goetz and Boardman, JPL Airborne Geoscience Workshop, 1992; as an image quality in Wald, Presses de l'Ecole des
Mines, 2002.
Misleads: brightness plays no part, so that an image ten times too dark can have 0; and dark pixels count as much as bright
ones, though one grey level turns them by many degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._parallel import each


def sam(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """The mean spectral angle of each pair in degrees, (B,) float64. ContractError for unlike sides, and for single bands."""
    return _rows(translated, reference, "sam", lambda x, y: float(np.degrees(_angles(x, y)).mean()))


def _angles(x: Shaped[np.ndarray, "H W C"], y: Shaped[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W"]:
    """The angle at each pixel in radians; 0 where both sides are black, a right angle where one is."""
    x_bands, y_bands = _planes(x), _planes(y)
    bands = range(len(x_bands))
    dot = sum(x_bands[i] * y_bands[i] for i in bands)
    wedge = sum((x_bands[i] * y_bands[j] - x_bands[j] * y_bands[i]) ** 2 for i, j in combinations(bands, 2))
    angles = np.arctan2(np.sqrt(wedge), dot)
    black_x, black_y = (~np.any(image, axis=2) for image in (x, y))
    angles[black_x != black_y] = np.pi / 2
    return angles


def _arccos(x: Shaped[np.ndarray, "H W C"], y: Shaped[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W"]:
    """The angle at each pixel in radians as libraries compute it; NaN where one side is black."""
    dot, power_x, power_y = (
        sum(a * b for a, b in zip(_planes(u), _planes(v), strict=True)) for u, v in ((x, y), (x, x), (y, y))
    )
    with np.errstate(invalid="ignore"):
        return np.arccos(np.clip(dot / (np.sqrt(power_x) * np.sqrt(power_y)), -1, 1))


def _of_sewar(x: Shaped[np.ndarray, "H W C"], y: Shaped[np.ndarray, "H W C"]) -> float:
    angles = _arccos(x, y)
    defined = angles[~np.isnan(angles)]
    return float(defined.mean()) if defined.size else np.nan


def _planes(image: Shaped[np.ndarray, "H W C"]) -> list[Float[np.ndarray, "H W"]]:
    return [plane.astype(np.float64) for plane in cv2.split(image)]


def _rows(
    translated: ImageBatch,
    reference: ImageBatch,
    name: str,
    of_pair: Callable[[Shaped[np.ndarray, "H W C"], Shaped[np.ndarray, "H W C"]], float],
) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, name)
    if translated.pixels.shape[3] < 2:
        raise ContractError(f"{name} needs images of 2 bands or more, got 1; leave {name} out")
    pairs = list(zip(translated.pixels, reference.pixels, strict=True))
    return np.array(each(lambda pair, _: of_pair(*pair), pairs, lambda: None))


metric = Metric(
    name="sam",
    signature="sam;degrees;mean;both-black0;one-black90;rgb;v1",
    unit="degrees",
    higher_is_better=False,
    rows=sam,
    decimals=2,
    least_bands=2,
)

compat = {
    "torchmetrics": Metric(
        name="sam@torchmetrics",
        signature="sam@torchmetrics;radians;mean;rgb;v1",
        unit="rad",
        higher_is_better=False,
        rows=lambda x, y: _rows(x, y, "sam@torchmetrics", lambda a, b: float(_arccos(a, b).mean())),
        least_bands=2,
        undefined="a pixel is black on one side",
    ),
    "sewar": Metric(
        name="sam@sewar",
        signature="sam@sewar;radians;mean-where-not-black;rgb;v1",
        unit="rad",
        higher_is_better=False,
        rows=lambda x, y: _rows(x, y, "sam@sewar", _of_sewar),
        least_bands=2,
        undefined="every pixel is black on one side",
    ),
}
