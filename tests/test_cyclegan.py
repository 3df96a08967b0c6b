from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Method, Pairs
from sarbench.methods.cyclegan import Config, CycleGAN

TINY = CycleGAN.presets["tiny"]


def build(source_channels: int = 3, target_channels: int = 3, config: Config = TINY) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(config, source_channels, target_channels)


def four_rows(seed: int = 0) -> Batch:
    """Smooth random sources and, unpaired, targets that are other images with their bands turned round."""
    noise = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcd")
    return Batch(None, Pairs(images[:4], images[4:].flip(1) * 0.5 + 0.3, torch.arange(4), ids, ids))


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


def test_the_turns_are_g_then_d_with_the_losses_of_the_paper():
    turns = []
    run_turns(build(), four_rows(), lambda player, losses: turns.append((player, sorted(losses))))
    assert turns == [
        ("G", ["cycle_x", "cycle_y", "gan_F", "gan_G", "identity_x", "identity_y"]),
        ("D", ["D_X", "D_Y"]),
    ]


def test_every_loss_moves_its_player_and_every_parameter_gets_a_gradient():
    """A bias before instance normalisation changes nothing, so its gradient is rounding noise: there, but perhaps 0."""
    method = build()

    def audit(player: str, losses: dict[str, Tensor]) -> None:
        modules = {"G": [method.G, method.F], "D": [method.D_X, method.D_Y]}[player]
        named = [item for module in modules for item in module.named_parameters()]
        parameters = method.players()[player].parameters()
        assert [id(p) for _, p in named] == [id(p) for p in parameters]
        for name, loss in losses.items():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            assert max(g.abs().max().item() for g in gradients if g is not None) > 1e-3, f"{player}.{name} moves nothing"
        gradients = torch.autograd.grad(sum(losses.values()), parameters, retain_graph=True, allow_unused=True)
        for (name, _), gradient in zip(named, gradients, strict=True):
            assert gradient is not None
            assert gradient.isfinite().all()
            assert gradient.any() or name.endswith("bias")

    run_turns(method, four_rows(), audit)


def test_each_loss_of_the_generators_reaches_the_networks_that_it_names():
    method = build()
    reach = {"gan_G": "G", "gan_F": "F", "cycle_x": "GF", "cycle_y": "GF", "identity_y": "G", "identity_x": "F"}
    _, losses = next(method.training_step(four_rows(), 0.0))
    for name, networks in reach.items():
        for network in "GF":
            weight = getattr(method, network).head.weight
            (gradient,) = torch.autograd.grad(losses[name], [weight], retain_graph=True, allow_unused=True)
            assert (gradient is not None and bool(gradient.any())) == (network in networks), (name, network)


def test_generators_that_do_nothing_pay_no_cycle_and_no_identity():
    method, batch = build(), four_rows()
    method.G, method.F = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    _, losses = next(method.training_step(batch, 0.0))
    assert all(losses[name] == 0.0 for name in ("cycle_x", "cycle_y", "identity_x", "identity_y"))


def test_the_weights_of_the_losses_are_those_of_the_config():
    batch = four_rows()
    _, once = next(build(config=replace(TINY, lambda_cycle=1.0, lambda_identity=1.0)).training_step(batch, 0.0))
    _, paper = next(build(config=replace(TINY, lambda_cycle=10.0, lambda_identity=0.5)).training_step(batch, 0.0))
    torch.testing.assert_close(paper["cycle_x"], 10 * once["cycle_x"])
    torch.testing.assert_close(paper["identity_y"], 5 * once["identity_y"])
    torch.testing.assert_close(paper["gan_G"], once["gan_G"])


def test_both_generators_and_discriminators_learn_on_four_rows():
    history = train(build().train(), four_rows(), 20)
    for name in ("G.cycle_x", "G.cycle_y", "G.identity_x", "G.identity_y", "D.D_X", "D.D_Y"):
        assert history[-1][name] < 0.9 * history[0][name], name


def test_the_discriminators_see_the_past_once_the_pools_are_full():
    method = build(config=replace(TINY, pool_size=2))
    train(method, four_rows(), 4)
    assert method.pool_x.filled == method.pool_y.filled == 2
    assert method.pool_y.images.shape == (4 * 2, 3, 32, 32)


def test_the_discriminator_turn_leaves_no_gradient_path_into_the_generators():
    method = build()
    *_, (_, losses) = method.training_step(four_rows(), 0.0)
    generators = [*method.G.parameters(), *method.F.parameters()]
    assert all(g is None for g in torch.autograd.grad(sum(losses.values()), generators, allow_unused=True))


def test_a_step_under_autocast_has_float32_losses():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        run_turns(method, four_rows(), lambda _, losses: [check_float32(loss) for loss in losses.values()])


def check_float32(loss: Tensor) -> None:
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_the_same_seed_gives_the_same_weights_losses_and_images():
    first, second = build(), build()
    assert train(first, four_rows(), 3) == train(second, four_rows(), 3)
    source = four_rows(1).unpaired.source
    assert torch.equal(first.eval().translate(source, torch.arange(4)), second.eval().translate(source, torch.arange(4)))


def test_a_translation_does_not_depend_on_its_batch_or_its_seed():
    method = build().train()
    train(method, four_rows(), 2)
    method.eval()
    source = four_rows(1).unpaired.source
    with torch.no_grad():
        together = method.translate(source, torch.arange(4))
        assert together.shape == (4, 3, 32, 32)
        assert together.dtype == torch.float32
        assert torch.equal(together, method.translate(source, torch.arange(4) + 9))
        for row in range(4):
            alone = method.translate(source[row : row + 1], torch.tensor([row]))
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_training_goes_on_from_a_state_dict_with_the_same_pools():
    method, other = build(config=replace(TINY, pool_size=1)), build(config=replace(TINY, pool_size=1))
    train(method, four_rows(), 2)
    other.load_state_dict(method.state_dict())
    assert train(method, four_rows(1), 1) == train(other, four_rows(1), 1)
    source = four_rows(1).unpaired.source
    assert torch.equal(method.eval().translate(source, torch.arange(4)), other.eval().translate(source, torch.arange(4)))


def test_two_halves_of_a_batch_have_on_average_the_losses_of_the_whole():
    def losses(method: CycleGAN, batch: Batch) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for _ in range(3):
            run_turns(method, batch, lambda player, losses: found.update({f"{player}.{k}": v for k, v in losses.items()}))
        return found

    config = replace(TINY, pool_size=1)
    whole = losses(build(config=config), four_rows())
    halves = [losses(build(config=config), part) for part in four_rows().parts(2)]
    for name, value in whole.items():
        torch.testing.assert_close((halves[0][name] + halves[1][name]) / 2, value, atol=1e-5, rtol=1e-4)


def test_unequal_channel_counts_are_refused_with_a_remedy():
    with pytest.raises(ContractError, match="channels=repeat"):
        build(1, 3)


@pytest.mark.parametrize(("channels", "size"), [(3, 33), (3, 50), (1, 64)])
def test_a_source_of_a_wrong_size_or_channel_count_is_refused(channels, size):
    with pytest.raises(ContractError, match="CycleGAN"):
        build().refuse_bad_source(torch.zeros(1, channels, size, size))


def test_any_sides_that_are_multiples_of_four_fit():
    method = build().eval()
    source = torch.randn(1, 3, 36, 52).clamp(-1, 1)
    method.refuse_bad_source(source)
    assert method.translate(source, torch.arange(1)).shape == source.shape


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = CycleGAN(CycleGAN.presets["paper"], 3, 3)
    assert [sum(p.numel() for p in network.parameters()) for network in (method.G, method.F)] == [11_378_179] * 2
    assert [sum(p.numel() for p in network.parameters()) for network in (method.D_X, method.D_Y)] == [2_764_737] * 2


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "cyclegan")["title"] == "CycleGAN"
    assert set(CycleGAN.presets) == {"paper", "bench", "tiny"}
