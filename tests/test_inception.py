import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

from sarbench.bench import assets
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics import _inception as features
from sarbench.bench.metrics.networks.inception import Inception

CLOSE = 1e-5  # relative to the largest feature


@pytest.fixture(scope="module")
def state():
    """A state dict such as the published file's, with random weights."""
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=random)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=random)
            module.bias.data.normal_(0, 0.1, generator=random)
            module.running_mean.normal_(0, 0.1, generator=random)
            module.running_var.uniform_(0.001, 1.5, generator=random)
    return network.state_dict()


@pytest.fixture(scope="module")
def pytorch_fid(state):
    """pytorch-fid's feature extractor with these weights in place of its download."""
    official = pytest.importorskip("pytorch_fid.inception")
    with mock.patch.object(official, "load_state_dict_from_url", return_value=state):
        return official.InceptionV3([3]).eval()


@pytest.fixture(scope="module")
def ours(state):
    return Inception(state)


@torch.inference_mode()
def in_float64(state, x):
    """The network again: torchvision's of later years, with the pooling of 2015, batch norm apart, in float64."""
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False).double().eval()
    network.load_state_dict(state)
    network.dropout = network.fc = torch.nn.Identity()
    average, calls = F.avg_pool2d, []

    def pool(x, **geometry):
        calls.append(x)
        if len(calls) == 9:  # the last of three blocks of A, four of C and two of E
            return F.max_pool2d(x, **geometry)
        return average(x, **geometry, count_include_pad=False)

    with mock.patch.object(F, "avg_pool2d", pool):
        return network(x.double()).float()


def assert_close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


def photos(n=2, height=256, width=256, bands=3):
    """Steps, ramps and noise from black to white."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    base = 255.0 * ((x // 20 + y // 13) % 3 == 0) + 60 * np.sin(x / 9)
    noise = rng.normal(0, 40, (n, height, width, bands))
    return np.clip(base[None, :, :, None] + noise, 0, 255).astype(np.uint8)


HARD = {
    "flat": np.full((1, 256, 256, 3), 128, np.uint8),
    "dark": photos(1) // 50,
    "saturated": np.where(photos(1) > 90, 255, 0).astype(np.uint8),
    "small": photos(1, 31, 17),
    "odd": photos(1, 203, 517),
    "as large as the network's": photos(1, 299, 299),
    "large": photos(1, 700, 650),
}
EACH = pytest.mark.parametrize("pixels", [pytest.param(pixels, id=name) for name, pixels in HARD.items()])


# --- The network -----------------------------------------------------------------------------------------------------


def noise(n=3):
    return torch.rand(n, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_network_agrees_with_one_in_float64_whose_pooling_is_that_of_2015(state, ours):
    assert_close(ours(noise()), in_float64(state, noise()))


@torch.inference_mode()
def test_the_network_agrees_with_that_of_pytorch_fid_under_the_same_random_weights(pytorch_fid, ours):
    x = noise()
    with mock.patch.multiple(pytorch_fid, resize_input=False, normalize_input=False):
        expected = pytorch_fid(x)[0][:, :, 0, 0]
    assert_close(ours(x.contiguous(memory_format=torch.channels_last)), expected)
    assert_close(ours(x), expected)


@torch.inference_mode()
def test_without_onednn_the_network_says_the_same(ours):
    x = noise(1).contiguous(memory_format=torch.channels_last)
    with torch.backends.mkldnn.flags(enabled=False):
        plain = ours(x)
    assert_close(ours(x), plain)


@torch.inference_mode()
def test_images_of_another_size_have_kernels_of_their_own(state, ours):
    small = noise(1)[:, :, :97, :131].contiguous(memory_format=torch.channels_last)
    expected = in_float64(state, small)
    ours(noise(1))
    assert_close(ours(small), expected)


def test_every_convolution_of_the_file_is_used_and_nothing_else(state, ours):
    used = []
    with mock.patch.object(ours, "conv", lambda x, name, *a, **k: used.append(name) or Inception.conv(ours, x, name, *a, **k)):
        ours(torch.zeros(1, 3, 299, 299))
    assert sorted(used) == sorted({k.removesuffix(".conv.weight") for k in state if k.endswith("conv.weight")})
    assert len(used) == 94


def test_the_weights_that_are_given_stay_as_they_are(state):
    before = {name: value.clone() for name, value in state.items()}
    Inception(state)(torch.zeros(1, 3, 299, 299))
    assert all(torch.equal(value, before[name]) for name, value in state.items())


# --- The three ways to bring an image to it --------------------------------------------------------------------------


@EACH
@torch.inference_mode()
def test_the_whole_way_agrees_with_pytorch_fid(pytorch_fid, ours, pixels):
    expected = pytorch_fid(torch.stack([to_tensor(Image.fromarray(image)) for image in pixels]))[0][:, :, 0, 0]
    assert_close(features.features_of(ours, ImageBatch(pixels), features.bilinear), expected)


@EACH
@torch.inference_mode()
def test_the_whole_way_agrees_with_clean_fid(pytorch_fid, ours, pixels):
    """Its own resizing and scaling, around the same network: its TorchScript file can't be had offline."""
    resize = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    wrapper = pytest.importorskip("cleanfid.inception_torchscript").InceptionV3W
    clean_fid = wrapper.__new__(wrapper)
    torch.nn.Module.__init__(clean_fid)
    clean_fid.resize_inside = False
    clean_fid.layers = torch.nn.Sequential(*pytorch_fid.blocks)
    expected = clean_fid(torch.stack([to_tensor(resize(image)) for image in pixels]))
    assert_close(features.features_of(ours, ImageBatch(pixels), features.clean), expected)


@EACH
@torch.inference_mode()
def test_the_whole_way_agrees_with_torch_fidelity(state, ours, pixels, tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save(state, tmp_path / "weights.pth")
    extractor = module.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(tmp_path / "weights.pth"))
    (expected,) = extractor(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert_close(features.features_of(ours, ImageBatch(pixels), features.bilinear_from_corner), expected)


WAYS = pytest.mark.parametrize("way", [features.clean, features.bilinear, features.bilinear_from_corner])
CPU = torch.device("cpu")


@WAYS
def test_black_is_minus_1_and_white_the_other_end(way):
    black, white = (way(ImageBatch(np.full((1, 20, 30, 3), value, np.uint8)), CPU) for value in (0, 255))
    assert black.shape == (1, 3, 299, 299)
    np.testing.assert_allclose(black, -1, atol=1e-6)
    np.testing.assert_allclose(white, 1 if way is features.bilinear else 127 / 128, atol=1e-6)


@WAYS
def test_grey_lies_between_them_in_proportion(way):
    grey = way(ImageBatch(np.full((1, 20, 30, 3), 64, np.uint8)), CPU)
    np.testing.assert_allclose(grey, 128 / 255 - 1 if way is features.bilinear else -0.5, atol=1e-6)


@WAYS
def test_8_and_16_bits_of_one_scene_are_prepared_alike(way):
    pixels = photos(1, 40, 60)
    wide = ImageBatch(pixels.astype(np.uint16) * 257, 65535)
    np.testing.assert_allclose(way(wide, CPU), way(ImageBatch(pixels), CPU), atol=1e-5)


@WAYS
def test_an_image_of_one_band_counts_as_its_threefold_repetition(ours, way):
    grey = photos(2, 40, 60, bands=1)
    found = features.features_of(ours, ImageBatch(grey), way)
    assert_close(found, features.features_of(ours, ImageBatch(np.repeat(grey, 3, axis=3)), way))


def test_the_three_ways_are_three_scores(ours):
    pixels = ImageBatch(photos(2, 700, 650))
    found = [
        features.features_of(ours, pixels, way) for way in (features.clean, features.bilinear, features.bilinear_from_corner)
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[i] - found[j]).max() > 100 * CLOSE * np.abs(found[0]).max()
    known = (features.CLEAN, features.PYTORCH_FID, features.TORCH_FIDELITY)
    assert len({f.signature for f in known}) == len({f.name for f in known}) == 3


# --- Batches, refusals, weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7])
def test_an_image_has_the_same_features_in_any_batch(ours, size):
    pixels = photos(7, 64, 64)
    parts = [ImageBatch(pixels[i : i + size]) for i in range(0, 7, size)]
    whole = features.features_of(ours, ImageBatch(pixels), features.clean)
    assert_close(np.concatenate([features.features_of(ours, part, features.clean) for part in parts]), whole)


def test_many_images_are_cut_into_parts_of_bounded_size(ours, monkeypatch):
    pixels = ImageBatch(photos(7, 64, 64))
    whole = features.features_of(ours, pixels, features.clean)
    sizes = []
    monkeypatch.setitem(features.IMAGES_AT_ONCE, "cpu", 3)
    found = features.features_of(ours, pixels, lambda part, device: sizes.append(len(part)) or features.clean(part, device))
    assert sizes == [3, 3, 1]
    assert_close(found, whole)


def test_no_image_has_no_features(ours):
    assert features.features_of(ours, ImageBatch(photos(0)), features.clean).shape == (0, 2048)


@pytest.mark.parametrize("bands", [2, 4])
def test_other_numbers_of_bands_are_refused(ours, bands):
    with pytest.raises(ContractError, match=f"images of 1 or 3 bands, got {bands}"):
        features.features_of(ours, ImageBatch(photos(1, 20, 20, bands)), features.clean)


def test_it_leaves_the_switches_of_torch_as_it_found_them(ours):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.is_inference_mode_enabled()
    features.features_of(ours, ImageBatch(photos(1)), features.clean)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.is_inference_mode_enabled()) == before


def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features._network_on.cache_clear()
    for known in (features.CLEAN, features.PYTORCH_FID, features.TORCH_FIDELITY):
        with pytest.raises(assets.AssetMissing, match="sarbench fetch inception"):
            known.of(ImageBatch(photos(1)))


def test_the_features_are_those_of_the_weights_in_the_asset(state, ours, monkeypatch):
    pixels = ImageBatch(photos(1, 40, 60))
    monkeypatch.setattr(assets, "load_state_dict", lambda name: state if name == "inception" else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ways = {features.CLEAN: "clean", features.PYTORCH_FID: "bilinear", features.TORCH_FIDELITY: "bilinear_from_corner"}
    features._network_on.cache_clear()
    try:
        for known, way in ways.items():
            assert known.assets == ("inception",)
            assert_close(known.of(pixels), features.features_of(ours, pixels, getattr(features, way)))
            assert known.of(pixels).shape == (1, known.width)
    finally:
        features._network_on.cache_clear()


def test_the_file_is_found_under_the_names_of_both_packages():
    asset = assets.ASSETS["inception"]
    assert {file.name.partition("_")[0].partition("-")[0] for file in (asset.file, *asset.alternatives)} == {"pt", "weights"}
    assert {file.sha256 for file in (asset.file, *asset.alternatives)} == {asset.file.sha256}
    assert len(asset.file.sha256) == 64
    assert asset.file.sha256[:8] in asset.url


@pytest.mark.skipif(not os.environ.get("SARBENCH_ASSETS"), reason="set SARBENCH_ASSETS to a folder with the Inception weights")
def test_the_published_weights_fit_the_network():
    try:
        state = assets.load_state_dict("inception")
    except assets.AssetMissing as missing:
        pytest.skip(str(missing))
    found = Inception(state)(torch.zeros(1, 3, 299, 299))
    assert found.shape == (1, 2048)
    assert (found >= 0).all()


def test_neither_torchvision_nor_any_reference_is_imported():
    code = (
        "import sys; from sarbench.bench.metrics import _inception; import sarbench.bench.metrics.networks.inception;"
        "assert not {'torchvision', 'pytorch_fid', 'cleanfid', 'torch_fidelity'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
