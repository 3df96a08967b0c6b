"""One comparison of a metric with a reference: how far they are apart, on which case, and whether that keeps the promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

LIBRARY = 1e-4  # largest relative deviation from a package of the same convention
FLOOR = 0.01  # a value nearer to 0 than this counts as this: relative to 0 everything is infinite
ROUNDING = 1e-12  # what is less is written as 0: its digits are those of the processor
NO_SELF = "no float64 self: add one to bench/certification/selves.py"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One comparison: of a metric, or of a convention, with one reference."""

    metric: str
    part: str  # of the metric: "" for the whole of it, or what was compared, under which weights
    kind: Literal["self", "library", "difference"]  # of a difference there is no tolerance: it is defined otherwise
    reference: str
    version: str
    call: str
    status: str = "compared"  # or why it was not
    cases: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    worst: str = ""  # the case of the largest relative deviation
    first: str = ""  # the first case beyond the tolerance
    undefined_on: tuple[str, ...] = ()  # cases of which one side alone is a finite number
    tolerance: float | None = None
    why: str = ""

    @property
    def fails(self) -> bool:
        """Is a promise broken? What could not be compared breaks none, unless nothing could be."""
        if self.kind == "difference" or self.tolerance is None:
            return False
        return bool(self.status == "compared" and (self.first or not self.cases)) or self.status == NO_SELF


def deviation(found: Any, expected: Any) -> tuple[float, float]:
    """The largest absolute and relative deviation of numbers, or of vectors from their largest element; inf: undefined here."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} numbers against {b.shape}")
    if np.array_equal(a, b, equal_nan=True):
        return 0.0, 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf, np.inf
    absolute = float(np.max(np.abs(a - b)))
    return absolute, absolute / max(float(np.max(np.abs(b))), FLOOR)


def compared(row: Row, found: Values, expected: Values) -> Row:
    """The row with the deviations of all cases that both have."""
    pairs = {case: deviation(found[case], expected[case]) for case in found if case in expected}
    finite = {case: pair for case, pair in pairs.items() if np.isfinite(pair[1])}
    worst = max(finite, key=lambda case: finite[case][1], default="")
    limit = LIBRARY if row.tolerance is None else row.tolerance
    return Row(
        **{
            **asdict(row),
            "cases": len(pairs),
            "absolute": max((_rounded(absolute) for absolute, _ in finite.values()), default=0.0),
            "relative": _rounded(finite[worst][1]) if worst else 0.0,
            "worst": worst if worst and _rounded(finite[worst][1]) else "",
            "first": next((case for case, (_, relative) in pairs.items() if relative > limit), ""),
            "undefined_on": tuple(case for case in pairs if case not in finite),
        }
    )


def _rounded(value: float) -> float:
    return float(f"{value:.2e}") if value >= ROUNDING else 0.0
