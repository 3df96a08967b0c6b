"""What BBDM, cBBDM, CDiffusion, CCM and DGDM have in common: one network, many evaluations, averaged weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sarbench.bench.interface import Batch, Method, Pairs
from sarbench.bench.train import Game, Hardware
from sarbench.methods.bbdm import BBDM
from sarbench.methods.cbbdm import CBBDM
from sarbench.methods.ccm import CCM
from sarbench.methods.cdiffusion import CDiffusion
from sarbench.methods.dgdm import DGDM

METHODS = [BBDM, CBBDM, CDiffusion, CCM, DGDM]
SMALL = {"unet_widths": (8, 16)}
LAYOUTS = {
    BBDM: {**SMALL, "steps": 3},
    CBBDM: {**SMALL, "steps": 3},
    CDiffusion: {**SMALL, "steps": 3, "unet_heads": (0, 2)},
    CCM: {**SMALL, "unet_blocks": (1, 1), "unet_heads": (0, 2), "sigmas": (80.0, 5.0)},
    DGDM: {**SMALL, "predictor_width": 8, "predictor_blocks": 1, "steps": 6, "skipped": 3},
}
of_each_method = pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)


def build(cls: type[Method], seed: int = 0, **changes) -> Method:
    torch.manual_seed(seed)
    return cls(replace(cls.presets["tiny"], **{**LAYOUTS[cls], **changes}), 3, 3)


def pairs(n: int = 4, side: int = 16, seed: int = 0) -> Batch:
    """Random sources, and targets that are a function of them."""
    noise = torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
    source = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1))
    ids = tuple(map(str, range(n)))
    return Batch(Pairs(source, -0.5 * source.flip(1) + 0.2, torch.arange(n), ids, ids))


def awake(method: Method) -> Method:
    """The method with layers that start at zero drawn at random, as if it had been trained for a while."""
    for layer in method.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.05)
    return method


@of_each_method
def test_every_loss_moves_its_player_and_every_parameter_gets_a_gradient(cls):
    method = awake(build(cls))
    players = {name: player.parameters() for name, player in method.players().items()}
    names = {id(p): name for name, p in method.named_parameters()}
    reached = {name: set() for name in players}
    for player, losses in method.training_step(pairs(), 0.0):
        for term, loss in losses.items():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            gradients = torch.autograd.grad(loss, players[player], retain_graph=True, allow_unused=True)
            assert any(g is not None and g.any() for g in gradients), f"{player}.{term} moves nothing"
            reached[player] |= {id(p) for p, g in zip(players[player], gradients, strict=True) if g is not None and g.any()}
    assert not [names[id(p)] for name, owned in players.items() for p in owned if id(p) not in reached[name]]


@of_each_method
def test_noise_and_steps_belong_to_the_row_not_to_the_batch_or_the_global_generator(cls):
    method, batch = awake(build(cls)), pairs()

    def loss(batch: Batch) -> float:
        return sum(sum(losses.values()).item() for _, losses in method.training_step(batch, 0.0))

    together = loss(batch)
    torch.manual_seed(5)
    assert together == pytest.approx(sum(loss(part) for part in batch.parts(4)) / 4, rel=1e-4)


@of_each_method
def test_a_step_and_a_translation_under_autocast_are_finite_float32(cls):
    method = awake(build(cls))
    with torch.autocast("cpu", torch.bfloat16):
        for _, losses in method.training_step(pairs(), 0.0):
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        with torch.no_grad():
            out = method.eval().translate(pairs().paired.source, torch.arange(4))
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@of_each_method
def test_a_translation_takes_as_many_evaluations_as_it_says(cls):
    method, calls = awake(build(cls)).eval(), []
    method.unet.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        out = method.translate(pairs().paired.source, torch.arange(4))
    assert len(calls) == method.evaluations
    assert out.abs().max() <= 1.0


@of_each_method
def test_the_card_states_the_evaluations_and_sizes_of_the_paper_preset(cls):
    with torch.device("meta"):
        method = cls(cls.presets["paper"], 3, 3)
    assert method.evaluations == cls.card.evaluations
    assert method.size_multiple == cls.card.size_multiple
    assert cls.card.stochastic


@of_each_method
def test_translations_are_made_by_the_average_of_the_weights_which_a_resumed_run_takes_up(cls):
    always = {"ema_decay": 0.5} if cls in (CDiffusion, CCM) else {"ema_decay": 0.5, "ema_every": 1, "ema_start": 0.0}
    method, resumed = build(cls, **always), Game(build(cls, seed=1, **always), Hardware())
    game, stem = Game(method, Hardware()), method.unet.stem.weight
    seen = [stem.detach().clone()]
    for step in range(2):
        resumed.load_state(game.state())
        game.step(pairs(seed=step), step, 0.6, 0)
        seen.append(stem.detach().clone())
    expected = 0.25 * seen[0] + 0.25 * seen[1] + 0.5 * seen[2]
    torch.testing.assert_close(game.weights()["unet.stem.weight"], expected)
    resumed.step(pairs(seed=1), 1, 0.6, 0)
    assert all(torch.equal(value, resumed.weights()[label]) for label, value in game.weights().items())


@of_each_method
def test_pairs_are_learned(cls):
    method = build(cls)
    game, history = Game(method, Hardware()), []
    for _ in range(15):
        losses = game.step(pairs(), 0, 0.0, 0)  # the same noise again, so that the loss can be compared
        history.append(float(sum(losses.values())))
    assert history[-1] < 0.9 * history[0]
