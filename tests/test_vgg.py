import numpy as np
import pytest
import torch

from sarbench.bench.certification.corpus import random_state
from sarbench.bench.metrics.networks import vgg

SHAPES = vgg.shapes("features.")


@pytest.fixture(scope="module")
def torchvisions():
    """torchvision's own VGG-16 under random weights, and these."""
    from torchvision.models import vgg16

    with torch.device("meta"):
        network = vgg16(weights=None).features
    state = random_state(SHAPES)
    network.load_state_dict({name.removeprefix("features."): value for name, value in state.items()}, assign=True)
    return network.eval(), state


def test_the_weights_have_torchvisions_names_and_shapes(torchvisions):
    assert {f"features.{name}": tuple(value.shape) for name, value in torchvisions[0].state_dict().items()} == SHAPES


def test_the_convolutions_have_the_14_714_688_parameters_of_configuration_d():
    assert sum(int(np.prod(shape)) for shape in SHAPES.values()) == 14_714_688


@pytest.mark.parametrize("size", [(16, 16), (37, 50), (64, 48)])
def test_the_maps_are_those_after_the_last_relu_of_each_block(torchvisions, size):
    network, state = torchvisions
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = list(vgg.maps(state, "features.", x))
        expected = [network[:end](x) for end in (4, 9, 16, 23, 30)]
        last = vgg.last_map(state, "features.", x)
    assert len(found) == 5
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(b.abs().max()))
    assert torch.equal(last, found[-1])


def test_the_prefix_stands_before_torchvisions_index():
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    state = random_state(vgg.shapes("base_model.features_"))
    assert "base_model.features_28.bias" in state
    with torch.inference_mode():
        assert vgg.last_map(state, "base_model.features_", x).shape == (1, 512, 1, 1)


def test_a_smaller_image_than_16_px_has_nothing_left():
    state = random_state(SHAPES)
    with torch.inference_mode(), pytest.raises(RuntimeError):
        vgg.last_map(state, "features.", torch.zeros(1, 3, vgg.LEAST_PX, vgg.LEAST_PX - 1))
