"""What the tests of one board say: intervals of its scores, and who is better than whom, by the rows of its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Float

from sarbench.bench.records import Loaded, Record
from sarbench.bench.statistics import Comparison, Interval, compare, interval

Rows = Mapping[str, pd.DataFrame]  # hash of a record's rows -> the rows, as the store read them


def rows_of(loaded: Iterable[Loaded]) -> dict[str, pd.DataFrame]:
    """The rows of records by their hash."""
    return {str(item.record.rows_hash): item.rows for item in loaded}


@dataclass(frozen=True)
class Verdict:
    """One metric over the methods and floors of a board that have a finite value for every image."""

    labels: tuple[str, ...]  # of the entries compared, as `Record.label`
    intervals: Mapping[str, Interval]
    comparison: Comparison
    scenes_known: bool  # False: each image was taken for a scene of its own

    def beats(self, a: str, b: str) -> bool:
        """Is a significantly better than b? False where one could not be compared."""
        if a not in self.labels or b not in self.labels:
            return False
        return bool(self.comparison.beats[self.labels.index(a), self.labels.index(b)])

    def ranks(self, label: str, among: Sequence[str]) -> tuple[int, int]:
        """The best and the worst rank among some entries that the tests leave open."""
        others = [other for other in among if other != label]
        better, worse = (sum(f) for f in ((self.beats(o, label) for o in others), (self.beats(label, o) for o in others)))
        return 1 + better, 1 + len(others) - worse


def verdict_of(metric: str, entries: Iterable[Sequence[Record]], rows: Rows, *, higher_is_better: bool) -> Verdict | None:
    """The verdict over entries, each the records of one method by seed; None where fewer than two can be compared."""
    chosen = []
    for records in entries:
        hashes = [record.rows_hash for record in records]
        if all(h in rows and metric in rows[h].columns for h in hashes):
            chosen.append((records[0].label, tuple(str(h) for h in hashes)))
    return _verdict(metric, tuple(chosen), _Frozen(rows), higher_is_better)


class _Frozen:
    """Rows as a part of a key: what stands under a content hash never changes."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen)


@lru_cache(maxsize=256)  # a board is made anew after each run, and most rows are the same
def _verdict(
    metric: str, chosen: tuple[tuple[str, tuple[str, ...]], ...], frozen: _Frozen, higher_is_better: bool
) -> Verdict | None:
    tables: dict[str, Float[np.ndarray, "seeds samples"]] = {}
    common: pd.DataFrame | None = None
    for label, hashes in chosen:
        ordered = [frozen.rows[h].sort_values("id") for h in hashes]
        common = ordered[0] if common is None else common
        table = np.array([rows[metric].to_numpy(float) for rows in ordered])
        if np.isfinite(table).all() and all(rows["id"].tolist() == common["id"].tolist() for rows in ordered):
            tables[label] = table
    if common is None or len(tables) < 2:
        return None
    scenes = common["scene"].to_numpy(str)
    known = bool((scenes != "").all())
    scenes = scenes if known else common["id"].to_numpy(str)
    comparison = compare(list(tables.values()), scenes, higher_is_better=higher_is_better)
    return Verdict(tuple(tables), {label: interval(table, scenes) for label, table in tables.items()}, comparison, known)
