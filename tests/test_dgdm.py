from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.interface import Batch, Pairs, normal
from sarbench.methods.dgdm import DGDM, Config
from sarbench.methods.networks.deterministic_predictor import ConvNeXtBlock, DeterministicPredictor

TINY = replace(DGDM.presets["tiny"], unet_widths=(8, 16), predictor_width=8, predictor_blocks=1, steps=5, skipped=2)


def build(config: Config = TINY) -> DGDM:
    torch.manual_seed(0)
    return DGDM(config, 3, 3)


def pairs() -> Pairs:
    source, target = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Pairs(source, target, torch.arange(2), ("a", "b"), ("a", "b"))


class Oracle(nn.Module):
    """A U-Net that knows the target, and notes what it is asked."""

    def __init__(self, y: Tensor) -> None:
        super().__init__()
        self.y, self.seen = y, []

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        self.seen.append((z, t))
        return z[:, :3] - self.y


def test_the_deterministic_branch_gives_an_estimate_and_features_a_quarter_as_large():
    network = DeterministicPredictor(2, 3, width=8, blocks=2)
    x = torch.randn(2, 2, 8, 12)
    p, features = network(x)
    assert p.shape == (2, 3, 8, 12)
    assert features.shape == (2, 8, 2, 3)
    torch.testing.assert_close(network(x[1:])[0], p[1:], atol=1e-5, rtol=0)


def test_a_convnext_block_starts_as_almost_nothing():
    x = torch.randn(1, 8, 8, 8)
    torch.testing.assert_close(ConvNeXtBlock(8)(x), x, atol=1e-4, rtol=0)
    assert not torch.equal(ConvNeXtBlock(8)(x), x)


def test_the_turns_are_the_deterministic_branch_which_the_bridge_teaches_too_then_the_unet():
    method = build()
    turns = dict(method.training_step(Batch(pairs()), 0.0))
    assert {player: sorted(losses) for player, losses in turns.items()} == {
        "predictor": ["bridge", "prediction"],
        "unet": ["bridge"],
    }
    predictor = list(method.predictor.parameters())
    assert any(
        g is not None and g.any() for g in torch.autograd.grad(turns["predictor"]["bridge"], predictor, allow_unused=True)
    )
    assert all(g is None for g in torch.autograd.grad(turns["unet"]["bridge"], predictor, allow_unused=True))


def test_the_walk_starts_half_way_between_the_estimate_and_the_source_and_ends_at_the_target():
    method, p = build().eval(), pairs()
    method.unet = Oracle(p.target)
    with torch.no_grad():
        torch.testing.assert_close(method.translate(p.source, p.seeds), p.target)
        estimate = method.predictor(p.source)[0]
    steps = [int(t[0]) for _, t in method.unet.seen]
    assert len(steps) == method.evaluations == 3
    assert steps[-1] == 0
    m = method.m[steps[0]]
    eps = normal(p.seeds, (3, 16, 16), "noise to start")
    expected = (1 - m) * estimate + m * p.source + (2 * (m - m**2)).sqrt() * eps
    torch.testing.assert_close(method.unet.seen[0][0][:, :3], expected)


def test_the_paper_skips_the_first_half_of_the_walk():
    paper = DGDM.presets["paper"]
    assert paper.steps - paper.skipped == DGDM.card.evaluations == 100
    assert DGDM.card.fidelity == "adapted"


def test_the_two_branches_have_their_own_rates():
    players = build(replace(TINY, learning_rate=1e-4, predictor_rate=1e-3)).players()
    assert [players[name].optimizer.lr for name in ("unet", "predictor")] == pytest.approx([1e-4, 1e-3])
