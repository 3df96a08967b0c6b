"""Training curves: the losses that a run's log holds, thinned to small pictures. A log may be cut or broken."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from markupsafe import Markup

from sarbench.bench import markdown
from sarbench.bench.board import Board
from sarbench.bench.report.plots import curve
from sarbench.bench.report.table import entries_of, title_of

LOG = "log.jsonl"
MAX_BYTES = 16 << 20  # that are read of a log
MOST_LOSSES = 24  # of a method
POINTS = 70  # of a curve: each the median of the rows it stands for


@dataclass(frozen=True)
class Curve:
    """One loss of one run."""

    loss: str
    first: str
    last: str
    picture: Markup


@dataclass(frozen=True)
class Training:
    """The curves of one entry's first seed."""

    entry: int
    name: str
    seed: int
    images: int  # seen when the log ends
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Trainings:
    """What is known of training on a board."""

    shown: tuple[Training, ...]
    without: tuple[str, ...]  # methods that learn by steps, and whose log is not there


def trainings(board: Board, runs: Path) -> Trainings:
    """The curves of every method of a board whose log lies in the runs folder."""
    shown, without = [], []
    for place, entry in enumerate(entries_of(board)):
        record = entry.records[0]
        if not record.budget.steps:
            continue
        path = runs / board.slug / record.label / str(record.seed) / LOG
        images, losses = read_log(path) if path.is_file() else (0, {})
        if not losses:
            without.append(title_of(record))
            continue
        curves = tuple(_curve(name, values) for name, values in losses.items())
        shown.append(Training(place, title_of(record), record.seed, images, curves))
    return Trainings(tuple(shown), tuple(without))


def read_log(path: Path) -> tuple[int, dict[str, list[float]]]:
    """The images seen at the end, and the finite values of each loss in order; lines that are no rows are passed over."""
    losses: dict[str, list[float]] = {}
    images = 0
    with path.open("rb") as file:
        text = file.read(MAX_BYTES).decode(errors="replace")
    for line in text.splitlines():
        try:
            row = json.loads(line)
            found = {str(name): float(value) for name, value in row["losses"].items()}
            images = int(row["images"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
        for name, value in found.items():
            if math.isfinite(value) and (name in losses or len(losses) < MOST_LOSSES):
                losses.setdefault(name, []).append(value)
    return images, losses


def thinned(values: Sequence[float], points: int = POINTS) -> list[float]:
    """At most so many values: each the median of as many neighbours as the others."""
    count = min(points, len(values))
    borders = [i * len(values) // count for i in range(count + 1)]
    return [median(values[a:b]) for a, b in pairwise(borders)]


def _curve(name: str, values: Sequence[float]) -> Curve:
    few, loss = thinned(values), markdown.line(name)
    first, last = (f"{value:.3g}" for value in (few[0], few[-1]))
    return Curve(loss, first, last, curve(few, f"{loss}, from {first} to {last}"))
