"""Two sets of trainings of one method: are their means the same, do they differ, or can't that be told?

The old code was trained under several seeds; the spread of these trainings is the noise. A new set of trainings drifted
if its mean lies further from the old one's than re-seeding explains (a t-test in which the noise alone is the yardstick, so
that new code can't excuse itself by being erratic). It is equivalent only if a shift of the margin would have been seen.
The margin follows from the noise: the repeatability limit of ISO 5725-6, the difference that two single trainings of
one code keep within in 95 of 100 cases. Of neither, nothing is known: too noisy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from sarbench.bench.errors import ContractError
from sarbench.bench.statistics import ALPHA, POWER

ALARMS = 0.025  # of comparisons in which nothing has changed, at most: of 200, 10 or fewer with a probability of 98 %
REPEATABILITY = float(stats.norm.ppf(0.975) * math.sqrt(2))  # noises: ISO 5725-6:1994, section 4.1.4
LEAST_RUNS = 3  # of the old code: a spread of two says nothing
MOST_SEEDS = 100  # beyond which nobody is told to run so many


@dataclass(frozen=True)
class Shift:
    """One score of one method, by the seeds of the old code and of the new."""

    old: float  # mean
    new: float
    noise: float  # standard deviation of one training of the old code under another seed; above 0
    old_runs: int
    new_runs: int
    margin: float  # the shift that must not go unseen, in the score's unit
    stated: bool = False  # was the margin given in numbers, and not taken from the noise?

    @property
    def difference(self) -> float:
        """New minus old."""
        return self.new - self.old

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the noise."""
        return self.old_runs - 1

    @property
    def error(self) -> float:
        """The standard error of the difference, if the new code is the old one."""
        return self.noise * math.sqrt(1 / self.old_runs + 1 / self.new_runs)

    @property
    def p(self) -> float:
        """Of a difference of this size or more, if the new code is the old one; of this score alone."""
        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.freedom))

    @property
    def equivalent(self) -> bool:
        """Is a shift of the margin or more ruled out, with an error of at most ALPHA?"""
        return abs(self.difference) < self.error * _reach(self.old_runs, self.new_runs, self._stated_margin)

    @property
    def seeds_needed(self) -> int | None:
        """Seeds of the new code with which an unchanged one is called equivalent with probability POWER; None: too many."""
        return _seeds_needed(self.old_runs, self._stated_margin)

    @property
    def _stated_margin(self) -> float | None:
        """In noises; None: it is taken from the noise itself."""
        return self.margin / self.noise if self.stated else None


@lru_cache(maxsize=4096)
def _reach(old_runs: int, new_runs: int, margin: float | None) -> float:
    """Below how many standard errors a difference is equivalent; 0 or less: with so few runs none is.

    A margin in noises, which are estimated, makes the statistic a noncentral t: the exact test is by its square
    (Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority, 2010, section 6.1). A stated margin takes
    two one-sided t-tests (Schuirmann, J. Pharmacokinet. Biopharm. 15(6), 1987).
    """
    size = math.sqrt(1 / old_runs + 1 / new_runs)
    if margin is not None:
        return float(margin / size - stats.t.ppf(1 - ALPHA, old_runs - 1))
    return math.sqrt(float(stats.ncf.ppf(ALPHA, 1, old_runs - 1, (REPEATABILITY / size) ** 2)))


@lru_cache(maxsize=4096)
def _seeds_needed(old_runs: int, margin: float | None) -> int | None:
    for new_runs in range(1, MOST_SEEDS + 1):
        if 1 - 2 * stats.t.sf(max(0.0, _reach(old_runs, new_runs, margin)), old_runs - 1) >= POWER:
            return new_runs
    return None


def shift_of(old: Sequence[float], new: Sequence[float], margin: float | None = None) -> Shift:
    """The shift of a score from runs of the old code to runs of the new, one value a seed.

    `margin` in the score's unit; None: from the noise. ContractError for fewer than LEAST_RUNS of the old code or none of
    the new, for values that are not finite, for a margin that is not above 0, and where the old runs do not differ at all.
    """
    if len(old) < LEAST_RUNS or not new:
        raise ContractError(f"{len(old)} runs of the old code and {len(new)} of the new; {LEAST_RUNS} and 1 are the least")
    if not np.isfinite([*old, *new]).all():
        raise ContractError("a score is not finite; nothing can be said of its drift")
    if margin is not None and not margin > 0:
        raise ContractError(f"a margin of {margin} asks for equality; give a number above 0")
    noise = float(np.std(old, ddof=1))
    if noise <= 0:
        raise ContractError("the runs of the old code do not differ: they are compared to the last digit, not by their noise")
    chosen = REPEATABILITY * noise if margin is None else margin
    return Shift(float(np.mean(old)), float(np.mean(new)), noise, len(old), len(new), chosen, margin is not None)
