"""Costs worked by hand."""

from __future__ import annotations

import torch
from torch import nn

from sarbench.bench.cost import translation_cost
from sarbench.bench.interface import Card, Method
from sarbench.bench.train import Hardware


class OneConv(Method):
    """Translates with one 3x3 convolution; its second network only trains."""

    card = Card(title="one", paper="this test", year=2026, supervision="none", channels="any", role="floor", size_multiple=8)

    def __init__(self) -> None:
        super().__init__(None, 1, 3)
        self.G = nn.Conv2d(1, 3, 3, padding=1)
        self.D = nn.Conv2d(3, 1, 3)

    def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return self.G(source).tanh()


def test_only_what_translating_runs_is_counted_and_a_multiply_add_is_two() -> None:
    parameters, flops = translation_cost(OneConv(), torch.zeros(1, 1, 16, 16), Hardware())
    assert parameters == 3 * 9 + 3
    assert flops == 2 * 9 * 3 * 16 * 16


def test_a_side_that_is_no_multiple_is_scaled_back_to_the_whole_image() -> None:
    _, flops = translation_cost(OneConv(), torch.zeros(1, 1, 20, 16), Hardware())
    assert flops == 2 * 9 * 3 * 20 * 16


def test_counting_leaves_no_hook_behind() -> None:
    method = OneConv()
    translation_cost(method, torch.zeros(1, 1, 8, 8), Hardware())
    assert not method.G._forward_pre_hooks
