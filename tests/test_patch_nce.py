from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.methods.losses import patch_nce as module
from sarbench.methods.losses.patch_nce import hdce, patch_nce, relation_divergence

FORMS = ("normalised", "printed", "source_code")


def unit(B: int, n: int, C: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(B, n, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=2)


def test_patch_nce_is_the_cross_entropy_of_the_diagonal():
    w, z = unit(2, 5, 8, 0), unit(2, 5, 8, 1)
    logits = torch.einsum("bic,bjc->bij", w, z) / 0.07
    expected = F.cross_entropy(logits.reshape(10, 5), torch.arange(5).repeat(2))
    assert patch_nce(w, z).item() == pytest.approx(expected.item(), rel=1e-5)


def test_patches_that_all_look_alike_pay_the_logarithm_of_their_number():
    w = torch.ones(1, 6, 4) / 2
    assert patch_nce(w, w).item() == pytest.approx(log(6), rel=1e-5)
    assert hdce(w, w, beta=1.0).item() == pytest.approx(log(5), rel=1e-5)


def test_three_patches_worked_by_hand():
    """z: the axes e1, e2 and (0.6, 0.8); w the same; so s and c are equal, with products 0, 0.6 and 0.8."""
    z = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]])
    tau, beta = 0.5, 2.0
    negatives = [(0.0, 0.6), (0.0, 0.8), (0.6, 0.8)]  # of each query; all positives are 1
    normalised = printed = source = 0.0
    for a, b in negatives:
        weights = exp(beta * a), exp(beta * b)
        both = weights[0] * exp(a / tau) + weights[1] * exp(b / tau)
        printed += -1 / tau + log(both)
        normalised += -1 / tau + log(2 * both / sum(weights))
        source += -1 / tau + log(exp(weights[0] / weights[1] * a / tau) + exp(b / tau))
    found = [hdce(z, z, beta=beta, tau=tau, form=form).item() for form in FORMS]
    assert found == pytest.approx([normalised / 3, printed / 3, source / 3], abs=1e-6)


def test_without_concentration_hdce_is_the_decoupled_loss_in_every_form():
    w, z = unit(2, 6, 8, 0), unit(2, 6, 8, 1)
    s = torch.einsum("bic,bjc->bij", w, z) / 0.07
    itself = torch.eye(6, dtype=torch.bool)
    expected = (s.masked_fill(itself, -torch.inf).logsumexp(2) - s.diagonal(dim1=1, dim2=2)).mean()
    for form in FORMS:
        assert hdce(w, z, beta=0.0, form=form).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_gradient_of_the_source_form_is_that_of_the_logsumexp_of_neg_minus_pos_over_tau():
    tau, gamma = 0.07, 10.0
    w, z = unit(2, 7, 8, 0).requires_grad_(), unit(2, 7, 8, 1)
    (found,) = torch.autograd.grad(hdce(w, z, beta=1 / gamma, tau=tau, form="source_code"), w)
    itself = torch.eye(7, dtype=torch.bool)
    omega = (torch.einsum("bic,bjc->bij", z, z) / gamma).masked_fill(itself, -torch.inf).softmax(2)
    omega = omega / omega.amax(2, keepdim=True)
    negatives = (omega * torch.einsum("bic,bjc->bij", w, z)).masked_fill(itself, -10.0)  # as the code has it
    positives = (w * z).sum(2, keepdim=True)
    (expected,) = torch.autograd.grad(((negatives - positives) / tau).logsumexp(2).mean(), w)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_positive_is_not_in_the_denominator():
    """Decoupled: the pull of a positive stays whole, where InfoNCE lets go once it is found."""
    z = F.normalize(torch.eye(4)[None] + 0.01, dim=2)
    for form in FORMS:
        w = z.clone().requires_grad_()
        hdce(w, z, beta=1.0, form=form).backward()
        decoupled = (w.grad * z).sum(2).abs().mean()
        v = z.clone().requires_grad_()
        patch_nce(v, z).backward()
        assert decoupled > 100 * (v.grad * z).sum(2).abs().mean()


def test_negatives_like_the_query_push_harder_the_higher_beta():
    z = F.normalize(torch.tensor([[[1.0, 0, 0], [0.9, 0.4, 0], [0, 0, 1.0]]]), dim=2)  # 1 is like 0, 2 is not
    shares = []
    for beta in (0.0, 1.0, 5.0):
        w = torch.zeros(1, 3, 3, requires_grad=True)  # equal to all, so that the weights alone decide
        hdce(w, z, beta=beta).backward()
        push = w.grad[0, 0] + z[0, 0] / (3 * 0.07)  # without the pull of the positive
        shares.append((push @ z[0, 1]).item())
    assert shares == sorted(shares)
    assert shares[-1] > 1.5 * shares[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("B", "n"), [(1, 2), (3, 5)])
def test_any_batch_and_number_of_positions_gives_the_mean_over_rows(form, B, n):
    w, z = unit(B, n, 4, 0), unit(B, n, 4, 1)
    rows = torch.stack([hdce(w[i : i + 1], z[i : i + 1], beta=1.0, form=form) for i in range(B)])
    torch.testing.assert_close(hdce(w, z, beta=1.0, form=form), rows.mean())


def test_the_weights_of_the_negatives_carry_no_gradient():
    w, z = unit(1, 5, 4, 0), unit(1, 5, 4, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(hdce(w, z, beta=3.0), z)
    omega = torch.einsum("bic,bjc->bij", z, z).detach()
    itself = torch.eye(5, dtype=torch.bool)
    log_omega = (3.0 * omega).masked_fill(itself, -torch.inf).log_softmax(2)
    s = torch.einsum("bic,bjc->bij", w, z) / 0.07
    (expected,) = torch.autograd.grad(((log_omega + s).logsumexp(2) - s.diagonal(dim1=1, dim2=2)).mean(), z)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_one_patch_has_no_negative_and_is_refused():
    with pytest.raises(ValueError, match="two patches"):
        hdce(torch.ones(1, 1, 2), torch.ones(1, 1, 2), beta=1.0)


def test_autocast_and_half_precision_are_computed_in_float32():
    w, z = unit(1, 9, 16, 0).bfloat16(), unit(1, 9, 16, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = patch_nce(w, z), hdce(w, z, beta=1.0)
    full = patch_nce(w.float(), z.float()), hdce(w.float(), z.float(), beta=1.0)
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(low, full, strict=True))


LOSSES = {
    "patch_nce": patch_nce,
    "relation_divergence": relation_divergence,
    **{f"hdce {form}": lambda w, z, form=form: hdce(w, z, beta=2.0, form=form) for form in FORMS},
}


@pytest.mark.parametrize("name", LOSSES)
def test_blocks_of_queries_have_the_value_and_the_gradients_of_all_at_once(name, monkeypatch):
    w, z = (unit(2, 11, 8, seed).float().requires_grad_() for seed in (0, 1))
    at_once = LOSSES[name](w, z)
    monkeypatch.setattr(module, "BLOCK", 4)  # the last block has three queries
    in_blocks = LOSSES[name](w, z)
    torch.testing.assert_close(in_blocks, at_once)
    for a, b in zip(torch.autograd.grad(in_blocks, (w, z)), torch.autograd.grad(at_once, (w, z)), strict=True):
        torch.testing.assert_close(a, b)


def test_blocks_keep_no_matrix_of_all_pairs_for_the_backward_pass(monkeypatch):
    kept: list[int] = []
    monkeypatch.setattr(module, "BLOCK", 16)
    w, z = unit(1, 128, 8, 0).float().requires_grad_(), unit(1, 128, 8, 1).float()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        for loss in LOSSES.values():
            loss(w, z)
    assert max(kept, default=0) < 16 * 128


def test_patches_that_resemble_each_other_as_before_have_no_relation_divergence():
    z = unit(2, 7, 8, 0)
    turn = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    assert relation_divergence(z, z).item() == pytest.approx(0.0, abs=1e-6)
    assert relation_divergence(z @ turn, z).item() == pytest.approx(0.0, abs=1e-6)  # products are all that counts
    assert relation_divergence(unit(2, 7, 8, 2), z).item() > 0.01


def test_the_relation_divergence_of_two_patches_worked_by_hand():
    """Alike before, opposite after: per patch softmax(1, 1) against softmax(1, -1)."""
    z, w = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    near = exp(1) / (exp(1) + exp(-1))
    p, q = (near, 1 - near), (0.5, 0.5)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    one = sum(0.5 * a * log(a / m) + 0.5 * b * log(b / m) for a, b, m in zip(p, q, middle, strict=True))
    assert relation_divergence(w, z).item() == pytest.approx(2 * one, rel=1e-5)  # summed over both patches
    assert relation_divergence(z, w).item() == pytest.approx(2 * one, rel=1e-5)


def test_the_relation_divergence_is_that_of_one_image_averaged_over_images():
    w, z = unit(3, 5, 8, 0), unit(3, 5, 8, 1)
    each = [relation_divergence(w[i : i + 1], z[i : i + 1]).item() for i in range(3)]
    assert relation_divergence(w, z).item() == pytest.approx(sum(each) / 3, rel=1e-5)
