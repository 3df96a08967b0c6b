from __future__ import annotations

import pytest
import torch
import torchvision

from sarbench.bench.interface import ContractError
from sarbench.methods.networks.vgg19 import PHOTO_MEAN, PHOTO_SPREAD, FrozenVGG19, MirrorDecoder

EVERY_BLOCK = ("conv1_2", "relu2_1", "conv3_4", "relu4_1", "conv5_2", "relu5_4")
LAYERS = {"conv1_2": 2, "relu2_1": 6, "conv3_4": 16, "relu4_1": 20, "conv5_2": 30, "relu5_4": 35}  # of torchvision's list


@pytest.fixture(scope="module")
def photo():
    torch.manual_seed(0)
    return torchvision.models.vgg19(weights=None, init_weights=False).eval()


def test_the_taps_are_the_layers_of_torchvisions_network_with_its_weights(photo):
    ours = FrozenVGG19(EVERY_BLOCK)
    ours.load_photo_weights(photo.state_dict())
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    h = ((x + 1) / 2 - torch.tensor(PHOTO_MEAN)[:, None, None]) / torch.tensor(PHOTO_SPREAD)[:, None, None]
    theirs = []
    with torch.no_grad():
        for number, layer in enumerate(photo.features):
            h = layer(h.clone())  # its ReLUs work in place
            if number in LAYERS.values():
                theirs.append(h)
    found = ours(x)
    assert [f.shape[1] for f in found] == ours.channels == [64, 128, 256, 512, 512, 512]
    for a, b in zip(found, theirs, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.std()


def test_layers_past_the_deepest_tap_are_not_there():
    with torch.device("meta"):
        network = FrozenVGG19(("relu1_1", "relu4_1"))
    assert sum(p.numel() for p in network.parameters()) == 3_505_728
    assert list(network.state_dict())[-1] == "features.19.bias"


def test_no_weight_moves_and_gradients_reach_the_image():
    network, x = FrozenVGG19(("relu2_1",), width=4), torch.randn(1, 3, 16, 16, requires_grad=True)
    network(x)[0].sum().backward()
    assert not any(p.requires_grad for p in network.parameters())
    assert x.grad is not None
    assert x.grad.any()


def test_one_band_is_seen_as_three_and_two_as_their_mean():
    network = FrozenVGG19(("relu2_1",), width=4)
    x = torch.randn(1, 2, 16, 16)
    mean = x.mean(dim=1, keepdim=True)
    assert torch.equal(network(x)[0], network(mean)[0])
    assert torch.equal(network(mean)[0], network(mean.expand(-1, 3, -1, -1))[0])


def test_reflection_changes_the_border_alone():
    torch.manual_seed(0)
    zeros = FrozenVGG19(("conv1_1",), width=4)
    reflect = FrozenVGG19(("conv1_1",), width=4, padding="reflect")
    reflect.load_state_dict(zeros.state_dict())
    x = torch.randn(1, 3, 8, 8)
    (a,), (b,) = zeros(x), reflect(x)
    torch.testing.assert_close(a[:, :, 1:-1, 1:-1], b[:, :, 1:-1, 1:-1])
    assert not torch.equal(a, b)


def test_random_weights_keep_the_size_of_features_down_to_the_deepest_block():
    torch.manual_seed(0)
    first, last = FrozenVGG19(("conv1_2", "conv5_2"), width=16)(torch.randn(2, 3, 64, 64))
    assert 0.1 < last.std() / first.std() < 10


def test_weights_of_another_network_are_refused(photo):
    with pytest.raises(ContractError, match="not the weights of a VGG-19"):
        FrozenVGG19(("relu1_1",), width=8).load_photo_weights(photo.state_dict())
    with torch.device("meta"):
        other, ours = torchvision.models.vgg16(weights=None).state_dict(), FrozenVGG19(("relu4_1",))
    with pytest.raises(ContractError, match=r"features\.16\.weight"):
        ours.load_photo_weights(other)


def test_the_decoder_has_the_published_number_of_parameters_and_mirrors_the_poolings():
    with torch.device("meta"):
        network = MirrorDecoder(3)
        image = network(torch.zeros(1, 512, 4, 6))
    assert sum(p.numel() for p in network.parameters()) == 3_505_219
    assert image.shape == (1, 3, 32, 48)
