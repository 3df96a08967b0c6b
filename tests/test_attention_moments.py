from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarbench.methods.networks import attention_moments as subject
from sarbench.methods.networks.attention_moments import EPS, attention_moments, normalised
from sarbench.methods.networks.cross_set_alignment import CrossSetAlignment


def features(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moments_by_loop(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 5 and 6, one query and one channel at a time, in float64."""
    Q, K, V = Q.double(), K.double(), V.double()
    M, S = (Q.new_zeros(len(Q), V.shape[1], Q.shape[2]) for _ in range(2))
    for b in range(len(Q)):
        for u in range(Q.shape[2]):
            weights = [float((Q[b, :, u] * K[b, :, p]).sum().exp()) for p in range(K.shape[2])]
            for channel in range(V.shape[1]):
                values = V[b, channel].tolist()
                mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
                variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)) / sum(weights)
                M[b, channel, u], S[b, channel, u] = mean, max(variance, EPS) ** 0.5
    return M, S


def test_the_moments_are_those_of_a_loop_over_positions_in_float64():
    Q, K, V = features(2, 3, 5), features(2, 3, 7, seed=1), features(2, 4, 7, seed=2)
    M, S = attention_moments(Q, K, V)
    expected_M, expected_S = moments_by_loop(Q, K, V)
    assert M.shape == S.shape == (2, 4, 5)
    torch.testing.assert_close(M.double(), expected_M, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(S.double(), expected_S, atol=1e-6, rtol=1e-5)


def test_two_positions_of_equal_weight_have_the_mean_and_spread_worked_by_hand():
    M, S = attention_moments(torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), torch.tensor([[[1.0, 5.0]]]))
    assert M.item() == pytest.approx(3.0)
    assert S.item() == pytest.approx(2.0)


def test_an_offset_of_a_hundred_loses_no_digits_and_leaves_no_negative_variance():
    Q, K, V = features(1, 8, 64), features(1, 8, 64, seed=1), 0.01 * features(1, 16, 64, seed=2)
    far = V + 100.0
    M, S_far = attention_moments(Q, K, far)
    exact_M, exact_S = moments_by_loop(Q, K, far)
    assert S_far.isfinite().all()
    torch.testing.assert_close(S_far.double(), exact_S, atol=1e-5, rtol=1e-2)
    torch.testing.assert_close(M.double(), exact_M, atol=1e-4, rtol=0)
    plain = far.square() @ torch.softmax(Q.mT @ K, 2).mT - (far @ torch.softmax(Q.mT @ K, 2).mT).square()
    assert (plain < 0).any(), "the formula as printed would have been fine here, so this test shows nothing"


def test_the_gradient_is_finite_where_the_variance_is_zero():
    Q, K = features(1, 3, 4).requires_grad_(), features(1, 3, 5, seed=1).requires_grad_()
    V = torch.full((1, 2, 5), 7.0, requires_grad=True)
    M, S = attention_moments(Q, K, V)
    torch.testing.assert_close(S, torch.full_like(S, EPS**0.5))
    (M.sum() + S.sum()).backward()
    for x in (Q, K, V):
        assert x.grad is not None
        assert x.grad.isfinite().all()
    torch.testing.assert_close(V.grad.sum(), torch.tensor(8.0))  # each of 2 x 4 means passes on a whole


def test_in_parts_the_values_and_gradients_are_the_same(monkeypatch):
    def run() -> list[Tensor]:
        leaves = [x.requires_grad_() for x in (features(2, 3, 10), features(2, 3, 9, seed=1), features(2, 4, 9, seed=2))]
        M, S = attention_moments(*leaves)
        (M.square().sum() + S.sum()).backward()
        return [M, S, *(x.grad for x in leaves)]  # type: ignore[misc]

    whole = run()
    monkeypatch.setattr(subject, "LARGEST", 1)
    monkeypatch.setattr(subject, "ROWS", 4)
    for one, other in zip(whole, run(), strict=True):
        torch.testing.assert_close(one, other)


def test_at_4096_positions_the_matrix_is_not_kept_for_the_backward_pass():
    n, kept = 4096, 0

    def count(x: Tensor) -> Tensor:
        nonlocal kept
        kept += x.numel()
        return x

    Q, K, V = (features(1, 2, n, seed=i).requires_grad_() for i in range(3))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        attention_moments(Q, K, V)
    assert kept < n * n / 10


def test_values_stay_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        M, S = attention_moments(features(1, 3, 4), features(1, 3, 5, seed=1), features(1, 2, 5, seed=2) + 100)
    expected = attention_moments(features(1, 3, 4), features(1, 3, 5, seed=1), features(1, 2, 5, seed=2) + 100)
    assert M.dtype == S.dtype == torch.float32
    torch.testing.assert_close((M, S), expected)


def test_normalising_gives_mean_0_and_variance_1_and_a_flat_channel_0():
    x = torch.cat([5 + 3 * features(2, 2, 6, 7), torch.full((2, 1, 6, 7), 4.0)], dim=1)
    y = normalised(x)
    torch.testing.assert_close(y.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, :2].var(dim=(2, 3), correction=0), torch.ones(2, 2), atol=1e-4, rtol=0)
    assert (y[:, 2] == 0).all()


def test_even_attention_of_identical_sets_reproduces_the_inputs_statistics():
    """With f = 0 every position attends to all alike: F_align then is the input itself, as h starts as the identity."""
    align = CrossSetAlignment([4, 6], key_width=8)
    for f in align.f:
        torch.nn.init.zeros_(f.weight)  # type: ignore[arg-type]
    levels = [3 + 2 * features(2, 4, 8, 8), features(2, 6, 4, 4, seed=1)]
    for level, aligned in zip(levels, align(levels, levels), strict=True):
        torch.testing.assert_close(aligned, level, atol=1e-3, rtol=1e-3)


def test_attention_to_one_position_alone_gives_that_position():
    """Keys that fit one query each make F_align the matched feature, without spread."""
    V = features(1, 3, 6)
    Q = 40 * torch.eye(6)[None]
    M, S = attention_moments(Q, torch.eye(6)[None], V)
    torch.testing.assert_close(M, V, atol=1e-5, rtol=0)
    torch.testing.assert_close(S, torch.full_like(S, EPS**0.5), atol=1e-4, rtol=0)


def test_a_level_sees_the_finer_levels_but_not_the_coarser_ones():
    torch.manual_seed(0)
    align = CrossSetAlignment([4, 6], key_width=8)
    u = [features(1, 4, 8, 8, seed=2), features(1, 6, 4, 4, seed=3)]
    p = [features(1, 4, 8, 8, seed=4), features(1, 6, 4, 4, seed=5)]
    fine, coarse = align(u, p)
    other_fine, same_coarse = align([u[0] + 1e-1 * features(1, 4, 8, 8), u[1]], p)
    assert not torch.equal(coarse, same_coarse)
    assert not torch.equal(fine, other_fine)
    assert torch.equal(fine, align([u[0], 2 * u[1] + features(1, 6, 4, 4)], p)[0])
