from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sarbench.methods.losses.misalignment import best_shifted, shift_tolerant_l1
from sarbench.methods.losses.reconstruction import l1


def image(seed: int = 0, side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def moved(target: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """What lies (down, right) of each pixel, in its place; beyond the border, the last pixels."""
    reach = max(abs(down), abs(right))
    height, width = target.shape[2:]
    padded = F.pad(target, (reach,) * 4, mode="replicate")
    return padded[:, :, reach + down : reach + down + height, reach + right : reach + right + width]


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (-1, 2), (-2, -2)])
def test_a_shift_within_reach_costs_nothing(down, right):
    target = image()
    assert shift_tolerant_l1(moved(target, down, right), target, reach=2, patch=8) == 0


def test_a_shift_beyond_reach_costs():
    target = image()
    assert shift_tolerant_l1(moved(target, 3, 0), target, reach=2, patch=8) > 0.1


def test_each_patch_of_each_row_shifts_by_itself():
    target = image()
    fake = target.clone()
    fake[0, :, :8, :8] = moved(target, 1, 1)[0, :, :8, :8]
    fake[1, :, 24:, 24:] = moved(target, -1, 0)[1, :, 24:, 24:]
    assert torch.equal(best_shifted(target, fake, reach=1, patch=8), fake)
    assert not torch.equal(best_shifted(target, fake, reach=1, patch=32), fake)


def test_without_reach_it_is_l1_and_with_reach_never_more():
    fake, target = image(1), image(2)
    assert shift_tolerant_l1(fake, target, reach=0, patch=8) == l1(fake, target)
    costs = [shift_tolerant_l1(fake, target, reach=reach, patch=8).item() for reach in range(4)]
    assert costs == sorted(costs, reverse=True)


def test_where_all_shifts_are_as_good_none_is_taken():
    stripes = torch.arange(16.0).remainder(2).expand(1, 1, 16, 16)  # each repeats two columns on
    assert torch.equal(best_shifted(stripes, stripes.clone(), reach=2, patch=8), stripes)
    flat = torch.zeros(1, 1, 8, 8)
    assert shift_tolerant_l1(flat + 0.25, flat, reach=2, patch=4) == 0.25


def test_sides_need_not_be_whole_patches():
    target = image(side=20)
    assert shift_tolerant_l1(moved(target, 0, 1), target, reach=1, patch=8) == 0


def test_the_gradient_is_that_of_l1_to_the_shifted_target():
    fake, target = image(1).requires_grad_(), image(2).requires_grad_()
    shift_tolerant_l1(fake, target, reach=1, patch=8).backward()
    expected = torch.sign(fake.detach() - best_shifted(target, fake, reach=1, patch=8)) / fake.numel()
    torch.testing.assert_close(fake.grad, expected)
    assert target.grad is None


def test_half_precision_gives_a_float32_loss():
    loss = shift_tolerant_l1(image(1).bfloat16(), image(2), reach=1, patch=8)
    assert loss.dtype == torch.float32
