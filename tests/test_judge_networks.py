"""The judges' networks: sizes, shapes, and other packages' networks under the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sarbench.bench.errors import ContractError
from sarbench.bench.judges.networks.caffe_weights import read_caffemodel
from sarbench.bench.judges.networks.efficientnet import NOT_RUN, EfficientNet, SameConv, scaled_width
from sarbench.bench.judges.networks.fcn8s import FCN8s, bilinear
from sarbench.bench.judges.networks.siamese_unet import SiameseUNet

TINY = {"width": 0.25, "depth": 0.3, "decoder": (16, 8, 8, 8, 8)}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def shaken(network: nn.Module) -> nn.Module:
    """The network with running statistics and weights as training might leave them, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif name.endswith("running_mean"):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        elif value.ndim == 1 and value.is_floating_point():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return network.eval()


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def pad_by_the_image(conv: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    pads: list[int] = []
    for side, kernel, stride in zip(inputs[0].shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], strict=True):
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [missing // 2, missing - missing // 2]
    conv.static_padding = nn.ZeroPad2d(pads)


# --- EfficientNet and its U-Net ---


def test_efficientnet_b1_has_the_parameters_of_the_published_one_without_its_classifier() -> None:
    whole, classifier, head = 7_794_184, 1280 * 1000 + 1000, 320 * 1280 + 2 * 1280  # whole: efficientnet-pytorch
    assert parameters(EfficientNet(3)) == whole - classifier - head == 6_101_024


@pytest.mark.parametrize(("fusion", "expected"), [("none", 8_344_945), ("difference", 8_344_945), ("concatenation", 9_409_393)])
def test_the_siamese_network_has_one_encoder_however_many_images_it_sees(fusion: str, expected: int) -> None:
    assert parameters(SiameseUNet(3, 1, fusion=fusion)) == expected  # type: ignore[arg-type]


def test_feature_maps_halve_five_times() -> None:
    maps = shaken(EfficientNet(3))(image(1, 3, 64, 96))
    assert [tuple(h.shape[1:]) for h in maps] == [(32, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


@pytest.mark.parametrize(
    ("width", "by", "expected"), [(32, 1.0, 32), (32, 1.1, 32), (16, 0.25, 8), (40, 1.2, 48), (24, 0.5, 16)]
)
def test_widths_are_multiples_of_8_and_lose_no_more_than_a_tenth(width: int, by: float, expected: int) -> None:
    assert scaled_width(width, by) == expected


def test_an_odd_pixel_of_padding_goes_to_the_bottom_and_the_right() -> None:
    conv = SameConv(1, 1, 3, stride=2)
    nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = 1.0
    assert conv(x)[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    x = torch.zeros(1, 1, 4, 4)
    x[..., 2, 2] = 1.0  # seen by the windows that begin at 0 and at 2, both sides
    assert conv(x)[0, 0].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_the_order_of_two_images_does_not_matter_to_their_difference() -> None:
    network = shaken(SiameseUNet(3, 1, fusion="difference", **TINY))  # type: ignore[arg-type]
    a, b = image(2, 2, 3, 64, 64)
    assert torch.allclose(network(a, b), network(b, a), atol=1e-5)


def test_two_equal_images_differ_nowhere() -> None:
    network = shaken(SiameseUNet(3, 1, fusion="difference", **TINY))  # type: ignore[arg-type]
    a, b = image(1, 3, 64, 64), image(2, 3, 64, 64)[1:]
    assert torch.allclose(network(a, a), network(b, b), atol=1e-5)


def test_the_unet_gives_what_segmentation_models_pytorch_gives_under_the_same_weights() -> None:
    packages = pytest.importorskip("segmentation_models_pytorch")
    theirs = shaken(packages.Unet("efficientnet-b1", encoder_weights=None, classes=2))
    ours = SiameseUNet(3, 2, fusion="none").eval()
    for module in theirs.modules():
        if hasattr(module, "static_padding"):  # theirs is that of a 240 px image, whatever it sees
            module.register_forward_pre_hook(pad_by_the_image)
    not_run = tuple(f"encoder.{name}" for name in NOT_RUN)
    named = {name: value for name, value in theirs.state_dict().items() if not name.startswith(not_run)}
    state = ours.state_dict()
    assert [value.shape for value in named.values()] == [value.shape for value in state.values()]
    ours.load_state_dict(dict(zip(state, named.values(), strict=True)))
    x = image(2, 3, 96, 64)
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x), atol=1e-4, rtol=1e-4)


def test_published_weights_of_efficientnet_pytorch_load_and_give_their_features() -> None:
    package = pytest.importorskip("efficientnet_pytorch")
    theirs = shaken(package.EfficientNet.from_name("efficientnet-b1", image_size=64))
    ours = EfficientNet(3).eval()
    ours.load_published(theirs.state_dict())
    x = image(1, 3, 64, 64)
    with torch.inference_mode():
        found = theirs.extract_endpoints(x)
        expected = [found[f"reduction_{i}"] for i in (2, 3, 4, 5)]
        own = ours(x)[1:]  # theirs of half the size is of the first stage, ours of the stem
    for mine, other in zip(own, expected, strict=True):
        assert torch.allclose(mine, other, atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ContractError, match="not the weights of this EfficientNet"):
        EfficientNet(3).load_published(EfficientNet(3, depth=1.0).state_dict())


# --- FCN-8s ---


def test_fcn8s_has_the_parameters_of_vgg16_and_its_scores() -> None:
    with torch.device("meta"):
        network = FCN8s(3, 21)
    vgg16, last = 138_357_544, 4096 * 1000 + 1000  # torchvision, and its classifier of 1000 classes
    scores = (4096 + 512 + 256 + 3) * 21 + 21 * 21 * (16 + 16 + 256)
    assert parameters(network) == vgg16 - last + scores == 134_489_759


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (45, 70)])
def test_a_bordered_fcn8s_gives_a_score_for_each_pixel_of_any_size(size: tuple[int, int]) -> None:
    network = FCN8s(3, 4, width=4, head=8).eval()
    with torch.inference_mode():
        assert network(image(1, 3, *size)).shape == (1, 4, *size)


@pytest.mark.parametrize("score", ["score_fr", "score_pool4", "score_pool3"])
@pytest.mark.parametrize("spot", [40, 88])
def test_the_crops_of_the_border_put_each_map_where_it_belongs(score: str, spot: int) -> None:
    network = FCN8s(1, 1, width=1, head=1).eval()
    for name, value in network.named_parameters():  # every layer is its input again, averaged over its channels
        if name.endswith("bias"):
            nn.init.zeros_(value)
        elif not name.startswith("upscore"):
            nn.init.zeros_(value)
            side = value.shape[-1] // 2
            value.data[..., side, side] = 1.0 / value.shape[1] if name.startswith(("blocks", "fc", score)) else 0.0
    x = torch.zeros(1, 1, 128, 128)
    x[..., spot - 8 : spot + 8, spot - 8 : spot + 8] = 1.0
    with torch.inference_mode():
        rows = network(x)[0, 0].sum(1)
    centre = float((rows * torch.arange(128.0)).sum() / rows.sum())
    assert abs(centre - spot) < {"score_fr": 20, "score_pool4": 10, "score_pool3": 5}[score]  # px of its grid, and some


def test_the_trunk_of_fcn8s_is_torchvisions_vgg16_under_the_same_weights() -> None:
    from torchvision.models import vgg16

    torch.manual_seed(0)
    with torch.device("meta"):
        whole = vgg16()
    theirs = whole.features.to_empty(device="cpu")
    for value in theirs.parameters():
        nn.init.normal_(value, 0.0, (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.1)
    weights = {f"features.{name}": value for name, value in theirs.state_dict().items()}
    weights |= {f"classifier.{i}.weight": torch.ones(1).expand(8, n) for i, n in ((0, 512 * 49), (3, 8))}
    weights |= {f"classifier.{i}.bias": torch.ones(8) for i in (0, 3)}
    ours = FCN8s(3, 2, head=8).eval()
    ours.load_vgg16(weights)
    h = x = image(1, 3, 64, 64)
    with torch.inference_mode():
        for block in ours.blocks:
            h = nn.functional.max_pool2d(block(h), 2)
        assert torch.allclose(h, theirs(x), atol=1e-4, rtol=1e-4)
    with pytest.raises(ContractError, match="not the weights of a VGG-16"):
        ours.load_vgg16({name: value for name, value in weights.items() if name != "features.28.weight"})


def test_upscaling_begins_as_bilinear_interpolation() -> None:
    up = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    up.weight.data = bilinear(1, 4)
    x = image(1, 1, 6, 6)
    expected = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(up(x)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-6)


def test_a_fresh_fcn8s_says_nothing() -> None:
    network = FCN8s(3, 5, width=4, head=8, padding="same", norm=True).eval()
    assert torch.equal(network(image(1, 3, 32, 32)), torch.zeros(1, 5, 32, 32))


# --- Weights of Caffe ---


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def caffemodel(layers: dict[str, list[torch.Tensor]]) -> bytes:
    """A network as Caffe writes it: a name, then each layer with its arrays."""

    def blob(value: torch.Tensor) -> bytes:
        shape = field(1, b"".join(varint(side) for side in value.shape))
        return field(5, value.contiguous().numpy().astype("<f4").tobytes()) + field(7, shape)

    parts = [field(1, b"FCN")]
    for name, blobs in layers.items():
        parts.append(
            field(100, field(1, name.encode()) + field(2, b"Convolution") + b"".join(field(7, blob(b)) for b in blobs))
        )
    return b"".join(parts)


def named_as_in_caffe(network: FCN8s) -> dict[str, list[torch.Tensor]]:
    names = [f"conv{b + 1}_{i + 1}" for b, n in enumerate((2, 2, 3, 3, 3)) for i in range(n)]
    convolutions = [m for m in network.blocks.modules() if isinstance(m, nn.Conv2d)]
    found = {name: [m.weight.data, m.bias.data] for name, m in zip(names, convolutions, strict=True)}  # type: ignore[union-attr]
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            found[name] = [p.data for p in module.parameters()]
    return found


def test_weights_that_caffe_wrote_make_the_same_network(tmp_path: Path) -> None:
    theirs = FCN8s(3, 4, width=2, head=6).eval()
    for value in theirs.parameters():
        nn.init.normal_(value, 0.0, 0.2)
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel({**named_as_in_caffe(theirs), "relu1_1": []}))
    ours = FCN8s(3, 4, width=2, head=6).eval()
    ours.load_caffe(read_caffemodel(file))
    x = image(1, 3, 40, 56)
    with torch.inference_mode():
        assert torch.equal(ours(x), theirs(x))


def test_caffe_weights_of_other_classes_or_without_a_layer_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.caffemodel"
    layers = named_as_in_caffe(FCN8s(3, 4, width=2, head=6))
    file.write_bytes(caffemodel({name: blobs for name, blobs in layers.items() if name != "score_fr"}))
    with pytest.raises(ContractError, match="its layer score_fr"):
        FCN8s(3, 4, width=2, head=6).load_caffe(read_caffemodel(file))
    file.write_bytes(caffemodel(layers))
    with pytest.raises(ContractError, match="its layer score_fr"):
        FCN8s(3, 5, width=2, head=6).load_caffe(read_caffemodel(file))


MISSHAPEN = field(100, field(7, field(5, b"\0" * 8) + field(7, field(1, b"\x09"))))  # 2 numbers in a shape of 9


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"PK\x03\x04" * 9, MISSHAPEN])
def test_what_is_no_caffemodel_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "net.caffemodel"
    file.write_bytes(data)
    with pytest.raises(ContractError, match=r"net\.caffemodel"):
        read_caffemodel(file)


def test_a_caffemodel_that_is_cut_is_refused(tmp_path: Path) -> None:
    whole = caffemodel({"conv1_1": [torch.ones(2, 3, 3, 3), torch.ones(2)]})
    file = tmp_path / "net.caffemodel"
    file.write_bytes(whole[:-5])
    with pytest.raises(ContractError, match=r"is no \.caffemodel"):
        read_caffemodel(file)
