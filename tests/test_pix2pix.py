from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Method, Pairs
from sarbench.methods.pix2pix import Config, Pix2Pix

TINY = Pix2Pix.presets["tiny"]


def build(source_channels: int = 1, target_channels: int = 3, config: Config = TINY) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(config, source_channels, target_channels)


def four_pairs(seed: int = 0) -> Batch:
    """Smooth random sources, and targets that are a function of them."""
    noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    source = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    target = torch.cat([source, -source, source.abs() - 0.5], dim=1)
    ids = tuple("abcd")
    return Batch(Pairs(source, target, torch.arange(4), ids, ids))


def run_turns(method: Method, batch: Batch, visit: Callable[[str, dict[str, Tensor]], None]) -> None:
    """Every turn of one training step, in order."""
    for player, losses in method.training_step(batch, 0.0):
        visit(player, losses)


def train(method: Method, batch: Batch, steps: int) -> list[dict[str, float]]:
    """As the harness trains: each turn moves its own player; the losses of every step by "player.name"."""
    players = method.players()
    optimizers = {}
    for name, player in players.items():
        optimizers[name] = torch.optim.Adam(player.parameters(), player.optimizer.lr, player.optimizer.betas)
    history: list[dict[str, float]] = []

    def move(player: str, losses: dict[str, Tensor]) -> None:
        optimizers[player].zero_grad()
        sum(losses.values()).backward(inputs=players[player].parameters())  # type: ignore[union-attr]
        optimizers[player].step()
        history[-1].update({f"{player}.{name}": loss.item() for name, loss in losses.items()})

    for _ in range(steps):
        history.append({})
        run_turns(method, batch, move)
    return history


def test_the_turns_are_d_then_g_with_the_losses_of_the_paper():
    turns = []
    run_turns(build(), four_pairs(), lambda player, losses: turns.append((player, sorted(losses))))
    assert turns == [("D", ["gan"]), ("G", ["gan", "l1"])]


def test_every_loss_moves_its_player_and_every_parameter_gets_a_gradient():
    method = build()

    def audit(player: str, losses: dict[str, Tensor]) -> None:
        parameters = method.players()[player].parameters()
        for name, loss in losses.items():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            assert any(g is not None and g.any() for g in gradients), f"{player}.{name} moves nothing"
        gradients = torch.autograd.grad(sum(losses.values()), parameters, retain_graph=True, allow_unused=True)
        assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)

    run_turns(method, four_pairs(), audit)


def test_the_first_losses_are_those_of_networks_that_know_nothing():
    """An untrained D says 1/2 to everything, so D pays log 2 (halved) and G log 2; an untrained G is grey."""
    method, batch = build(), four_pairs()
    first = train(method, batch, 1)[0]
    assert first["D.gan"] == pytest.approx(0.693, abs=0.1)
    assert first["G.gan"] == pytest.approx(0.693, abs=0.1)
    assert first["G.l1"] == pytest.approx(100 * batch.paired.target.abs().mean().item(), rel=0.05)


def test_four_pairs_are_learned():
    history = train(build().train(), four_pairs(), 40)
    assert history[-1]["G.l1"] < 0.6 * history[0]["G.l1"]


def test_the_discriminator_turn_leaves_no_gradient_path_into_g():
    method = build()
    turns = method.training_step(four_pairs(), 0.0)
    _, losses = next(turns)
    gradients = torch.autograd.grad(losses["gan"], list(method.G.parameters()), allow_unused=True)
    assert all(g is None for g in gradients)


def test_a_step_under_autocast_has_float32_losses():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        run_turns(method, four_pairs(), lambda _, losses: [check_float32(loss) for loss in losses.values()])


def check_float32(loss: Tensor) -> None:
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_the_same_seed_gives_the_same_weights_losses_and_images():
    first, second = build(), build()
    assert train(first, four_pairs(), 3) == train(second, four_pairs(), 3)
    source = four_pairs(1).paired.source
    assert torch.equal(first.eval().translate(source, torch.arange(4)), second.eval().translate(source, torch.arange(4)))


def test_dropout_in_training_draws_from_the_seeds_of_the_rows():
    config = replace(TINY, dropout=0.5)
    losses = []
    for manual_seed in (1, 2):
        method = build(config=config)
        torch.manual_seed(manual_seed)
        losses.append(train(method, four_pairs(), 1))
    assert losses[0] == losses[1]


def test_a_translation_does_not_depend_on_its_batch_its_seed_or_the_mode_of_dropout():
    method = build(config=Config(width=4, halvings=5, discriminator_width=4, discriminator_layers=2)).train()
    train(method, four_pairs(), 2)
    method.eval()
    source = four_pairs(1).paired.source
    with torch.no_grad():
        together = method.translate(source, torch.arange(4))
        assert together.shape == (4, 3, 64, 64)
        assert together.dtype == torch.float32
        assert torch.equal(together, method.translate(source, torch.arange(4) + 9))
        for row in range(4):
            alone = method.translate(source[row : row + 1], torch.tensor([row]))
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_a_state_dict_round_trip_keeps_the_translation():
    method, other = build(), build()
    train(method, four_pairs(), 2)
    other.load_state_dict(method.state_dict())
    source = four_pairs(1).paired.source
    assert torch.equal(method.eval().translate(source, torch.arange(4)), other.eval().translate(source, torch.arange(4)))


@pytest.mark.parametrize(("channels", "size"), [((1, 3), 33), ((1, 3), 48), ((2, 3), 64)])
def test_a_source_of_a_wrong_size_or_channel_count_is_refused(channels, size):
    method = build(1, 3)
    with pytest.raises(ContractError, match="pix2pix"):
        method.refuse_bad_source(torch.zeros(1, channels[0], size, size))


def test_any_channel_counts_and_sides_that_are_multiples_fit():
    method = build(2, 1).eval()
    source = torch.randn(1, 2, 32, 96).clamp(-1, 1)
    method.refuse_bad_source(source)
    assert method.translate(source, torch.arange(1)).shape == (1, 1, 32, 96)


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = Pix2Pix(Pix2Pix.presets["paper"], 3, 3)
    assert sum(p.numel() for p in method.G.parameters()) == 54_413_955
    assert sum(p.numel() for p in method.D.parameters()) == 2_768_705
    assert method.size_multiple == method.card.size_multiple == 256


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "pix2pix")["title"] == "pix2pix"
    assert set(Pix2Pix.presets) == {"paper", "bench", "tiny"}
