"""What judges said of the translations, as tables: one for each judge and each kind of its networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from sarbench.bench import markdown
from sarbench.bench.board import Board, number
from sarbench.bench.board_verdicts import MAIN, fooled
from sarbench.bench.judged import Direction, Judged, JudgedImages, Kind, Net
from sarbench.bench.report.table import entries_of, title_of

DECIMALS = 3
MOST_COLUMNS = 6
NETS: dict[Net, str] = {
    "own": "One network for each method, trained on its own translations",
    "fixed": "One network for all, trained on real images",
}
WAYS: dict[Direction, str] = {"forward": "", "back": "the way back, target to source"}
REFERENCES: dict[Kind, str] = {
    "source": "the source itself: the floor",
    "ceiling": "the right answer: the ceiling",
    "erased": "the target itself",
    "checkerboard": "the source with a checkerboard planted in it",
    "noise": "the source with fine noise planted in it",
}


@dataclass(frozen=True)
class JudgeRow:
    """One set of images under one judge: (text, number to sort by) of each column."""

    entry: int | None  # None: a reference
    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class JudgeTable:
    """What networks of one kind said."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[JudgeRow, ...]


@dataclass(frozen=True)
class Judge:
    """One judge of a board."""

    name: str
    signature: str
    seeds: int
    reason: str  # why it has said nothing
    fooled_by: str  # planted artefacts that it likes better than the clean source; empty: none
    tables: tuple[JudgeTable, ...]


def judges(board: Board) -> list[Judge]:
    """Every judge that the records of a board name; empty where none does."""
    names = sorted({name for entry in board.ranked for name in (entry.newest.judged or {})})
    return [_judge(board, name) for name in names]


def _judge(board: Board, name: str) -> Judge:
    known = [(i, e.newest.judged[name]) for i, e in enumerate(entries_of(board)) if e.newest.judged and name in e.newest.judged]
    speaks = next((judged for _, judged in known if judged.images), None)
    title = markdown.line(name.replace("_", " "))
    if speaks is None:
        return Judge(title, known[0][1].signature, 0, known[0][1].reason, "", ())
    same = [(i, judged) for i, judged in known if (judged.signature, judged.classes) == (speaks.signature, speaks.classes)]
    tables = [table for net in NETS for way in WAYS if (table := _table(board, same, net, way))]
    return Judge(title, speaks.signature, len(speaks.seeds), "", _fooled(speaks, name), tuple(tables))


def _fooled(judged: Judged, name: str) -> str:
    if name not in MAIN:
        return ""
    gains = fooled(judged, MAIN[name])
    said = " and ".join(f"{markdown.line(kind)} by {number(gain, DECIMALS)}" for kind, gain in gains.items())
    return f"{MAIN[name]}: {said}" if said else ""


def _table(board: Board, known: Sequence[tuple[int, Judged]], net: Net, way: Direction) -> JudgeTable | None:
    said = [(i, images) for i, judged in known if (images := judged.of(net, "translated", way))]
    if not said:
        return None
    numbers = list(said[0][1].numbers)
    columns = tuple(([n for n in numbers if n.endswith(("[pooled]", ",pooled]"))] or numbers)[:MOST_COLUMNS])
    rows = []
    for kind, title in REFERENCES.items():
        found = next((images for _, judged in known if (images := judged.of(net, kind, way))), None)
        rows += [JudgeRow(None, title, _cells(found, columns))] if found else []
    rows += [JudgeRow(i, title_of(entries_of(board)[i].newest), _cells(images, columns)) for i, images in said]
    title = NETS[net] + (f"; {WAYS[way]}" if WAYS[way] else "")
    return JudgeTable(title, columns, tuple(rows))


def _cells(images: JudgedImages, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The mean over the judge's seeds, with their standard deviation."""
    cells = []
    for column in columns:
        values = [value for value in images.numbers.get(column, ()) if value is not None]
        if not values or len(values) < len(images.numbers[column]):
            cells.append(("–", ""))
            continue
        spread = f" ± {number(stdev(values), DECIMALS)}" if len(values) > 1 else ""
        cells.append((number(fmean(values), DECIMALS) + spread, repr(fmean(values))))
    return tuple(cells)
