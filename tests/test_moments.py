import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid

from sarbench.bench import moments
from sarbench.bench.certification.selves import frechet as by_orthogonal_factors
from sarbench.bench.errors import ContractError
from sarbench.bench.moments import Moments, frechet, frechet_of_moments

WIDTH = 40


def vectors(n, seed=0, decay=0.5, offset=0.0, width=WIDTH):
    """Correlated features whose spectrum falls as a power."""
    spread = np.arange(1.0, width + 1) ** -decay
    mixing = np.linalg.qr(np.random.default_rng(99).standard_normal((width, width)))[0]
    return (np.random.default_rng(seed).standard_normal((n, width)) * spread) @ mixing + offset


def other(n, seed=1):
    return vectors(n, seed, decay=0.8, offset=0.05)


def variance(x):
    return float(np.var(x, axis=0, ddof=1).sum())


def by_sqrtm(x, y):
    """The textbook's formula, for full rank."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root)


def assert_covariance(found, x, tolerance=1e-12):
    expected = np.cov(x, rowvar=False)
    spread = np.sqrt(np.diagonal(expected))
    assert np.max(np.abs(found - expected) / np.outer(spread, spread)) <= tolerance


# --- Moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_moments_in_parts_equal_those_of_numpy_even_where_means_dwarf_spreads(offset, block):
    x = vectors(300, offset=offset)
    found = Moments(WIDTH)
    for start in range(0, len(x), block):
        found.update(x[start : start + block])
    assert found.n == 300
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-14, atol=1e-14)
    assert_covariance(found.covariance, x)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_moments_of_several_processes_merge_into_those_of_one(offset):
    x = vectors(300, offset=offset)
    parts = [Moments.of(x[rows]) for rows in (slice(0, 1), slice(1, 120), slice(120, 300))]
    merged = Moments(WIDTH)
    for part in (Moments(WIDTH), *parts, Moments(WIDTH)):
        merged.merge(part)
    assert merged.n == 300
    np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-14, atol=1e-14)
    assert_covariance(merged.covariance, x)


def test_merging_leaves_the_other_side_as_it_was():
    a, b = Moments(WIDTH), Moments.of(vectors(50))
    a.merge(b)
    a.update(vectors(50, seed=1))
    assert b.n == 50
    assert_covariance(b.covariance, vectors(50))


def test_a_file_of_float32_features_is_read_in_parts(tmp_path, monkeypatch):
    x = vectors(100).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(moments, "ROWS_AT_ONCE", 7)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_covariance(Moments.of(mapped).covariance, x.astype(np.float64))
    assert [len(block) for block in moments.blocks(mapped)] == [7] * 14 + [2]


def test_moments_that_do_not_fit_are_refused():
    with pytest.raises(ContractError, match="moments of 40 features can't take in vectors of 39"):
        Moments(WIDTH).update(vectors(5)[:, :39])
    with pytest.raises(ContractError, match="of 40 and of 39 features can't be merged"):
        Moments(WIDTH).merge(Moments(39))
    with pytest.raises(ContractError, match="of 40 and of 39 features can't be compared"):
        frechet_of_moments(Moments.of(vectors(5)), Moments.of(vectors(5)[:, :39]))
    with pytest.raises(ContractError, match="at least two feature vectors, got 1"):
        _ = Moments.of(vectors(1)).covariance


# --- The Fréchet distance: what it is --------------------------------------------------------------------------------


def exact(mean, factor, n=8):
    """2n vectors whose mean is `mean` and whose covariance is factor^T factor, exactly: corners of a cube."""
    width = len(mean)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * width)).reshape(width, -1).T
    corners = np.repeat(corners, n, axis=0)
    return np.asarray(mean) + corners * math.sqrt((len(corners) - 1) / len(corners)) @ np.asarray(factor)


def test_gaussians_of_one_feature_follow_the_formula_by_hand():
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet(exact([1.0], [[2.0]]), exact([4.0], [[6.0]])) == pytest.approx(9 + 16, rel=1e-13)


def test_gaussians_of_diagonal_covariances_follow_the_formula_by_hand():
    x, y = exact([0, 0, 0.0], np.diag([1.0, 2, 3])), exact([1, 2, 2.0], np.diag([4.0, 2, 1]))
    assert frechet(x, y) == pytest.approx(9 + (9 + 0 + 4), rel=1e-13)


def test_gaussians_of_covariances_that_do_not_commute_follow_the_formula_by_hand():
    # in two dimensions tr (S1 S2)^(1/2) = sqrt(tr(S1 S2) + 2 sqrt(det S1 det S2)); here tr(S1 S2) = 8, det S1 = 3, det S2 = 1
    f1, f2 = (np.linalg.cholesky(np.array(s)).T for s in ([[2.0, 1], [1, 2]], [[2.0, 1], [1, 1]]))
    expected = 4 + 3 - 2 * math.sqrt(8 + 2 * math.sqrt(3))
    assert frechet(exact([0, 0.0], f1), exact([0, 0.0], f2)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (WIDTH + 1, 500)])
def test_sets_of_full_rank_score_as_by_the_square_root_of_a_matrix(n, m):
    x, y = vectors(n), other(m)
    expected = by_sqrtm(x, y)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_of_moments(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-9)


def of_statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("n", "tolerance"), [(400, 1e-9), (WIDTH // 2, 1e-5)])  # few vectors: pytorch-fid loses the digits
def test_it_agrees_with_pytorch_fid(n, tolerance):
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    x, y = vectors(n), other(n)
    expected = fid_score.calculate_frechet_distance(*of_statistics(x), *of_statistics(y))
    assert frechet(x, y) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("n", "tolerance"), [(400, 1e-9), (WIDTH // 2, 1e-5)])
def test_it_agrees_with_torchmetrics(n, tolerance):
    x, y = vectors(n), other(n)
    (m1, s1), (m2, s2) = (tuple(map(torch.from_numpy, of_statistics(z))) for z in (x, y))
    assert frechet(x, y) == pytest.approx(_compute_fid(m1, s1, m2, s2).item(), rel=tolerance)


@pytest.mark.parametrize("n", [2, 5, WIDTH - 1, WIDTH, WIDTH + 1, WIDTH + 2, 300])
@pytest.mark.parametrize("m", [2, WIDTH, 301])
def test_both_ways_to_compute_agree_for_any_numbers_of_vectors(n, m):
    x, y = vectors(n), other(m)
    expected, spread = by_orthogonal_factors(x, y), variance(x) + variance(y)
    assert frechet(x, y) == pytest.approx(expected, abs=1e-12 * spread)
    assert frechet_of_moments(Moments.of(x), Moments.of(y)) == pytest.approx(expected, abs=1e-9 * spread)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0, 3.0, 5.0])
def test_small_eigenvalues_do_not_lose_their_digits(decay):
    x, y = vectors(200, decay=decay), vectors(150, seed=1, decay=decay)
    spread = variance(x) + variance(y)
    assert frechet(x, y) == pytest.approx(by_orthogonal_factors(x, y), abs=1e-9 * spread)


def test_the_exact_way_is_taken_where_the_fast_one_would_lose_digits(monkeypatch):
    y = vectors(200)
    x = vectors(200, seed=1)[:, :1] * y[:1]  # all on one line
    expected, spread = by_orthogonal_factors(x, y), variance(x) + variance(y)
    assert frechet(x, y) == pytest.approx(expected, abs=1e-11 * spread)
    monkeypatch.setattr(moments, "ROUNDING", math.inf)
    assert abs(frechet(x, y) - expected) > 1e-11 * spread


# --- Properties ------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([2, 3, 7, 8, 9, 10, 40])
SEEDS = st.integers(0, 1000)


def drawn(n, seed, rank=8):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, 8)) + rng.standard_normal(8)


@settings(deadline=None, max_examples=60)
@given(n=SIZES, m=SIZES, seed=SEEDS, rank=st.integers(1, 8), scale=st.sampled_from([1e-12, 1.0, 1e12]))
def test_it_is_finite_not_negative_symmetric_and_blind_to_order_rotation_and_common_shift(n, m, seed, rank, scale):
    x, y = drawn(n, seed, rank) * scale, drawn(m, seed + 1, rank) * scale
    value, size = frechet(x, y), variance(x) + variance(y) + np.sum((x.mean(0) - y.mean(0)) ** 2)
    close = pytest.approx(value, abs=1e-9 * size)
    assert math.isfinite(value)
    assert value >= 0
    assert frechet(y, x) == close
    assert frechet(x[::-1], y) == close
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))[0]
    assert frechet(x @ rotation, y @ rotation) == close
    assert frechet(x + 7 * scale, y + 7 * scale) == close
    assert frechet_of_moments(Moments.of(x), Moments.of(y)) == close


@settings(deadline=None, max_examples=40)
@given(n=SIZES, seed=SEEDS, rank=st.integers(1, 8), shift=st.sampled_from([0.0, 3.0, 1e4]))
def test_a_set_is_at_distance_0_from_itself_and_a_moved_copy_at_the_square_of_the_way(n, seed, rank, shift):
    x = drawn(n, seed, rank)
    tolerance = 1e-9 * variance(x) + 1e-9 * 8 * shift**2
    assert frechet(x, x) <= 1e-9 * variance(x)
    assert frechet_of_moments(Moments.of(x), Moments.of(x)) <= 1e-9 * variance(x)
    assert frechet(x, x + shift) == pytest.approx(8 * shift**2, abs=tolerance)


def test_scaled_vectors_are_at_the_scaled_distance():
    x, y = vectors(30), other(300)
    assert frechet(3 * x, 3 * y) == pytest.approx(9 * frechet(x, y), rel=1e-12)


# --- Hard cases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 200])
def test_constant_features_leave_the_distance_of_the_means(n):
    x, y = np.zeros((n, WIDTH)), np.full((n, WIDTH), 0.5)
    assert frechet(x, y) == pytest.approx(WIDTH / 4, rel=1e-14)
    assert frechet(x, vectors(n)) == pytest.approx(variance(vectors(n)) + np.sum(vectors(n).mean(0) ** 2), rel=1e-12)


def test_features_that_are_dead_in_one_set_or_both_cost_their_variance():
    x, y = vectors(200), other(200)
    x[:, 3], y[:, 3], y[:, 5] = 0, 0, 7
    assert frechet(x, y) == pytest.approx(by_orthogonal_factors(x, y), abs=1e-10 * variance(x))


@pytest.mark.parametrize("rank", [1, 5, WIDTH - 1])
def test_many_vectors_in_a_subspace_are_compared_exactly(rank):
    basis = np.random.default_rng(3).standard_normal((rank, WIDTH))
    x, y = (np.random.default_rng(seed).standard_normal((300, rank)) @ basis for seed in (1, 2))
    size = variance(x) + variance(y)
    assert frechet(x, y) == pytest.approx(by_orthogonal_factors(x, y), abs=1e-9 * size)
    assert frechet(x, x) <= 1e-9 * size


def test_repeated_rows_are_handled():
    x, y = np.repeat(vectors(5), 20, axis=0), np.repeat(other(7), 20, axis=0)
    assert frechet(x, y) == pytest.approx(by_orthogonal_factors(x, y), abs=1e-9 * variance(x))


@pytest.mark.parametrize("offset", [1e4, 1e8])
@pytest.mark.parametrize("n", [20, 200])
def test_a_huge_common_offset_costs_no_more_than_its_own_rounding(offset, n):
    x, y = (np.round(z * 2.0**20) / 2.0**20 for z in (vectors(n), other(n)))  # so that the shifted values are exact
    assert frechet(x + offset, y + offset) == pytest.approx(frechet(x, y), rel=1e-11)


def test_the_largest_and_smallest_float32_values_neither_overflow_nor_vanish():
    for scale in (1e38, 1e-38):
        for n in (20, 200):
            value = frechet(vectors(n) * scale, other(n) * scale)
            assert value == pytest.approx(scale**2 * frechet(vectors(n), other(n)), rel=1e-9)


def test_a_large_set_against_a_small_one_is_read_in_parts(monkeypatch):
    monkeypatch.setattr(moments, "ROWS_AT_ONCE", 32)
    x, y = vectors(20).astype(np.float32), other(1000).astype(np.float32)
    assert frechet(x, y) == pytest.approx(by_orthogonal_factors(*(z.astype(np.float64) for z in (x, y))), rel=1e-10)


def test_sets_of_one_distribution_are_at_a_positive_distance_that_falls_with_their_size():
    means = [
        np.mean([frechet(vectors(n, seed), vectors(n, seed + 100)) for seed in range(5)]) for n in (10, 20, 40, 80, 400, 2000)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > 20 * means[-1] > 0


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 200])
def test_values_that_are_no_numbers_are_refused(n):
    x = vectors(n)
    x[7, 3], x[8, 0] = np.nan, np.inf
    for sides in ((x, vectors(n)), (vectors(n), x)):
        with pytest.raises(ContractError, match=f"2 of the feature vectors 0 to {n - 1} hold NaN or infinite"):
            frechet(*sides)


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(ContractError, match="40 and of 39 values"):
        frechet(vectors(5), vectors(5)[:, :39])
    for n in (0, 1):
        for sides in ((vectors(n), vectors(50)), (vectors(50), vectors(n))):
            with pytest.raises(ContractError, match=f"at least two feature vectors, got {n}"):
                frechet(*sides)
    with pytest.raises(ContractError, match="a matrix of floats"):
        frechet(vectors(5)[0], vectors(5))
    with pytest.raises(ContractError, match="got int64"):
        frechet(np.ones((3, 3), np.int64), vectors(5))
