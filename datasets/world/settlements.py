"""Villages, farms and yards of industry: plots between streets, and what stands on them.

The plan is a grid in the land's frame. Streets run along it every STREETS_PX, with two rows of plots between two streets; a
settled plot is a garden and may bear a house. Four plots by two make a cell, which may bear a hall on a yard instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from numpy.random import Generator

from sarbench.datasets.world.materials import of
from sarbench.datasets.world.parcels import Frame

STREETS_PX, STREET_PX, PLOT_DEPTH_PX = 27.0, 2.5, 12.0  # from street to street; of a street; of a plot
CELL = 4  # plots of a cell along a street
CROSS_STREETS = 6  # plots from one cross street to the next
TALLEST_M = 18.0
HOUSE_ROOFS = of("red roof", "red roof", "red roof", "brown roof", "brown roof", "slate roof", "slate roof", "pale roof")
HALL_ROOFS = of("slate roof", "pale roof", "pale roof", "blue roof", "white roof", "white roof")
_REGION_PX = 256.0  # one village may lie in each square of this side


@dataclass(frozen=True)
class Density:
    """How much of the land is settled."""

    villages: float  # chance of a village in a square of 256 px
    radius_px: tuple[float, float]
    farms: float  # share of the plots outside villages that are farms
    halls: float  # share of the cells at a village's edge that are for halls


@dataclass(frozen=True)
class Grid:
    """Where plots and cells lie: numbers from 0, row by row."""

    plot: Int32[np.ndarray, "H W"]
    width_px: float  # of a plot along the street
    first_column: int  # the number of the leftmost column, counted from the middle of the image
    first_row: int  # even
    columns: int  # a multiple of CELL
    rows: int  # even

    @property
    def plots(self) -> int:
        """How many plots there are."""
        return self.rows * self.columns

    @property
    def cell(self) -> Int32[np.ndarray, " P"]:
        """The cell of each plot."""
        row, column = np.divmod(np.arange(self.plots), self.columns)
        return (row // 2) * (self.columns // CELL) + column // CELL

    @property
    def centres(self) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Along and across, in px: the middle of each plot."""
        row, column = np.divmod(np.arange(self.plots), self.columns)
        row += self.first_row
        across = row // 2 * STREETS_PX + STREET_PX + PLOT_DEPTH_PX * (row % 2 + 0.5)
        return (column + self.first_column + 0.5) * self.width_px, across


@dataclass(frozen=True)
class Plan:
    """What could be built, whether it is or not: one entry a plot, or a cell."""

    remoteness: Float[np.ndarray, " P"]  # distance to the nearest village's middle; 1 is its edge
    rank: Float[np.ndarray, " P"]  # the lowest are built first; uniform in [0, 1)
    farm: Bool[np.ndarray, " P"]
    zone: Bool[np.ndarray, " C"]  # cells for halls
    zone_rank: Float[np.ndarray, " C"]
    house: Float32[np.ndarray, "6 P"]  # px in the plot: along the street from, to; away from it from, to; its wing from, to
    house_m: Float32[np.ndarray, " P"]  # height
    house_roof: UInt8[np.ndarray, " P"]  # material
    pitched: Bool[np.ndarray, " P"]
    hall: Float32[np.ndarray, "4 C"]  # px in the cell, as for a house
    hall_m: Float32[np.ndarray, " C"]
    hall_roof: UInt8[np.ndarray, " C"]


@dataclass(frozen=True)
class Settled:
    """What is settled and built at one date."""

    plot: Bool[np.ndarray, " P"]
    house: Bool[np.ndarray, " P"]
    zone: Bool[np.ndarray, " C"]  # yards of halls, which replace their cells' plots
    hall: Bool[np.ndarray, " C"]


def grid(rng: Generator, land: Frame) -> Grid:
    """The grid of plots over the whole image."""
    width_px = float(np.float32(rng.uniform(11.0, 13.5)))
    column = np.floor(land.along * np.float32(1.0 / width_px)).astype(np.int32)
    band = np.floor(land.across * np.float32(1.0 / STREETS_PX))
    row = 2 * band.astype(np.int32)
    row += land.across - band * np.float32(STREETS_PX) >= np.float32(STREET_PX + PLOT_DEPTH_PX)
    first_column, first_row = int(column.min()) // CELL * CELL, int(row.min()) // 2 * 2
    columns = ((int(column.max()) - first_column) // CELL + 1) * CELL
    rows = ((int(row.max()) - first_row) // 2 + 1) * 2
    row -= first_row
    row *= columns
    row += column
    row -= first_column
    return Grid(row, width_px, first_column, first_row, columns, rows)


def plan(rng: Generator, plots: Grid, density: Density) -> Plan:
    """Draw villages, farms, houses and halls for every plot."""
    count = plots.plots
    along, across = plots.centres
    remoteness, town = _remoteness(rng, along, across, density)
    remoteness += rng.uniform(-0.12, 0.12, count)
    farm = (rng.random(count) < density.farms) & (remoteness > 1.3)

    cell = plots.cell
    cells = count // (2 * CELL)
    edge = np.zeros(cells)
    np.add.at(edge, cell, remoteness / (2 * CELL))
    zone = (edge > 0.5) & (edge < 1.15) & (rng.random(cells) < density.halls)

    width, depth = plots.width_px, PLOT_DEPTH_PX
    row_house = town & (rng.random(count) < 0.6)  # from one side of its plot to the other
    u = np.where(row_house, 0.0, rng.uniform(0.8, 3.2, count))
    u_to = np.where(row_house, width, np.minimum(u + rng.uniform(4.5, 8.5, count), width - 0.8))
    v = np.where(row_house, 2.0, rng.uniform(1.0, 3.5, count))
    v_to = v + np.where(row_house, 4.5, rng.uniform(3.6, 5.5, count))
    wing = rng.random(count) < 0.3
    wing_from = np.where(rng.random(count) < 0.5, u, u_to - 2.8)
    wing_to = np.where(wing, wing_from + 2.8, wing_from)
    height_m = np.where(town, rng.uniform(9.0, 15.0, count), rng.uniform(5.0, 9.0, count))

    hall_u, hall_v = rng.uniform(2.0, 10.0, cells), rng.uniform(2.0, 6.0, cells)
    hall_u_to = np.minimum(hall_u + rng.uniform(18.0, 48.0, cells), CELL * width - 2.0)
    hall_v_to = np.minimum(hall_v + rng.uniform(10.0, 20.0, cells), 2 * depth - 2.0)
    return Plan(
        remoteness=remoteness,
        rank=rng.random(count),
        farm=farm,
        zone=zone,
        zone_rank=rng.random(cells),
        house=np.stack([u, u_to, v, v_to, wing_from, wing_to]).astype(np.float32),
        house_m=height_m.astype(np.float32),
        house_roof=HOUSE_ROOFS[rng.integers(0, len(HOUSE_ROOFS), count)],
        pitched=~town | (rng.random(count) < 0.4),
        hall=np.stack([hall_u, hall_u_to, hall_v, hall_v_to]).astype(np.float32),
        hall_m=rng.uniform(7.0, TALLEST_M, cells).astype(np.float32),
        hall_roof=HALL_ROOFS[rng.integers(0, len(HALL_ROOFS), cells)],
    )


def _remoteness(rng: Generator, along: np.ndarray, across: np.ndarray, density: Density) -> tuple[np.ndarray, np.ndarray]:
    """By plot: the distance to the nearest village's middle in radii, and whether that village is built like a town."""
    corner_along, corner_across = float(along.min()), float(across.min())
    nearest, town = np.full(len(along), 9.0), np.zeros(len(along), bool)
    for i in range(int((float(along.max()) - corner_along) / _REGION_PX) + 1):
        for j in range(int((float(across.max()) - corner_across) / _REGION_PX) + 1):
            place = (np.array([i, j]) + rng.random(2)) * _REGION_PX
            radius_px, is_town, exists = rng.uniform(*density.radius_px), rng.random() < 0.3, rng.random() < density.villages
            if exists:
                away = np.sqrt((along - corner_along - place[0]) ** 2 + (across - corner_across - place[1]) ** 2) / radius_px
                town[away < nearest] = is_town
                nearest = np.minimum(nearest, away)
    return nearest, town


def settled(drawn: Plan, grown: float = 1.0) -> Settled:
    """What stands where villages reach `grown` times as far as at the first date."""
    plot = drawn.farm | (drawn.remoteness < grown)
    house = drawn.farm | (plot & (drawn.rank < 0.97 - 0.4 * drawn.remoteness / grown))
    zone = drawn.zone & (drawn.zone_rank < 0.6 * grown)
    return Settled(plot, house, zone, zone)


@dataclass(frozen=True)
class Built:
    """The settled pixels of an image, by their flat index, and what they bear."""

    pixel: Int32[np.ndarray, " N"]
    plot: Int32[np.ndarray, " N"]
    cell: Int32[np.ndarray, " N"]
    paved: Bool[np.ndarray, " N"]  # yards of halls
    street: Bool[np.ndarray, " N"]
    house: Bool[np.ndarray, " N"]
    hall: Bool[np.ndarray, " N"]
    far_half: Bool[np.ndarray, " N"]  # of a house, beyond its ridge in the direction of `across`


def built(land: Frame, plots: Grid, drawn: Plan, now: Settled) -> Built:
    """Find what each settled pixel bears."""
    cell_of = plots.cell
    zone = now.zone[cell_of]
    pixel = np.flatnonzero((now.plot | zone).take(plots.plot))
    plot = plots.plot.ravel().take(pixel)
    cell, paved = cell_of.take(plot), zone.take(plot)
    row, column = plot // plots.columns, plot % plots.columns + plots.first_column
    u = land.along.ravel().take(pixel) - (column * np.float32(plots.width_px)).astype(np.float32)
    band = (row + plots.first_row) // 2
    v = land.across.ravel().take(pixel) - (band * np.float32(STREETS_PX)).astype(np.float32) - np.float32(STREET_PX)
    street = (v < 0.0) | ((column % CROSS_STREETS == 0) & (u < np.float32(STREET_PX)) & ~paved)

    from_street = np.where(row % 2 == 0, v, np.float32(2 * PLOT_DEPTH_PX) - v)  # the second row fronts the next street
    left, right, front, back, wing_left, wing_right = (side.take(plot) for side in drawn.house)
    house = (u >= left) & (u < right) & (from_street >= front) & (from_street < back)
    house |= (u >= wing_left) & (u < wing_right) & (from_street >= back) & (from_street < back + np.float32(3.0))
    house &= now.house.take(plot) & ~paved & (column % CROSS_STREETS != 0)
    far_half = (from_street >= np.float32(0.5) * (front + back)) ^ (row % 2 == 1)

    u += ((column - plots.first_column) % CELL * np.float32(plots.width_px)).astype(np.float32)
    left, right, front, back = (side.take(cell) for side in drawn.hall)
    hall = (u >= left) & (u < right) & (v >= front) & (v < back) & paved & now.hall.take(cell)
    return Built(pixel, plot, cell, paved & ~street, street, house, hall, far_half)
