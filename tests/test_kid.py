import math

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from sarbench.bench import moments, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.metrics import _inception as inception
from sarbench.bench.metrics import kid as subject
from sarbench.bench.metrics.kid import as_clean_fid, as_torch_fidelity, compat, kid, metric


def features(n, seed=0, width=16, shift=0.0):
    return np.abs(np.random.default_rng(seed).standard_normal((n, width)) + shift)


def in_loops(x, y):
    """The definition, pair by pair."""

    def k(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    def within(z):
        return np.mean([k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j])

    return within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])


def test_two_sets_of_one_feature_score_the_formula_by_hand():
    # k(0, 1) = 1; k(2, 3) = 343; across: k(0, .) = 1 twice, k(1, 2) = 27, k(1, 3) = 64
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert kid(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4, rel=1e-14)
    assert metric.statistic(x, y) == kid(x, y)


def test_the_kernel_divides_by_the_number_of_features():
    # x.y / 2 + 1 of (1, 1) and (1, 1) is 2; of (1, 1) and (3, 1) it is 3; of (3, 1) and (3, 1) it is 6
    x, y = np.ones((2, 2)), np.array([[3.0, 1.0], [3.0, 1.0]])
    assert kid(x, y) == pytest.approx(8 + 216 - 2 * 27, rel=1e-14)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 9), (13, 7)])
def test_it_is_the_mean_over_all_pairs(n, m):
    x, y = features(n), features(m, seed=1, shift=0.2)
    assert kid(x, y) == pytest.approx(in_loops(x, y), abs=1e-13)


@pytest.mark.parametrize("rows", [1, 4, 13, 100])
def test_it_is_the_same_however_many_rows_are_read_at_once(monkeypatch, rows):
    x, y = features(13), features(9, seed=1)
    whole = kid(x, y)
    monkeypatch.setattr(moments, "ROWS_AT_ONCE", rows)
    assert kid(x, y) == pytest.approx(whole, abs=1e-14)


def test_it_agrees_with_torchmetrics():
    x, y = features(50, width=64), features(50, seed=1, width=64, shift=0.1)
    expected = poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert abs(expected) > 1e-2
    assert kid(x, y) == pytest.approx(expected, rel=1e-10)


def test_it_is_symmetric_and_blind_to_order():
    x, y = features(40), features(30, seed=1)
    assert kid(y, x) == pytest.approx(kid(x, y), abs=1e-14)
    assert kid(x[::-1], np.roll(y, 7, axis=0)) == pytest.approx(kid(x, y), abs=1e-14)


def test_equal_distributions_score_0_on_average_at_any_size_and_half_of_the_values_are_negative():
    for n in (5, 40):
        values = [kid(features(n, seed), features(n, seed + 1000)) for seed in range(300)]
        assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(300)
        assert 0.3 < np.mean(np.array(values) < 0) < 0.8
    assert kid(features(40), features(40)) < 0


def test_a_set_further_away_scores_worse_and_lower_is_better():
    x = features(300)
    values = [kid(features(300, seed=1, shift=shift), x) for shift in (0, 0.5, 1, 2)]
    assert values == sorted(values)
    assert not metric.higher_is_better


@pytest.mark.parametrize(("n", "m"), [(0, 5), (1, 5), (5, 1), (1, 1)])
def test_below_two_images_it_is_undefined_with_a_reason(n, m):
    for other in (kid, as_clean_fid, as_torch_fidelity):
        assert math.isnan(other(features(n), features(m)))
    assert metric.undefined


def test_features_that_are_no_numbers_are_an_error_and_not_a_score():
    x = features(5)
    x[2, 2] = np.nan
    for sides in ((x, features(5)), (features(5), x)):
        with pytest.raises(ContractError, match="1 of the feature vectors 0 to 4 hold NaN"):
            kid(*sides)


@pytest.mark.parametrize(("n", "m"), [(1010, 1300), (1200, 40)])
def test_its_subsets_are_those_of_clean_fid(n, m):
    clean_fid = pytest.importorskip("cleanfid.fid")
    x, y = features(n, width=4), features(m, seed=1, width=4, shift=0.1)
    np.random.seed(0)  # noqa: NPY002 - as a caller of clean-fid would
    assert as_clean_fid(x, y) == pytest.approx(clean_fid.kernel_distance(x, y), abs=1e-10)
    assert abs(as_clean_fid(y, x) - as_clean_fid(x, y)) > 1e-8  # the sides are drawn in turn


def test_its_subsets_are_those_of_torch_fidelity():
    module = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = features(1010, width=4), features(1300, seed=1, width=4, shift=0.1)
    expected = module.kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), verbose=False)
    assert as_torch_fidelity(x, y) == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-10)


def test_torch_fidelity_draws_1000_of_each_side_in_turn_after_the_seed_2020(monkeypatch):
    monkeypatch.setattr(subject, "SUBSETS", 2)
    x, y = features(1010, width=4), features(1300, seed=1, width=4, shift=0.1)
    random = np.random.RandomState(2020)
    drawn = [(x[random.choice(1010, 1000, replace=False)], y[random.choice(1300, 1000, replace=False)]) for _ in range(2)]
    assert as_torch_fidelity(x, y) == pytest.approx(np.mean([kid(a, b) for a, b in drawn]), rel=1e-12)
    assert math.isnan(as_torch_fidelity(x[:999], y))
    assert math.isfinite(as_torch_fidelity(x[:1000], y[:1000]))


def test_both_kinds_of_subsets_estimate_what_all_pairs_do():
    x, y = features(1200, width=4), features(1200, seed=1, width=4, shift=1.0)
    for other in (as_clean_fid, as_torch_fidelity):
        assert other(x, y) == pytest.approx(kid(x, y), rel=0.02)


def test_other_conventions_say_what_differs():
    assert registry.load_metric("kid") is metric
    assert registry.load_metric("kid@clean-fid").features is metric.features is inception.CLEAN
    assert registry.load_metric("kid@clean-fid").statistic is as_clean_fid
    assert registry.load_metric("kid@torch-fidelity").features is inception.TORCH_FIDELITY
    assert registry.load_metric("kid@torch-fidelity").statistic is as_torch_fidelity
    assert "1000 images" in registry.load_metric("kid@torch-fidelity").undefined
    assert len({metric.signature, *(other.signature for other in compat.values())}) == 3
    names = {(other.name.partition("@")[0], other.rows, other.assets) for other in compat.values()}
    assert names == {("kid", None, ("inception",))}
