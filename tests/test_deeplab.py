"""DeepLab-V2: sizes, torchvision's ResNet under the same weights, and what holes in convolutions mean."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from sarbench.bench.errors import ContractError
from sarbench.bench.judges.networks.deeplab_v2 import CAFFE_MEAN, RESNET_101, Aspp, AtrousResNet, DeepLabV2
from sarbench.bench.judges.networks.output_discriminator import OutputDiscriminator

SMALL = (1, 2, 2, 2)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def shaken(network: nn.Module) -> nn.Module:
    """The network in eval mode, with statistics and shifts as training might leave them."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif value.ndim == 1 and value.is_floating_point():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return network.eval()


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


# --- Sizes ---


@pytest.mark.parametrize(("classes", "expected"), [(19, 43_901_068), (16, 43_679_872), (21, 44_048_532)])
def test_deeplab_on_resnet_101_has_the_parameters_of_trunk_and_head(classes: int, expected: int) -> None:
    with torch.device("meta"):
        network = DeepLabV2(3, classes)
    assert parameters(network.trunk) == 44_549_160 - 2_049_000 == 42_500_160  # torchvision's count, without its classifier
    assert parameters(network.head) == classes * 4 * (9 * 2048 + 1)
    assert parameters(network) == expected


def test_the_trunk_has_the_names_and_shapes_of_torchvisions_resnet_101() -> None:
    with torch.device("meta"):
        ours = AtrousResNet(3).state_dict()
        theirs = torchvision.models.resnet101(weights=None).state_dict()
    assert {name: v.shape for name, v in ours.items()} == {
        name: v.shape for name, v in theirs.items() if not name.startswith("fc.")
    }


def test_the_discriminator_of_class_maps_has_the_parameters_of_the_paper() -> None:
    assert parameters(OutputDiscriminator(19)) == 2_781_121
    assert OutputDiscriminator(5, 4)(torch.zeros(2, 5, 64, 96)).shape == (2, 1, 2, 3)


@pytest.mark.parametrize(
    ("layout", "side", "expected"), [("caffe", 321, 41), ("torchvision", 321, 41), ("caffe", 64, 9), ("torchvision", 64, 8)]
)
def test_maps_are_at_an_eighth_and_caffe_rounds_up(layout: str, side: int, expected: int) -> None:
    network = AtrousResNet(3, blocks=(1, 1, 1, 1), width=4, layout=layout).eval()  # type: ignore[arg-type]
    assert network(image(1, 3, side, side)).shape == (1, 128, expected, expected)


def test_scores_have_the_size_of_the_image_whatever_it_is() -> None:
    network = DeepLabV2(3, 5, blocks=(1, 1, 1, 1), width=4).eval()
    assert network(image(1, 3, 45, 70)).shape == (1, 5, 45, 70)


# --- Torchvision, and the meaning of holes ---


def loaded_both(blocks: tuple[int, ...], dilate: list[bool], output_stride: int) -> tuple[AtrousResNet, nn.Module]:
    theirs = shaken(ResNet(Bottleneck, list(blocks), replace_stride_with_dilation=dilate))
    ours = DeepLabV2(3, 2, blocks=blocks, output_stride=output_stride)
    ours.load_torchvision(theirs.state_dict())
    trunk = nn.Sequential(*list(theirs.children())[:-2])
    return ours.trunk.eval(), trunk.eval()


@pytest.mark.parametrize(
    ("dilate", "output_stride"),
    [([False, False, False], 32), ([False, False, True], 16), ([False, True, True], 8), ([True, True, True], 4)],
)
def test_the_trunk_gives_what_torchvisions_gives_under_the_same_weights(dilate: list[bool], output_stride: int) -> None:
    ours, theirs = loaded_both(SMALL, dilate, output_stride)
    x = image(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_resnet_101_gives_what_torchvisions_gives_under_the_same_weights() -> None:
    ours, theirs = loaded_both(RESNET_101, [False, True, True], 8)
    x = image(1, 3, 48, 48)
    with torch.inference_mode():
        expected = theirs(x)
        assert torch.allclose(ours(x), expected, atol=1e-4 * expected.abs().max().item())


def test_dense_maps_hold_the_maps_of_the_strided_network() -> None:
    strided, dense = (AtrousResNet(3, blocks=SMALL, width=4, output_stride=s) for s in (32, 8))
    dense.load_state_dict(shaken(strided).state_dict())
    x = image(1, 3, 128, 128)
    with torch.inference_mode():
        assert torch.allclose(strided(x), dense.eval()(x)[..., ::4, ::4], atol=1e-5)


def test_caffes_layout_strides_in_the_first_convolution_and_dilates_whole_stages() -> None:
    network = AtrousResNet(3, blocks=(2, 2, 2, 2), width=4, layout="caffe")
    assert [block.conv1.stride[0] for block in network.layer2] == [2, 1]
    assert [block.conv2.dilation[0] for block in network.layer3] == [2, 2]
    assert [block.conv2.dilation[0] for block in network.layer4] == [4, 4]
    other = AtrousResNet(3, blocks=(2, 2, 2, 2), width=4)
    assert [block.conv2.stride[0] for block in other.layer2] == [2, 1]
    assert [block.conv2.dilation[0] for block in other.layer3] == [1, 2]
    assert [block.conv2.dilation[0] for block in other.layer4] == [2, 4]


def test_the_pyramid_sees_its_four_distances_and_sums_them() -> None:
    head = Aspp(1, 1, dilations=(6, 12, 18, 24))
    for branch in head.branches:
        nn.init.ones_(branch.weight)  # type: ignore[arg-type]
    h = torch.zeros(1, 1, 60, 60)
    h[..., 30, 30] = 1.0
    seen = head(h)[0, 0]
    assert seen[30, 30] == 4.0  # the middle of all four
    assert seen[30, 24] == seen[36, 36] == seen[30, 18] == seen[12, 30] == seen[54, 54] == 1.0
    assert seen.sum() == 4 * 9


# --- Weights, values, scales ---


def test_frozen_normalisation_is_the_same_in_training_and_learns_nothing() -> None:
    network = AtrousResNet(3, blocks=(1, 1, 1, 1), width=4)
    shaken(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = image(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.train()(x), network.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(p.requires_grad for name, p in network.named_parameters() if ".bn" in name or name.startswith("bn"))


def test_caffes_file_gives_the_trunk_alone() -> None:
    donor, network = (DeepLabV2(3, 2, blocks=(1, 1, 1, 1), width=4, layout="caffe") for _ in range(2))
    published = {f"Scale.{name}": value for name, value in donor.trunk.state_dict().items()}
    network.load_deeplab({**published, "Scale.layer5.conv2d_list.0.weight": torch.zeros(21, 128, 3, 3)})
    assert all(torch.equal(a, b) for a, b in zip(network.trunk.parameters(), donor.trunk.parameters(), strict=True))
    assert not torch.equal(network.head.branches[0].weight, donor.head.branches[0].weight)


@pytest.mark.parametrize("blocks", [(1, 1, 1, 2), (1, 1, 1, 1)])
def test_weights_of_another_network_are_refused(blocks: tuple[int, ...]) -> None:
    other = AtrousResNet(3, blocks=blocks, width=8).state_dict()
    with pytest.raises(ContractError, match="not the weights of this ResNet"):
        DeepLabV2(3, 2, blocks=(1, 1, 1, 1), width=4).load_torchvision(other)


def test_published_weights_see_the_values_that_they_were_trained_on() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1)
    small = {"blocks": (1, 1, 1, 1), "width": 4}
    blue, green, red_minus_mean = DeepLabV2(3, 2, values="caffe", **small)._prepared(red).flatten().tolist()  # type: ignore[arg-type]
    assert (blue, green, red_minus_mean) == pytest.approx((-CAFFE_MEAN[0], -CAFFE_MEAN[1], 255 - CAFFE_MEAN[2]), abs=1e-3)
    normed = DeepLabV2(3, 2, values="torchvision", **small)._prepared(red).flatten().tolist()  # type: ignore[arg-type]
    assert normed == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-5)
    with pytest.raises(ContractError, match="see RGB; these images have 4"):
        DeepLabV2(4, 2, values="caffe", **small)  # type: ignore[arg-type]


def test_of_several_scales_the_highest_score_counts() -> None:
    single = DeepLabV2(3, 2, blocks=(1, 1, 1, 1), width=4).eval()
    several = DeepLabV2(3, 2, blocks=(1, 1, 1, 1), width=4, scales=(0.5, 1.0)).eval()
    several.load_state_dict(single.state_dict())
    x = image(1, 3, 64, 64)
    with torch.inference_mode():
        half = single.classify(single.features(nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear")), (64, 64))
        assert torch.allclose(several(x), torch.maximum(half, single(x)), atol=1e-6)


@pytest.mark.parametrize("output_stride", [1, 6, 64])
def test_an_output_stride_that_no_resnet_has_is_refused(output_stride: int) -> None:
    with pytest.raises(ContractError, match="output stride of 4, 8, 16 or 32"):
        AtrousResNet(3, output_stride=output_stride)
