from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sarbench.bench import assets, registry
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.methods.adain import AdaIN, Config
from sarbench.methods.networks.normalization import adaptive_instance_norm, moments

TINY = replace(AdaIN.presets["tiny"], width=4)


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> AdaIN:
    torch.manual_seed(0)
    return AdaIN(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def pairs(n: int = 2, seed: int = 0) -> Pairs:
    noise = torch.randn(n, 4, 32, 32, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple(f"{seed}/{i}" for i in range(n))
    return Pairs(images[:, :1], images[:, 1:] * 0.5 + 0.2, torch.arange(n), ids, ids)


def losses(method: AdaIN, given: Pairs) -> dict[str, Tensor]:
    ((player, found),) = method.training_step(Batch(None, given), 0.0)
    assert player == "g"
    return found


def test_both_losses_reach_every_parameter_of_the_decoder_and_nothing_else_learns():
    method = build()
    found = losses(method, pairs())
    assert sorted(found) == ["content", "style"]
    decoder = list(method.g.parameters())
    for loss in found.values():
        assert all(g.any() for g in torch.autograd.grad(loss, decoder, retain_graph=True))
    assert [id(p) for p in method.players()["g"].parameters()] == [id(p) for p in method.parameters() if p.requires_grad]


def test_the_style_loss_is_that_of_the_moments_worked_anew():
    method, given = build(lambda_style=1.0), pairs()
    once = losses(method, given)["style"]
    content, styles = method.f(given.source)[-1], [moments(feature) for feature in method.f(given.target)]
    mean, std = (value[:, :, None, None] for value in moments(content))
    style_mean, style_std = (value[:, :, None, None] for value in styles[-1])
    found = method.f(method.g(style_std * (content - mean) / std + style_mean))
    expected = sum(
        (a - b).square().mean()
        for feature, wanted in zip(found, styles, strict=True)
        for a, b in zip(moments(feature), wanted, strict=True)
    )
    torch.testing.assert_close(once, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses(build(lambda_style=10.0), given)["style"], 10 * once)


def test_the_fitted_style_is_the_mean_of_the_statistics_of_all_targets_in_any_parts():
    method, every = build(), pairs(5)
    method.fit(iter([every.rows(0, 3), every.rows(3, 5)]))
    mean, std = moments(method.f(every.target)[-1])
    torch.testing.assert_close(method.style_mean, mean.mean(dim=0))
    torch.testing.assert_close(method.style_std, std.mean(dim=0))
    assert {"style_mean", "style_std"} <= set(method.state_dict())


def test_a_translation_has_the_mean_style_whatever_the_target_of_its_place():
    method = build().eval()
    method.fit(iter([pairs(4)]))
    features = []
    method.g.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    source = pairs(2, seed=1).source
    method.translate(source, torch.arange(2))
    content = method.f(source)[-1]
    torch.testing.assert_close(features[0], adaptive_instance_norm(content, method.style_mean[None], method.style_std[None]))
    alive = content.std(dim=(2, 3)) > 0.03  # a channel that is zero everywhere can't be spread
    assert alive.float().mean() > 0.3
    for found, wanted in zip(moments(features[0]), (method.style_mean, method.style_std), strict=True):
        torch.testing.assert_close(found[alive], wanted.expand(2, -1)[alive], atol=1e-3, rtol=1e-2)


def test_without_a_share_of_style_the_decoder_gets_the_content_as_it_is():
    method, source = build(alpha=0.0).eval(), pairs(2, seed=1).source
    method.fit(iter([pairs(4)]))
    torch.testing.assert_close(method.translate(source, torch.arange(2)), method.g(method.f(source)[-1]).clamp(-1, 1))


def test_it_learns_to_decode_on_four_rows():
    method, given = build(width=8), pairs(4)
    optimizer = torch.optim.Adam(method.g.parameters(), 2e-3)
    history = []
    for _ in range(25):
        found = losses(method, given)
        history.append({name: loss.item() for name, loss in found.items()})
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
    assert sum(history[-1].values()) < 0.7 * sum(history[0].values())


def test_a_batch_of_one_trains_under_autocast_in_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses(build(), pairs(1)).values())


def test_targets_that_vgg_cannot_see_are_refused():
    with pytest.raises(ContractError, match="1 or 3 bands"):
        build(1, 4)


def test_only_the_paper_preset_needs_weights_and_takes_them_up(tmp_path):
    with torch.device("meta"):
        built = {name: AdaIN(config, 1, 3) for name, config in AdaIN.presets.items()}
    assert {name: method.pretrained for name, method in built.items()} == {"paper": ("vgg19",), "bench": (), "tiny": ()}
    method = AdaIN(AdaIN.presets["paper"], 1, 3)
    weights = {name: torch.randn_like(value) for name, value in method.f.state_dict().items()}
    torch.save({**weights, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg19")
    method.load_pretrained(tmp_path.joinpath)
    assert torch.equal(method.f.state_dict()["features.19.weight"], weights["features.19.weight"])


def test_absent_weights_are_named_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ContractError, match="sarbench fetch vgg19"):
        build(encoder="imagenet").load_pretrained(assets.find)


def test_the_paper_preset_has_the_published_decoder():
    with torch.device("meta"):
        method = AdaIN(AdaIN.presets["paper"], 3, 3)
    assert sum(p.numel() for p in method.g.parameters()) == 3_505_219
    schedule = method.players()["g"].optimizer.schedule
    assert schedule(1.0) == pytest.approx(1 / (1 + 5e-5 * 160_000))


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "adain")["pretrained"] == ("vgg19",)
