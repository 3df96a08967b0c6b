"""Intervals cover, tests keep their level, groups follow from tests.

The simulations print what they found: `pytest tests/test_statistics.py tests/test_replicates.py -s`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sarbench.bench import statistics
from sarbench.bench.errors import ContractError
from sarbench.bench.statistics import ALPHA, Comparison, compare, holm, interval, sign_flip

SIMULATIONS = 1_000


def board(rng, *, scenes: int, patches: int, seeds: int, spread: tuple[float, float, float], skewed: bool = False):
    """Scores of one method: seeds x samples, of true mean 0, with the spread of scenes, of patches, of trainings."""
    of_scene, of_patch, of_seed = spread
    which = np.repeat(np.arange(scenes), patches)
    scene = rng.exponential(size=scenes) - 1 if skewed else rng.normal(size=scenes)
    table = of_scene * scene[which] + of_seed * rng.normal(size=(seeds, 1)) + of_patch * rng.normal(size=(seeds, len(which)))
    return table, which


# --- Intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # a thousand boards of six hundred draws
@pytest.mark.parametrize(
    "design",
    [
        {"scenes": 48, "patches": 1, "seeds": 1, "spread": (1.0, 0.2, 0.0)},
        {"scenes": 48, "patches": 1, "seeds": 1, "spread": (1.0, 0.2, 0.0), "skewed": True},
        {"scenes": 12, "patches": 6, "seeds": 1, "spread": (1.0, 0.5, 0.0)},
        {"scenes": 12, "patches": 6, "seeds": 1, "spread": (0.0, 1.0, 0.0)},
        {"scenes": 8, "patches": 20, "seeds": 1, "spread": (1.0, 1.0, 0.0)},
        {"scenes": 48, "patches": 2, "seeds": 3, "spread": (1.0, 0.2, 0.3)},
        {"scenes": 30, "patches": 2, "seeds": 5, "spread": (0.3, 0.2, 1.0)},
    ],
    ids=lambda d: f"{d['scenes']}x{d['patches']}, {d['seeds']} seeds{', skewed' if d.get('skewed') else ''}",
)
def test_an_interval_of_95_percent_holds_the_truth_in_93_to_97_percent_of_simulated_boards(design):
    rng, held = np.random.default_rng(0), 0
    for _ in range(SIMULATIONS):
        table, scenes = board(rng, **design)
        found = interval(table, scenes, resamples=600)
        held += found.low <= 0.0 <= found.high
    print(f"\n95 % intervals that hold the truth: {held} of {SIMULATIONS}, {design}")
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_patches_of_one_scene_make_no_interval_narrower():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1, 20))
    once, scenes = interval(values, np.arange(20)), np.repeat(np.arange(20), 50)
    often = interval(np.repeat(values, 50, axis=1), scenes)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)
    naive = interval(np.repeat(values, 50, axis=1), np.arange(1_000))
    assert naive.high - naive.low < 0.2 * (once.high - once.low)


def test_an_interval_is_that_of_student_on_normal_scores():
    values = np.random.default_rng(2).normal(size=(1, 10))
    found = interval(values, np.arange(10), resamples=100_000)
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / math.sqrt(10)
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


def test_an_interval_is_the_same_on_every_call_and_for_any_names_of_scenes():
    values = np.random.default_rng(3).normal(size=(2, 12))
    scenes = np.repeat(np.arange(4), 3)
    assert interval(values, scenes) == interval(values, scenes) == interval(values, np.array(list("abcd"))[scenes])


def test_one_scene_has_no_interval_and_equal_scores_have_none_to_speak_of():
    assert math.isnan(interval(np.ones((1, 5)), np.zeros(5)).low)
    found = interval(np.ones((3, 5)), np.arange(5))
    assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(value):
    with pytest.raises(ContractError, match="undefined or infinite"):
        interval(np.array([[1.0, value]]), np.arange(2))


# --- Tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenes", [5, 12, 16, 30])
def test_flipped_signs_give_the_p_values_of_scipy(scenes):
    rng = np.random.default_rng(5)
    differences = rng.normal(0.3, 1, (4, scenes))
    ours = sign_flip(differences)
    drawn = {"n_resamples": 20_000, "random_state": np.random.default_rng(6)}  # all 2^n of 5 and 12 scenes
    for row, p in zip(differences, ours, strict=True):
        theirs = stats.permutation_test((row,), np.sum, permutation_type="samples", vectorized=True, **drawn).pvalue
        assert p == pytest.approx(theirs, abs=1e-12 if scenes <= 12 else 0.03)


def test_four_scenes_that_agree_are_one_chance_in_eight():
    assert sign_flip(np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])).tolist() == [1 / 8, 1.0]


def test_holm_is_worked_by_hand():
    # sorted .01 .02 .03 .04 -> times 4, 3, 2, 1 -> .04 .06 .06 .04, never falling -> .04 .06 .06 .06
    assert holm([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


@pytest.mark.slow  # a thousand boards of fifteen tests
@pytest.mark.parametrize("seeds", [1, 3])
def test_methods_that_are_alike_are_told_apart_in_at_most_5_percent_of_boards(seeds, monkeypatch):
    """Under the null: six methods of one true mean, on common scenes; any significant pair is a false claim."""
    monkeypatch.setattr(statistics, "FLIPS", 1_999)
    rng, claims = np.random.default_rng(6), 0
    for _ in range(SIMULATIONS):
        common, scenes = board(rng, scenes=12, patches=2, seeds=1, spread=(2.0, 0.0, 0.0))
        own = {"scenes": 12, "patches": 2, "seeds": seeds, "spread": (0.5, 0.2, 0.3 * (seeds > 1))}
        tables = [common + board(rng, **own)[0] for _ in "abcdef"]
        claims += bool(compare(tables, scenes).beats.any())
    print(f"\nboards of equal methods with a false claim: {claims} of {SIMULATIONS}, {seeds} seeds")
    assert claims / SIMULATIONS <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / SIMULATIONS)


def test_a_single_test_keeps_its_level_and_does_not_waste_it():
    rng = np.random.default_rng(7)
    p = sign_flip(rng.normal(size=(SIMULATIONS, 14)))
    print(f"\nsingle tests of equal methods with a false claim: {(p < ALPHA).sum()} of {SIMULATIONS}")
    assert (p < ALPHA).mean() == pytest.approx(ALPHA, abs=0.02)


def test_a_difference_that_is_there_is_found_at_the_size_that_the_board_claims_to_see(monkeypatch):
    monkeypatch.setattr(statistics, "FLIPS", 1_999)
    rng, found, claimed = np.random.default_rng(8), 0, []
    for _ in range(200):
        tables = [rng.normal(0, 1, (1, 40)) for _ in "ab"]
        claimed.append(compare(tables, np.arange(40)).smallest)
        found += bool(compare([tables[0] + np.mean(claimed), tables[1]], np.arange(40)).beats.any())
    print(f"\ndifferences of the size that the board claims to see, found: {found} of 200")
    assert found / 200 == pytest.approx(statistics.POWER, abs=0.08)


def test_one_lucky_training_is_no_better_method():
    scenes = np.arange(40)
    lucky = np.random.default_rng(9).normal(size=(1, 40)) + np.array([[1.0], [-1.0], [0.9]])
    other = np.random.default_rng(9).normal(size=(1, 40)) + np.array([[-0.8], [0.7], [-0.9]])
    assert compare([lucky[:1], other[:1]], scenes).beats.any()
    assert not compare([lucky, other], scenes).beats.any()


def test_the_top_group_holds_who_is_beaten_by_nobody_and_ranks_say_what_is_open():
    means, p = np.array([3.0, 2.9, 1.0]), np.array([[1.0, 0.4, 0.01], [0.4, 1.0, 0.02], [0.01, 0.02, 1.0]])
    found = Comparison(means, p, 0.1)
    assert found.top.tolist() == [True, True, False]
    assert found.ranks == [(1, 2), (1, 2), (3, 3)]


def test_a_lower_score_is_better_where_the_metric_says_so():
    rng, scenes = np.random.default_rng(10), np.arange(30)
    tables = [rng.normal(mean, 0.1, (1, 30)) for mean in (0.2, 0.5)]
    assert compare(tables, scenes, higher_is_better=False).top.tolist() == [True, False]
    assert compare(tables, scenes).top.tolist() == [False, True]


def test_one_scene_tells_nothing_apart():
    found = compare([np.full((1, 9), 1.0), np.full((1, 9), 2.0)], np.zeros(9))
    assert found.top.all()
    assert math.isinf(found.smallest)


def test_too_few_scenes_for_so_many_methods_see_no_difference_however_large():
    scenes = np.arange(6)  # signs of six scenes: p of 1/32 at least
    far = [np.full((1, 6), 10.0 * i) + np.random.default_rng(i).normal(size=(1, 6)) for i in range(3)]
    assert compare(far[:2], scenes).beats.any()
    assert math.isfinite(compare(far[:2], scenes).smallest)
    assert not compare(far, scenes).beats.any()  # three pairs: 3/32 after Holm's correction
    assert math.isinf(compare(far, scenes).smallest)
