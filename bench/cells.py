"""What a verification found, cell by cell: agree, differ, or cannot check; how near two numbers must be; and as a table.

Tolerances. Scores without a network are computed in float64 by the same code: equal to 1e-9, which leaves room for another
order of sums in another build of numpy or OpenCV. Scores of networks are computed in float32, whose kernels round
differently on other hardware: equal to a tenth of the last digit that a board shows, or 1e-5 of the value. Scores of sets
rest on the eigenvalues of such features: a tenth of the last digit, or 1e-3 of the value. On the machine that made a
record all are equal to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sarbench.bench.markdown import line
from sarbench.bench.scores import aligned

if TYPE_CHECKING:
    from sarbench.bench.metric import Metric

Outcome = Literal["agree", "differ", "cannot check"]
Value = float | str | None
EXACT, OF_NETWORKS, OF_SETS = 1e-9, 1e-5, 1e-3  # shares of the value
SHOWN_ROWS = 60  # rows of samples that are printed one by one although all agree
SHOWN_TEXT = 40
CODES: dict[Outcome, int] = {"agree": 0, "differ": 1, "cannot check": 2}


@dataclass(frozen=True)
class Cell:
    """One recorded thing, and what was found in its place."""

    what: str  # a metric, or a fact such as "data hash"
    row: str  # the sample's id; empty: of the whole record
    recorded: Value
    found: Value
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class Tolerance:
    """How near two numbers must be: by the larger of both."""

    absolute: float
    share: float  # of the recorded value

    @staticmethod
    def of(metric: Metric) -> Tolerance:
        """That of a metric's values."""
        shown = 0.1 * 10.0**-metric.decimals
        if metric.statistic is not None:
            return Tolerance(shown, OF_SETS)
        return Tolerance(shown, OF_NETWORKS) if metric.assets or metric.features else Tolerance(EXACT, EXACT)

    def __str__(self) -> str:
        return f"{self.absolute:.0e} or {self.share:.0e} of it".replace("e-0", "e-")


def fact(what: str, recorded: Value, found: Value, why: str = "", otherwise: Outcome = "differ") -> Cell:
    """A cell of the whole record: agree where both are equal; else what is said `otherwise`, and `why`."""
    same = recorded == found
    return Cell(what, "", recorded, found, "agree" if same else otherwise, "" if same else why)


def number(what: str, row: str, recorded: float | None, found: float | None, tolerance: Tolerance) -> Cell:
    """A cell of two numbers; None and NaN, which mean undefined, agree with themselves alone, and so does infinity."""
    a, b = (math.nan if value is None else float(value) for value in (recorded, found))
    if math.isfinite(a) and math.isfinite(b):
        same = math.isclose(a, b, rel_tol=tolerance.share, abs_tol=tolerance.absolute)
    else:
        same = a == b or (math.isnan(a) and math.isnan(b))
    return Cell(what, row, recorded, found, "agree" if same else "differ")


def unchecked(what: str, why: str, row: str = "") -> Cell:
    """A cell that can't be checked."""
    return Cell(what, row, None, None, "cannot check", why)


def overall(cells: Iterable[Cell]) -> Outcome:
    """What all cells say together: they agree only where each does, and where there is one."""
    outcomes = {cell.outcome for cell in cells}
    return "differ" if "differ" in outcomes else "agree" if outcomes == {"agree"} else "cannot check"


# --- As text ---------------------------------------------------------------------------------------------------------


def facts_table(cells: Sequence[Cell]) -> str:
    """The cells of the whole record, one a line, with what is recorded and what was found where that is not the same."""
    rows = [
        [cell.what, cell.outcome, "" if cell.outcome == "agree" else _both(cell), line(cell.why)]
        for cell in cells
        if not cell.row
    ]
    return aligned(["record", "", "", ""], rows, "llll") if rows else ""


def metrics_table(cells: Sequence[Cell], tolerances: dict[str, Tolerance]) -> str:
    """How many cells of each metric agree, and the largest difference of two finite numbers."""
    rows = []
    for what in dict.fromkeys(cell.what for cell in cells if cell.row):
        own = [cell for cell in cells if cell.row and cell.what == what]
        counts = [sum(cell.outcome == outcome for cell in own) for outcome in CODES]
        gaps = [abs(cell.recorded - cell.found) for cell in own if _finite(cell.recorded) and _finite(cell.found)]  # type: ignore[operator,arg-type]
        reasons = "; ".join(dict.fromkeys(line(cell.why) for cell in own if cell.why))[:200]
        rows.append([what, *counts, f"{max(gaps):.3g}" if gaps else "-", str(tolerances.get(what, "none")), reasons])
    heads = ["by sample", *CODES, "largest difference", "tolerance", ""]
    return aligned(heads, rows, "lrrrrll") if rows else ""


def rows_table(cells: Sequence[Cell]) -> str:
    """One line a sample: = for what agrees, ? for what can't be checked, both numbers for what differs.

    Where there are many samples, only those that do not agree in everything.
    """
    names = list(dict.fromkeys(cell.what for cell in cells if cell.row))
    by_row: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        if cell.row:
            by_row.setdefault(cell.row, {})[cell.what] = cell
    if len(by_row) > SHOWN_ROWS:
        by_row = {row: own for row, own in by_row.items() if overall(own.values()) != "agree"}
    signs = {"agree": "=", "cannot check": "?"}
    rows = [
        [line(row)] + [signs.get(own[name].outcome) or _both(own[name]) if name in own else "" for name in names]
        for row, own in list(by_row.items())[:SHOWN_ROWS]
    ]
    more = [f"... and {len(by_row) - SHOWN_ROWS} more samples"] * (len(by_row) > SHOWN_ROWS)
    return "\n".join([aligned(["sample", *names], rows, "l" * (len(names) + 1)), *more]) if rows else ""


def to_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """All cells as JSON values: an infinite number is the string "inf"."""
    return [
        {name: str(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(cell).items()}
        for cell in cells
    ]


def _finite(value: Value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _both(cell: Cell) -> str:
    if cell.recorded is None and cell.found is None:
        return ""
    return f"{_shown(cell.recorded)} recorded, {_shown(cell.found)} found"


def _shown(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return "nothing" if value is None else line(str(value))[:SHOWN_TEXT]
