"""What quality costs: plots of the main metric against parameters, operations and time, and the numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from sarbench.bench.board import Board
from sarbench.bench.records import Cost
from sarbench.bench.report.plots import Point, scatter, with_prefix
from sarbench.bench.report.table import best_floor, title_of

COSTS: tuple[tuple[str, str, Callable[[Cost], float | None]], ...] = (
    ("training time", "s", lambda cost: cost.train_seconds),
    ("time an image", "s", lambda cost: cost.seconds_per_image),
    ("parameters", "", lambda cost: cost.parameters),
    ("operations an image", "FLOP", lambda cost: cost.flops_per_image),
)
PEAK = ("peak memory", "B", lambda cost: cost.peak_memory_bytes)


@dataclass(frozen=True)
class CostRow:
    """What the newest run of an entry used: (text, number to sort by) of each column."""

    entry: int
    name: str
    role: str
    device: str
    cells: tuple[tuple[str, str], ...]


def titles() -> list[str]:
    """The columns of the table of costs."""
    return [title for title, _, _ in (*COSTS, PEAK)]


def rows(board: Board) -> list[CostRow]:
    """The table of costs, of methods and floors."""
    found = []
    for place, entry in enumerate(board.ranked):
        cost = entry.newest.cost
        values = [(of(cost), unit) for _, unit, of in (*COSTS, PEAK)]
        cells = tuple(("–", "") if v is None else (with_prefix(v, unit, padded=True), repr(float(v))) for v, unit in values)
        threads = "" if cost.threads is None else f", {cost.threads} thread{'s' * (cost.threads != 1)}"
        found.append(CostRow(place, title_of(entry.newest), entry.newest.role, cost.device + threads, cells))
    return found


def plots(board: Board) -> list[Markup]:
    """The main metric of the methods against each cost that at least two of them have."""
    metric = board.newest.terms.main_metric
    score = board.newest.scores[metric]
    floor = best_floor(board, metric)
    title = f"{metric} ({score.unit})" if score.unit.strip() else metric
    drawn = []
    for cost, unit, of in COSTS:
        points = []
        for place, entry in enumerate(board.methods):
            value, mean, interval = of(entry.newest.cost), entry.mean(metric), board.interval(entry, metric)
            if value and mean is not None and math.isfinite(mean):
                bounds = None if interval is None else (interval.low, interval.high)
                points.append(Point(place, title_of(entry.newest), float(value), mean, bounds))
        if len(points) > 1:
            drawn.append(scatter(points, cost, title, floor, unit=unit, higher_is_better=score.higher_is_better))
    return drawn
