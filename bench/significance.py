"""What the tests of one board say: intervals of its scores, and who is better than whom, by the rows of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Float

from sarbench.bench.records import Loaded, Record
from sarbench.bench.replicates import IMAGES, compare_sets, set_interval
from sarbench.bench.statistics import Comparison, Interval, compare, interval

Rows = Mapping[str, pd.DataFrame]  # hash of a record's rows -> the rows, as the store read them


def rows_of(loaded: Iterable[Loaded]) -> dict[str, pd.DataFrame]:
    """The rows of records by their hash."""
    return {str(item.record.rows_hash): item.rows for item in loaded}


@dataclass(frozen=True)
class Verdict:
    """One metric over the methods and floors of a board that have a finite value for every image, or for half samples."""

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


def verdict_of_sets(metric: str, entries: Iterable[Sequence[Record]], *, higher_is_better: bool) -> Verdict | None:
    """The verdict on a metric of sets, by what its records hold of the same half samples; None where fewer than two can be."""
    measured = []
    for records in entries:
        found = [record.scores[metric].replicates for record in records]
        drawn = {one.drawn for one in found if one is not None}
        if None not in found and len(drawn) == 1:
            measured.append((records, [one for one in found if one is not None]))
    votes = Counter((found[0].drawn, found[0].scenes, len(found[0].values)) for _, found in measured)
    if not votes:
        return None
    common = min(votes, key=lambda key: (-votes[key], key))  # other draws can't be compared with these
    chosen = [
        (records, found)
        for records, found in measured
        if all((one.drawn, one.scenes, len(one.values)) == common for one in found)
    ]
    if len(chosen) < 2:
        return None
    drawn, scenes, _ = common
    labels = tuple(records[0].label for records, _ in chosen)
    values = [np.array([record.scores[metric].value for record in records], float) for records, _ in chosen]
    halves = [np.array([one.values for one in found]) for _, found in chosen]  # noqa: PD011 (no frame)
    intervals = {label: set_interval(*given, scenes) for label, *given in zip(labels, values, halves, strict=True)}
    comparison = compare_sets(values, halves, scenes, higher_is_better=higher_is_better)
    return Verdict(labels, intervals, comparison, not drawn.startswith(IMAGES))


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
