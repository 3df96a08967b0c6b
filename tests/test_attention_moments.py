from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sarbench.methods.losses import attention_moments as subject
from sarbench.methods.losses.attention_moments import EPS, attention_moments, normalised
from sarbench.methods.losses.cross_set_alignment import CrossSetAlignment


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


def moments_as_printed(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    A = torch.softmax(Q.mT @ K, dim=2)
    M = V @ A.mT
    return M, (V.square() @ A.mT - M.square()).clamp_min(EPS).sqrt()


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Four rows or columns of weights at a time; the last block of 10 is a narrower one."""
    monkeypatch.setattr(subject, "BLOCK", 40)


def in_float64(offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """11 queries and 10 keys of two images."""
    Q, K = features(2, 3, 11, dtype=torch.float64), features(2, 3, 10, seed=1, dtype=torch.float64)
    V = features(2, 4, 10, seed=2, dtype=torch.float64) + offset
    return Q.requires_grad_(), K.requires_grad_(), V.requires_grad_()


def gradients(moments: tuple[Tensor, Tensor], leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of a sum that weighs every element of M and S differently."""
    M, S = moments
    return torch.autograd.grad((M * features(*M.shape, seed=8) + S * features(*S.shape, seed=9)).sum(), leaves)


def test_in_blocks_the_gradients_are_those_of_finite_differences(tiny_blocks):
    assert torch.autograd.gradcheck(attention_moments, in_float64())


def test_in_blocks_values_and_gradients_are_those_of_the_formulas_as_printed(tiny_blocks):
    leaves = in_float64()
    found, printed = attention_moments(*leaves), moments_as_printed(*leaves)
    torch.testing.assert_close(found, printed, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradients(found, leaves), gradients(printed, leaves), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("offset", [0, 10, 100])
def test_in_blocks_of_float32_an_offset_of_the_values_costs_no_digits(tiny_blocks, offset):
    leaves = tuple(x.detach().float().requires_grad_() for x in in_float64(offset))
    exact = tuple(x.detach().double().requires_grad_() for x in leaves)  # what was rounded already is not to blame
    M, S = attention_moments(*leaves)
    expected_M, expected_S = moments_as_printed(*exact)
    torch.testing.assert_close(M.double(), expected_M, atol=1e-6, rtol=1e-7)
    torch.testing.assert_close(S.double(), expected_S, atol=1e-6, rtol=1e-6)
    for one, other in zip(gradients((M, S), leaves), gradients((expected_M, expected_S), exact), strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-4)


def test_in_blocks_a_zero_variance_passes_nothing_to_the_weights(tiny_blocks):
    Q, K = features(1, 3, 11).requires_grad_(), features(1, 3, 10, seed=1).requires_grad_()
    V = torch.full((1, 2, 10), 7.0, requires_grad=True)
    M, S = attention_moments(Q, K, V)
    torch.testing.assert_close(S, torch.full_like(S, EPS**0.5))
    dQ, dK, dV = torch.autograd.grad(M.sum() + S.sum(), (Q, K, V))
    assert (dQ == 0).all()
    assert (dK == 0).all()
    torch.testing.assert_close(dV.sum(), torch.tensor(22.0))  # each of 2 x 11 means passes on a whole


def test_in_blocks_logits_of_hundreds_do_not_overflow(tiny_blocks):
    leaves = tuple(x.detach().float().mul(30).requires_grad_() for x in in_float64())
    found = attention_moments(*leaves)
    for x in (*found, *gradients(found, leaves)):
        assert x.isfinite().all()


def test_in_blocks_both_passes_stay_in_float32_under_autocast(tiny_blocks):
    leaves = tuple(x.detach().float().requires_grad_() for x in in_float64(100.0))
    outside = attention_moments(*leaves)
    expected = gradients(outside, leaves)
    with torch.autocast("cpu", torch.bfloat16):
        inside = attention_moments(*leaves)
        found = gradients(inside, leaves)
    assert [x.dtype for x in inside] == [torch.float32] * 2
    torch.testing.assert_close(inside, outside)
    torch.testing.assert_close(found, expected)


class Bytes(TorchDispatchMode):
    """Bytes of the tensors that are alive among those made inside: `now`, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.alive: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = function(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and x.untyped_storage()._cdata not in {*before, *self.alive}:
                storage = x.untyped_storage()
                self.alive[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._freed, storage._cdata)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self.alive.pop(key)


def test_at_4096_positions_both_passes_take_a_sixth_of_the_memory_of_the_whole_matrix_or_less():
    n, channels = 4096, 64
    leaves = tuple(features(1, channels, n, seed=i).requires_grad_() for i in range(3))

    def most(function) -> tuple[int, int]:
        with Bytes() as count:
            M, S = function(*leaves)
            kept = count.now
            torch.autograd.grad((M, S), leaves, (torch.ones_like(M), torch.ones_like(S)))
        return kept, count.most

    kept, peak = most(attention_moments)
    _, whole = most(moments_as_printed)
    assert whole > 3 * 4 * n * n, "the plain form no longer shows what it costs, so this test shows nothing"
    assert peak < whole / 6
    assert kept < 4 * 4 * channels * n  # M, its centred copy, S, and little else


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
