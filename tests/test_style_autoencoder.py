from __future__ import annotations

import pytest
import torch

from sarbench.methods.networks import normalization
from sarbench.methods.networks.multiscale_discriminator import StridedMultiscaleDiscriminator
from sarbench.methods.networks.normalization import adaptive_instance_norm, moments
from sarbench.methods.networks.style_autoencoder import StyleAutoencoder


def test_moments_are_mean_and_spread_of_the_pixels_worked_by_hand():
    x = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    mean, std = moments(x)
    assert mean.tolist() == [[2.0, 5.0]]
    torch.testing.assert_close(std, torch.tensor([[1.0, 0.0]]), atol=0.004, rtol=0)  # 1e-5 is added to the variance


def test_after_adain_the_channels_have_the_moments_of_the_style():
    content, style = torch.randn(2, 3, 16, 16) * 4 + 7, torch.randn(2, 3, 9, 9) * 0.5 - 2
    out = adaptive_instance_norm(content, *moments(style))
    for found, wanted in zip(moments(out), moments(style), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_adain_with_its_own_moments_gives_the_content_back():
    content = torch.randn(2, 3, 16, 16) * 4 + 7
    torch.testing.assert_close(adaptive_instance_norm(content, *moments(content)), content, atol=1e-4, rtol=1e-4)


def test_moments_are_float32_under_autocast():
    assert normalization.moments(torch.randn(1, 2, 4, 4).bfloat16())[1].dtype == torch.float32


def test_the_autoencoder_of_munit_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = StyleAutoencoder(3)
    assert sum(p.numel() for p in network.parameters()) == 15_026_187


def test_the_style_reaches_the_image_by_adain_alone_and_is_not_kept():
    network = StyleAutoencoder(3, width=4, blocks=2, style_size=3)
    content, first, second = torch.randn(2, 16, 8, 8), torch.randn(2, 3), torch.randn(2, 3)
    image = network.decode(content, first)
    assert not torch.equal(network.decode(content, second), image)
    assert torch.equal(network.decode(content, first), image)  # the style between left nothing behind


def test_the_style_encoder_sees_the_mean_of_its_image_and_the_content_encoder_does_not():
    """The first layer's instance norm takes a constant away; nothing in the style encoder does."""
    network = StyleAutoencoder(1, width=4, blocks=1)
    x = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(network.content(x + 0.5), network.content(x), atol=1e-4, rtol=0)
    assert (network.style(x + 0.5) - network.style(x)).abs().max() > 1e-4


@pytest.mark.parametrize("size", [(16, 24), (32, 32)])
def test_the_autoencoder_keeps_the_grid_and_is_float32_in_range_under_autocast(size):
    network = StyleAutoencoder(2, width=4, blocks=1)
    x = torch.randn(2, 2, *size)
    with torch.autocast("cpu", torch.bfloat16):
        style = network.style(x)
        out = network.decode(network.content(x), style)
    assert out.shape == x.shape
    assert out.dtype == style.dtype == torch.float32
    assert out.abs().max() <= 1.0


def test_the_strided_discriminator_has_the_published_number_of_parameters_and_halves_from_scale_to_scale():
    with torch.device("meta"):
        network = StridedMultiscaleDiscriminator(3)
        logits = network(torch.zeros(1, 3, 256, 256))
    assert sum(p.numel() for p in network.parameters()) == 8_271_171
    assert [scale.shape for scale in logits] == [(1, 1, 16, 16), (1, 1, 8, 8), (1, 1, 4, 4)]
