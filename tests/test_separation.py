import math

import numpy as np
import pytest

from sarbench.bench import separation
from sarbench.bench.errors import ContractError
from sarbench.bench.separation import affinities, davies_bouldin, gradient, picture, t_sne


def groups(n=20, count=3, distance=10.0, width=5, seed=0):
    """Clouds of unit spread, their centres along the axes; and the name of each vector's cloud."""
    x = np.random.default_rng(seed).standard_normal((count * n, width))
    labels = np.repeat(np.arange(count), n)
    x[np.arange(len(x)), labels] += distance
    return x, np.array(["paired", "unpaired", "aligned", "d", "e"])[labels]


# --- The index -------------------------------------------------------------------------------------------------------


def test_two_groups_score_their_spreads_over_the_distance_of_their_means():
    # means (0, 0) and (3, 4), 5 apart; mean distances from them 1 and 2
    x = np.array([[-1.0, 0], [1, 0], [3, 2], [3, 6]])
    assert davies_bouldin(x, np.array([0, 0, 1, 1])) == pytest.approx((1 + 2) / 5, rel=1e-14)


def test_the_spread_is_a_mean_of_distances_and_not_of_squares():
    x = np.array([[0.0], [0], [3], [11.0]])  # mean 1, distances 1, 1, 2
    assert davies_bouldin(x, np.array(["a", "a", "a", "b"])) == pytest.approx((4 / 3 + 0) / 10, rel=1e-14)


def test_of_more_groups_each_counts_with_its_worst_neighbour():
    # means 0, 10, 30 and spread 1 each: a and b are 10 apart, c is 20 from b
    x = np.array([[-1.0], [1], [9], [11], [29], [31]])
    assert davies_bouldin(x, np.array(list("aabbcc"))) == pytest.approx((0.2 + 0.2 + 0.1) / 3, rel=1e-14)


@pytest.mark.parametrize(("count", "distance"), [(2, 0.2), (2, 10.0), (4, 1.0)])
def test_it_agrees_with_scikit_learn(count, distance):
    metrics = pytest.importorskip("sklearn.metrics")
    x, labels = groups(count=count, distance=distance)
    assert davies_bouldin(x, labels) == pytest.approx(metrics.davies_bouldin_score(x, labels), rel=1e-12)
    shuffled = np.random.default_rng(1).permutation(len(x))
    assert davies_bouldin(x[shuffled], labels[shuffled]) == pytest.approx(davies_bouldin(x, labels), rel=1e-12)


def test_groups_that_draw_apart_score_lower():
    values = [davies_bouldin(*groups(count=2, distance=distance)) for distance in (0, 1, 5, 50)]
    assert values == sorted(values, reverse=True)


def test_groups_of_one_mean_score_infinite_and_points_on_each_other_nothing():
    cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert davies_bouldin(cross, np.array([0, 0, 1, 1])) == math.inf
    assert math.isnan(davies_bouldin(np.ones((4, 2)), np.array([0, 0, 1, 1])))


# --- Neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("perplexity", [2.0, 10.0])
def test_affinities_are_symmetric_of_sum_1_and_do_not_depend_on_scale_or_place(scale, perplexity):
    x, _ = groups()
    p = affinities(x, perplexity)
    assert p.sum() == pytest.approx(1, rel=1e-12)
    assert (np.diagonal(p) == 0).all() and (p >= 0).all()
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_allclose(affinities(scale * x + 3 * scale, perplexity), p, atol=1e-12)


def test_each_row_has_the_perplexity_that_was_asked_for(monkeypatch):
    x, _ = groups()
    rows = {}
    real = np.exp

    def exp(values):
        rows["weights"] = real(values)
        return rows["weights"]

    monkeypatch.setattr(separation.np, "exp", exp)
    affinities(x, 7.0)
    monkeypatch.undo()
    q = rows["weights"] / rows["weights"].sum(axis=1, keepdims=True)
    entropy = -np.sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0), axis=1)
    np.testing.assert_allclose(np.exp(entropy), 7.0, rtol=1e-9)


def test_affinities_agree_with_scikit_learn():
    inner = pytest.importorskip("sklearn.manifold._t_sne")
    x, _ = groups()
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    expected = inner._joint_probabilities(squared, 10.0, 0)  # upper triangle, its entropies to 1e-5
    np.testing.assert_allclose(affinities(x, 10.0)[np.triu_indices(len(x), 1)], expected, atol=1e-4 * expected.max())


def test_points_on_each_other_and_points_far_away_have_affinities():
    for x in (np.ones((10, 2)), np.repeat(groups(n=3)[0], 5, axis=0), np.concatenate([groups()[0], np.full((1, 5), 1e9)])):
        p = affinities(x, 3.0)
        assert np.isfinite(p).all()
        assert p.sum() == pytest.approx(1, rel=1e-9)


# --- The plane -------------------------------------------------------------------------------------------------------


def divergence(y, p):
    q = 1 / (1 + ((y[:, None] - y[None]) ** 2).sum(axis=2))
    np.fill_diagonal(q, 0)
    q, seen = q / q.sum(), p > 0
    return np.sum(p[seen] * np.log(p[seen] / q[seen]))


def test_the_gradient_is_the_slope_of_the_divergence():
    x, _ = groups(n=5)
    p, y, step = affinities(x, 3.0), np.random.default_rng(0).standard_normal((15, 2)), 1e-6
    for i, j in ((0, 0), (7, 1), (14, 0)):
        move = np.zeros_like(y)
        move[i, j] = step
        slope = (divergence(y + move, p) - divergence(y - move, p)) / (2 * step)
        assert gradient(y, p)[i, j] == pytest.approx(slope, abs=1e-8)


def test_the_plane_keeps_groups_together_and_is_as_good_as_that_of_scikit_learn():
    manifold = pytest.importorskip("sklearn.manifold")
    x, labels = groups(n=40, distance=4.0)
    p, y = affinities(x, 15.0), t_sne(x, 15.0)
    assert y.shape == (120, 2)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    assert davies_bouldin(y, labels) < 1
    other = manifold.TSNE(method="exact", init="pca", perplexity=15.0, random_state=0).fit_transform(x)
    assert divergence(y, p) < 1.1 * divergence(other.astype(np.float64), p)


def test_neighbours_in_the_plane_are_neighbours_in_the_features():
    x, _ = groups(n=40, distance=6.0)
    y = t_sne(x, 10.0)

    def nearest(z):
        distances = ((z[:, None] - z[None]) ** 2).sum(axis=2)
        return np.argsort(distances, axis=1)[:, 1:11]

    common = [len(set(a) & set(b)) / 10 for a, b in zip(nearest(x), nearest(y), strict=True)]
    assert np.mean(common) > 0.5


def test_the_plane_is_the_same_on_every_call():
    x, _ = groups(n=10)
    np.testing.assert_array_equal(t_sne(x, 5.0), t_sne(x, 5.0))


def test_it_starts_from_the_principal_components(monkeypatch):
    monkeypatch.setattr(separation, "ITERATIONS", 0)
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    scores = rng.standard_normal((30, 6)) * (9, 3, 0.1, 0.1, 0.1, 0.1)
    y = t_sne(scores @ turn + 100, 5.0)
    assert y[:, 0].std() == pytest.approx(1e-4)
    for i in range(2):
        assert abs(np.corrcoef(y[:, i], scores[:, i])[0, 1]) > 0.98
    np.testing.assert_allclose(t_sne(scores @ turn, 5.0), y, atol=1e-12)
    weights = np.linalg.lstsq(scores @ turn - (scores @ turn).mean(0), y, rcond=None)[0]
    assert all(weights[np.argmax(np.abs(weights[:, i])), i] > 0 for i in range(2))


def test_features_of_one_value_can_be_drawn():
    y = t_sne(np.arange(12.0)[:, None], 3.0)
    assert np.isfinite(y).all()


# --- The picture -----------------------------------------------------------------------------------------------------


def colours_of(image):
    return {tuple(colour) for colour in image.reshape(-1, 3).tolist()}


def rgb(text):
    return tuple(bytes.fromhex(text[1:]))


def test_the_picture_shows_every_point_in_the_colour_of_its_group():
    points = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    image = picture(points, np.array(["a", "a", "b", "b"]))
    assert image.shape == (640, 640, 3)
    assert image.dtype == np.uint8
    first, second = ((image == rgb(separation.COLOURS[i])).all(axis=2) for i in range(2))
    assert first[320:].sum() > 20 < second[:320].sum()  # larger y is further up
    assert not second[320:].any()
    assert not {rgb(colour) for colour in separation.COLOURS[2:]} & colours_of(image)


def test_captions_stand_in_the_legend():
    points, labels = np.array([[0.0, 0], [1, 1]]), np.array(["paired", "unpaired"])
    plain, told = picture(points, labels), picture(points, labels, {"paired": "paired (42.44)"})
    changed = np.argwhere((plain != told).any(axis=2))
    assert len(changed)
    assert changed[:, 0].max() < 48  # the first line


def test_points_on_each_other_can_be_drawn():
    assert len(colours_of(picture(np.ones((5, 2)), np.zeros(5, int)))) > 1


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared_or_drawn_is_refused_with_the_reason(monkeypatch):
    x, labels = groups(n=4)
    with pytest.raises(ContractError, match="all labels are 'a'"):
        davies_bouldin(x, np.array(["a"] * 12))
    with pytest.raises(ContractError, match="12 feature vectors need as many labels"):
        davies_bouldin(x, labels[:5])
    with pytest.raises(ContractError, match=r"got shape \(0, 5\)"):
        davies_bouldin(x[:0], labels[:0])
    broken = x.copy()
    broken[3, 3] = math.nan
    for attempt in (lambda: davies_bouldin(broken, labels), lambda: t_sne(broken, 2.0)):
        with pytest.raises(ContractError, match="1 of 12 feature vectors hold NaN"):
            attempt()
    for perplexity in (0.5, 3.7, math.nan):
        with pytest.raises(ContractError, match=r"12 points allow a perplexity from 1 to 3\.66667"):
            t_sne(x, perplexity)
    with pytest.raises(ContractError, match="at most 6 groups, got 7: 0, 1, 2"):
        picture(np.zeros((7, 2)), np.arange(7))
    monkeypatch.setattr(separation, "MOST_POINTS", 11)
    with pytest.raises(ContractError, match="draw 11 of them or fewer"):
        t_sne(x, 2.0)
