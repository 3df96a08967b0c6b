"""The gate's test of trainings: how often it alarms, what it misses, and what it calls equivalent, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sarbench.bench.equivalence import REPEATABILITY, Shift, shift_of
from sarbench.bench.errors import ContractError

SIMULATIONS = 1_000


def simulated(old_runs: int, new_runs: int, by: float = 0.0, noise: float = 0.2, margin: float | None = None) -> list[Shift]:
    """Trainings of 20 dB and some noise, the new ones shifted."""
    rng = np.random.default_rng(old_runs * 100 + new_runs)
    draws = 20 + noise * rng.standard_normal((SIMULATIONS, old_runs + new_runs))
    draws[:, old_runs:] += by
    return [shift_of(row[:old_runs].tolist(), row[old_runs:].tolist(), margin) for row in draws]


def share(found: list[bool]) -> float:
    return float(np.mean(found))


@pytest.mark.parametrize(("old_runs", "new_runs"), [(3, 1), (5, 1), (5, 3), (10, 5)])
def test_an_unchanged_method_alarms_in_five_of_a_hundred_cases(old_runs: int, new_runs: int) -> None:
    assert share([shift.p < 0.05 for shift in simulated(old_runs, new_runs)]) == pytest.approx(0.05, abs=0.02)


def test_two_runs_of_one_code_differ_by_less_than_the_repeatability_in_95_cases_of_100() -> None:
    assert pytest.approx(2.772, abs=1e-3) == REPEATABILITY
    pairs = np.random.default_rng(0).standard_normal((20_000, 2))
    assert share((np.abs(np.diff(pairs)) < REPEATABILITY).tolist()) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("margin", [None, 0.5])
@pytest.mark.parametrize("new_runs", [1, 3, 10])
def test_a_drift_of_the_margin_is_called_equivalent_in_at_most_five_of_a_hundred_cases(
    new_runs: int, margin: float | None
) -> None:
    by = REPEATABILITY * 0.2 if margin is None else margin
    assert share([shift.equivalent for shift in simulated(5, new_runs, by, margin=margin)]) <= 0.07


def test_the_seeds_that_are_asked_for_suffice() -> None:
    for margin in (None, 0.8):
        (needed,) = {shift.seeds_needed for shift in simulated(8, 1, noise=0.2)[:1]}
        assert needed is not None
        found = simulated(8, needed, margin=margin)
        assert share([shift.equivalent for shift in found]) >= 0.75


def test_a_margin_below_the_noise_is_never_called_equivalent_by_one_run() -> None:
    assert share([shift.equivalent for shift in simulated(5, 1, margin=0.1)]) == 0


def test_what_is_too_noisy_for_any_number_of_seeds_says_so() -> None:
    assert shift_of([20.0, 20.4, 19.6], [20.0], margin=0.01).seeds_needed is None


def test_the_difference_and_its_error_by_hand() -> None:
    shift = shift_of([1.0, 2.0, 3.0], [5.0, 7.0])
    assert shift.difference == 4
    assert shift.noise == 1
    assert shift.error == pytest.approx((1 / 3 + 1 / 2) ** 0.5)
    assert shift.p == pytest.approx(2 * stats.t.sf(4 / shift.error, 2))


def test_a_new_code_that_is_erratic_can_not_hide_a_drift_behind_its_own_spread() -> None:
    steady, erratic = [15.0, 15.0, 15.0], [5.0, 15.0, 25.0]
    old = [19.9, 20.0, 20.1, 20.0]
    assert shift_of(old, erratic).p == shift_of(old, steady).p < 0.001


@pytest.mark.parametrize(
    ("old", "new", "margin", "words"),
    [
        ([1.0, 2.0], [1.0], None, "2 runs of the old code"),
        ([1.0, 2.0, 3.0], [], None, "0 of the new"),
        ([1.0, 2.0, float("nan")], [1.0], None, "not finite"),
        ([1.0, 2.0, 3.0], [1.0], 0.0, "above 0"),
        ([1.0, 1.0, 1.0], [1.0], None, "do not differ"),
    ],
)
def test_what_says_nothing_is_refused(old: list[float], new: list[float], margin: float | None, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        shift_of(old, new, margin)
