from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench import assets, registry
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.methods.networks.hypervectors import HyperDiscriminator, HyperMapper, HyperProjector
from sarbench.methods.vsait import VSAIT, Config

TINY = replace(VSAIT.presets["tiny"], width=4, blocks=1, feature_width=4, size=64, discriminator_width=8)


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> VSAIT:
    torch.manual_seed(0)
    return VSAIT(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def rows(n: int = 2) -> Batch:
    noise = torch.randn(n, 4, 48, 32, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcd"[:n])
    return Batch(None, Pairs(images[:, :1], images[:, 1:] * 0.5 + 0.2, torch.arange(n), ids, ids))


def losses(method: VSAIT, batch: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in gradients)


def test_a_hypervector_is_the_cosine_of_the_joined_patches_with_each_direction():
    torch.manual_seed(0)
    hash = HyperProjector((2, 3), (4, 1), size=5)
    fine, coarse = torch.randn(1, 2, 8, 8), torch.randn(1, 3, 2, 2)
    joined = torch.cat([fine[0, :, 4:, :4].flatten(), coarse[0, :, 1, 0]])  # the place in row 1, column 0
    directions = torch.cat([hash.directions_0.flatten(1), hash.directions_1.flatten(1)], dim=1)
    expected = F.cosine_similarity(joined[None], directions, dim=1)
    torch.testing.assert_close(hash([fine, coarse])[0, :, 1, 0], expected, atol=1e-5, rtol=1e-4)


def test_hypervectors_do_not_change_with_the_scale_of_features_and_lie_within_one():
    hash = HyperProjector((2,), (2,), size=50)
    x = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(hash([3.0 * x]), hash([x]), atol=1e-5, rtol=0)
    assert hash([x]).abs().max() <= 1.0
    assert hash([torch.zeros_like(x)]).isfinite().all()


def test_hypervectors_of_unrelated_images_are_nearly_orthogonal():
    hash = HyperProjector((16,), (4,), size=2048)
    a, b = hash([torch.randn(1, 16, 4, 4)]), hash([torch.randn(1, 16, 4, 4)])
    assert F.cosine_similarity(a, b, dim=1).abs().max() < 0.3
    torch.testing.assert_close(F.cosine_similarity(a, a, dim=1), torch.ones(1, 1, 1))


def test_the_mapping_is_at_first_the_same_number_everywhere_so_that_binding_changes_no_direction():
    v = torch.randn(2, 8, 3, 3)
    u = HyperMapper(8)(v)
    torch.testing.assert_close(u, torch.full_like(u, torch.tanh(torch.tensor(1.0)).item()))


def test_a_generator_that_leaves_the_hypervectors_alone_pays_no_binding_loss():
    method = build(3, 3)
    batch = rows()
    source = batch.unpaired.target
    same = Batch(None, Pairs(source, source, batch.unpaired.seeds, ("a", "b"), ("a", "b")))
    method.G.forward = lambda x: type("T", (), {"image": x})  # type: ignore[method-assign, assignment]
    assert losses(method, same)["G"]["vsa"].item() == pytest.approx(0.0, abs=1e-4)


def test_each_loss_reaches_exactly_the_networks_on_its_path():
    method = build()
    found = losses(method, rows())
    assert [sorted(found[player]) for player in ("D", "G")] == [["gan", "gan_mapped"], ["gan", "gan_mapped", "vsa"]]
    for name, (to_g, to_f) in {"gan": (True, False), "gan_mapped": (False, True), "vsa": (True, False)}.items():
        assert (reaches(found["G"][name], method.G), reaches(found["G"][name], method.F)) == (to_g, to_f), name
    for loss in found["D"].values():
        assert reaches(loss, method.D)
        assert not reaches(loss, method.G)
        assert not reaches(loss, method.F)


def test_the_discriminator_pays_the_mean_of_three_hinges():
    method = build()
    for p in method.D.parameters():
        torch.nn.init.zeros_(p)
    found = losses(method, rows())["D"]
    assert found["gan"].item() == pytest.approx(2 / 3)
    assert found["gan_mapped"].item() == pytest.approx(1 / 3)


def test_two_halves_of_a_batch_have_on_average_the_losses_of_the_whole():
    whole = losses(build(), rows(2))
    halves = [losses(build(), part) for part in rows(2).parts(2)]
    for player, found in whole.items():
        for name, value in found.items():
            mean = (halves[0][player][name] + halves[1][player][name]) / 2
            torch.testing.assert_close(mean, value, atol=1e-5, rtol=1e-4)


def test_a_step_under_autocast_has_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for found in losses(build(), rows(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in found.values())


def test_the_directions_and_the_frozen_network_are_part_of_the_state_and_never_move():
    method = build()
    frozen = {f"hash.{name}" for name, _ in method.hash.named_buffers()} | {
        f"vgg.{n}" for n, _ in method.vgg.named_parameters()
    }
    assert frozen <= set(method.state_dict())
    assert len(list(method.hash.buffers())) == 5
    moving = {id(p) for player in method.players().values() for p in player.parameters()}
    assert not moving & {id(p) for p in method.vgg.parameters()}


def test_targets_that_vgg_cannot_see_are_refused():
    with pytest.raises(ContractError, match="1 or 3 bands"):
        build(1, 2)


def test_only_the_paper_preset_needs_weights_and_takes_them_up(tmp_path):
    with torch.device("meta"):
        built = {name: VSAIT(config, 1, 3) for name, config in VSAIT.presets.items()}
    assert {name: method.pretrained for name, method in built.items()} == {"paper": ("vgg19",), "bench": (), "tiny": ()}
    method = build(features="imagenet")
    weights = {name: torch.randn_like(value) for name, value in method.vgg.state_dict().items()}
    torch.save({**weights, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg19")
    method.load_pretrained(tmp_path.joinpath)
    assert torch.equal(method.vgg.state_dict()["features.30.weight"], weights["features.30.weight"])


def test_absent_weights_are_named_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ContractError, match="sarbench fetch vgg19"):
        build(features="imagenet").load_pretrained(assets.find)


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = VSAIT(VSAIT.presets["paper"], 3, 3)
        assert method.v(torch.zeros(1, 3, 256, 256)).shape == (1, 4096, 16, 16)
    assert sum(p.numel() for p in method.G.parameters()) == 11_378_179
    assert sum(p.numel() for p in method.D.parameters()) == 5_245_953
    assert sum(p.numel() for p in method.F.parameters()) == 2 * (4096 * 4096 + 4096)
    assert sum(p.numel() for p in HyperDiscriminator(8, width=2).parameters()) == 8 * 2 + 2 + 2 * 2 + 2 + 2 + 1
    schedule = method.players()["D"].optimizer.schedule
    assert [schedule(p) for p in (0.0, 0.49, 0.5, 0.99)] == [1.0, 1.0, 0.5, 0.5]


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "vsait")["pretrained"] == ("vgg19",)
