"""The plan of the fields: rows of blocks, each cut into strips, with ways and hedges along their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from numpy.random import Generator

from sarbench.datasets.world.exact import direction

STRIPS = 16  # parcels of a block, at most
NO_WAY, HEDGE, TRACK, ROAD = range(4)  # what runs along an edge between blocks
_HALF_WIDTH_PX = np.array([0.0, 1.1, 0.8, 1.6])
_CELLS_PER_PX = 4  # resolution of the look-up tables along an axis


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
    """Coordinates turned by an angle in radians and bent by up to some 10 px, from the middle of the image."""
    size_px = len(bend)
    cos, sin = direction(angle)
    place = np.arange(size_px, dtype=np.float32) - np.float32(size_px / 2)
    along = (place * np.float32(cos))[None, :] + (place * np.float32(sin))[:, None]
    across = (place * np.float32(-sin))[None, :] + (place * np.float32(cos))[:, None]
    along += np.float32(7.0) * bend
    across -= np.float32(6.0) * bend
    return Frame(along, across)


def parcels(rng: Generator, land: Frame, paved_share: float) -> Parcels:
    """Draw the plan; `paved_share` of the edges between rows of blocks are roads."""
    low, high = float(land.across.min()), float(land.across.max())
    edges = _edges(rng, low, high, 48.0, 110.0)
    ways = rng.choice(4, len(edges), p=(0.2, 0.15, 0.65 - paved_share, paved_share)).astype(np.uint8)
    row_of, way_of = _look_up(edges, ways, low, high)

    left, right = float(land.along.min()), float(land.along.max())
    columns = int((right - left) * _CELLS_PER_PX) + 2
    table = np.zeros((len(edges) + 1, columns), np.int32)  # block * 4 + way along the edge between two blocks of a row
    bounds = []
    for row in range(len(edges) + 1):
        cuts = _edges(rng, left, right, 60.0, 170.0)
        ways = rng.choice(4, len(cuts), p=(0.25, 0.3, 0.38, 0.07)).astype(np.uint8)
        block_of, way = _look_up(cuts, ways, left, right)
        table[row] = (block_of + len(bounds)) * 4 + way
        ends = _closed(cuts)
        bounds += [(a, b, *_closed(edges)[row : row + 2]) for a, b in zip(ends, ends[1:], strict=False)]
    scale, width_px = _strips(rng, np.array(bounds))

    across_cell = ((land.across - np.float32(low)) * np.float32(_CELLS_PER_PX)).astype(np.int32)
    along_cell = ((land.along - np.float32(left)) * np.float32(_CELLS_PER_PX)).astype(np.int32)
    code = table.ravel().take(row_of.take(across_cell) * columns + along_cell)
    block = code >> 2
    place = scale[0].take(block) * land.along
    place += scale[1].take(block) * land.across
    place += scale[2].take(block)
    np.clip(place, 0.0, STRIPS - 0.01, out=place)
    strip = place.astype(np.int32)
    width = width_px.take(block)
    part = place - strip
    return Parcels(
        parcel=block * STRIPS + strip,
        border_px=np.minimum(part, 1.0 - part) * width,
        line=(place * width).astype(np.int32),
        way=np.maximum(way_of.take(across_cell), (code & 3).astype(np.uint8)),
        blocks=len(bounds),
    )


def _edges(rng: Generator, low: float, high: float, least: float, most: float) -> np.ndarray:
    """Places from below `low` to above `high`, at random distances."""
    steps = rng.uniform(least, most, int((high - low) / least) + 3)
    return low - rng.uniform(0.0, least) + np.cumsum(steps) - steps[0]


def _closed(edges: np.ndarray) -> np.ndarray:
    """The same, with one more at each end."""
    return np.concatenate([edges[:1] - 100.0, edges, edges[-1:] + 100.0])


def _look_up(edges: np.ndarray, ways: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """By cell from low to high: how many edges lie before it, and the way along the nearest edge, if that is near enough."""
    places = low + (np.arange(int((high - low) * _CELLS_PER_PX) + 2) + 0.5) / _CELLS_PER_PX
    after = np.searchsorted(edges, places)
    nearest = np.clip(np.searchsorted((edges[1:] + edges[:-1]) / 2.0, places), 0, len(edges) - 1)
    near = np.abs(places - edges[nearest]) < _HALF_WIDTH_PX[ways[nearest]]
    return after, np.where(near, ways[nearest], NO_WAY).astype(np.uint8)


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

