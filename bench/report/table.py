"""The board as a page shows it: groups of rows, each cell with its number, its interval bar and its marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.records import Record
from sarbench.bench.report.plots import Scale, interval_bar, scale_over
from sarbench.bench.statistics import ALPHA, LEVEL, POWER

TRAINED_ON = {"paired": "pairs", "unpaired": "unpaired images", "semi": "few pairs, unpaired images", "none": "nothing"}


@dataclass(frozen=True)
class Column:
    """One metric that was measured by at least one run."""

    metric: str
    unit: str
    higher_is_better: bool
    fooled_by: tuple[str, ...]  # honeypots that it ranks above every method
    too_few: bool  # images to rank by


@dataclass(frozen=True)
class Cell:
    """One score."""

    text: str
    margin: str = ""  # half of its interval
    sort: str = ""  # the number to sort by; empty: none
    bar: Markup | None = None
    top: bool = False  # in the top group
    below: bool = False  # does not beat every floor
    note: str = ""  # why there is no finite number


@dataclass(frozen=True)
class Row:
    """One entry of the board."""

    entry: int  # its place among all entries of the page
    name: str
    link: str | None
    role: str
    badge: str  # how true it is to its paper, if not wholly
    trained_on: str
    seeds: int
    rank: str
    rank_sort: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """Rows that are compared with each other."""

    title: str
    about: str
    rows: tuple[Row, ...]


def entries_of(board: Board) -> tuple[Entry, ...]:
    """Everything on a board, in the order of the page: an entry is known by its place here."""
    return board.methods + board.floors + board.honeypots + board.ceilings


def title_of(record: Record) -> str:
    """What an entry is called: its method, and the settings that were changed."""
    return markdown.line(f"{record.method} {record.variant}")


def measured(board: Board, metrics: Sequence[str]) -> list[str]:
    """The metrics that at least one entry has a value of."""
    return [metric for metric in metrics if any(entry.mean(metric) is not None for entry in entries_of(board))]


def columns(board: Board, metrics: Sequence[str]) -> list[Column]:
    """The heads of the table."""
    found = []
    for metric in metrics:
        score = board.newest.scores[metric]
        few = score.ranked and not board.ranks_by(metric)
        found.append(Column(metric, score.unit.strip(), score.higher_is_better, tuple(board.fooled_by(metric)), few))
    return found


def groups(board: Board, metrics: Sequence[str]) -> list[Group]:
    """The table, by role; groups without rows are left out."""
    scales = {metric: _scale(board, metric) for metric in metrics}
    matching = board.newest.of_matching
    parts = (
        ("Methods", "", board.methods),
        (
            "Floors",
            f"learn nothing; who does not beat them has not learned to {'match' if matching else 'translate'}",
            board.floors,
        ),
        ("Honeypots", "made from the targets and spoilt; never ranked; they show what fools a metric", board.honeypots),
        ("Ceilings", "what a right answer scores", board.ceilings),
    )
    found, first = [], 0
    for title, about, entries in parts:
        rows = tuple(_row(board, entry, first + i, metrics, scales) for i, entry in enumerate(entries))
        first += len(entries)
        found += [Group(title, about, rows)] * bool(rows)
    return found


def _scale(board: Board, metric: str) -> Scale:
    """Over the intervals of what translates sources: what is made from the answer would press these together."""
    shown: list[float] = []
    for entry in board.ranked:
        mean, interval = entry.mean(metric), board.interval(entry, metric)
        shown += [] if mean is None else [mean]
        shown += [] if interval is None else [interval.low, interval.high]
    return scale_over(shown, higher_is_better=board.newest.scores[metric].higher_is_better)


def best_floor(board: Board, metric: str) -> float | None:
    """The best value of a floor; None where there is none."""
    values = [value for entry in board.floors if (value := board.shown(entry, metric)) is not None]
    return (max if board.newest.scores[metric].higher_is_better else min)(values, default=None)


def _row(board: Board, entry: Entry, place: int, metrics: Sequence[str], scales: dict[str, Scale]) -> Row:
    record = entry.newest
    ranks = board.open_ranks(entry, board.newest.terms.main_metric) if entry in board.methods else None
    rank = "–" if ranks is None else str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"
    made = record.role in ("honeypot", "ceiling")
    return Row(
        entry=place,
        name=title_of(record),
        link=None if made else markdown.link(record.card.paper),
        role=record.role,
        badge="" if made or record.card.fidelity == "paper" else record.card.fidelity,
        trained_on="the answer" if made else TRAINED_ON[record.card.supervision],
        seeds=len(entry.records),
        rank=rank,
        rank_sort="" if ranks is None else str(sum(ranks)),
        cells=tuple(_cell(board, entry, metric, scales[metric]) for metric in metrics),
    )


def _cell(board: Board, entry: Entry, metric: str, scale: Scale) -> Cell:
    mean, decimals = entry.mean(metric), board.newest.scores[metric].decimals
    note = "; ".join(
        sorted({score.reason for r in entry.records if (score := r.scores[metric]).value is None and score.reason})
    )
    if mean is None:
        return Cell("–", note=note)
    if math.isinf(mean):
        return Cell(
            number(mean, decimals), sort="1e999" if mean > 0 else "-1e999", note="infinite for an image, so the mean is"
        )
    interval, method = board.interval(entry, metric), entry.newest.role == "method"
    drawn = entry.newest.role in ("method", "floor")
    bounds = None if interval is None else (interval.low, interval.high)
    return Cell(
        text=number(mean, decimals),
        margin="" if interval is None else f"± {number((interval.high - interval.low) / 2, decimals)}",
        sort=repr(mean),
        bar=interval_bar(mean, bounds, scale, best_floor(board, metric)) if drawn else None,
        top=method and board.in_top_group(entry, metric),
        below=method and board.below_a_floor(entry, metric),
    )


def how_to_read(board: Board, metrics: Sequence[str]) -> list[str]:
    """What the marks mean, and what they rest on; only those that occur."""
    tested = [metric for metric in metrics if metric in board.verdicts]
    lines = ["In every bar the better side is the right one: the dot is the mean, the short line across it the best floor."]
    if tested:
        known = all(board.verdicts[metric].scenes_known for metric in tested)
        several = any(len(entry.records) > 1 for entry in board.ranked)
        over = ("scenes" if known else "images, each taken for a scene of its own") + (" and trainings" if several else "")
        lines.append(
            f"± is half of the {100 * LEVEL:.0f} % interval over {over}, by bootstrap; the band of a bar is the interval."
        )
        lines.append(
            "Bold: beaten by no other method, as far as a paired test over scenes with Holm's correction at "
            f"{100 * ALPHA:.0f} % can tell. Rank: the places in {board.newest.terms.main_metric} that these tests leave open."
        )
        seen = [
            f"{number(found, board.newest.scores[m].decimals)} {board.newest.scores[m].unit}".rstrip() + f" in {m}"
            for m in tested
            if math.isfinite(found := board.verdicts[m].comparison.smallest)
        ]
        if seen:
            lines.append(f"Differences that this board sees with a probability of {100 * POWER:.0f} %: {', '.join(seen)}.")
        if len(seen) < len(tested):
            lines.append("Too few scenes for so many methods: the tests can tell some or all of them apart by no difference.")
        if any(len(entry.records) == 1 for entry in board.methods):
            lines.append("With one seed, what is said of a method is said of one trained network; another training may differ.")
    else:
        lines.append("Bold: the best number of a column; nothing could be tested.")
    if any(board.below_a_floor(entry, metric) for entry in board.methods for metric in metrics):
        lines.append("† does not beat every floor in this metric.")
    untested = [metric for metric in metrics if tested and metric not in tested and board.ranks_by(metric)]
    if untested:
        lines.append(f"Not tested, so that bold is the best number alone: {', '.join(untested)}.")
    for metric in metrics:
        if fooled := board.fooled_by(metric):
            lines.append(f"{metric} is gameable here: it ranks {', '.join(fooled)} above every method.")
    absent = [metric for metric in board.metrics if metric not in metrics]
    for metric in absent:
        reasons = sorted({r.scores[metric].reason for entry in board.ranked for r in entry.records} - {""})
        lines.append(f"{metric}: {'; '.join(reasons) or 'not measured'}.")
    return lines
