"""Which differences are real: intervals by bootstrap, paired tests, rank groups.

A score of a method is a table: one row a seed (a training), one column a test sample; samples belong to scenes. Patches of
one scene are alike, so scenes are what is drawn, as whole blocks: drawing patches within the drawn scenes too would count the
spread within scenes twice (Davison and Hinkley, Bootstrap Methods and their Application, 1997, Sec. 3.8; Field and Welsh,
J. R. Statist. Soc. B 69(3), 2007). Seeds are drawn across, apart from scenes (Owen, Ann. Appl. Stat. 1(2), 2007). With one
seed nothing can be said of other trainings, and everything holds for the trained weights alone.

Two methods are compared scene by scene on the same samples. All tests are two-sided and give p-values; `holm` adjusts those
of one board and metric, so that the chance of any false claim among them is at most ALPHA.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import stats

from sarbench.bench.errors import ContractError

ALPHA = 0.05
LEVEL = 1 - ALPHA
POWER = 0.8  # with which a board sees its smallest difference
RESAMPLES = 2_000  # of an interval
FLIPS = 99_999  # of a test where all flips are too many; so many that a p-value can survive the correction of 1,000 pairs
FLIPS_AT_ONCE = 5_000
EXACT_SCENES = 16  # up to so many, all flips are tried

Table = Float[np.ndarray, "seeds samples"]
Scenes = Shaped[np.ndarray, " samples"]  # the scene of each sample: any labels


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies with probability LEVEL, over other scenes and, given several seeds, other trainings."""

    mean: float
    low: float  # NaN, as `high`, where there is but one scene
    high: float


# --- Intervals -------------------------------------------------------------------------------------------------------


def interval(table: Table, scenes: Scenes, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The interval of the mean over all samples and seeds, by bootstrap of scenes and of seeds.

    The percentiles are widened from the normal to Student's t, with the degrees of freedom that scenes and seeds give
    together, and deviations by n / (n - 1) (Hesterberg, The American Statistician 69(4), 2015; Satterthwaite, 1946): a few
    scenes, or three seeds, say less than percentiles claim. ContractError for a value that is not finite.
    """
    totals, counts = _by_scene(table, scenes)
    mean = float(totals.sum() / (counts.sum() * len(table)))
    rng = np.random.default_rng(seed)
    drawn = _draws(rng, len(counts), resamples)
    parts = [((drawn @ totals.mean(0)) / (drawn @ counts) - mean, len(counts))]
    if len(table) > 1:
        parts.append((_draws(rng, len(table), resamples) @ (totals.sum(1) / counts.sum()) / len(table) - mean, len(table)))
    if len(counts) < 2:
        return Interval(mean, math.nan, math.nan)
    return _widened(mean, parts, level)


def _by_scene(table: Table, scenes: Scenes) -> tuple[Float[np.ndarray, "seeds scenes"], Float[np.ndarray, " scenes"]]:
    """Sums of a table over the samples of each scene, and the number of samples."""
    if table.ndim != 2 or table.shape[1] != len(scenes) or not table.size:
        raise ContractError(f"a table of seeds x samples and a scene for each sample, got {table.shape} and {len(scenes)}")
    if not np.isfinite(table).all():
        raise ContractError("a score is undefined or infinite for a sample; there is no interval and no test of such a metric")
    _, which = np.unique(scenes, return_inverse=True)
    counts = np.bincount(which).astype(float)
    return np.stack([np.bincount(which, weights=row, minlength=len(counts)) for row in table]), counts


def _draws(rng: np.random.Generator, n: int, resamples: int) -> Float[np.ndarray, "resamples n"]:
    """How often each of n is drawn."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


def _widened(mean: float, parts: Sequence[tuple[np.ndarray, int]], level: float) -> Interval:
    """The interval of a sum of independent deviations, each by drawing from so many."""
    scaled = [deviations * math.sqrt(n / (n - 1)) for deviations, n in parts]
    variances = [float(deviations.var()) for deviations in scaled]
    if not sum(variances):
        return Interval(mean, mean, mean)
    freedom = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, (_, n) in zip(variances, parts, strict=True))
    tail = (1 - level) / 2
    wider = float(stats.t.ppf(1 - tail, freedom) / stats.norm.ppf(1 - tail))
    low, high = np.quantile(sum(scaled), [tail, 1 - tail])
    return Interval(mean, mean + wider * float(low), mean + wider * float(high))


# --- Tests -----------------------------------------------------------------------------------------------------------


def sign_flip(differences: Float[np.ndarray, "tests scenes"], *, seed: int = 0) -> Float[np.ndarray, " tests"]:
    """p-values of the hypothesis that each row is symmetric around 0, by flipping the signs of its scenes (Fisher, 1935).

    The statistic is the row's sum. Exact up to EXACT_SCENES scenes; beyond, FLIPS random flips, counted with the observed one.
    """
    tests, scenes = differences.shape
    observed = np.abs(differences.sum(1))
    enough = observed - 1e-12 * np.abs(differences).sum(1)  # a tie is a tie, whatever the order of summation
    if scenes <= EXACT_SCENES:
        every = np.arange(2 ** max(scenes - 1, 0))  # the first scene's sign is free: a flip of all changes no size
        signs = 1.0 - 2.0 * (every[:, None] >> np.arange(max(scenes - 1, 0)) & 1)
        sums = np.abs(differences[:, :1] + differences[:, 1:] @ signs.T)
        return (sums >= enough[:, None]).mean(1)
    rng, beyond = np.random.default_rng(seed), np.ones(tests)
    for start in range(0, FLIPS, FLIPS_AT_ONCE):
        signs = rng.integers(0, 2, (scenes, min(FLIPS_AT_ONCE, FLIPS - start))) * 2.0 - 1.0
        beyond += (np.abs(differences @ signs) >= enough[:, None]).sum(1)
    return beyond / (FLIPS + 1)


def holm(p: Iterable[float]) -> Float[np.ndarray, " tests"]:
    """Adjusted p-values: that any claim of `adjusted < ALPHA` is false has at most the probability ALPHA (Holm, 1979)."""
    values = np.asarray(list(p), float)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted


@dataclass(frozen=True)
class Comparison:
    """All methods of a board in one metric, each against each."""

    means: Float[np.ndarray, " n"]  # higher is better here, whatever the metric
    p: Float[np.ndarray, "n n"]  # adjusted; 1 on the diagonal
    smallest: float  # the difference that this board would see with probability POWER; inf where it can see none at all

    @property
    def beats(self) -> Bool[np.ndarray, "n n"]:
        """[i, j]: i is better than j, significantly."""
        return np.logical_and(self.p < ALPHA, self.means[:, None] > self.means[None, :])

    @property
    def top(self) -> Bool[np.ndarray, " n"]:
        """The top group: who is beaten by nobody."""
        return np.logical_not(self.beats.any(0))

    @property
    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst rank of each that the tests leave open, from 1."""
        beats = self.beats
        return [(1 + int(beats[:, i].sum()), len(beats) - int(beats[i].sum())) for i in range(len(beats))]


def compare(tables: Sequence[Table], scenes: Scenes, *, higher_is_better: bool = True, seed: int = 0) -> Comparison:
    """Test each method against each, on the same samples.

    Two methods differ if they do over scenes, by the signs of the differences of scenes, and, where both have several seeds,
    over trainings too, by Welch's t-test of the means of seeds: the larger p-value counts.
    """
    sign = 1.0 if higher_is_better else -1.0
    sums = [_by_scene(sign * table, scenes) for table in tables]
    means = np.array([totals.sum() / (counts.sum() * len(totals)) for totals, counts in sums])
    n, pairs = len(tables), list(combinations(range(len(tables)), 2))
    p = np.ones((n, n))
    if not pairs or len(sums[0][1]) < 2:
        return Comparison(means, p, math.inf)
    differences = np.stack([sums[i][0].mean(0) - sums[j][0].mean(0) for i, j in pairs])
    raw = sign_flip(differences, seed=seed)
    trainings = [totals.sum(1) / counts.sum() for totals, counts in sums]
    for at, (i, j) in enumerate(pairs):
        if min(len(trainings[i]), len(trainings[j])) > 1:
            raw[at] = max(raw[at], welch(trainings[i], trainings[j]))
    for (i, j), adjusted in zip(pairs, holm(raw), strict=True):
        p[i, j] = p[j, i] = adjusted
    return Comparison(means, p, _smallest(differences, sums[0][1], trainings, pairs))


def welch(a: np.ndarray, b: np.ndarray) -> float:
    """The p-value of equal means of two sets of trainings, whose spreads may differ (Welch, 1947)."""
    if not a.var() + b.var():
        return 0.0 if a.mean() != b.mean() else 1.0
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def _smallest(
    differences: Float[np.ndarray, "pairs scenes"],
    counts: Float[np.ndarray, " scenes"],
    trainings: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
) -> float:
    """Of the typical pair: by how much means must differ to be told apart after the first step of Holm's correction."""
    scenes = len(counts)
    if 2.0 ** (1 - scenes) * len(pairs) >= ALPHA:  # the least p-value that flipped signs can give, after Holm's first step
        return math.inf
    centred = differences - differences.sum(1, keepdims=True) / counts.sum() * counts
    variance = scenes / (scenes - 1) * (centred**2).sum(1) / counts.sum() ** 2
    for at, (i, j) in enumerate(pairs):
        if min(len(trainings[i]), len(trainings[j])) > 1:
            variance[at] += sum(trainings[k].var(ddof=1) / len(trainings[k]) for k in (i, j))
    need = stats.t.ppf(1 - ALPHA / (2 * len(pairs)), scenes - 1) + stats.norm.ppf(POWER)
    return float(need * np.median(np.sqrt(variance)))
