from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch.nn import functional as F

from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1, mse, pseudo_huber

KINDS = ("bce", "least_squares", "hinge")


def test_an_undecided_discriminator_pays_two_log_two():
    zero = torch.zeros(2, 1, 6, 6)
    assert adversarial.discriminator(zero, zero, "bce").item() == pytest.approx(2 * log(2))
    assert adversarial.generator(zero, "bce").item() == pytest.approx(log(2))


def test_values_worked_by_hand():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-0.5, 3.0])
    # least squares: ((2-1)^2 + (0-1)^2)/2 + (0.5^2 + 3^2)/2;  G: ((-0.5-1)^2 + (3-1)^2)/2
    assert adversarial.discriminator(real, fake, "least_squares").item() == pytest.approx(1.0 + 4.625)
    assert adversarial.generator(fake, "least_squares").item() == pytest.approx(3.125)
    # hinge: (0 + 1)/2 + (0.5 + 4)/2;  G: -(-0.5 + 3)/2
    assert adversarial.discriminator(real, fake, "hinge").item() == pytest.approx(0.5 + 2.25)
    assert adversarial.generator(fake, "hinge").item() == pytest.approx(-1.25)
    # bce: log(1 + e^-d) for real, log(1 + e^d) for fake
    by_hand = (log(1 + exp(-2)) + log(2)) / 2 + (log(1 + exp(-0.5)) + log(1 + exp(3))) / 2
    assert adversarial.discriminator(real, fake, "bce").item() == pytest.approx(by_hand, rel=1e-6)


def test_bce_is_the_binary_cross_entropy_of_pytorch():
    real, fake = torch.randn(3, 1, 5, 5), torch.randn(3, 1, 5, 5)
    expected = F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(
        fake, torch.zeros_like(fake)
    )
    torch.testing.assert_close(adversarial.discriminator(real, fake, "bce"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_player_gains_by_moving_the_logits_its_way(kind):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    adversarial.discriminator(real, fake, kind).backward()
    assert (real.grad < 0).all()
    if kind != "least_squares":  # whose fakes are at their target of 0 already
        assert (fake.grad > 0).all()
    fake.grad = None
    adversarial.generator(fake, kind).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_scales_are_summed_each_by_its_own_mean(kind):
    real, fake = [torch.randn(2, 1, 8, 8), torch.randn(2, 1, 4, 4)], [torch.randn(2, 1, 8, 8), torch.randn(2, 1, 4, 4)]
    each = sum(adversarial.discriminator(r, f, kind) for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(adversarial.discriminator(real, fake, kind), each)
    torch.testing.assert_close(adversarial.generator(fake, kind), sum(adversarial.generator(f, kind) for f in fake))


@pytest.mark.parametrize("kind", KINDS)
def test_halves_of_a_batch_average_to_the_loss_of_the_whole(kind):
    real, fake = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    halves = [adversarial.discriminator(real[i : i + 2], fake[i : i + 2], kind) for i in (0, 2)]
    torch.testing.assert_close(sum(halves) / 2, adversarial.discriminator(real, fake, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_half_precision_logits_are_float32_and_finite(kind):
    logits = torch.tensor([300.0, -300.0], dtype=torch.float16)
    for loss in (adversarial.discriminator(logits, logits, kind), adversarial.generator(logits, kind)):
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)


def test_the_relativistic_loss_is_the_same_function_of_differences():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])  # means 2 and 1
    loss = adversarial.discriminator(real - fake.mean(), fake - real.mean(), "bce")
    by_hand = (log(2) + log(1 + exp(-2))) / 2 + (log(1 + exp(-2)) + log(2)) / 2
    assert loss.item() == pytest.approx(by_hand)


def test_a_relativistic_discriminator_compares_image_with_image_and_the_generator_turns_it_round():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])
    assert adversarial.relativistic(real, fake).item() == pytest.approx((log(1 + exp(-1)) + log(1 + exp(2))) / 2)
    assert adversarial.relativistic(fake, real).item() == pytest.approx((log(1 + exp(1)) + log(1 + exp(-2))) / 2)
    assert adversarial.relativistic(real, real).item() == pytest.approx(log(2))
    torch.testing.assert_close(
        adversarial.relativistic([real, fake], [fake, fake]), adversarial.relativistic(real, fake) + log(2)
    )


def test_l1_is_the_mean_absolute_difference_in_float32():
    fake, real = torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16), torch.tensor([[0.0, 1.0]])
    assert l1(fake, real).item() == 2.0
    assert l1(fake, real).dtype == torch.float32


def test_mse_is_the_mean_square_of_the_difference_in_float32():
    loss = mse(torch.tensor([1.0, 3.0], dtype=torch.bfloat16), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(2.5)
    assert loss.dtype == torch.float32


def test_the_pseudo_huber_distance_is_that_of_whole_rows():
    """Far apart it is the distance less c, near each other half its square over c, and c = 0.00054 sqrt(length)."""
    far, near = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 1e-6)
    c = 0.00054 * 2
    assert pseudo_huber(far, torch.zeros_like(far)).tolist() == pytest.approx([6.0 - c], rel=1e-4)
    both = pseudo_huber(torch.cat([far, near]).double(), torch.zeros(2, 1, 2, 2))
    assert both.shape == (2,)
    gradient = torch.autograd.functional.jacobian(lambda d: pseudo_huber(d, torch.zeros_like(d))[0], near)
    assert gradient.flatten()[0].item() == pytest.approx(1e-6 / c, rel=1e-2)
