"""Metrics of sets on half samples: intervals cover, tests keep their level, and methods meet the same halves.

The simulations print what they found: `pytest tests/test_replicates.py -s`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sarbench.bench import replicates
from sarbench.bench.metrics.kid import kid
from sarbench.bench.moments import frechet
from sarbench.bench.replicates import compare_sets, halves, replicated, set_interval
from sarbench.bench.statistics import ALPHA

WIDTH, METRICS = 64, {"fid": frechet, "kid": kid}
LABEL = "{} scenes x {}".format


def ids(n):
    return [f"{i:04d}" for i in range(n)]


def world(rng, scenes: int, patches: int, methods: int = 1):
    """References, and translations of each method that are as far from them as the others': alike within a scene."""
    which, scale = np.repeat(np.arange(scenes), patches), 1 / np.sqrt(1 + np.arange(WIDTH))

    def noise(of_scene: float):
        return of_scene * rng.normal(size=(scenes, WIDTH))[which] + math.sqrt(1 - of_scene**2) * rng.normal(
            size=(len(which), WIDTH)
        )

    reference = noise(0.7)
    return reference * scale, [(0.6 * reference + 0.8 * noise(0.5) + 0.6) * 0.9 * scale for _ in range(methods)]


def measured(metric, drawn, reference, translations):
    """Values and replicates of each method, one seed each."""
    found = [replicated(metric, translated, reference, drawn) for translated in translations]
    values = [np.array([metric(translated, reference)]) for translated in translations]
    return values, [np.array([one.values]) for one in found]


# --- Simulations -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fewer(monkeypatch):
    monkeypatch.setattr(replicates, "REPLICATES", 60)


@pytest.mark.slow  # five hundred sets, each on sixty halves
@pytest.mark.parametrize(("name", "scenes", "patches"), [("kid", 40, 1), ("kid", 10, 5), ("fid", 40, 1), ("fid", 10, 5)])
def test_an_interval_of_95_percent_holds_the_mean_of_such_sets_in_93_to_98_percent(name, scenes, patches, fewer):
    metric, rng, held, times = METRICS[name], np.random.default_rng(0), 0, 500
    drawn = halves(ids(scenes * patches), lambda i: str(int(i) // patches))
    truth = 0.0
    for _ in range(3_000):
        reference, (translated,) = world(rng, scenes, patches)
        truth += metric(translated, reference) / 3_000
    for _ in range(times):
        (value,), (halved,) = measured(metric, drawn, *world(rng, scenes, patches))
        found = set_interval(value, halved, scenes)
        held += found.low <= truth <= found.high
    print(f"\n95 % intervals of {name} that hold its mean: {held} of {times}, {LABEL(scenes, patches)}")
    assert 0.93 <= held / times <= 0.98  # FID's halves say too much, never too little (Efron and Stein, 1981)


@pytest.mark.slow  # two hundred boards of three methods
@pytest.mark.parametrize("name", METRICS)
def test_methods_as_far_from_the_truth_are_told_apart_in_at_most_5_percent_of_boards(name, fewer):
    rng, claims, times = np.random.default_rng(1), 0, 200
    drawn = halves(ids(40), str)
    for _ in range(times):
        found = compare_sets(*measured(METRICS[name], drawn, *world(rng, 40, 1, methods=3)), 40)
        claims += bool(found.beats.any())
    print(f"\nboards of equal methods with a false claim in {name}: {claims} of {times}")
    assert claims / times <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / times)


def test_the_bootstrap_would_push_both_up():
    rng = np.random.default_rng(2)
    reference, (translated,) = world(rng, 40, 1)
    again = [rng.integers(40, size=40) for _ in range(400)]
    redrawn = {name: [metric(translated[k], reference[k]) for k in again] for name, metric in METRICS.items()}
    assert np.mean(redrawn["fid"]) - frechet(translated, reference) > 2 * np.std(redrawn["fid"])
    assert np.mean(redrawn["kid"]) - kid(translated, reference) > 3 * np.std(redrawn["kid"]) / 20  # its standard error


def test_a_difference_that_is_there_is_found():
    rng, drawn = np.random.default_rng(3), halves(ids(40), str)
    reference, (near, alike) = world(rng, 40, 1, methods=2)
    for metric in METRICS.values():
        found = compare_sets(*measured(metric, drawn, reference, [near, alike, near + 1.0]), 40)
        assert found.beats[:, 2].tolist() == [True, True, False]
        assert found.means[2] - found.means[0] < -found.smallest


# --- What is drawn ---------------------------------------------------------------------------------------------------


def test_a_half_holds_whole_scenes_each_once():
    drawn = halves(ids(30), lambda i: str(int(i) // 3))
    for own, other in zip(drawn.translated, drawn.reference, strict=True):
        assert (own == other).all()  # of pairs, the same samples on both sides
        assert len(own) == 15
        assert len(set(own // 3)) == 5


def test_halves_are_the_same_images_in_whatever_order_they_come():
    names = ids(12)
    turned = names[::-1]
    one, two = halves(names, lambda i: str(int(i) // 2)), halves(turned, lambda i: str(int(i) // 2))
    assert one.drawn == two.drawn
    assert [{names[k] for k in own} for own in one.translated] == [{turned[k] for k in own} for own in two.translated]


def test_other_images_or_scenes_are_another_draw():
    drawn = {halves(ids(n), scene).drawn for n in (12, 13) for scene in (str, lambda i: str(int(i) // 3))}
    assert len(drawn) == 4
    assert halves(ids(12), lambda i: None).drawn.startswith("halves-of-images;")
    assert halves(ids(12), str).drawn.startswith("halves-of-scenes;")


def test_references_of_their_own_are_drawn_by_their_own_scenes():
    drawn = halves(ids(12), lambda name: name[-2:], [f"t{i:02d}" for i in range(20)])
    assert {len(own) for own in drawn.translated} == {6}
    assert {len(other) for other in drawn.reference} == {10}
    assert drawn.scenes == 12


def test_fewer_than_four_scenes_have_no_halves():
    assert halves(ids(12), lambda i: str(int(i) % 3)) is None
    assert halves(ids(12), str, ["a", "b", "c"]) is None


def test_a_large_set_has_fewer_halves(monkeypatch):
    monkeypatch.setattr(replicates, "LARGE", 20)
    large, small = halves(ids(20), str), halves(ids(19), str)
    assert (len(large.translated), len(small.translated)) == (replicates.OF_LARGE, replicates.REPLICATES)
    assert large.drawn.startswith(f"halves-of-scenes;{replicates.OF_LARGE};")


def test_a_metric_that_is_undefined_on_a_half_has_no_replicates():
    features = np.random.default_rng(0).normal(size=(4, 2))
    assert replicated(lambda x, y: math.nan, features, features, halves(ids(4), str)) is None


# --- What they say ---------------------------------------------------------------------------------------------------


def test_halves_of_a_mean_spread_as_the_mean_does():
    x = np.random.default_rng(4).normal(size=(31, 1))  # odd: 15 of 31 are drawn
    drawn = halves(ids(31), str)
    found = replicated(lambda a, b: float(a.mean()), x, x, drawn)
    halved = set_interval(np.array([x.mean()]), np.array([found.values]), 31)
    deviation = x.std(ddof=1) / math.sqrt(31)
    assert (halved.high - halved.low) / 2 == pytest.approx(2.06 * deviation, rel=0.15)


def test_several_trainings_widen_the_interval_and_lucky_ones_win_nothing():
    rng = np.random.default_rng(5)
    halved = [5 + rng.normal(0, 0.1, (1, 100)) for _ in "ab"]
    one = set_interval(np.array([5.0]), halved[0], 40)
    three = set_interval(np.array([4.0, 5.0, 6.0]), np.repeat(halved[0], 3, axis=0), 40)
    assert three.high - three.low > 5 * (one.high - one.low)
    assert compare_sets([np.array([5.0]), np.array([6.0])], halved, 40).beats[0, 1]
    threes = [np.repeat(of, 3, axis=0) for of in halved]
    assert not compare_sets([np.array([4.0, 5.0, 6.0]), np.array([5.0, 6.0, 7.0])], threes, 40).beats.any()


def test_one_method_and_equal_methods_are_not_told_apart():
    halved = np.random.default_rng(6).normal(size=(1, 50))
    alone = compare_sets([np.array([1.0])], [halved], 9)
    assert (alone.p.tolist(), math.isinf(alone.smallest)) == ([[1.0]], True)
    assert not compare_sets([np.array([1.0])] * 2, [halved] * 2, 9).beats.any()
