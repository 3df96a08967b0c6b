from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarbench.methods.losses import weak_strong_matching as subject
from sarbench.methods.losses.weak_strong_matching import POLICY, coverage, strong_view, weak_view, window_l1

SEEDS = torch.arange(6)


def images(n: int = 6, channels: int = 2, side: int = 40) -> Tensor:
    noise = torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))
    return torch.tanh(4 * torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2))


def test_a_weak_view_is_the_image_mirrored_or_not_and_shifted_by_at_most_a_tenth():
    x, seen = images(), set()
    for image, view in zip(x, weak_view(x, SEEDS), strict=True):
        found = [
            (mirror, dy, dx)
            for mirror in (False, True)
            for dy in range(-4, 5)
            for dx in range(-4, 5)
            if torch.equal(view[:, 8:-8, 8:-8], (image.flip(2) if mirror else image).roll((dy, dx), dims=(1, 2))[:, 8:-8, 8:-8])
        ]
        assert len(found) == 1
        seen.add(found[0][0])
    assert seen == {False, True}


def test_a_view_depends_on_its_own_row_and_seed_alone():
    x = images()
    for view in (weak_view, strong_view):
        assert torch.equal(view(x, SEEDS)[3:4], view(x[3:4], SEEDS[3:4]))
        assert not torch.equal(view(x, SEEDS), view(x, SEEDS + 100))


def test_a_strong_view_has_a_grey_square_of_a_quarter_of_the_side():
    x = images().clamp(-0.9, -0.2)  # nothing grey, and nothing that an operation takes to exactly 0 in a whole square
    for view in strong_view(x, SEEDS):
        windows = view.unfold(1, 10, 1).unfold(2, 10, 1)  # (C, 31, 31, 10, 10)
        assert (windows == 0).all(dim=0).all(dim=2).all(dim=2).any()


def test_a_strong_view_is_an_image_and_never_moves_a_pixel():
    """Rows that are alike stay alike, but for the ten of the square: an operation looks at the pixel's value alone."""
    x = torch.linspace(-1, 1, 40).expand(30, 1, 40, 40).contiguous()
    for view in strong_view(x, torch.arange(30)):
        assert view.abs().max() <= 1
        usual = view[0].mode(dim=0).values
        assert (view[0] == usual).all(dim=1).sum() >= 28


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_a_flat_image_has_views_without_nan(value):
    x = torch.full((6, 1, 40, 40), value)
    assert strong_view(x, SEEDS).isfinite().all()
    assert torch.equal(weak_view(x, SEEDS), x)


def test_the_policy_is_the_25_of_autoaugment_and_every_operation_of_it_works():
    assert len(POLICY) == 25
    bands = torch.rand(2, 1, 8, 8)
    for name in {name for row in POLICY for name, _, _ in row}:
        assert subject._operation(bands, name, 5, False).shape == bands.shape


def test_each_scale_weighs_the_whole_image_as_one():
    for scale in (16, 32, 64):
        share = coverage(SEEDS, (64, 96), scale)
        assert share.shape == (6, 64, 96)
        assert share.min() >= 0
        torch.testing.assert_close(share.sum(dim=(1, 2)), torch.ones(6))
        used = {round(v, 3) for v in (share * max(1, (128 // scale) ** 2) * scale**2).unique().tolist()}
        assert used <= {float(i) for i in range(65)}, "a pixel is in a whole number of windows"


def test_windows_are_a_mean_over_random_places():
    first, second = images(), images().flip(0)
    every = [window_l1(first, second, SEEDS + 10 * i, (16,)) for i in range(60)]
    share = torch.stack([coverage(SEEDS + 10 * i, (40, 40), 16) for i in range(60)]).mean(dim=0)
    expected = (share * (first - second).abs().mean(dim=1)).sum(dim=(1, 2)).mean()
    torch.testing.assert_close(torch.stack(every).mean(), expected)


def test_a_constant_difference_counts_once_a_scale():
    x = images()
    assert window_l1(x, x, SEEDS, (16, 32, 64)) == 0
    torch.testing.assert_close(window_l1(x, x + 0.5, SEEDS, (32,)), torch.tensor(0.5))
    torch.testing.assert_close(window_l1(x, x + 0.5, SEEDS, (16, 32, 64)), torch.tensor(1.5))
