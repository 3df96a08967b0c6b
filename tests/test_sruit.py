from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.sruit import SRUIT, Config

TINY = replace(SRUIT.presets["tiny"], width=4, discriminator_width=4)
TERMS = {
    "Dis": ["gan_A", "gan_B"],
    "G": ["cc_A", "cc_B", "gan_A", "gan_B", "rec_A", "rec_B"],
}


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> SRUIT:
    torch.manual_seed(0)
    return SRUIT(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def two_pairs(source_channels: int = 1, target_channels: int = 3, seed: int = 0) -> Batch:
    noise = torch.randn(2, 4, 48, 48, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = ("a", "b")
    source = images[:, :source_channels]
    target = images[:, 4 - target_channels :] * 0.5 + 0.2
    return Batch(Pairs(source, target, torch.arange(2), ids, ids), None)


def losses(method: SRUIT, batch: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, 0.0))


def gradients(loss: Tensor, module: torch.nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    return any(g is not None and bool(g.any()) for g in gradients(loss, module))


def test_the_turns_are_the_discriminators_then_the_generators_with_the_losses_of_the_paper():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(two_pairs(), 0.0)]
    assert turns == list(TERMS.items())


def test_the_shared_layers_are_one_module_and_get_gradients_from_both_domains():
    method = build()
    found = losses(method, two_pairs())["G"]
    for shared in (method.G.high_encoder["AB"], method.G.high_decoder["AB"]):
        of_a, of_b = (gradients(found[name], shared) for name in ("rec_A", "rec_B"))
        assert all(a is not None and b is not None for a, b in zip(of_a, of_b, strict=True))
        assert reaches(found["rec_A"], shared)
        assert reaches(found["rec_B"], shared)
    assert list(method.G.high_encoder) == list(method.G.high_decoder) == ["AB"]
    assert len({id(p) for p in method.players()["G"].parameters()}) == len(method.players()["G"].parameters())


def test_without_weight_sharing_each_domain_has_high_layers_of_its_own():
    method = build(weight_sharing=False)
    found = losses(method, two_pairs())["G"]
    for high in (method.G.high_encoder, method.G.high_decoder):
        assert sorted(high) == ["A", "B"]
        for domain, other in (("A", "B"), ("B", "A")):
            assert reaches(found[f"rec_{domain}"], high[domain])
            assert not reaches(found[f"rec_{domain}"], high[other])
    count = sum(p.numel() for p in method.G.parameters())
    shared = build().G
    assert count - sum(p.numel() for p in shared.parameters()) == sum(
        p.numel() for high in (shared.high_encoder, shared.high_decoder) for p in high.parameters()
    )


def test_each_loss_reaches_exactly_the_networks_on_its_path():
    method = build()
    found = losses(method, two_pairs())["G"]
    parts = {f"E_{d}": method.G.down[d] for d in "AB"} | {f"D_{d}": method.G.up[d] for d in "AB"}
    everything = set(parts)
    paths = {
        "gan_A": {"E_A", "D_B"},  # A -> fake B
        "gan_B": {"E_B", "D_A"},
        "rec_A": {"E_A", "D_A"},  # Eq. 1
        "rec_B": {"E_B", "D_B"},
        "cc_A": everything,  # Eq. 2: D_A(E_B(D_B(E_A(A))))
        "cc_B": everything,
    }
    for name, expected in paths.items():
        assert {part for part, module in parts.items() if reaches(found[name], module)} == expected, name


def test_every_loss_reaches_its_player_and_every_parameter_gets_a_gradient():
    method = build()
    players = method.players()
    for player, found in method.training_step(two_pairs(), 0.0):
        parameters = players[player].parameters()
        for name, loss in found.items():
            assert loss.shape == ()
            assert any(
                g is not None and g.any() for g in torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            ), name
        assert all(g.isfinite().all() for g in torch.autograd.grad(sum(found.values()), parameters, retain_graph=True))


def test_the_discriminators_turn_leaves_no_gradient_path_into_the_generators():
    method = build()
    found = losses(method, two_pairs())["Dis"]
    assert not any(g is not None for g in gradients(sum(found.values()), method.G))


def test_autoencoders_that_do_nothing_pay_no_reconstruction_and_no_cross_cycle():
    method = build(3, 3, lambda_latent=1.0)
    method.G.encode = method.G.decode = lambda x, domain: x  # type: ignore[method-assign, assignment]
    found = losses(method, two_pairs(3, 3))["G"]
    assert all(found[name] == 0.0 for name in ("rec_A", "rec_B", "cc_A", "cc_B", "latent_A", "latent_B"))


@pytest.mark.parametrize(
    ("changes", "gone", "new"),
    [
        ({"lambda_cc": 0.0}, {"cc_A", "cc_B"}, set()),
        ({"lambda_rec": 0.0}, {"rec_A", "rec_B"}, set()),
        ({"lambda_latent": 2.0}, set(), {"latent_A", "latent_B"}),
        ({"lambda_cc": 0.0, "lambda_latent": 2.0}, {"cc_A", "cc_B"}, {"latent_A", "latent_B"}),
    ],
)
def test_a_loss_that_is_switched_leaves_the_others_their_values(changes, gone, new):
    usual = losses(build(), two_pairs())["G"]
    found = losses(build(**changes), two_pairs())["G"]
    assert set(found) == set(usual) - gone | new
    for name in set(usual) - gone:
        torch.testing.assert_close(found[name], usual[name], rtol=0, atol=0)


def test_the_weights_of_the_losses_are_those_of_the_config():
    once = losses(build(lambda_cc=1.0, lambda_rec=1.0), two_pairs())["G"]
    paper = losses(build(), two_pairs())["G"]
    for name in ("cc_A", "cc_B", "rec_A", "rec_B"):
        torch.testing.assert_close(paper[name], 100 * once[name])
    torch.testing.assert_close(paper["gan_A"], once["gan_A"])


def test_a_switch_of_the_discriminators_leaves_the_reconstructions_their_values():
    usual = losses(build(), two_pairs())["G"]
    for changes in (
        {"conditional": False},
        {"discriminator_norm": "instance"},
        {"discriminator_scales": 1},
        {"gan_mode": "least_squares"},
    ):
        found = losses(build(**changes), two_pairs())["G"]
        for name in ("cc_A", "cc_B", "rec_A", "rec_B"):
            torch.testing.assert_close(found[name], usual[name], rtol=0, atol=0)
        assert not torch.equal(found["gan_A"], usual["gan_A"]), changes


def test_dis_a_judges_pairs_and_sees_its_condition_only_if_it_is_conditional():
    def flat(z: Tensor, domain: str) -> Tensor:
        return torch.zeros(len(z), {"A": 1, "B": 3}[domain], 48, 48)

    method, alone = build(), build(conditional=False)
    batch = two_pairs()
    other = Batch(replace(batch.paired, source=batch.paired.source.roll(1, dims=0)), None)
    for candidate, depends in ((method, True), (alone, False)):
        candidate.G.encode = lambda x, domain: x.mean(dim=1, keepdim=True)  # type: ignore[method-assign]
        candidate.G.decode = flat  # type: ignore[method-assign]
        values = [losses(candidate, b)["Dis"]["gan_A"] for b in (batch, other)]
        assert torch.equal(*values) != depends
    first = method.Dis_A.scales[0].layers[0]
    assert first.in_channels == 1 + 3
    assert alone.Dis_A.scales[0].layers[0].in_channels == 3
    assert alone.Dis_B.scales[0].layers[0].in_channels == 1


def test_an_undecided_discriminator_pays_two_log_two_a_scale():
    method = build()
    for D in (method.Dis_A, method.Dis_B):
        for scale in D.scales:
            torch.nn.init.zeros_(scale.layers[-1].weight)
    found = losses(method, two_pairs())
    assert found["Dis"]["gan_A"].item() == pytest.approx(3 * 2 * 0.693147, rel=1e-5)
    assert found["G"]["gan_B"].item() == pytest.approx(3 * 0.693147, rel=1e-5)


@pytest.mark.parametrize("halvings", [3, 4, 5])
def test_the_halvings_of_figure_11_set_the_latent_size_and_the_size_multiple(halvings):
    method = build(halvings=halvings)
    side = 2 * method.size_multiple
    assert method.size_multiple == 2**halvings
    z = method.G.encode(torch.zeros(1, 1, side, side), "A")
    assert z.shape[2:] == (2, 2)
    assert method.translate(torch.zeros(1, 1, side, side), torch.arange(1)).shape == (1, 3, side, side)


def test_one_training_translates_in_both_directions():
    method, batch = build(1, 3), two_pairs().paired
    there, back = method.translate(batch.source, batch.seeds), method.translate_back(batch.target, batch.seeds)
    assert torch.equal(there, method.G.decode(method.G.encode(batch.source, "A"), "B"))
    assert torch.equal(back, method.G.decode(method.G.encode(batch.target, "B"), "A"))
    assert (there.shape[1], back.shape[1]) == (3, 1)


def test_training_treats_both_directions_alike():
    """With A and B exchanged in the data and in the networks, every loss of A becomes that of B."""
    method, batch = build(2, 2), two_pairs(2, 2)
    turned = Batch(replace(batch.paired, source=batch.paired.target, target=batch.paired.source), None)
    there = losses(method, batch)
    for networks in (method.G.down, method.G.up):
        networks["A"], networks["B"] = networks["B"], networks["A"]
    method.Dis_A, method.Dis_B = method.Dis_B, method.Dis_A
    again, other = losses(method, turned), {"A": "B", "B": "A"}
    for player, terms in TERMS.items():
        for name in terms:
            exchanged = name[:-1] + other[name[-1]]
            torch.testing.assert_close(there[player][name], again[player][exchanged], rtol=1e-5, atol=1e-6)


def test_losses_of_a_batch_are_the_means_of_its_rows():
    method = build()
    whole = losses(method, two_pairs())
    halves = [losses(method, part) for part in two_pairs().parts(2)]
    for player, terms in TERMS.items():
        for name in terms:
            mean = (halves[0][player][name] + halves[1][player][name]) / 2
            torch.testing.assert_close(mean, whole[player][name], atol=1e-4, rtol=1e-4)


def test_a_step_under_autocast_has_finite_float32_losses_and_images():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(method, two_pairs())
        image = method.translate(two_pairs().paired.source, torch.arange(2))
    assert image.dtype == torch.float32
    for terms in found.values():
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_flat_images_give_finite_losses_and_gradients():
    method = build()
    flat = Pairs(torch.full((2, 1, 48, 48), -1.0), torch.full((2, 3, 48, 48), 1.0), torch.arange(2), ("a", "b"), ("a", "b"))
    for player, found in method.training_step(Batch(flat, None), 0.0):
        for g in torch.autograd.grad(sum(found.values()), method.players()[player].parameters(), retain_graph=True):
            assert g.isfinite().all()


def test_the_paper_preset_has_these_parameters():
    """Worked by hand from the layers of card 3.2; the paper prints no count."""
    with torch.device("meta"):
        method = SRUIT(SRUIT.presets["paper"], 3, 3)
    widths = [64, 128, 256, 512, 512]
    down = 3 * 64 * 49 + 64 + sum(9 * i * o + o for i, o in pairwise(widths))
    up = 64 * 3 * 49 + 3 + sum(9 * i * o + o for i, o in pairwise(widths[::-1]))
    block = 2 * (9 * 512 * 512 + 512)
    assert sum(p.numel() for p in method.G.parameters()) == 2 * (down + up) + 4 * block
    pair_of_images = 2_764_737 + 3 * 64 * 16  # the PatchGAN of pix2pix on six channels
    assert [sum(p.numel() for p in D.parameters()) for D in (method.Dis_A, method.Dis_B)] == [3 * pair_of_images] * 2
    assert method.size_multiple == 16


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "sruit")["title"] == "SRUIT"
    assert SRUIT.card.supervision == "paired"
