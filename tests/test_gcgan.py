from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.methods.gcgan import Config, GcGAN, turned, turned_back

TINY = replace(GcGAN.presets["tiny"], width=4, blocks=1, discriminator_width=4)
G_TERMS = {"gan", "gan_turned", "geo", "geo_turned", "identity", "identity_turned"}


def build(**changes: object) -> GcGAN:
    torch.manual_seed(0)
    return GcGAN(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def two_rows(height: int = 32, width: int = 32) -> Batch:
    noise = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    return Batch(None, Pairs(images[:2], images[2:].flip(1) * 0.5 + 0.2, torch.arange(2), ("a", "b"), ("a", "b")))


def losses(method: GcGAN, batch: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, 0.0))


def reaches(loss: Tensor, module: nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_the_turns_are_g_then_d_with_the_losses_of_the_paper():
    turns = [(player, set(terms)) for player, terms in build().training_step(two_rows(), 0.0)]
    assert turns == [("G", G_TERMS), ("D", {"D", "D_turned"})]


def test_a_rotation_is_clockwise_and_is_undone():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[None, None]
    assert turned(x, "rotation")[0, 0].tolist() == [[5.0, 3.0, 1.0], [6.0, 4.0, 2.0]]
    assert turned(x, "vertical_flip")[0, 0].tolist() == [[5.0, 6.0], [3.0, 4.0], [1.0, 2.0]]
    for geometry in ("rotation", "vertical_flip"):
        assert torch.equal(turned_back(turned(x, geometry), geometry), x)


@pytest.mark.parametrize("geometry", ["rotation", "vertical_flip"])
@pytest.mark.parametrize("G", [nn.Identity(), nn.Tanh()])
def test_a_generator_that_commutes_with_the_turn_pays_no_geometry_loss(geometry, G):
    method = build(geometry=geometry)
    method.G = G
    found = dict([next(method.training_step(two_rows(), 0.0))])["G"]
    assert found["geo"] == found["geo_turned"] == 0
    assert (found["identity"] == 0) == isinstance(G, nn.Identity)


def test_a_generator_that_looks_at_places_pays_for_them():
    class Ramp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.linspace(0, 1, x.shape[3])

    method = build(geometry="rotation", lambda_geo=2.0)
    method.G = Ramp()
    found = dict([next(method.training_step(two_rows(), 0.0))])["G"]
    u = torch.linspace(0, 1, 32)
    expected = 2.0 * (u[None, :] - u[:, None]).abs().mean()  # a ramp from left to right against one from above
    torch.testing.assert_close(found["geo"], expected)
    torch.testing.assert_close(found["geo_turned"], expected)


def test_the_halves_of_the_geometry_loss_together_have_the_gradient_of_the_whole():
    """With each other side held still, they add up to the gradient of one half whose sides both move."""
    method, batch = build(), two_rows()
    parameters = list(method.G.parameters())
    found = losses(method, batch)["G"]
    halves = torch.autograd.grad(found["geo"] + found["geo_turned"], parameters)
    x = batch.unpaired.source
    whole = TINY.lambda_geo * (method.G(x) - turned_back(method.G(turned(x, "rotation")), "rotation")).abs().mean()
    for a, b in zip(halves, torch.autograd.grad(whole, parameters), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_each_loss_reaches_its_player_and_every_parameter_gets_a_gradient():
    method = build()
    networks: dict[str, Callable[[str], bool]] = {
        "D": lambda term: term in ("gan", "D"),
        "D_turned": lambda term: term in ("gan_turned", "D_turned"),
        "G": lambda term: term in G_TERMS,
    }
    for player, found in method.training_step(two_rows(), 0.0):
        for term, loss in found.items():
            assert {name for name in networks if reaches(loss, getattr(method, name))} == {
                name for name, of in networks.items() if of(term)
            }, term
        gradients = torch.autograd.grad(sum(found.values()), method.players()[player].parameters(), retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)


def test_the_weights_of_the_losses_are_those_of_the_config():
    one = losses(build(lambda_geo=1.0, lambda_identity=1.0), two_rows())["G"]
    paper = losses(build(lambda_geo=20.0, lambda_identity=5.0), two_rows())["G"]
    for name, factor in {"gan": 1, "gan_turned": 1, "geo": 20, "geo_turned": 20, "identity": 5, "identity_turned": 5}.items():
        torch.testing.assert_close(paper[name], factor * one[name])
    assert (GcGAN.presets["paper"].lambda_geo, GcGAN.presets["paper"].lambda_identity) == (20.0, 5.0)


def test_the_discriminators_see_the_past_of_their_own_orientation_once_the_pools_are_full():
    method = build(pool_size=1)
    for _ in range(2):
        losses(method, two_rows())
    assert method.pool.filled == method.pool_turned.filled == 1
    assert not torch.equal(method.pool.images, method.pool_turned.images)


def test_crops_that_are_not_square_can_be_turned():
    found = losses(build(geometry="rotation"), two_rows(32, 48))
    assert all(loss.isfinite() for terms in found.values() for loss in terms.values())


def test_two_halves_of_a_batch_have_on_average_the_losses_of_the_whole():
    method = build()
    whole, halves = losses(method, two_rows()), [losses(method, part) for part in two_rows().parts(2)]
    for player, terms in whole.items():
        for term, value in terms.items():
            torch.testing.assert_close((halves[0][player][term] + halves[1][player][term]) / 2, value, atol=1e-5, rtol=1e-4)


def test_a_step_under_autocast_has_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(build(), two_rows())
    assert all(loss.dtype == torch.float32 and loss.isfinite() for terms in found.values() for loss in terms.values())


def test_unequal_channel_counts_are_refused_with_a_remedy():
    with pytest.raises(ContractError, match="channels=repeat"):
        GcGAN(TINY, 1, 3)


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = GcGAN(GcGAN.presets["paper"], 3, 3)
        smaller = GcGAN(replace(GcGAN.presets["paper"], blocks=6), 3, 3)
    count = {name: sum(p.numel() for p in module.parameters()) for name, module in method.named_children()}
    assert count == {"G": 11_378_179, "D": 2_764_737, "D_turned": 2_764_737, "pool": 0, "pool_turned": 0}
    assert sum(p.numel() for p in smaller.G.parameters()) == 7_837_699


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "gcgan")["title"] == "GcGAN"
