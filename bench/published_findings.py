"""What the published numbers imply, recomputed: contradictions inside a paper's tables, and between tables and text.

A printed number stands for every number that rounds to it. All arithmetic here is on these intervals and exact, so a
finding can't come from rounding: not one of the numbers that the paper may have meant agrees with the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from sarbench.bench.errors import ContractError
from sarbench.bench.published import CLASSES, METRICS, Claim, Published, by_result, title_of

AT_MOST = (("miou", "class_accuracy"), ("accuracy_delta5", "accuracy_delta10"))  # the first can't exceed the second
REPEATED = 3  # as many equal metrics of two rows are no chance
PROPORTIONAL, SPREAD = 4, Fraction(6, 5)  # rows, and largest over smallest, from which a constant ratio is no chance
SWEPT = re.compile(r"(?P<name>\w+)=(?P<value>[0-9.]+)")
RIVAL = re.compile(r"((?P<table>[^:;]+):)?(?P<method>[a-z0-9_+]+)( \((?P<variant>[^()]+)\))?")


@dataclass(frozen=True)
class Finding:
    """A contradiction: the paper, the table where it stands, and a sentence in plain text with both numbers."""

    paper: str
    table: str
    text: str


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, in a metric's unit."""

    low: Fraction
    high: Fraction

    def meets(self, other: Interval) -> bool:
        """Is there a number in both?"""
        return self.low <= other.high and other.low <= self.high

    def shown_like(self, row: Published) -> str:
        """The middle with the digits and in the unit of a printed number, and the limits with one digit more."""
        scale, digits = (100 if row.unit == "%" else 1), row.decimals
        low, middle, high = (float(x * scale) for x in (self.low, (self.low + self.high) / 2, self.high))
        return f"{middle:.{digits}f} ({low:.{digits + 1}f} to {high:.{digits + 1}f} before rounding)"


def interval(row: Published) -> Interval:
    """Every possible value of a metric that rounds to what was printed."""
    meaning, low, high = METRICS[row.metric], row.exact - row.half_digit, row.exact + row.half_digit
    return Interval(
        low if low >= meaning.low else Fraction(meaning.low),
        high if high <= meaning.high else Fraction(meaning.high),
    )


def _rising(function: Callable[..., Fraction], *intervals: Interval) -> Interval:
    """The image of intervals under a function that falls in none of its arguments."""
    return Interval(function(*(x.low for x in intervals)), function(*(x.high for x in intervals)))


def _who(row: Published) -> str:
    return f"{row.method} ({', '.join(part for part in (row.dataset, row.setting, row.variant) if part)})"


def findings(rows: Sequence[Published], claims: Sequence[Claim] = ()) -> list[Finding]:
    """Every contradiction that arithmetic finds, by paper and table in the order of the rows.

    ContractError for a claim about numbers that are not there.
    """
    found = [finding for check in CHECKS for finding in check(rows)]
    found += [finding for claim in claims if (finding := broken(claim, rows))]
    order = {place: i for i, place in enumerate(dict.fromkeys((row.paper, row.table) for row in rows))}
    return sorted(found, key=lambda finding: order[finding.paper, finding.table])


# --- Inside a row ----------------------------------------------------------------------------------------------------


def f1_of(precision: Fraction, recall: Fraction) -> Fraction:
    """The harmonic mean of two shares; 0 where one is 0."""
    return 2 * precision * recall / (precision + recall) if precision and recall else Fraction(0)


def change_miou(accuracy: Interval, precision: Interval, recall: Interval) -> Interval:
    """The mean IoU of two classes, change and no change, from the scores of change and the pixel accuracy.

    With s = 1 / precision + 1 / recall, the errors are 1 - accuracy = true positives * (s - 2); so the IoU of change is
    1 / (s - 1), and that of no change is 1 - errors / (1 - true positives).
    """

    def change(p: Fraction, r: Fraction) -> Fraction:
        return 1 / (1 / p + 1 / r - 1) if p and r else Fraction(0)

    def rest(a: Fraction, p: Fraction, r: Fraction) -> Fraction:  # rises with accuracy, falls with precision and recall
        errors = 1 - a
        if not errors or not (p and r):
            return a
        ratio = 1 / p + 1 / r - 2
        return 1 - errors / (1 - errors / ratio) if ratio > errors / a else Fraction(0)

    low = change(precision.low, recall.low) + rest(accuracy.low, precision.high, recall.high)
    high = change(precision.high, recall.high) + rest(accuracy.high, precision.low, recall.low)
    return Interval(low / 2, high / 2)


def _f1(rows: Sequence[Published]) -> Iterator[Finding]:
    for row in by_result(rows).values():
        if {"precision", "recall", "f1"} <= set(row):
            p, r, f1 = row["precision"], row["recall"], row["f1"]
            implied = _rising(f1_of, interval(p), interval(r))
            if not implied.meets(interval(f1)):
                said = f"{_who(f1)}: precision {p.printed} and recall {r.printed} imply an f1 of {implied.shown_like(f1)}"
                yield Finding(f1.paper, f1.table, f"{said}; {f1.printed} is printed.")


def _change_miou(rows: Sequence[Published]) -> Iterator[Finding]:
    for row in by_result(rows).values():
        if {"accuracy", "precision", "recall", "miou"} <= set(row):
            a, p, r, miou = (row[name] for name in ("accuracy", "precision", "recall", "miou"))
            implied = change_miou(interval(a), interval(p), interval(r))
            if not implied.meets(interval(miou)):
                given = f"accuracy {a.printed}, precision {p.printed} and recall {r.printed}"
                said = f"{_who(miou)}: {given} imply a miou of {implied.shown_like(miou)}"
                yield Finding(miou.paper, miou.table, f"{said}; {miou.printed} is printed.")


def _class_mean(rows: Sequence[Published]) -> Iterator[Finding]:
    for row in by_result(rows).values():
        ious = [interval(row[name]) for name in (f"iou_{name}" for name in CLASSES) if name in row]
        if len(ious) > 1 and "miou" in row:
            miou = row["miou"]
            implied = _rising(lambda *values: sum(values, Fraction(0)) / len(values), *ious)
            if not implied.meets(interval(miou)):
                said = f"{_who(miou)}: the mean of the {len(ious)} class IoUs is {implied.shown_like(miou)}"
                yield Finding(miou.paper, miou.table, f"{said}; {miou.printed} is printed.")


def _at_most(rows: Sequence[Published]) -> Iterator[Finding]:
    for row in by_result(rows).values():
        for small, large in AT_MOST:
            if small in row and large in row and interval(row[small]).low > interval(row[large]).high:
                a, b = row[small], row[large]
                yield Finding(a.paper, a.table, f"{_who(a)}: {small} {a.printed} can't exceed {large} {b.printed}.")


# --- Between rows ----------------------------------------------------------------------------------------------------


def _printed_twice(rows: Sequence[Published]) -> Iterator[Finding]:
    """The same run and metric in two tables, with two values."""
    runs: dict[tuple[str, ...], list[Published]] = {}
    for row in rows:
        runs.setdefault((row.paper, row.dataset, row.setting, row.variant, row.method, row.metric), []).append(row)
    for same in runs.values():
        for a, b in combinations(same, 2):
            if not interval(a).meets(interval(b)):
                other = f"{a.printed} in {title_of(a.table)}"
                yield Finding(b.paper, b.table, f"{_who(b)}: {b.metric} {b.printed} here, but {other}.")


def _sweep(rows: Sequence[Published]) -> Iterator[Finding]:
    """One hyperparameter in a table of its own, whose range of scores does not hold the full method's score."""
    swept: dict[tuple[str, ...], dict[str, list[Published]]] = {}
    for row in rows:
        if match := SWEPT.fullmatch(row.variant):
            group = swept.setdefault((row.paper, row.table, row.dataset, row.setting, row.method, row.metric), {})
            group.setdefault(match["name"], []).append(row)
    for (paper, table, *run), group in swept.items():
        full = [r for r in rows if r.paper == paper and [r.dataset, r.setting, r.method, r.metric] == run and not r.variant]
        if not full or table in {row.table for row in full}:  # there the full method is a point of the sweep
            continue
        missed = []
        for points in group.values():
            ends = Interval(min(interval(row).low for row in points), max(interval(row).high for row in points))
            if not any(interval(row).meets(ends) for row in full):
                missed.append(f"{points[0].printed} to {points[-1].printed} ({points[0].variant} to {points[-1].variant})")
        if missed:
            dataset, _, method, metric = run
            elsewhere = ", ".join(f"{row.printed} in {title_of(row.table)}" for row in full)
            said = f"{method} ({dataset}): {metric} goes from {', '.join(missed)}"
            yield Finding(paper, table, f"{said}; none of these ranges holds what the full method has: {elsewhere}.")


def _repeated(rows: Sequence[Published]) -> Iterator[Finding]:
    """Two methods, or a method and a variant of another, with the same numbers in every metric."""
    for a, b in combinations(by_result(rows).values(), 2):
        one, two = next(iter(a.values())), next(iter(b.values()))
        if (one.paper, one.dataset) != (two.paper, two.dataset) or (one.method, one.variant) == (two.method, two.variant):
            continue
        if len(a) >= REPEATED and {m: row.printed for m, row in a.items()} == {m: row.printed for m, row in b.items()}:
            numbers = ", ".join(f"{metric} {row.printed}" for metric, row in b.items())
            same = f"has the numbers of {_who(one)} in {title_of(one.table)}"
            yield Finding(two.paper, two.table, f"{_who(two)} {same}, digit for digit: {numbers}.")


def _proportional(rows: Sequence[Published]) -> Iterator[Finding]:
    """Two columns of which one is a constant times the other in every row."""
    tables: dict[tuple[str, ...], list[dict[str, Published]]] = {}
    for result, row in by_result(rows).items():
        tables.setdefault(result[:3], []).append(row)
    for lines in tables.values():
        for a, b in combinations(dict.fromkeys(metric for row in lines for metric in row), 2):
            pairs = [(row[a], row[b]) for row in lines if a in row and b in row]
            spans = [(interval(x), interval(y)) for x, y in pairs]
            if len(pairs) < PROPORTIONAL or any(x.low <= 0 for x, _ in spans):
                continue
            low, high = max(y.low / x.high for x, y in spans), min(y.high / x.low for x, y in spans)
            if low <= high and max(x.low for x, _ in spans) >= SPREAD * min(x.high for x, _ in spans):
                ratios = ", ".join(f"{y.printed} / {x.printed}" for x, y in pairs)
                said = f"{b} is {float((low + high) / 2):.3g} times {a} in all {len(pairs)} rows ({ratios})"
                yield Finding(pairs[0][0].paper, pairs[0][0].table, f"{said}, as two measured columns would not be.")


CHECKS = (_f1, _change_miou, _class_mean, _at_most, _printed_twice, _sweep, _repeated, _proportional)


# --- Between text and tables -----------------------------------------------------------------------------------------


def broken(claim: Claim, rows: Sequence[Published]) -> Finding | None:
    """What a text says of a table, held against it; None where it holds. A tie is not better.

    ContractError for a claim about numbers that are not there.
    """
    against = []
    for metric in claim.metrics.split():
        own = _of_claim(claim, rows, claim.table, claim.method, claim.variant, metric)
        rivals = _rivals(claim, rows, own)
        sign = 1 if METRICS[metric].higher_is_better else -1
        best = max(rivals, key=lambda row: sign * row.exact)
        if sign * own.exact <= sign * best.exact:
            place = "" if best.table == own.table else f" in {title_of(best.table)}"
            rival = f"{best.method} ({best.variant})" if best.variant else best.method
            value = "the same" if best.exact == own.exact else best.printed
            against.append(f"{metric} is {own.printed}, and {value} for {rival}{place}")
    if not against:
        return None
    who = f"{claim.method} ({', '.join(part for part in (claim.dataset, claim.variant) if part)})"
    return Finding(claim.paper, claim.table, f"{claim.where} says that {claim.says}; but for {who} {'; '.join(against)}.")


def _rivals(claim: Claim, rows: Sequence[Published], own: Published) -> list[Published]:
    if claim.over == "*":
        same = (own.paper, own.table, own.dataset, own.metric)
        others = [row for row in rows if (row.paper, row.table, row.dataset, row.metric) == same and row != own]
        if not others:
            raise ContractError(f"claims.csv: {claim.where} of {claim.paper}: {own.method} stands alone; correct the claim")
        return others
    rivals = []
    for word in claim.over.split("; "):
        if not (match := RIVAL.fullmatch(word)):
            raise ContractError(f"claims.csv: {word!r} of {claim.paper} is no rival; write [TABLE:]METHOD[ (VARIANT)]")
        table, variant = match["table"] or claim.table, match["variant"] or ""
        rivals.append(_of_claim(claim, rows, table, match["method"], variant, own.metric))
    return rivals


def _of_claim(claim: Claim, rows: Sequence[Published], table: str, method: str, variant: str, metric: str) -> Published:
    wanted = (claim.paper, table, claim.dataset, method, variant, metric)
    found = [row for row in rows if (row.paper, row.table, row.dataset, row.method, row.variant, row.metric) == wanted]
    if len(found) != 1:
        named = ", ".join(filter(None, (title_of(table), claim.dataset, method, variant, metric)))
        raise ContractError(f"claims.csv: {claim.where} of {claim.paper}: {len(found)} numbers for {named}; correct the claim")
    return found[0]
