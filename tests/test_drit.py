from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.checks import CPU
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.bench.train import Game
from sarbench.methods.drit import DRIT, Config
from sarbench.methods.networks.disentangled import (
    AttributeEncoder,
    AttributeGenerator,
    ContentDiscriminator,
    ContentEncoder,
    frozen,
)

TINY = replace(DRIT.presets["tiny"], width=4, blocks=1, discriminator_width=4)
ENCODED = [f"{name}_{d}" for name in ("content", "cycle", "gan", "kl", "l2", "rec") for d in "xy"]
RANDOM = [f"{name}_{d}" for name in ("latent", "mode_seeking", "random_gan") for d in "xy"]


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> DRIT:
    torch.manual_seed(0)
    return DRIT(replace(TINY, **changes), source_channels, target_channels).train()  # type: ignore[arg-type]


def rows(n: int = 2, source_channels: int = 1, target_channels: int = 3, size: int = 48) -> Batch:
    noise = torch.randn(n, source_channels + target_channels, size, size, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcd"[:n])
    return Batch(None, Pairs(images[:, :source_channels], images[:, source_channels:] * 0.5 + 0.2, torch.arange(n), ids, ids))


def turns(method: DRIT, batch: Batch) -> list[tuple[str, dict[str, Tensor]]]:
    return list(method.training_step(batch, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in gradients)


def test_the_networks_have_the_published_numbers_of_parameters():
    channels = {"x": 3, "y": 3}
    with torch.device("meta"):
        networks = (
            ContentEncoder(channels),
            AttributeEncoder(channels),
            AttributeGenerator(channels),
            ContentDiscriminator(256),
        )
        method = DRIT(DRIT.presets["paper"], 3, 3)
    counts = [9_018_112, 2_688_160, 9_564_710, 10_683_649]
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == counts
    assert [sum(p.numel() for p in n.parameters()) for n in (method.E_c, method.E_a, method.G, method.D_c)] == counts
    judges = [*method.D.values(), *method.D_random.values()]
    assert [sum(p.numel() for p in network.parameters()) for network in judges] == [8_271_171] * 4


def test_the_turns_are_the_contents_the_images_and_twice_the_generators_with_the_losses_of_the_paper():
    found = [(player, sorted(terms)) for player, terms in turns(build(content_updates=3), rows())]
    images = ["gan_x", "gan_y", "random_gan_x", "random_gan_y"]
    assert found == [("D_c", ["content"])] * 3 + [("D", images), ("G", ENCODED), ("G", RANDOM)]


def test_each_loss_of_the_encoded_branch_reaches_exactly_the_networks_on_its_path():
    method = build()
    found = turns(method, rows())[-2][1]
    parts = {
        **{f"E_c_{d}": method.E_c.own[d] for d in "xy"},
        **{f"E_a_{d}": method.E_a.own[d] for d in "xy"},
        **{f"G_{d}": method.G.own[d] for d in "xy"},
    }
    paths = {
        "content_x": {"E_c_x"},
        "l2_x": {"E_c_x"},
        "kl_x": {"E_a_x"},
        "rec_x": {"E_c_x", "E_a_x", "G_x"},
        "gan_x": {"E_c_y", "E_a_x", "G_x"},  # the content of y under the attributes of x
        "cycle_x": set(parts),  # x and y swap, and swap back
    }
    for name, expected in paths.items():
        assert {part for part, module in parts.items() if reaches(found[name], module)} == expected, name


def test_the_turn_of_random_attributes_leaves_the_attribute_encoders_alone():
    method = build()
    found = turns(method, rows())[-1][1]
    for name, loss in found.items():
        assert not reaches(loss, method.E_a), name
        assert reaches(loss, method.E_c.own["y" if name.endswith("x") else "x"]), name
        assert reaches(loss, method.G.own[name[-1]]), name


def test_a_frozen_encoder_gives_what_it_gives_and_gradients_to_its_input_alone():
    network, x = AttributeEncoder({"x": 1, "y": 3}, size=3, width=2, layers=2), torch.randn(2, 1, 16, 16, requires_grad=True)
    mean, log_var = frozen(network, x, "x")
    for ours, theirs in zip((mean, log_var), network(x, "x"), strict=True):
        assert torch.equal(ours, theirs)
    mean.sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in network.parameters())


def test_a_step_moves_every_parameter_and_an_attribute_encoder_once():
    method = build(weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    game = Game(method, CPU)
    game.step(rows(), 0, 0.0, 0)
    still = [n for n, p in method.named_parameters() if torch.equal(p, before[n]) and not n.endswith("bias")]
    assert not still  # a bias before instance normalisation has a gradient of rounding noise, or of nothing
    optimizer = game.optimizers["G"]
    steps = {n: int(optimizer.state[p]["step"]) for n, p in method.named_parameters() if p in optimizer.state}
    assert {count for n, count in steps.items() if n.startswith("E_a")} == {1}
    assert {count for n, count in steps.items() if n.startswith(("E_c", "G"))} == {2}


def test_the_discriminator_turns_leave_no_gradient_path_into_the_generators():
    method = build()
    generators = method.players()["G"].parameters()
    for player, found in turns(method, rows())[:2]:
        assert player in ("D_c", "D")
        assert all(
            g is None for g in torch.autograd.grad(sum(found.values()), generators, retain_graph=True, allow_unused=True)
        )


def test_the_content_loss_of_the_encoders_is_least_where_the_discriminator_is_undecided():
    method = build()
    for p in method.D_c.parameters():
        torch.nn.init.zeros_(p)
    found = turns(method, rows())[-2][1]
    assert found["content_x"].item() == pytest.approx(torch.tensor(2.0).log().item())


def test_mode_seeking_is_the_distance_of_attributes_over_that_of_images_row_by_row():
    method = build(lambda_ms=2.0)
    attributes = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0], [1.0, 1.0]]])  # apart by 2 and 1
    images = torch.stack([torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)])
    loss = method.diversity(attributes, images, attributes)["mode_seeking"]
    assert loss.item() == pytest.approx(2.0 * (2 / 0.5 + 1 / 0.5) / 2, rel=1e-3)


def test_the_noise_on_contents_is_of_training_alone():
    method, batch = build(), rows()
    clean = turns(build(content_noise=0.0), batch)[-2][1]["rec_x"]
    assert not torch.equal(clean, turns(method, batch)[-2][1]["rec_x"])
    source, seeds = batch.unpaired.source, torch.arange(2)
    quiet = build(content_noise=0.0).eval()
    assert torch.equal(method.eval().translate(source, seeds), quiet.translate(source, seeds))


def test_contents_too_small_for_their_discriminator_are_refused_with_a_remedy():
    assert ContentDiscriminator(2)(torch.zeros(1, 2, 53, 53)).shape == (1, 1, 1, 1)  # 212 px: the paper crops 216
    with pytest.raises(ContractError, match=r"at least 212 px, got 128 px.*content_layers"):
        ContentDiscriminator(2)(torch.zeros(1, 2, 32, 32))


def test_two_halves_of_a_batch_have_on_average_the_losses_of_the_whole():
    whole = turns(build(), rows(2))
    halves = [turns(build(), part) for part in rows(2).parts(2)]
    for turn, (_, found) in enumerate(whole):
        for name, value in found.items():
            mean = (halves[0][turn][1][name] + halves[1][turn][1][name]) / 2
            torch.testing.assert_close(mean, value, atol=1e-4, rtol=1e-3)


def test_a_step_under_autocast_has_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for _, found in turns(build(), rows()):
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in found.values())


def test_attributes_are_drawn_from_the_seed_of_their_image_alone():
    method = build().eval()
    source = rows(3).unpaired.source
    with torch.no_grad():
        together = method.translate(source, torch.tensor([4, 5, 6]))
        alone = method.translate(source[1:2], torch.tensor([5]))
        other = method.translate(source[1:2], torch.tensor([7]))
        back = method.translate_back(rows(3).unpaired.target, torch.arange(3))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert not torch.equal(alone, other)
    assert back.shape == source.shape


def test_the_content_discriminator_learns_slower_and_is_clipped():
    with torch.device("meta"):
        players = DRIT(DRIT.presets["paper"], 3, 3).players()
    assert (players["D_c"].optimizer.lr, players["D_c"].optimizer.clip_norm) == (4e-5, 5.0)
    assert (players["G"].optimizer.lr, players["D"].optimizer.clip_norm) == (1e-4, None)


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "drit")["title"] == "DRIT++"
