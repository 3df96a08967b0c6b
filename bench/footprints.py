"""Where images lie, from their georeference, and which of two lists share ground."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, Int64

from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    from sarbench.bench.dataset import Georeference

TOUCH_PX = 1.5  # footprints that share a strip narrower than this only touch: corners may be rounded to whole pixels
CHUNK = 1 << 21  # candidates compared at once


@dataclass(frozen=True)
class Footprint:
    """Where an image lies: its corners in order, in the coordinates of its reference system."""

    crs: str
    corners: tuple[tuple[float, float], ...]
    pixel: float  # shorter side of a pixel, in the same unit


@dataclass(frozen=True)
class Overlap:
    """Two footprints that share ground; `train` and `test` are positions in the lists."""

    train: int
    test: int
    share: float  # of the smaller footprint's area


def footprint(where: Georeference | None, size: tuple[int, int]) -> Footprint | None:
    """The footprint of an image of so many rows and columns; None where it has no place."""
    if where is None:
        return None
    a, b, c, d, e, f = where.transform
    if a * e == b * d or where.transform == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):  # what GDAL says where there is none
        return None
    height, width = size
    pixels = ((0, 0), (width, 0), (width, height), (0, height))
    corners = tuple((a * x + b * y + c, d * x + e * y + f) for x, y in pixels)
    return Footprint(sys.intern(where.crs), corners, min(float(np.hypot(a, d)), float(np.hypot(b, e))))


def footprint_overlaps(train: Sequence[Footprint | None], test: Sequence[Footprint | None]) -> list[Overlap]:
    """The pairs of footprints that share ground, by position; images without a place share none.

    Candidates come from a sweep over bounding boxes, so time grows with n log n and the number of neighbours. Where the
    reference systems differ, corners are transformed, and edges are taken as straight. Raises ContractError for one that
    can't be transformed.
    """
    left = [(i, place) for i, place in enumerate(train) if place is not None]
    right = [(i, place) for i, place in enumerate(test) if place is not None]
    if not left or not right:
        return []
    systems = {place.crs for _, place in (*left, *right)}
    common = systems.pop() if len(systems) == 1 else "EPSG:4326"
    boxes = _boxes([place for _, place in left], common)
    moved = cache(lambda i, crs: _corners([left[i][1]], crs)[0])
    found = []
    for i, j in _meeting(boxes, _boxes([place for _, place in right], common)):
        share = _shared_area(moved(int(i), right[j][1].crs), right[j][1])
        if share is not None:
            found.append(Overlap(left[i][0], right[j][0], round(share, 3)))
    return sorted(found, key=lambda overlap: (overlap.test, overlap.train))


def _boxes(places: Sequence[Footprint], crs: str) -> Float[np.ndarray, "N 4"]:
    corners = _corners(places, crs)
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def _corners(places: Sequence[Footprint], crs: str) -> Float[np.ndarray, "N 4 2"]:
    """The corners in another reference system; infinite where it has no such place."""
    corners = np.array([place.corners for place in places], np.float64)
    for own in {place.crs for place in places} - {crs}:
        rows = np.array([place.crs == own for place in places])
        corners[rows] = _transformed(own, crs, corners[rows].reshape(-1, 2)).reshape(-1, 4, 2)
    return corners


def _transformed(own: str, crs: str, points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
    from rasterio.warp import transform

    try:
        return np.array(transform(own, crs, points[:, 0], points[:, 1])).T
    except Exception as error:  # of several classes, some of them private to rasterio
        raise ContractError(
            f"footprints can't be compared: nothing leads from {own[:60]}... to {crs[:60]}; bring all images to one system"
        ) from error


def _meeting(left: Float[np.ndarray, "N 4"], right: Float[np.ndarray, "M 4"]) -> Int64[np.ndarray, "K 2"]:
    """Positions of the boxes (left, bottom, right, top) that meet: a sweep from left to right."""
    order = np.argsort(left[:, 0], kind="stable")
    edges = left[order, 0]
    widest = float((left[:, 2] - left[:, 0]).max())
    start = np.searchsorted(edges, right[:, 0] - widest)
    count = np.maximum(0, np.searchsorted(edges, right[:, 2]) - start)
    found = [np.zeros((0, 2), np.int64)]
    for places, rows in ranges(start, count):
        own = order[places]
        a, b = left[own], right[rows]
        meet = ((a[:, :2] < b[:, 2:]) & (b[:, :2] < a[:, 2:])).all(1)
        found.append(np.stack([own[meet], rows[meet]], 1))
    return np.concatenate(found)


def _shared_area(corners: Float[np.ndarray, "4 2"], place: Footprint) -> float | None:
    """The share of the smaller quadrilateral that lies in the other; None where they only touch."""
    origin = np.array(place.corners[0])
    a = ((corners - origin) / place.pixel).astype(np.float32)  # px, near 0: OpenCV counts in single precision
    b = ((np.array(place.corners) - origin) / place.pixel).astype(np.float32)
    if not np.isfinite(a).all():
        return None
    area, outline = cv2.intersectConvexConvex(a, b)
    if outline is None or area <= 0:
        return None
    longest = float(np.hypot(*(outline.reshape(-1, 2).max(0) - outline.reshape(-1, 2).min(0))))
    if area / longest < TOUCH_PX:
        return None
    return min(1.0, area / min(cv2.contourArea(a), cv2.contourArea(b)))


def ranges(
    start: Int64[np.ndarray, " M"], count: Int64[np.ndarray, " M"]
) -> Iterator[tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]]:
    """All places start[i], ..., start[i] + count[i] - 1 with their i, about CHUNK at once."""
    upto = np.cumsum(count)
    begin = 0
    while begin < len(start):
        done = int(upto[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(upto, done + CHUNK)))
        rows = np.repeat(np.arange(begin, end), count[begin:end])
        yield start[rows] + np.arange(done, done + len(rows)) - (upto - count)[rows], rows
        begin = end
