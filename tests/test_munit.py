from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.munit import MUNIT, Config

TINY = replace(MUNIT.presets["tiny"], width=4, blocks=1, mlp_width=8, discriminator_width=4)
TERMS = {
    "D": ["gan_x", "gan_y"],
    "G": ["content_x", "content_y", "gan_x", "gan_y", "rec_x", "rec_y", "style_x", "style_y"],
}


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> MUNIT:
    torch.manual_seed(0)
    return MUNIT(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def rows(n: int = 2, source_channels: int = 1, target_channels: int = 3, seed: int = 0) -> Batch:
    noise = torch.randn(n, source_channels + target_channels, 32, 32, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcd"[:n])
    return Batch(None, Pairs(images[:, :source_channels], images[:, source_channels:] * 0.5 + 0.2, torch.arange(n), ids, ids))


def losses(method: MUNIT, batch: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in gradients)


def test_the_turns_are_the_discriminators_then_the_autoencoders_with_the_losses_of_the_paper():
    assert [(player, sorted(terms)) for player, terms in build().training_step(rows(), 0.0)] == list(TERMS.items())
    with_cycle = losses(build(lambda_cycle=10.0), rows())["G"]
    assert sorted(set(with_cycle) - set(TERMS["G"])) == ["cycle_x", "cycle_y"]


def test_each_loss_reaches_exactly_the_networks_on_its_path():
    method = build(lambda_cycle=10.0)
    found = losses(method, rows())["G"]
    parts = {
        f"{part}_{domain}": getattr(autoencoder, part)
        for domain, autoencoder in (("x", method.X), ("y", method.Y))
        for part in ("E_content", "E_style", "blocks", "mlp")
    }
    decode_x, decode_y = {"blocks_x", "mlp_x"}, {"blocks_y", "mlp_y"}
    paths = {
        "rec_x": {"E_content_x", "E_style_x", *decode_x},
        "rec_y": {"E_content_y", "E_style_y", *decode_y},
        "gan_x": {"E_content_y", *decode_x},  # of the image translated to x, in a style from the prior
        "gan_y": {"E_content_x", *decode_y},
        "content_x": {"E_content_x", "E_content_y", *decode_y},  # x to y and back
        "content_y": {"E_content_x", "E_content_y", *decode_x},
        "style_x": {"E_content_y", "E_style_x", *decode_x},
        "style_y": {"E_content_x", "E_style_y", *decode_y},
        "cycle_x": {"E_content_x", "E_content_y", "E_style_x", *decode_x, *decode_y},
        "cycle_y": {"E_content_x", "E_content_y", "E_style_y", *decode_x, *decode_y},
    }
    assert set(paths) == set(found)
    for name, expected in paths.items():
        assert {part for part, module in parts.items() if reaches(found[name], module)} == expected, name


def test_every_parameter_gets_a_finite_gradient_and_only_its_own_players():
    method = build()
    players = method.players()
    for player, found in method.training_step(rows(), 0.0):
        total = sum(found.values())
        gradients = torch.autograd.grad(total, players[player].parameters(), retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)
        if player == "D":
            others = torch.autograd.grad(total, players["G"].parameters(), retain_graph=True, allow_unused=True)
            assert all(g is None for g in others)


def test_the_weights_of_the_losses_are_those_of_the_config():
    once = losses(build(lambda_x=1.0, lambda_c=1.0, lambda_s=1.0), rows())["G"]
    twice = losses(build(lambda_x=10.0, lambda_c=2.0, lambda_s=3.0), rows())["G"]
    for name, factor in {"rec_x": 10, "content_y": 2, "style_x": 3, "gan_y": 1}.items():
        torch.testing.assert_close(twice[name], factor * once[name])


def test_a_batch_of_one_trains_and_two_halves_have_on_average_the_losses_of_the_whole():
    whole = losses(build(), rows(2))
    halves = [losses(build(), part) for part in rows(2).parts(2)]
    for player, found in whole.items():
        for name, value in found.items():
            mean = (halves[0][player][name] + halves[1][player][name]) / 2
            torch.testing.assert_close(mean, value, atol=1e-5, rtol=1e-4)


def test_a_step_under_autocast_has_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for found in losses(build(), rows()).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in found.values())


def test_a_style_is_drawn_from_the_seed_of_its_image_alone():
    method = build().eval()
    source = rows(3).unpaired.source
    with torch.no_grad():
        together = method.translate(source, torch.tensor([4, 5, 6]))
        alone = method.translate(source[1:2], torch.tensor([5]))
        other = method.translate(source[1:2], torch.tensor([7]))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert not torch.equal(alone, other)


def test_the_way_back_is_a_source_in_a_random_style():
    method = build().eval()
    with torch.no_grad():
        back = method.translate_back(rows().unpaired.target, torch.arange(2))
    assert back.shape == (2, 1, 32, 32)


def test_the_paper_preset_has_the_published_networks_and_the_learning_rate_is_halved_ten_times():
    with torch.device("meta"):
        method = MUNIT(MUNIT.presets["paper"], 3, 3)
    assert [sum(p.numel() for p in network.parameters()) for network in (method.X, method.Y)] == [15_026_187] * 2
    assert [sum(p.numel() for p in network.parameters()) for network in (method.D_X, method.D_Y)] == [8_271_171] * 2
    schedule = method.players()["G"].optimizer.schedule
    assert [schedule(p) for p in (0.0, 0.1, 0.95)] == [1.0, 0.5, 2**-9]


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "munit")["stochastic"] is True
