"""The plan of the fields: rows of blocks, each cut into strips, with hedges, tracks and roads along the blocks' edges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from numpy.random import Generator

from sarbench.datasets.world.exact import direction

STRIPS = 16  # parcels of a block, at most
NO_WAY, HEDGE, TRACK, ROAD = range(4)  # what runs along an edge between blocks
_HALF_WIDTH_PX = np.array([0.0, 1.1, 0.8, 1.6])
_CELLS_PER_PX = 2  # resolution of the tables along an axis


@dataclass(frozen=True)
class Frame:
    """Bent coordinates in px that fields, streets and houses follow, so that they turn with each other and with the hills."""

    along: Float32[np.ndarray, "H W"]
    across: Float32[np.ndarray, "H W"]


@dataclass(frozen=True)
class Parcels:
    """Which parcel each pixel belongs to, and where it lies in it."""

    parcel: Int32[np.ndarray, "H W"]  # block * STRIPS + strip
    border_px: Float32[np.ndarray, "H W"]  # distance to the next strip
    line: Int32[np.ndarray, "H W"]  # number of the 1 px wide line along which the parcel is ploughed
    way: UInt8[np.ndarray, "H W"]  # NO_WAY, HEDGE, TRACK or ROAD
    blocks: int


def frame(angle: float, bend: Float32[np.ndarray, "H W"]) -> Frame:
    """Coordinates from the middle of the image, turned by an angle in radians and bent by some 7 px a unit of `bend`."""
    cos, sin = direction(angle)
    place = np.arange(len(bend), dtype=np.float32) - np.float32(len(bend) / 2)
    along = (place * np.float32(cos))[None, :] + (place * np.float32(sin))[:, None]
    across = (place * np.float32(-sin))[None, :] + (place * np.float32(cos))[:, None]
    along += np.float32(7.0) * bend
    across -= np.float32(6.0) * bend
    return Frame(along, across)


def parcels(rng: Generator, land: Frame, paved: float) -> Parcels:
    """Draw the plan; `paved` is the share of the edges between rows of blocks that are roads."""
    left, right = float(land.along.min()), float(land.along.max())
    top, bottom = float(land.across.min()), float(land.across.max())
    rows = _edges(rng, top, bottom, 48.0, 110.0)
    row_of, row_way = _cells(rows, _ways(rng, len(rows) - 2, (0.2, 0.15, 0.65 - paved, paved)), top, bottom)

    columns = int((right - left) * _CELLS_PER_PX) + 2
    table = np.empty((len(rows) - 1, columns), np.int32)  # block * 4 + the way along the edge between two blocks of a row
    bounds: list[np.ndarray] = []
    for row in range(len(rows) - 1):
        edges = _edges(rng, left, right, 60.0, 170.0)
        block_of, way = _cells(edges, _ways(rng, len(edges) - 2, (0.25, 0.3, 0.38, 0.07)), left, right)
        table[row] = (block_of + len(bounds)) * 4 + way
        bounds += [np.array([a, b, rows[row], rows[row + 1]]) for a, b in pairwise(edges)]
    scale, width_px = _strips(rng, np.array(bounds))

    across_cell = _cell(land.across, top)
    code = row_of.take(across_cell)
    code *= columns
    code += _cell(land.along, left)
    code = table.ravel().take(code)
    block = code >> 2
    code &= 3
    way = np.maximum(row_way.take(across_cell), code.astype(np.uint8))

    place = scale[0].take(block)
    place *= land.along
    place += scale[1].take(block) * land.across
    place += scale[2].take(block)
    np.clip(place, np.float32(0.0), np.float32(STRIPS - 0.01), out=place)
    strip = place.astype(np.int32)
    part = place - strip.astype(np.float32)
    width = width_px.take(block)
    place *= width
    np.minimum(part, np.float32(1.0) - part, out=part)
    part *= width
    block *= STRIPS
    block += strip
    return Parcels(block, part, place.astype(np.int32), way, len(bounds))


def _edges(rng: Generator, low: float, high: float, least: float, most: float) -> np.ndarray:
    """Places from below `low` to above `high`, at random distances."""
    steps = rng.uniform(least, most, int((high - low) / least) + 3)
    places = low - rng.uniform(0.0, least) + np.cumsum(steps) - steps[0]
    return places[: int(np.searchsorted(places, high)) + 1]


def _ways(rng: Generator, count: int, shares: tuple[float, float, float, float]) -> UInt8[np.ndarray, " E"]:
    """What runs along the inner edges, and nothing along the first and the last; each way has its share."""
    drawn = np.searchsorted(np.cumsum(shares[:3]), rng.random(count))
    return np.concatenate([[NO_WAY], drawn, [NO_WAY]]).astype(np.uint8)


def _cells(
    edges: np.ndarray, ways: UInt8[np.ndarray, " E"], low: float, high: float
) -> tuple[Int32[np.ndarray, " C"], UInt8[np.ndarray, " C"]]:
    """Tables over an axis from low to high: between which two edges a cell lies, and the way, if it lies on one."""
    half = _HALF_WIDTH_PX[ways]
    sides = np.stack([edges - half, edges + half], axis=1).ravel()  # even counts of sides lie between edges, odd ones on a way
    places = low + (np.arange(int((high - low) * _CELLS_PER_PX) + 2) + 0.5) / _CELLS_PER_PX
    passed = np.searchsorted(sides, places).astype(np.int32)
    way = np.zeros(len(sides) + 1, np.uint8)
    way[1::2] = ways
    return np.clip((passed - 1) >> 1, 0, len(edges) - 2), way.take(passed)


def _cell(places: Float32[np.ndarray, "H W"], low: float) -> Int32[np.ndarray, "H W"]:
    shifted = places - np.float32(low)
    shifted *= np.float32(_CELLS_PER_PX)
    return shifted.astype(np.int32)


def _strips(rng: Generator, bounds: np.ndarray) -> tuple[Float32[np.ndarray, "3 K"], Float32[np.ndarray, " K"]]:
    """By block: the coefficients of (along, across, 1) that give the strip's number, and the strips' width in px."""
    count = len(bounds)
    left, right, top, bottom = bounds.T
    lengthwise = rng.random(count) < 0.5
    wanted_px, shear = rng.uniform(14.0, 50.0, count), rng.uniform(-0.25, 0.25, count)
    extent = np.where(lengthwise, bottom - top, right - left)
    width = extent / np.clip(np.rint(extent / wanted_px), 1, STRIPS)
    shift = -shear * np.where(lengthwise, (left + right) / 2.0, (top + bottom) / 2.0) - np.where(lengthwise, top, left)
    one = np.ones(count)
    scale = np.stack([np.where(lengthwise, shear, one), np.where(lengthwise, one, shear), shift]) / width
    return scale.astype(np.float32), width.astype(np.float32)
