"""What must agree to the last digit: the same bits, the same images scored again, and methods without noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from sarbench.bench.ceiling import NAME as CEILING
from sarbench.bench.noise import Noise, hardware_class
from sarbench.bench.outcomes import Finding, Outcome
from sarbench.bench.records import Loaded, Record, Score

EXACT = 1e-6  # largest deviation, relative to the value where that is above 1
DRIFTED, EQUIVALENT, NOT_MEASURED = Outcome.DRIFTED, Outcome.EQUIVALENT, Outcome.NOT_MEASURED
Seeds = Mapping[int, Loaded]  # the runs of one method on one track
NoiseOf = Callable[[Record], Noise | None]


def exact_pairs(new: Seeds, old: Seeds, noise_of: NoiseOf, needed: Collection[int]) -> tuple[list[tuple[Loaded, Loaded]], str]:
    """Pairs of runs that must agree to the last digit, and why they must; none where trainings differ.

    Where all `needed` seeds that NEW has gave the same bits, or the same images, its further seeds need no comparison.
    """
    present = [seed for seed in sorted(needed) if seed in new]
    pairs = [(new[seed], old[seed]) for seed in present if seed in old]
    if pairs and len(pairs) == len(present):
        if all(a.record.rows_hash == b.record.rows_hash for a, b in pairs):
            return pairs, "the same rows to the last bit"
        if all(same_images(a, b) for a, b in pairs):
            return pairs, "the same images were scored"
    first = next(iter(old.values()))
    every = [run.record for run in (*new.values(), *old.values())]
    if all(made_by_code(record) for record in every):
        return [(run, old.get(seed, first)) for seed, run in new.items()], "made from the targets by code alone"
    if len({hardware_class(record) for record in every}) > 1:
        return [], ""
    noise = noise_of(first.record)
    if noise is not None and noise.exact and noise.is_of(first.record):
        return [(run, old.get(seed, first)) for seed, run in new.items()], f"{len(noise.runs)} runs showed no noise at all"
    return [], ""


def made_by_code(record: Record) -> bool:
    """Do its images come from the targets alone, without training or chance? Honeypots, and the ceiling of every board."""
    return record.role == "honeypot" or (record.role == "ceiling" and record.method == CEILING)


def same_images(new: Loaded, old: Loaded) -> bool:
    """Were the same images scored? So it is where a metric gives the same value, to the last bit, for each of them.

    Other images would not do that: a value that most images share shows nothing, and is not counted.
    """
    if list(new.rows["id"]) != list(old.rows["id"]):
        return False
    for name in [name for name, score in old.record.scores.items() if name in old.rows and name in new.rows and score.n]:
        a, b = (run.rows[name].to_numpy(float) for run in (new, old))
        telling = bool(np.isfinite(b).all()) and len(np.unique(b)) > len(b) / 2
        if telling and np.array_equal(a, b):
            return True
    return False


def exactly(name: str, pairs: Sequence[tuple[Loaded, Loaded]], subject: str, why: str) -> Finding:
    """What is found of a metric whose values must agree to the last digit."""
    scores = [[run.record.scores[name] for run in side] for side in zip(*pairs, strict=True)]
    if scores[1][0].of_set:
        found = [np.array([score.value for score in side], float) for side in scores]
    elif all(name in run.rows and list(run.rows["id"]) == list(pairs[0][1].rows["id"]) for pair in pairs for run in pair):
        found = [np.concatenate([run.rows[name].to_numpy(float) for run in side]) for side in zip(*pairs, strict=True)]
    else:
        return Finding(NOT_MEASURED, subject, name, "the records have other test images")
    off = deviation(found[0], found[1])
    if not (off > EXACT).any():
        return Finding(EQUIVALENT, subject, name, why)
    wrong = off > EXACT
    by = np.abs(found[0] - found[1])[wrong]
    worst = float(by.max()) if np.isfinite(by).all() else math.inf
    new, old = (_mean([score.value for score in side]) for side in scores)
    told = f"{int(wrong.sum())} of {len(off)} values differ, by up to {worst:.2g}; {moved(new, old, scores[1][0])}"
    return Finding(DRIFTED, subject, name, f"{told}; the noise is 0 ({why})")


def deviation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far values lie apart, relative to b where that is above 1; inf where one alone is undefined or infinite."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        off = np.abs(a - b) / np.maximum(1, np.abs(b))
    return np.where(same, 0.0, np.where(np.isfinite(off), off, np.inf))


def classes(pairs: Sequence[tuple[Loaded, Loaded]], subject: str, why: str) -> Iterator[Finding]:
    """What is found of scores by class, which are pooled over pixels and have no rows."""
    by_class = [[run.record.by_class or {} for run in pair] for pair in pairs]
    if not any(new or old for new, old in by_class):
        return
    name = "scores by class"
    if any(new.keys() != old.keys() for new, old in by_class):
        yield Finding(NOT_MEASURED, subject, name, "one side has other classes, or none")
        return
    values = [
        np.array([x for pair in by_class for c in pair[side].values() for x in (c.pixels, c.psnr, c.ssim)], float)
        for side in (0, 1)
    ]
    off = deviation(*values)
    wrong = int((off > EXACT).sum())
    told = f"{wrong} values differ, by up to {off.max():.2g}; the noise is 0 ({why})" if wrong else why
    yield Finding(DRIFTED if wrong else EQUIVALENT, subject, name, told)


def judges(new: Seeds, old: Seeds, subject: str, needed: Collection[int]) -> Iterator[Finding]:
    """What is found of judges: the same matrices, or nothing, since the noise of their own training is not known."""
    names = sorted({name for run in (*new.values(), *old.values()) for name in run.record.judged or {}})
    if not names:
        return
    title = f"judged by {' and '.join(names)}"
    hashes = [[side[seed].record.judged_hash if seed in side else None for seed in sorted(needed)] for side in (new, old)]
    if None not in hashes[0] and hashes[0] == hashes[1]:
        yield Finding(EQUIVALENT, subject, title, "the same verdicts to the last bit")
    else:
        yield Finding(NOT_MEASURED, subject, title, "the verdicts differ or are missing, and the noise of judges is not known")


def _mean(values: Sequence[float | None]) -> float:
    return math.nan if any(value is None for value in values) else float(np.mean([v for v in values if v is not None]))


def moved(new: float, old: float, score: Score) -> str:
    """By how much a mean has moved, and to which side."""
    if not (math.isfinite(new) and math.isfinite(old)):
        return "the mean is undefined on one side"
    by = new - old
    if abs(by) <= EXACT * max(1.0, abs(old)):
        return f"the mean stays {old:.6g}"
    side = "better" if (by > 0) == score.higher_is_better else "worse"
    if not score.ranked:
        side = "higher" if by > 0 else "lower"
    return f"{side} by {abs(by):.4g} {score.unit}".rstrip() + f" ({old:.6g} to {new:.6g})"
