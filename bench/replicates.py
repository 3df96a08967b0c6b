"""Metrics of sets on halves of the scenes: how far a Fréchet or a kernel distance would move on others, and paired tests.

A metric of sets has no row an image that could be averaged or drawn again from a record. A record keeps in their place what
the metric gives on half samples: random halves of the scenes, each with all its images, none twice. All methods of a board
are measured on the same halves, so that differences of two methods are tested on them, and no network runs again.

Why not the bootstrap: a set drawn with repetition holds about 63 % of the images, many twice. KID then averages its kernel
over an image and itself, and FID's covariances lose rank: both rise, FID by far more than it varies. A half is a smaller set
of the same kind, and for a smooth statistic it spreads as the whole does: S^2 / m (1 - m / n), which is S^2 / n for m = n / 2
(Shao and Wu, Annals of Statistics 17(3), 1989; Politis and Romano, Annals of Statistics 22(4), 1994). FID of fewer images is
larger (Chong and Forsyth, CVPR 2020): only deviations from the halves' own mean count, laid around the value of all images.
What is not smooth in a statistic makes this too wide, never too narrow (Efron and Stein, Annals of Statistics 9(3), 1981):
by a quarter of FID's variance in simulations, so that 95 % intervals of FID hold 97 %. An interval is of what sets of this
size give on average, never of FID for infinitely many images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int64
from scipy import stats

from sarbench.bench.statistics import ALPHA, LEVEL, POWER, Comparison, Interval, holm, welch
from sarbench.bench.storage import value_digest

REPLICATES = 200  # the spread is then known to 5 %
LARGE, OF_LARGE = 4_000, 50  # images from which a Fréchet distance takes seconds, and how many halves such a set has
LEAST_SCENES = 4  # on a side, below which halves say nothing
DIGITS = 7  # of a replicate, as a record keeps it
SCENES, IMAGES = "halves-of-scenes", "halves-of-images"  # how a draw is called; images where scenes are not known

Statistic = Callable[[Float[np.ndarray, "n D"], Float[np.ndarray, "m D"]], float]


@dataclass(frozen=True)
class Replicated:
    """A metric of sets on half samples."""

    drawn: str  # the rule, and the hash of all images and scenes: values of one `drawn` are of the same halves
    scenes: int  # from which halves were drawn; of two sides the fewer
    values: tuple[float, ...]


@dataclass(frozen=True)
class Halves:
    """Which images each half holds."""

    drawn: str
    scenes: int
    translated: tuple[Int64[np.ndarray, " n"], ...]
    reference: tuple[Int64[np.ndarray, " m"], ...]


def halves(ids: Sequence[str], scene_of: Callable[[str], str | None], references: Sequence[str] | None = None) -> Halves | None:
    """The half samples of a test split, the same for every method; None below LEAST_SCENES scenes.

    `references`: the ids of the other side, in its order, where it is a set of its own; None: row i of both sides is of one
    sample. Where a scene is unknown, each image is taken for one.
    """
    sides = [list(ids)] if references is None else [list(ids), list(references)]
    labels = [[scene_of(name) or "" for name in side] for side in sides]
    known = all(all(side) for side in labels)
    labels = labels if known else sides
    found = [_rows_by_scene(side, of) for side, of in zip(sides, labels, strict=True)]
    if min(map(len, found)) < LEAST_SCENES:
        return None
    rng = np.random.Generator(np.random.PCG64(0))
    count = REPLICATES if max(map(len, sides)) < LARGE else min(OF_LARGE, REPLICATES)
    draws = [[_half(rng, rows) for rows in found] for _ in range(count)]
    content = value_digest([sorted(zip(side, of, strict=True)) for side, of in zip(sides, labels, strict=True)])
    drawn = f"{SCENES if known else IMAGES};{count};v1;{content[:16]}"
    return Halves(drawn, min(map(len, found)), tuple(draw[0] for draw in draws), tuple(draw[-1] for draw in draws))


def _rows_by_scene(ids: Sequence[str], scenes: Sequence[str]) -> list[list[int]]:
    """The rows of each scene, both in sorted order: what is drawn does not depend on the order of the files."""
    rows: dict[str, list[int]] = {scene: [] for scene in sorted(set(scenes))}
    for row in sorted(range(len(ids)), key=lambda row: ids[row]):
        rows[scenes[row]].append(row)
    return list(rows.values())


def _half(rng: np.random.Generator, rows: Sequence[Sequence[int]]) -> Int64[np.ndarray, " n"]:
    chosen = np.sort(rng.permutation(len(rows))[: len(rows) // 2])
    return np.array([row for scene in chosen for row in rows[scene]], np.int64)


def replicated(
    statistic: Statistic, translated: Float[np.ndarray, "n D"], reference: Float[np.ndarray, "m D"], drawn: Halves
) -> Replicated | None:
    """The metric on each half; None where it is undefined on one of them."""
    values = [
        float(statistic(translated[own], reference[other]))
        for own, other in zip(drawn.translated, drawn.reference, strict=True)
    ]
    if not np.isfinite(values).all():
        return None
    return Replicated(drawn.drawn, drawn.scenes, tuple(float(f"{value:.{DIGITS}g}") for value in values))


# --- What they say ---------------------------------------------------------------------------------------------------


def set_interval(
    values: Float[np.ndarray, " seeds"], replicates: Float[np.ndarray, "seeds R"], scenes: int, *, level: float = LEVEL
) -> Interval:
    """The interval of the mean over seeds, over other scenes and, given several seeds, other trainings.

    That of Student's t: freedom comes from the scenes, the number of replicates and the seeds (Satterthwaite, 1946).
    """
    mean = float(values.mean())
    parts = [_spread(replicates.mean(0), scenes)]
    if len(values) > 1:
        parts.append((float(values.var(ddof=1)) / len(values), len(values) - 1.0))
    variance = sum(part for part, _ in parts)
    if not variance:
        return Interval(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    half = float(stats.t.ppf(1 - (1 - level) / 2, freedom)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def compare_sets(
    values: Sequence[Float[np.ndarray, " seeds"]],
    replicates: Sequence[Float[np.ndarray, "seeds R"]],
    scenes: int,
    *,
    higher_is_better: bool = False,
) -> Comparison:
    """Test each method against each, on the same halves: their difference against its own spread over halves.

    Student's t, two-sided, with Holm's correction; where both have several seeds, Welch's test over trainings too, and the
    larger p-value counts.
    """
    sign = 1.0 if higher_is_better else -1.0
    means = np.array([sign * of.mean() for of in values])
    n, pairs = len(values), list(combinations(range(len(values)), 2))
    p = np.ones((n, n))
    if not pairs:
        return Comparison(means, p, math.inf)
    raw, variances, freedom = [], [], 1.0
    for i, j in pairs:
        variance, freedom = _spread(replicates[i].mean(0) - replicates[j].mean(0), scenes)
        apart = abs(means[i] - means[j])
        raw.append(float(2 * stats.t.sf(apart / math.sqrt(variance), freedom)) if variance else float(not apart))
        if min(len(values[i]), len(values[j])) > 1:
            raw[-1] = max(raw[-1], welch(values[i], values[j]))
            variance += sum(float(values[k].var(ddof=1)) / len(values[k]) for k in (i, j))
        variances.append(variance)
    for (i, j), adjusted in zip(pairs, holm(raw), strict=True):
        p[i, j] = p[j, i] = adjusted
    need = float(stats.t.ppf(1 - ALPHA / (2 * len(pairs)), freedom) + stats.norm.ppf(POWER))
    return Comparison(means, p, need * math.sqrt(float(np.median(variances))))


def _spread(replicates: Float[np.ndarray, " R"], scenes: int) -> tuple[float, float]:
    """The variance of a statistic of all scenes by that of halves, and its degrees of freedom."""
    drawn = scenes // 2
    variance = float(replicates.var(ddof=1)) * drawn / (scenes - drawn)  # of m of n without repetition: 1 / m - 1 / n
    return variance, 1 / (1 / (scenes - 1) + 1 / (len(replicates) - 1))
