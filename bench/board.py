"""What a board compares: the records of one protocol hash, by rank, and the marks that its numbers earn.

What has another hash, or an older config or code of a method, is left out and named. All marks (bold, †, gameable) are
judged on the numbers as they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from sarbench.bench import markdown
from sarbench.bench.errors import ContractError
from sarbench.bench.records import Record, Score
from sarbench.bench.significance import Rows, Verdict, verdict_of, verdict_of_sets
from sarbench.bench.statistics import Interval


@dataclass(frozen=True)
class Entry:
    """One row: the records of one method, all of one config and code, by seed."""

    records: tuple[Record, ...]

    @property
    def newest(self) -> Record:
        """The record that speaks for the method: its card, its cost."""
        return max(self.records, key=_age)

    def mean(self, metric: str) -> float | None:
        """The mean over the seeds; inf where one is infinite; None where one has no value."""
        values = [_value(record.scores[metric]) for record in self.records]
        known = [value for value in values if value is not None]
        return (math.inf if math.inf in known else fmean(known)) if len(known) == len(values) else None


@dataclass(frozen=True)
class Board:
    """The records of one protocol hash, by rank, and what was left out."""

    slug: str
    newest: Record  # speaks for the track: terms, dataset, what a metric means
    methods: tuple[Entry, ...]
    floors: tuple[Entry, ...]
    honeypots: tuple[Entry, ...]
    ceilings: tuple[Entry, ...]  # a second look at the targets, and upper bounds of methods
    replaced: tuple[Record, ...]  # of the same protocol hash, but an older config or code of their method
    older: tuple[Record, ...]  # of other protocol hashes
    rows: Rows  # of the records, by their hash; without a record's rows it is not tested

    @property
    def metrics(self) -> list[str]:
        """The metrics that rank, in the order of the protocol."""
        return [metric for metric in self.newest.terms.metrics if self.newest.scores[metric].ranked]

    @property
    def audits(self) -> list[str]:
        """The metrics that are shown apart and never rank."""
        return [metric for metric in self.newest.terms.metrics if not self.newest.scores[metric].ranked]

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """What translates sources: methods, then floors."""
        return self.methods + self.floors

    @property
    def made(self) -> tuple[Entry, ...]:
        """What was made from the targets: honeypots, then ceilings."""
        return self.honeypots + self.ceilings

    def shown(self, entry: Entry, metric: str) -> float | None:
        """The mean as the page shows it, as a number that marks are judged on."""
        mean = entry.mean(metric)
        return None if mean is None else float(number(mean, self.newest.scores[metric].decimals, infinity="inf"))

    def beats(self, metric: str, a: float, b: float) -> bool:
        """Is a better than b?"""
        return a > b if self.newest.scores[metric].higher_is_better else a < b

    def best(self, metric: str) -> float | None:
        """The best value among methods; None where no method has one."""
        values = [value for entry in self.methods if (value := self.shown(entry, metric)) is not None]
        return (max if self.newest.scores[metric].higher_is_better else min)(values, default=None)

    def ranks_by(self, metric: str) -> bool:
        """Is this a metric to rank by, and are there images enough for it?"""
        score = self.newest.scores[metric]
        return score.ranked and self.newest.dataset.n_test >= score.ranked_from

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """What the tests say of each metric that ranks and has a value for each image, or for half samples of them."""
        found: dict[str, Verdict | None] = {}
        entries = [entry.records for entry in self.ranked]
        for metric in self.metrics:
            score = self.newest.scores[metric]
            if score.of_set:
                found[metric] = verdict_of_sets(metric, entries, higher_is_better=score.higher_is_better)
            elif score.aggregate == "mean":  # what intervals and tests of rows are of
                found[metric] = verdict_of(metric, entries, self.rows, higher_is_better=score.higher_is_better)
        return {metric: verdict for metric, verdict in found.items() if verdict is not None}

    def interval(self, entry: Entry, metric: str) -> Interval | None:
        """Where the mean lies, over other scenes and trainings; None where that is not known."""
        verdict = self.verdicts.get(metric)
        found = None if verdict is None else verdict.intervals.get(entry.newest.label)
        return None if found is None or math.isnan(found.low) else found

    def in_top_group(self, entry: Entry, metric: str) -> bool:
        """Is a method beaten by no method, as far as the tests can tell? Without tests: is its number the best?"""
        if not self.ranks_by(metric) or self.shown(entry, metric) is None:
            return False
        verdict, label = self.verdicts.get(metric), entry.newest.label
        if verdict is None or label not in verdict.labels:
            return self.shown(entry, metric) == self.best(metric)
        return not any(verdict.beats(other.newest.label, label) for other in self.methods)

    def open_ranks(self, entry: Entry, metric: str) -> tuple[int, int] | None:
        """The ranks among methods that the tests leave open; None where there are no tests."""
        verdict = self.verdicts.get(metric)
        if verdict is None or entry.newest.label not in verdict.labels or not self.ranks_by(metric):
            return None
        return verdict.ranks(entry.newest.label, [method.newest.label for method in self.methods])

    def below_a_floor(self, entry: Entry, metric: str) -> bool:
        """Does a method fail to beat every floor that has a value, by the tests where there are some?"""
        value, verdict = self.shown(entry, metric) if self.ranks_by(metric) else None, self.verdicts.get(metric)
        if value is None:
            return False
        floors = [(other, floor) for other in self.floors if (floor := self.shown(other, metric)) is not None]
        if verdict is None or entry.newest.label not in verdict.labels:
            return not all(self.beats(metric, value, floor) for _, floor in floors)
        return not all(verdict.beats(entry.newest.label, other.newest.label) for other, _ in floors)

    def fooled_by(self, metric: str) -> list[str]:
        """The honeypots that this metric ranks above every method."""
        best = self.best(metric)
        if best is None or not self.ranks_by(metric):
            return []
        values = {entry.newest.method: self.shown(entry, metric) for entry in self.honeypots}
        return [name for name, value in values.items() if value is not None and self.beats(metric, value, best)]

    def outranked_by(self, metric: str, honeypot: Entry) -> int:
        """How many methods this metric ranks below a honeypot."""
        value = self.shown(honeypot, metric)
        values = [self.shown(entry, metric) for entry in self.methods]
        return 0 if value is None else sum(other is not None and self.beats(metric, value, other) for other in values)


def _age(record: Record) -> tuple[str, str, int, str]:
    """Sorts records from old to new, the same way on every machine."""
    return record.created, record.method, record.seed, record.protocol_hash


def _value(score: Score) -> float | None:
    return math.inf if score.infinite and not score.undefined else score.value


def board_of(slug: str, records: Iterable[Record], rows: Rows | None = None) -> Board:
    """The board of a track's records, in any order; ContractError where there is none, or two disagree on a metric."""
    known = sorted(records, key=_age)
    if not known:
        raise ContractError(f"no record of {slug} to make a board of; run a method first")
    newest = known[-1]
    same = [record for record in known if record.protocol_hash == newest.protocol_hash]
    for metric in newest.terms.metrics:
        if len({(record.scores[metric].unit, record.scores[metric].higher_is_better) for record in same}) > 1:
            raise ContractError(f"the records of {slug} disagree on the unit or direction of {metric}; remove the wrong ones")
    entries: list[Entry] = []
    replaced: list[Record] = []
    for method in sorted({record.label for record in same}):
        own = [record for record in same if record.label == method]
        current = [record for record in own if _version(record) == _version(own[-1])]
        replaced += [record for record in own if _version(record) != _version(own[-1])]
        entries.append(Entry(tuple(sorted(current, key=lambda record: record.seed))))

    def rank(entry: Entry) -> tuple[bool, float]:
        mean = entry.mean(newest.terms.main_metric)
        sign = -1.0 if newest.scores[newest.terms.main_metric].higher_is_better else 1.0
        return (mean is None, 0.0 if mean is None else sign * mean)

    entries.sort(key=rank)  # stable: equal ones stay by name

    def of(role: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in entries if entry.newest.role == role)

    older = tuple(record for record in known if record.protocol_hash != newest.protocol_hash)
    methods, floors, honeypots, ceilings = (of(role) for role in ("method", "floor", "honeypot", "ceiling"))
    return Board(slug, newest, methods, floors, honeypots, ceilings, tuple(replaced), older, rows or {})


def _version(record: Record) -> tuple[str, str, str]:
    return record.role, record.config_hash, record.code_hash


def number(value: float, decimals: int, infinity: str = "∞") -> str:
    """A number as a board shows it."""
    if math.isinf(value):
        return infinity
    if abs(value) >= 1e9:
        return f"{value:.6e}"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no minus zero


def name_of(record: Record) -> str:
    """The method's name, linked to its paper, with what must be known of it before its numbers are read."""
    link = markdown.link(record.card.paper)
    name = f"`{record.method}`" if link is None else f"[`{record.method}`]({link})"
    if record.role in ("floor", "ceiling"):
        return f"{name} ({record.role})"
    if record.variant:
        name += f" {markdown.text(record.variant)}"
    marks = [] if record.card.fidelity == "paper" else [record.card.fidelity]
    if record.submitted is not None:
        marks.append(f"submitted, images {'' if record.submitted.verified else 'not '}verified, training not")
    return f"{name} ({'; '.join(marks)})" if marks else name
