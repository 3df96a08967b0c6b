from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sarbench.methods.networks.consistency_unet import ConsistencyUNet
from sarbench.methods.networks.diffusion_unet import GUIDED, HO, Attention, DiffusionUNet, Form, ResidualBlock, gathered

CDIFFUSION = {"widths": (128, 128, 256, 256, 512, 512), "blocks": 3, "heads": (0, 0, 0, 0, 4, 4), "form": GUIDED}
LATENT_BRIDGE = {"widths": (128, 512, 1024), "blocks": 2, "heads": (0, 0, 0), "middle_heads": 16, "form": GUIDED}
LATENT_BRIDGE = {**LATENT_BRIDGE, "residual_resampling": True}
CCM = {"widths": (128, 128, 256, 512), "blocks": (2, 2, 4, 4), "heads": (0, 0, 8, 8)}


@pytest.mark.parametrize(
    ("kind", "channels_in", "layout", "count"),
    [
        (DiffusionUNet, 6, CDIFFUSION, 164_309_379),
        (DiffusionUNet, 3, LATENT_BRIDGE, 237_091_331),
        (DiffusionUNet, 6, LATENT_BRIDGE, 237_094_787),
        (ConsistencyUNet, 6, CCM, 128_916_099),
    ],
)
def test_the_published_networks_have_their_published_number_of_parameters(kind, channels_in, layout, count):
    with torch.device("meta"):
        network = kind(channels_in, 3, **layout)
    assert sum(p.numel() for p in network.parameters()) == count


def small(**changes) -> DiffusionUNet:
    torch.manual_seed(0)
    network = DiffusionUNet(4, 2, **{"widths": (8, 16), "blocks": 1, "heads": (0, 2), **changes})
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.1)
    return network


FORMS = [
    {},
    {"form": replace(GUIDED, groups=4)},
    {"form": GUIDED, "residual_resampling": True},
    {"heads": (0, 0), "middle_heads": 4},
    {"patch": 2},
]


@pytest.mark.parametrize("changes", FORMS)
def test_every_form_keeps_the_grid_knows_the_step_and_looks_at_each_row_alone(changes):
    network = small(**changes)
    assert network.multiple == 2 * changes.get("patch", 1)
    z, t = torch.randn(3, 4, 8, 12), torch.tensor([1, 500, 999])
    out = network(z, t)
    assert out.shape == (3, 2, 8, 12)
    assert not torch.allclose(out, network(z, t.flip(0)), atol=1e-3)
    torch.testing.assert_close(network(z[1:2], t[1:2]), out[1:2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", FORMS)
def test_every_parameter_of_every_form_learns(changes):
    network = small(**changes)
    network(torch.randn(2, 4, 8, 8), torch.tensor([3, 700])).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_guided_block_starts_as_its_skip_and_scales_and_shifts_what_is_normalised():
    block = ResidualBlock(8, 8, 6, GUIDED)
    x, time = torch.randn(2, 8, 4, 4), torch.randn(2, 6)
    assert torch.equal(block(x, time), x)
    nn.init.normal_(block.second[2].weight)
    nn.init.zeros_(block.time.weight)
    nn.init.constant_(block.time.bias[:8], -1.0)  # scale by 1 - 1: nothing of the normalised is left
    nn.init.zeros_(block.time.bias[8:])
    torch.testing.assert_close(block(x, time), x)


@pytest.mark.parametrize(("way", "side"), [("down", 4), ("up", 16), ("", 8)])
def test_a_resampling_block_starts_as_means_or_repetition(way, side):
    x = torch.randn(1, 8, 8, 8)
    out = ResidualBlock(8, 8, 0, replace(GUIDED, groups=8), way)(x)
    assert out.shape[2:] == (side, side)
    expected = {"down": nn.functional.avg_pool2d(x, 2), "up": x.repeat_interleave(2, 2).repeat_interleave(2, 3), "": x}[way]
    assert torch.equal(out, expected)


def test_a_form_chooses_groups_that_divide_the_channels():
    assert [Form(groups=32).norm(c).num_groups for c in (128, 48, 8)] == [32, 16, 8]
    assert HO.norm(24).num_groups == 8


def test_a_projecting_block_has_a_skip_of_its_own_even_between_equal_channels():
    assert isinstance(ResidualBlock(8, 8, form=Form(project=True)).skip, nn.Conv2d)
    assert isinstance(ResidualBlock(8, 8).skip, nn.Identity)


def test_attention_between_equal_positions_is_their_mean():
    qkv = torch.cat([torch.zeros(1, 8, 2, 3), torch.randn(1, 4, 2, 3)], dim=1)  # no query prefers a key
    out = gathered(qkv, heads=2)
    torch.testing.assert_close(out, qkv[:, 8:].mean((2, 3), keepdim=True).expand_as(out))


def test_guided_attention_starts_as_nothing():
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(Attention(8, 2, GUIDED)(x), x)


def test_blocks_of_pixels_are_seen_whole():
    """With patch 2 an output pixel depends on the pixels of its block whatever the network does inside."""
    network = small(patch=2, heads=(0, 0))
    z = torch.randn(1, 4, 8, 8, requires_grad=True)
    network(z, torch.tensor([5]))[0, 0, 4, 4].backward()
    assert z.grad[0, :, 4:6, 4:6].all()


def consistency(**changes) -> ConsistencyUNet:
    torch.manual_seed(0)
    layout = {"widths": (8, 8, 16), "blocks": (1, 2, 2), "heads": (0, 0, 2), "noise": 16, "groups": 4}
    return ConsistencyUNet(4, 2, **{**layout, **changes})


@pytest.mark.parametrize("patch", [1, 2])
def test_the_consistency_unet_keeps_the_grid_knows_the_noise_level_and_looks_at_each_row_alone(patch):
    network = consistency(patch=patch)
    assert network.multiple == 4 * patch
    z, sigma = torch.randn(3, 4, 8, 16), torch.tensor([0.002, 1.0, 80.0])
    out = network(z, sigma)
    assert out.shape == (3, 2, 8, 16)
    assert not torch.allclose(out, network(z, sigma.flip(0)), atol=1e-3)
    torch.testing.assert_close(network(z[1:2], sigma[1:2]), out[1:2], atol=1e-5, rtol=1e-4)


def test_every_parameter_of_the_consistency_unet_learns_but_the_frequencies():
    network = consistency()
    network(torch.randn(2, 4, 8, 8), torch.tensor([0.5, 3.0])).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == ["rates"]
    assert not network.rates.requires_grad
