import math

import numpy as np
import pytest

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.metrics import _inception as inception
from sarbench.bench.metrics.fid import compat, fid, metric


def features(n, seed=0, width=16, shift=0.0):
    return (np.random.default_rng(seed).standard_normal((n, width)) + shift).astype(np.float32)


def test_two_sets_of_one_feature_score_the_formula_by_hand():
    # means 1 and 5, variances 2 and 8: 16 + (sqrt 2 - sqrt 8)^2
    translated, reference = np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])
    assert fid(translated, reference) == pytest.approx(16 + 2, rel=1e-14)
    assert metric.statistic(translated, reference) == fid(translated, reference)


def test_equal_sets_score_0_and_order_does_not_matter():
    x, y = features(50), features(60, seed=1, shift=0.3)
    assert fid(x, x) == pytest.approx(0, abs=1e-12 * 16)
    assert fid(x, x[::-1]) == pytest.approx(0, abs=1e-12 * 16)
    assert fid(x[::-1], y) == pytest.approx(fid(x, y), rel=1e-12)
    assert fid(y, x) == pytest.approx(fid(x, y), rel=1e-12)


def test_a_set_further_away_scores_worse_and_lower_is_better():
    x = features(500)
    values = [fid(features(500, seed=1, shift=shift), x) for shift in (0, 0.5, 1, 2)]
    assert values == sorted(values)
    assert not metric.higher_is_better


@pytest.mark.parametrize(("n", "m"), [(0, 5), (1, 5), (5, 1), (1, 1)])
def test_below_two_images_it_is_undefined_with_a_reason(n, m):
    assert math.isnan(fid(features(n), features(m)))
    assert metric.undefined


def test_two_images_a_side_are_enough():
    assert math.isfinite(fid(features(2), features(2, seed=1)))


def test_features_that_are_no_numbers_are_an_error_and_not_a_score():
    x = features(5)
    x[2, 2] = np.nan
    with pytest.raises(ContractError, match="1 of the feature vectors 0 to 4 hold NaN"):
        fid(x, features(5))


def test_nothing_is_ranked_by_it_below_as_many_images_as_features():
    assert metric.ranked_from == metric.features.width == 2048
    assert all(other.ranked_from == 2048 for other in compat.values())


def test_other_conventions_differ_in_what_the_network_sees_and_say_so():
    assert registry.load_metric("fid") is metric
    assert registry.load_metric("fid@clean-fid").features is metric.features  # the suite's own
    found = {name: registry.load_metric(f"fid@{name}") for name in compat}
    assert {name: other.features for name, other in found.items()} == {
        "clean-fid": inception.CLEAN,
        "pytorch-fid": inception.PYTORCH_FID,
        "torch-fidelity": inception.TORCH_FIDELITY,
    }
    assert len({other.signature for other in found.values()}) == 3
    for other in found.values():
        assert (other.name.partition("@")[0], other.statistic, other.rows, other.assets) == ("fid", fid, None, ("inception",))
