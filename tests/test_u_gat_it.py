from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.bench.train import Game, Hardware
from sarbench.methods.networks.attention_discriminator import AttentionDiscriminator
from sarbench.methods.networks.attention_generator import AttentionGenerator
from sarbench.methods.networks.layer_instance_norm import LayerInstanceNorm
from sarbench.methods.u_gat_it import UGATIT

TINY = replace(UGATIT.presets["tiny"], width=4, discriminator_width=4)
REACH = {
    "gan_G": "G",
    "gan_F": "F",
    "cycle_x": "GF",
    "cycle_y": "GF",
    "identity_y": "G",
    "identity_x": "F",
    "cam_G": "G",
    "cam_F": "F",
}


def build(**changes: object) -> UGATIT:
    torch.manual_seed(0)
    return UGATIT(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def batch(n: int = 2, seed: int = 0) -> Batch:
    images = torch.rand(2 * n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Batch(None, Pairs(images[:n], images[n:], torch.arange(n), ids, ids))


def losses(method: UGATIT, given: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def rho(method: UGATIT) -> Tensor:
    return torch.cat([module.rho.detach() for module in method.modules() if isinstance(module, LayerInstanceNorm)])


def test_the_turns_are_d_then_g_with_all_terms_of_the_paper():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(batch(), 0.0)]
    assert turns == [("D", ["D_X", "D_Y"]), ("G", sorted(REACH))]


def test_each_loss_reaches_the_generators_that_it_names():
    method = build()
    for player, found in method.training_step(batch(), 0.0):  # at its turn, since rho moves behind it
        for name, generators in REACH.items() if player == "G" else ():
            assert {g for g in "GF" if reaches(found[name], getattr(method, g))} == set(generators), name


def test_the_discriminators_leave_the_generators_alone_and_both_scales_learn():
    method = build()
    found = losses(method, batch())["D"]
    for name, loss in found.items():
        assert not any(reaches(loss, network) for network in (method.G, method.F))
        assert all(reaches(loss, D) and reaches(loss, D.attend) for D in getattr(method, name))


def test_the_classifier_of_g_tells_sources_from_targets():
    """BCE by hand: sources are 1, targets 0."""
    method, given = build(lambda_cam=1.0), batch()
    sources, targets = (method.G(image).logits for image in (given.unpaired.source, given.unpaired.target))
    by_hand = -(torch.sigmoid(sources).log().mean() + (1 - torch.sigmoid(targets)).log().mean())
    torch.testing.assert_close(losses(method, given)["G"]["cam_G"], by_hand)


def test_rho_stays_between_0_and_1():
    """A learning rate that would throw it far out."""
    method = build(learning_rate=10.0)
    game = Game(method.train(), Hardware())
    before = rho(method)
    assert before.unique().tolist() == pytest.approx([0.0, 0.9])
    game.step(batch(), 0, 0.0, 0)
    assert not torch.equal(rho(method), before)
    assert rho(method).min() >= 0
    assert rho(method).max() <= 1


def test_the_full_generator_takes_one_size_and_the_light_one_any():
    full, light = build(light=False, side=32), build()
    assert (full.fixed_size, light.fixed_size) == (32, None)
    assert full.translate(torch.zeros(1, 3, 32, 32), torch.arange(1)).shape == (1, 3, 32, 32)
    with pytest.raises(ContractError, match="32x32"):
        full.refuse_bad_source(torch.zeros(1, 3, 48, 48))
    light.refuse_bad_source(torch.zeros(1, 3, 48, 48))


def test_the_attention_map_is_at_most_1_and_an_image_s_own():
    method, source = build().eval(), batch().unpaired.source
    shown = method.show("attention", source, torch.arange(2))
    assert shown.shape == (2, 1, 32, 32)
    assert -1 <= shown.min() <= shown.max() <= 1
    torch.testing.assert_close(shown[1:], method.show("attention", source[1:], torch.arange(1)), atol=1e-4, rtol=0)


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for terms in losses(build(), batch(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_layer_instance_norm_is_instance_norm_at_one_end_and_layer_norm_at_the_other():
    x, gamma, beta = torch.randn(2, 3, 4, 5), torch.randn(2, 3), torch.randn(2, 3)
    norm = LayerInstanceNorm(3, adaptive=True)
    for end, axes in ((1.0, (2, 3)), (0.0, (1, 2, 3))):
        nn.init.constant_(norm.rho, end)
        centred = x - x.mean(dim=axes, keepdim=True)
        expected = centred / (x.var(dim=axes, keepdim=True, correction=0) + 1e-5).sqrt()
        expected = gamma[:, :, None, None] * expected + beta[:, :, None, None]
        torch.testing.assert_close(norm(x, gamma, beta), expected, atol=1e-5, rtol=1e-4)
    assert list(dict(norm.named_parameters())) == ["rho"]
    assert sorted(dict(LayerInstanceNorm(3).named_parameters())) == ["beta", "gamma", "rho"]


def test_the_weights_of_the_discriminators_have_a_largest_singular_value_of_one():
    torch.manual_seed(0)
    D = AttentionDiscriminator(3, width=4, layers=3)
    for _ in range(30):
        D(torch.randn(1, 3, 32, 32))
    D.eval()
    linear = [D.attend.by_mean, D.attend.by_maximum]
    for module in [*linear, *(m for m in D.modules() if isinstance(m, nn.Conv2d) and m is not D.attend.mix)]:
        assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)  # type: ignore[operator]


def test_weights_start_from_a_spread_of_a_fiftieth():
    torch.manual_seed(0)
    for network in (AttentionGenerator(3, 3, width=16), AttentionDiscriminator(3, width=16)):
        weights = [p for name, p in network.named_parameters() if p.ndim > 1 and "rho" not in name]
        assert torch.cat([w.flatten() for w in weights]).std().item() == pytest.approx(0.02, rel=0.02)


def test_the_networks_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        full, light = AttentionGenerator(3, 3, side=256), AttentionGenerator(3, 3)
        judges = AttentionDiscriminator(3, layers=7), AttentionDiscriminator(3, layers=5)
    counts = [sum(p.numel() for p in network.parameters()) for network in (full, light, *judges)]
    assert counts == [278_959_808, 10_589_888, 53_130_176, 3_290_560]
    paper = UGATIT.presets["paper"]
    assert (paper.light, paper.side, paper.discriminator_layers) == (False, 256, (7, 5))
