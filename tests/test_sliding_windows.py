from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarbench.methods.networks.sliding_windows import allowed, slide, starts


@pytest.mark.parametrize("size", [(64, 64), (65, 90), (33, 127), (31, 5), (1, 3)])
def test_a_network_of_single_pixels_gives_what_it_gives_on_the_whole(size):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(slide(lambda crop: 2 * crop[:, :2] + 1, x, (32, 32)), 2 * x[:, :2] + 1)


def test_every_window_has_the_size_asked_for_and_the_last_ends_with_the_image():
    seen: list[tuple[int, ...]] = []

    def network(crop: Tensor) -> Tensor:
        seen.append(tuple(crop[0, :, 0, 0].long().tolist()))
        assert crop.shape[2:] == (16, 16)
        return crop

    y, x = torch.meshgrid(torch.arange(37.0), torch.arange(24.0), indexing="ij")
    slide(network, torch.stack([y, x])[None], (16, 16))
    assert seen == [(top, left) for top in (0, 8, 16, 21) for left in (0, 8)]


def test_overlaps_are_averaged():
    numbers = iter([1.0, 2.0, 6.0])
    out = slide(lambda crop: torch.full_like(crop, next(numbers)), torch.zeros(1, 1, 8, 16), (8, 8))
    assert out[0, 0, 0].tolist() == [1.0] * 4 + [1.5] * 4 + [4.0] * 4 + [6.0] * 4


def test_an_image_of_one_window_is_one_pass():
    passes = []
    slide(lambda crop: (passes.append(1), crop)[1], torch.zeros(1, 1, 32, 32), (32, 32))
    assert passes == [1]


def test_starts_and_sides():
    assert starts(256, 256) == [0]
    assert starts(512, 256) == [0, 128, 256]
    assert starts(600, 256) == [0, 128, 256, 344]
    assert [allowed(side) for side in (1, 8, 9, 63, 64)] == [8, 8, 12, 64, 64]
