from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sarbench.methods.networks import initialization
from sarbench.methods.networks.antialiased_resnet import (
    AntialiasedPatchDiscriminator,
    AntialiasedResNetGenerator,
    blurred_half,
)
from sarbench.methods.networks.patch_features import PatchProjector, draw_positions


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_networks_have_the_numbers_of_parameters_of_the_code_of_cut():
    with torch.device("meta"):
        G = AntialiasedResNetGenerator(3, 3)
        assert parameters(G) == 11_378_179
        assert parameters(PatchProjector(G.feature_channels)) == 560_384
        assert parameters(AntialiasedPatchDiscriminator(3)) == 2_764_737


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (9, 3)])
def test_blurred_half_is_the_strided_binomial_convolution(height, width):
    x = torch.randn(2, 3, height, width)
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (row[:, None] * row).expand(3, 1, 3, 3)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=3)
    torch.testing.assert_close(blurred_half(x), expected)
    assert expected.shape[2:] == (-(-height // 2), -(-width // 2))


def test_blurred_halving_removes_the_finest_stripes():
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    torch.testing.assert_close(blurred_half(stripes), torch.zeros(1, 1, 8, 8))


def test_the_doubling_of_the_generator_is_the_filter_of_cut():
    """(1, 3, 3, 1)/4 on zeros between the pixels, with the border repeated."""
    x = torch.randn(1, 1, 5, 6)
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    spread = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), (row[:, None] * row)[None, None], stride=2)
    expected = spread[:, :, 3:-3, 3:-3]
    torch.testing.assert_close(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False), expected)


def test_the_features_are_pixels_two_convolutions_and_two_blocks():
    G = AntialiasedResNetGenerator(2, 3, width=4, blocks=9)
    x = torch.randn(2, 2, 16, 24)
    shapes = [tuple(f.shape[1:]) for f in G.encode(x)]
    assert shapes == [(2, 16, 24), (8, 16, 24), (16, 8, 12), (16, 4, 6), (16, 4, 6)]
    assert [shape[0] for shape in shapes] == list(G.feature_channels)
    assert G.tapped_blocks == (0, 4)


def test_features_on_the_way_are_those_of_the_encoder_alone():
    G = AntialiasedResNetGenerator(3, 3, width=4, blocks=3)
    x = torch.randn(2, 3, 16, 16)
    out = G(x)
    for ours, alone in zip(out.features, G.encode(x), strict=True):
        torch.testing.assert_close(ours, alone, rtol=0, atol=0)
    assert out.bottleneck.shape == (2, 16, 4, 4)
    assert out.image.shape == x.shape


def test_the_encoder_needs_nothing_behind_its_last_tap():
    G = AntialiasedResNetGenerator(3, 3, width=4, blocks=5)
    sum(f.sum() for f in G.encode(torch.randn(1, 3, 16, 16))).backward()
    assert [block.layers[0].weight.grad is not None for block in G.blocks] == [True, True, True, False, False]
    assert G.head.weight.grad is None


def test_the_generator_returns_float32_in_range_under_autocast():
    G = AntialiasedResNetGenerator(3, 3, width=4, blocks=1)
    with torch.autocast("cpu", torch.bfloat16):
        image = G(torch.randn(1, 3, 16, 16)).image
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1


def test_positions_of_a_row_are_different_and_depend_on_its_seed_alone():
    features = [torch.zeros(3, 2, 8, 8), torch.zeros(3, 2, 3, 4)]
    seeds = torch.tensor([5, 6, 7])
    drawn = draw_positions(features, 20, seeds, "a")
    assert [p.shape for p in drawn] == [(3, 20), (3, 12)]
    for positions, places in zip(drawn, (64, 12), strict=True):
        for row in positions:
            assert len(set(row.tolist())) == len(row)
            assert row.min() >= 0
            assert row.max() < places
    alone = draw_positions([f[1:2] for f in features], 20, seeds[1:2], "a")
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone, drawn, strict=True))
    assert not torch.equal(drawn[0], draw_positions(features, 20, seeds, "b")[0])


def test_a_projection_is_a_unit_vector_of_the_feature_at_its_position():
    F_ = PatchProjector([2, 5], width=8)
    features = [torch.randn(2, 2, 4, 4), torch.randn(2, 5, 2, 2)]
    positions = [torch.tensor([[3, 15], [0, 7]]), torch.tensor([[1], [2]])]
    found = F_(features, positions)
    assert [v.shape for v in found] == [(2, 2, 8), (2, 1, 8)]
    for v in found:
        torch.testing.assert_close(v.norm(dim=2), torch.ones(v.shape[:2]))
    expected = F.normalize(F_.heads[0](features[0][1, :, 1, 3]), dim=0)  # row 1, position 7 of a 4 x 4 map
    torch.testing.assert_close(found[0][1, 1], expected)


def test_xavier_weights_have_the_spread_of_their_gain_and_biases_are_zero():
    torch.manual_seed(0)
    network = initialization.xavier(nn.Sequential(nn.Conv2d(16, 32, 3), nn.Linear(300, 500)), 0.02)
    assert network[0].weight.std().item() == pytest.approx(0.02 * (2 / (9 * (16 + 32))) ** 0.5, rel=0.05)
    assert network[1].weight.std().item() == pytest.approx(0.02 * (2 / 800) ** 0.5, rel=0.05)
    assert not any(module.bias.any() for module in network)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_from_any_of_its_features_the_generator_goes_on_to_the_same_image(blocks):
    G = AntialiasedResNetGenerator(3, 3, width=4, blocks=blocks).eval()
    x = torch.randn(2, 3, 16, 24)
    output = G(x)
    assert len(output.features) == len(G.feature_channels) == 5
    for tap, feature in enumerate(output.features):
        assert torch.equal(G.resume(feature, tap), output.image)
        for a, b in zip(G.encode(x, tap), output.features[: tap + 1], strict=True):
            assert torch.equal(a, b)
