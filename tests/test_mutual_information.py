from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarbench.methods.losses import mutual_information
from sarbench.methods.losses.mutual_information import rsmi


def of_one_item(x: Tensor, y: Tensor, sigma: float, sign: int) -> Tensor:
    """The estimator as the papers write it, for one item, with 81 product kernels and a dense solve."""
    centres = torch.linspace(-1, 1, 9, dtype=x.dtype)
    u, v = centres.repeat_interleave(9), centres.repeat(9)
    K = torch.exp(sign * (x - u[:, None]) ** 2 / (2 * sigma**2))  # (81, n)
    L = torch.exp(sign * (y - v[:, None]) ** 2 / (2 * sigma**2))
    n = len(x)
    product, joint = (K @ K.T) * (L @ L.T) / n**2, (K * L) @ (K * L).T / n
    H, h = 0.5 * product + 0.5 * joint, K.sum(1) * L.sum(1) / n**2
    a = torch.linalg.solve(H + 0.05 * torch.eye(81, dtype=x.dtype), h)
    return 2 * a @ h - a @ H @ a - 1


def pairs(rho: float, items: int = 4, n: int = 64, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, e = (0.4 * torch.randn(items, n, generator=generator, dtype=dtype) for _ in range(2))
    return x.clamp(-1, 1), (rho * x + (1 - rho**2) ** 0.5 * e).clamp(-1, 1)


@pytest.mark.parametrize(("sigma", "sign"), [(0.5, -1), (1.0, -1), (1.0, 1)])
def test_values_and_gradients_are_those_of_the_formulas_of_the_papers(sigma, sign):
    x, y = (t.requires_grad_() for t in pairs(0.7))
    fast = rsmi(x, y, sigma=sigma, kernel_sign=sign)
    slow = torch.stack([of_one_item(a, b, sigma, sign) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((weights * fast).sum(), (x, y)), torch.autograd.grad((weights * slow).sum(), (x, y)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
        assert theirs.abs().max() > 1e-4


def test_one_constant_pair_worked_by_hand():
    """All pairs equal: H is h h', so a = h / (s + ridge) with s = h'h, and rSMI = 2q - q^2 - 1 with q = s / (s + ridge)."""
    x, y = torch.full((1, 5), 0.3, dtype=torch.float64), torch.full((1, 5), -0.6, dtype=torch.float64)
    centres = torch.linspace(-1, 1, 9, dtype=torch.float64)
    s = (torch.exp(-((0.3 - centres) ** 2) / 0.25).sum()) * (torch.exp(-((-0.6 - centres) ** 2) / 0.25).sum())
    q = s / (s + mutual_information.RIDGE)
    assert rsmi(x, y).item() == pytest.approx((2 * q - q**2 - 1).item(), rel=1e-9)
    assert rsmi(x, y).item() == pytest.approx(-((1 - q) ** 2).item(), rel=1e-6)


def test_dependent_numbers_have_more_of_it_than_independent_ones():
    found = [rsmi(*pairs(rho, items=1, n=20_000)).item() for rho in (0.0, 0.5, 0.9, 1.0)]
    assert abs(found[0]) < 0.01
    assert found == sorted(found)
    assert found[1:] == pytest.approx([0.058, 0.252, 0.323], abs=0.01)  # the card's, by a separate program


def test_dependence_need_not_be_linear():
    x, _ = pairs(0.0, items=1, n=5_000)
    shuffled = x[:, torch.randperm(5_000, generator=torch.Generator().manual_seed(1))]
    assert rsmi(x, 2 * x.abs() - 1) > rsmi(x, 2 * shuffled.abs() - 1) + 0.1


def test_climbing_it_makes_numbers_depend():
    x, y = pairs(0.0, dtype=torch.float32)
    y = y.clone().requires_grad_()
    before = rsmi(x, y).sum()
    for _ in range(30):
        (gradient,) = torch.autograd.grad(rsmi(x, y).sum(), y)
        y = (y + 5.0 * gradient).clamp(-1, 1).detach().requires_grad_()
    assert rsmi(x, y).sum() > before + 0.2


def test_it_does_not_depend_on_the_order_of_the_pairs_and_is_symmetric():
    x, y = pairs(0.7)
    order = torch.randperm(x.shape[1])
    torch.testing.assert_close(rsmi(x[:, order], y[:, order]), rsmi(x, y))
    torch.testing.assert_close(rsmi(y, x), rsmi(x, y))


def test_items_are_worked_in_parts_that_fit_the_memory(monkeypatch):
    x, y = (t.reshape(2, 2, -1).requires_grad_() for t in pairs(0.5))
    whole = rsmi(x, y)
    gradient = torch.autograd.grad(whole.sum(), x)[0]
    monkeypatch.setattr(mutual_information, "MEMORY_FLOATS", 1)
    parts = rsmi(x, y)
    assert parts.shape == (2, 2)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.sum(), x)[0], gradient)


def test_constant_numbers_give_finite_values_and_gradients():
    x = torch.zeros(2, 16, requires_grad=True)
    y = torch.ones(2, 16, requires_grad=True)
    value = rsmi(x, y).sum()
    assert value.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, (x, y)))


@pytest.mark.parametrize("sign", [-1, 1])
def test_half_precision_and_autocast_change_nothing_but_the_input(sign):
    x, y = pairs(0.7, dtype=torch.float32)
    low = x.bfloat16(), y.bfloat16()
    exact = rsmi(low[0].double(), low[1].double(), kernel_sign=sign)
    with torch.autocast("cpu", torch.bfloat16):
        found = rsmi(*low, kernel_sign=sign)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-4)
