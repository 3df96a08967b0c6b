"""The aggregate of one metric's rows; the scorer, the records and the boards use this one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from sarbench.bench.errors import ContractError

Aggregate = Literal["mean", "root mean square"]  # what makes one value of a metric's rows


class Summary(NamedTuple):
    """One metric over all samples: nothing that is undefined or infinite is averaged away."""

    value: float | None  # the aggregate, usually the mean; None: a row is undefined or infinite, or there is none
    std: float | None  # over the samples, with n - 1; None: no mean, or fewer than two rows, or another aggregate
    n: int  # samples scored; 0: not measured
    undefined: int  # of them NaN
    infinite: int


def summarise(values: Iterable[float], aggregate: Aggregate = "mean") -> Summary:
    """The aggregate of a metric's rows, the same for any order of them. ContractError for -inf, which no metric may give."""
    rows = [float(value) for value in values]
    undefined, infinite = sum(map(math.isnan, rows)), sum(map(math.isinf, rows))
    if -math.inf in rows:
        raise ContractError("a metric gave -inf; it must give NaN where it is undefined")
    if undefined or infinite or not rows:
        return Summary(None, None, len(rows), undefined, infinite)
    if aggregate == "root mean square":
        return Summary(math.sqrt(math.fsum(v**2 for v in rows) / len(rows)), None, len(rows), 0, 0)
    mean = math.fsum(rows) / len(rows)
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in rows) / (len(rows) - 1)) if len(rows) > 1 else None
    return Summary(mean, std, len(rows), 0, 0)


def of_set(value: float, n: int) -> Summary:
    """The summary of a metric of sets, which has one value for all n samples. ContractError for one that is not finite."""
    if not math.isfinite(value):
        raise ContractError(f"a metric of sets gave {value}; it must give a number, or raise with the reason")
    return Summary(value, None, n, 0, 0)


def why_no_value(summary: Summary, meaning: str) -> str:
    """Why there is no mean, for a reader; empty where there is one. `meaning`: what a NaN of this metric means."""
    parts = []
    if summary.undefined:
        parts.append(f"undefined: {summary.undefined} of {summary.n} samples ({meaning or 'the metric gives no number'})")
    if summary.infinite:
        parts.append(f"infinite: {summary.infinite} of {summary.n} pairs are identical")
    return "; ".join(parts)
