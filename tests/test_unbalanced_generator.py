from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sarbench.bench.interface import ContractError
from sarbench.methods.networks import residual_encoder
from sarbench.methods.networks.multiscale_discriminator import MultiscaleDiscriminator
from sarbench.methods.networks.residual_encoder import PHOTO_SCALE, PHOTO_SHIFT, FrozenNorm, ResidualEncoder
from sarbench.methods.networks.unbalanced_generator import DenseBlock, UnbalancedGenerator

SMALL = {"width": 4, "blocks": (1, 1), "middle": 8, "dense_blocks": 1, "dense_layers": 2, "growth": 4, "decoder": (8, 8, 4)}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def published() -> dict[str, Tensor]:
    """A state dict as torchvision gives it, with statistics that differ from those of a fresh network."""
    torch.manual_seed(0)
    weights = torchvision.models.resnet50(weights=None).state_dict()
    for name, value in weights.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return weights


def test_the_generator_of_the_paper_has_its_number_of_parameters():
    with torch.device("meta"):
        assert round(parameters(UnbalancedGenerator(1, 3)) / 1e6, 1) == 30.6
        assert parameters(ResidualEncoder(3)) == 23_454_912


def test_the_encoder_is_torchvisions_resnet_50_to_the_last_weight():
    weights = published()
    theirs = torchvision.models.resnet50(weights=None).eval()
    theirs.load_state_dict(weights)
    ours = ResidualEncoder(3, norm=FrozenNorm)
    ours.load_photo_weights(weights)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    photo = (x - torch.tensor(PHOTO_SHIFT)[:, None, None]) / torch.tensor(PHOTO_SCALE)[:, None, None]
    with torch.no_grad():
        stem = torch.relu(theirs.bn1(theirs.conv1(photo)))
        # Zeros around the image mean another value on either side of the shift, so the border differs.
        torch.testing.assert_close(ours(x)[0][..., 2:-2, 2:-2], stem[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
        h = theirs.layer1(theirs.maxpool(stem))
        own = ours.get_submodule("layer1")(theirs.maxpool(stem))
        torch.testing.assert_close(own, h)
        torch.testing.assert_close(
            ours.get_submodule("layer4")(torch.ones(1, 1024, 4, 4)), theirs.layer4(torch.ones(1, 1024, 4, 4))
        )


def test_one_band_is_seen_as_that_band_three_times():
    weights = published()
    one, three = ResidualEncoder(1, norm=FrozenNorm), ResidualEncoder(3, norm=FrozenNorm)
    for encoder in (one, three):
        encoder.load_photo_weights(weights)
    x = torch.rand(1, 1, 64, 64) * 2 - 1
    for a, b in zip(one(x), three(x.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_the_weights_of_another_network_are_refused():
    with pytest.raises(ContractError, match="ResNet-50"):
        ResidualEncoder(3, width=8).load_photo_weights(published())
    with pytest.raises(ContractError, match="ResNet-50"):
        ResidualEncoder(3).load_photo_weights({"features.0.weight": torch.zeros(1)})


def test_features_halve_from_level_to_level():
    encoder = ResidualEncoder(2, width=8, blocks=(1, 2, 1))
    shapes = [tuple(level.shape) for level in encoder(torch.rand(3, 2, 64, 96))]
    assert shapes == [(3, 8, 32, 48), (3, 32, 16, 24), (3, 64, 8, 12), (3, 128, 4, 6)]
    assert encoder.widths == [8, 32, 64, 128]


def test_a_norm_over_the_whole_image_keeps_the_difference_of_channels():
    x = torch.randn(2, 4, 8, 8) + torch.arange(4.0)[:, None, None]
    y = residual_encoder.whole_image(4)(x)
    torch.testing.assert_close(y.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    assert (y.mean(dim=(2, 3)).diff(dim=1) > 0).all()


def test_any_size_that_is_a_multiple_fits_and_every_parameter_gets_a_gradient():
    G = UnbalancedGenerator(1, 3, **SMALL)
    assert G.size_multiple == 16
    x = torch.rand(2, 1, 16, 48)
    y = G(x)
    assert y.shape == (2, 3, 16, 48)
    (y * torch.randn_like(y)).sum().backward()
    for name, p in G.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any() or name.endswith("bias"), name


def test_a_translation_uses_every_skip():
    torch.manual_seed(0)
    G = UnbalancedGenerator(1, 3, **SMALL)
    seen: list[Tensor | None] = []
    for up in G.up:
        up.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    G(torch.rand(1, 1, 32, 32))
    assert [None if skip is None else tuple(skip.shape[1:]) for skip in seen] == [(16, 8, 8), (4, 16, 16), None]


def test_a_dense_block_shows_each_layer_all_earlier_ones():
    block = DenseBlock(8, layers=3, growth=4)
    assert [layer[2].in_channels for layer in block.layers] == [8, 12, 16]
    assert block(torch.rand(1, 8, 4, 4)).shape == (1, 8, 4, 4)


def test_under_autocast_the_image_is_float32():
    G = UnbalancedGenerator(1, 3, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        y = G(torch.rand(1, 1, 32, 32))
    assert y.dtype == torch.float32
    assert y.isfinite().all()


def test_decoder_widths_must_match_the_levels():
    with pytest.raises(ValueError, match="decoder widths"):
        UnbalancedGenerator(1, 3, **{**SMALL, "decoder": (8, 4)})


def test_scales_of_the_discriminator_halve_the_image_and_ignore_what_is_beyond_its_border():
    D = MultiscaleDiscriminator(1, scales=3, width=4, layers=1, norm="none")
    seen: list[Tensor] = []
    for scale in D.scales:
        scale.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    logits = D(torch.ones(2, 1, 64, 64))
    assert [x.shape[2] for x in seen] == [64, 32, 16]
    assert all((x == 1).all() for x in seen)
    assert len(logits) == 3
