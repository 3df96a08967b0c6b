"""Did scores drift? Two sets of records compared: equivalent, drifted, or not measured.

What can be compared to the last digit is: the same bits, the same images scored again, and what has no noise. All else is
trainings, which differ by their seed: their means are compared with the noise that repeated runs have shown (`bench.noise`).
All such comparisons of one call are tested together (Holm), so that of 200 calls in which nothing has changed at most 5 alarm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sarbench.bench.equivalence import ALARMS, Shift, shift_of
from sarbench.bench.exactly import NoiseOf, Seeds, classes, exact_pairs, exactly, judges, made_by_code, moved
from sarbench.bench.noise import Noise, hardware_class
from sarbench.bench.outcomes import Finding, Outcome, Verdict
from sarbench.bench.records import Loaded, Record, Score
from sarbench.bench.statistics import holm

DRIFTED, EQUIVALENT, NOT_MEASURED = Outcome.DRIFTED, Outcome.EQUIVALENT, Outcome.NOT_MEASURED


@dataclass(frozen=True)
class Demand:
    """What must have been compared before anything is called equivalent."""

    methods: Collection[str] = ()  # as the folders of their records are called; empty: every method of either side
    seeds: Collection[int] = ()  # of NEW; empty: those of OLD
    metrics: Collection[str] = ()  # beside all that either side measured
    margins: Mapping[str, float] = field(default_factory=dict)  # by metric: the drift that must not go unseen


@dataclass(frozen=True)
class _Cell:
    """One metric of one method, to be judged by the noise."""

    subject: str
    metric: str
    shift: Shift
    score: Score
    noise: Noise


def compare(new: Iterable[Loaded], old: Iterable[Loaded], noise_of: NoiseOf, demand: Demand = Demand()) -> Verdict:
    """What became of the scores of `old` in `new`; `noise_of` gives the noise of a record's method, or None."""
    sides = [_by_method(side, demand.methods) for side in (new, old)]
    found: list[Finding | _Cell] = []
    unsaid: list[str] = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        after, before = (side.get(key, {}) for side in sides)
        subject, needed = " ".join(key), _needed(before, demand)
        found += _missing(after, before, subject, needed)
        if demand.seeds:
            after = {seed: run for seed, run in after.items() if seed in needed}
        if not (after and before):
            continue
        if other := other_terms([run.record for side in (after, before) for run in side.values()]):
            found.append(Finding(NOT_MEASURED, subject, "", f"can't be compared: {other}"))
        else:
            found += _of_method(after, before, subject, noise_of, demand, needed, unsaid)
    for name in demand.methods:
        if not any(name == folder for side in sides for _, folder in side):
            found.append(Finding(NOT_MEASURED, name, "", "no record of it on either side"))
    if not found:
        found.append(Finding(NOT_MEASURED, "all", "", "there are no records to compare"))
    judged = _by_noise([cell for cell in found if isinstance(cell, _Cell)])
    findings = [next(judged) if isinstance(item, _Cell) else item for item in found]
    return Verdict(tuple(findings), tuple(dict.fromkeys(unsaid)))


def _by_method(runs: Iterable[Loaded], methods: Collection[str]) -> dict[tuple[str, str], dict[int, Loaded]]:
    found: dict[tuple[str, str], dict[int, Loaded]] = {}
    for run in runs:
        if not methods or run.record.label in methods:
            found.setdefault((run.record.slug, run.record.label), {})[run.record.seed] = run
    return found


# --- What is missing -------------------------------------------------------------------------------------------------


def _needed(old: Seeds, demand: Demand) -> set[int]:
    """The seeds that NEW must have of a method; what is made by code alone has no others than those it has."""
    if demand.seeds and not (old and all(made_by_code(run.record) for run in old.values())):
        return set(demand.seeds)
    return set(old)


def _missing(new: Seeds, old: Seeds, subject: str, needed: Collection[int]) -> Iterator[Finding]:
    """Whole records that are missing."""
    if not old:
        yield Finding(NOT_MEASURED, subject, "", "OLD has no record of it: there is nothing to compare with")
    elif not new:
        yield Finding(NOT_MEASURED, subject, "", "NEW has no record of it: the measurement is missing")
    elif lacking := sorted(set(needed) - set(new)):
        yield Finding(NOT_MEASURED, subject, "", f"NEW has no record of seed {', '.join(map(str, lacking))}")


def other_terms(records: Sequence[Record]) -> str:
    """In which of their terms records differ; empty: in none, so that their scores may be compared."""
    if len({record.protocol_hash for record in records}) == 1:
        return ""
    first, parts = records[0], []
    for other in records[1:]:
        if other.dataset.content_hash != first.dataset.content_hash:
            parts.append("the data (content hash)")
        terms, others = (r.terms.model_dump(mode="json") for r in (first, other))
        parts += [
            f"the protocol ({name})" for name in sorted(terms.keys() | others.keys()) if terms.get(name) != others.get(name)
        ]
        signatures = [{name: score.signature for name, score in r.scores.items()} for r in (first, other)]
        changed = sorted(
            name for name in signatures[0].keys() & signatures[1].keys() if signatures[0][name] != signatures[1][name]
        )
        parts += [f"the definition of {name} (signature)" for name in changed]
    return f"{', '.join(dict.fromkeys(parts))} differs; scores under different terms say nothing of each other"


def differing(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """The keys under which two mappings have other values, or one has none; sorted."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


# --- One method ------------------------------------------------------------------------------------------------------


def _of_method(
    new: Seeds, old: Seeds, subject: str, noise_of: NoiseOf, demand: Demand, needed: Collection[int], unsaid: list[str]
) -> Iterator[Finding | _Cell]:
    """A finding, or a cell to be judged, for every metric that either side has measured."""
    measured = []
    for name in next(iter(old.values())).record.terms.metrics:
        scores = [[run.record.scores[name] for run in side.values()] for side in (new, old)]
        has = [all(score.n for score in side) for side in scores]
        if all(has):
            measured.append(name)
        elif any(score.n for side in scores for score in side) or name in demand.metrics:
            lacking = " and ".join(title for title, had in zip(("NEW", "OLD"), has, strict=True) if not had)
            reason = next((s.reason for side in scores for s in side if s.reason and not s.n), "")
            yield Finding(NOT_MEASURED, subject, name, f"{lacking} did not measure it ({reason})")
        else:
            unsaid.append(name)
    unknown = [name for name in demand.metrics if name not in next(iter(old.values())).record.terms.metrics]
    for name in unknown:
        yield Finding(NOT_MEASURED, subject, name, "the protocol has no such metric")
    yield from judges(new, old, subject, needed)
    pairs, why = exact_pairs(new, old, noise_of, needed)
    if pairs:
        for name in measured:
            yield exactly(name, pairs, subject, why)
        yield from classes(pairs, subject, why)
    else:
        yield from _noisily(measured, new, old, subject, noise_of, demand)


# --- By the noise ----------------------------------------------------------------------------------------------------


def _noisily(
    names: Sequence[str], new: Seeds, old: Seeds, subject: str, noise_of: NoiseOf, demand: Demand
) -> Iterator[Finding | _Cell]:
    """A cell for every metric whose noise is known, and a finding for the others."""
    records = [run.record for run in old.values()]
    classes = sorted({hardware_class(run.record) for run in (*new.values(), *old.values())})
    noise = noise_of(records[0])
    if len(classes) > 1:
        why = f"run on different hardware ({', '.join(classes)}), between which the noise is not known; run both on one"
    elif noise is None:
        why = f"other images, and its noise on {classes[0]} is not known; measure it on the old code: sarbench noise"
    elif not all(noise.is_of(record) for record in records):
        why = "its noise was measured on other code, terms or hyperparameters; measure it on the old code: sarbench noise"
    else:
        for name in names:
            yield _cell(name, new, old, subject, noise, demand.margins.get(name))
        return
    yield Finding(NOT_MEASURED, subject, "", why)


def _cell(name: str, new: Seeds, old: Seeds, subject: str, noise: Noise, margin: float | None) -> Finding | _Cell:
    values = [{seed: run.record.scores[name].value for seed, run in side.items()} for side in (new, old)]
    if any(value is None for side in values for value in side.values()) or name not in noise.runs[0].values:
        return Finding(NOT_MEASURED, subject, name, "it is undefined for some images, or was not measured with the noise")
    before = {run.seed: run.values[name] for run in noise.runs} | {s: float(v) for s, v in values[1].items() if v is not None}
    after = [float(value) for value in values[0].values() if value is not None]
    if len(set(before.values())) == 1:
        pairs = [(run, old.get(seed, next(iter(old.values())))) for seed, run in new.items()]
        return exactly(name, pairs, subject, f"{len(before)} runs gave one value")
    score = next(iter(old.values())).record.scores[name]
    return _Cell(subject, name, shift_of(list(before.values()), after, margin), score, noise)


def _by_noise(cells: Sequence[_Cell]) -> Iterator[Finding]:
    """The findings of all cells, tested together."""
    for cell, p in zip(cells, holm(cell.shift.p for cell in cells), strict=True):
        yield Finding(*_judged(cell, p))


def _judged(cell: _Cell, p: float) -> tuple[Outcome, str, str, str]:
    shift, unit = cell.shift, cell.score.unit
    noise = f"{shift.noise:.2g} {unit}".rstrip() + f" ({shift.old_runs} runs on {cell.noise.hardware})"
    margin = f"{shift.margin:.2g} {unit}".rstrip()
    if p < ALARMS:
        size = abs(shift.difference) / shift.error
        why = (
            f"{moved(shift.new, shift.old, cell.score)}; {size:.1f} standard errors of a noise of {noise}, "
            f"p = {p:.2g} among all that was compared"
        )
        return DRIFTED, cell.subject, cell.metric, why
    if shift.equivalent:
        return EQUIVALENT, cell.subject, cell.metric, f"within the noise, and a drift of {margin} or more is ruled out"
    needed = shift.seeds_needed
    remedy = f"run {max(needed, shift.new_runs + 1)} seeds" if needed else "repeat the old code more often: sarbench noise"
    why = (
        f"too noisy to see a drift of {margin}: the difference is {shift.difference:+.2g} with a standard error of "
        f"{shift.error:.2g}, noise {noise}; {remedy}"
    )
    return NOT_MEASURED, cell.subject, cell.metric, why
