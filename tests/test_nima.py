import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sarbench.bench import assets, registry
from sarbench.bench.certification.corpus import pictures, random_state
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics import nima as metric_file
from sarbench.bench.metrics.networks import inception_resnet
from sarbench.bench.metrics.networks import nima as network
from sarbench.bench.metrics.networks.nima import INCEPTION_RESNET, VGG
from sarbench.bench.metrics.nima import mean_score, of_weights

CPU = torch.device("cpu")
TIMM = {INCEPTION_RESNET: "inception_resnet_v2", VGG: "vgg16"}
SMALL = replace(VGG, side=32)  # the same on fewer pixels
METRICS = {INCEPTION_RESNET: "nima", VGG: "nima@vgg16"}


def state_of(backbone):
    found = random_state(network.shapes(backbone))
    if backbone is INCEPTION_RESNET:
        found["classifier.2.weight"] *= 0.02  # its maps are large under random weights; the softmax must not be certain
    return found


@pytest.fixture(scope="module", params=[INCEPTION_RESNET, VGG], ids=["inception_resnet", "vgg"])
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def state(backbone):
    return state_of(backbone)


@pytest.fixture(scope="module")
def weights(backbone, state):
    return network.weights(backbone, state, CPU)


@pytest.fixture(scope="module")
def vgg_weights():
    return network.weights(VGG, state_of(VGG), CPU)


@pytest.fixture(scope="module")
def pyiqas(backbone, state):
    """pyiqa's NIMA under the same weights; it downloads nothing."""
    arch = pytest.importorskip("pyiqa.archs.nima_arch")
    import timm

    with pytest.MonkeyPatch.context() as patch:
        build = timm.create_model
        patch.setattr(timm, "create_model", lambda name, pretrained, **named: build(name, pretrained=False, **named))
        found = arch.NIMA(base_model_name=TIMM[backbone], pretrained=False).eval()
    keys = {name: tuple(value.shape) for name, value in found.state_dict().items() if "num_batches" not in name}
    assert keys == network.shapes(backbone)
    found.load_state_dict(state, strict=False)
    return found


def images(n=2, height=64, width=80, bands=3):
    return ImageBatch(pictures(n, height, width, bands))


def tensor(x):
    return torch.from_numpy(x.pixels.astype(np.float32)).permute(0, 3, 1, 2) / x.peak


# --- The score -------------------------------------------------------------------------------------------------------


def test_the_score_is_the_mean_of_the_scores_1_to_10():
    certain = np.eye(10)
    np.testing.assert_allclose(mean_score(certain), np.arange(1, 11))
    np.testing.assert_allclose(mean_score(np.full((1, 10), 0.1)), 5.5)
    np.testing.assert_allclose(mean_score((certain[[0]] + certain[[9]] * 3) / 4), (1 + 3 * 10) / 4)


def test_shares_are_positive_and_add_up_to_1(backbone, weights):
    with torch.inference_mode():
        shares = network.distributions(backbone, weights, tensor(images())).numpy()
    assert shares.shape == (2, 10)
    assert shares.min() > 0
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)


# --- What the network reads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [224, 299])
@pytest.mark.parametrize("size", [(256, 256), (64, 80), (300, 224), (299, 299), (224, 301), (700, 512), (31, 97), (298, 299)])
def test_the_middle_is_that_of_torchvisions_resize_and_centre_crop(size, side):
    from torchvision.transforms import functional as T

    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = T.center_crop(T.resize(x, side), side)
    np.testing.assert_array_equal(network.middle(x, side), expected)


def test_an_image_of_the_right_size_is_left_as_it_is():
    x = torch.rand(1, 3, 224, 224)
    assert torch.equal(network.middle(x, 224), x)


# --- The networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "count", "digest"),
    [
        (INCEPTION_RESNET, 1102, "5652833b74053e784fe3a06f5914aff7a8620b7c9c2d4ee71a159d6a488fc6b2"),
        (VGG, 28, "a804fb7562fb55d24b3392fc1fd263ad1427fb28f6266b9eeb1a1fa91e437a78"),
    ],
    ids=["inception_resnet", "vgg"],
)
def test_the_weights_have_the_names_and_shapes_of_pyiqas_files(backbone, count, digest):
    shapes = network.shapes(backbone)
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    assert len(shapes) == count
    assert hashlib.sha256(lines.encode()).hexdigest() == digest


def test_some_names_of_the_weights():
    shapes = network.shapes(INCEPTION_RESNET)
    assert shapes["base_model.conv2d_1a.conv.weight"] == (32, 3, 3, 3)
    assert shapes["base_model.mixed_5b.branch3.1.conv.weight"] == (64, 192, 1, 1)
    assert shapes["base_model.repeat_1.19.branch1.2.conv.weight"] == (192, 160, 7, 1)
    assert shapes["base_model.repeat_2.8.conv2d.weight"] == (2080, 448, 1, 1)
    assert shapes["base_model.block8.conv2d.bias"] == (2080,)
    assert shapes["classifier.2.weight"] == (10, 1536)
    assert network.shapes(VGG)["base_model.features_28.weight"] == (512, 512, 3, 3)
    assert network.shapes(VGG)["classifier.2.weight"] == (10, 512)


@pytest.mark.parametrize(("backbone", "base"), [(INCEPTION_RESNET, 54_306_464), (VGG, 14_714_688)], ids=["irn", "vgg"])
def test_the_networks_have_the_published_numbers_of_parameters(backbone, base):
    trained = {name: int(np.prod(shape)) for name, shape in network.shapes(backbone).items() if "running" not in name}
    assert sum(n for name, n in trained.items() if name.startswith("base_model.")) == base
    assert sum(n for name, n in trained.items() if name.startswith("classifier.")) == 10 * backbone.width + 10


def test_a_residual_block_adds_its_scaled_branches_to_what_came_in():
    """With kernels of 0 the branches are their biases alone, so that the block adds a constant to each band."""
    shapes = inception_resnet.shapes("")
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    state |= {name: torch.ones(shape) for name, shape in shapes.items() if name.endswith("running_var")}
    for name, scale in (("repeat.4", 0.17), ("repeat_1.0", 0.10), ("repeat_2.8", 0.20), ("block8", 1.0)):
        state[f"{name}.conv2d.bias"] = torch.arange(shapes[f"{name}.conv2d.bias"][0], dtype=torch.float32)
        folded = inception_resnet.weights(state, "")
        torch.testing.assert_close(folded[f"{name}.conv2d.bias"], state[f"{name}.conv2d.bias"] * scale)


def test_only_the_last_block_has_no_relu():
    blocks = {name: layer for name, layer in inception_resnet.LAYERS.items() if hasattr(layer, "scale")}
    assert len(blocks) == 10 + 20 + 9 + 1
    assert [name for name, layer in blocks.items() if not layer.relu] == ["block8"]


def test_the_mean_pooling_of_the_first_mixed_block_leaves_the_border_out():
    x = torch.rand(1, 2, 5, 5)
    pooled = inception_resnet._applied({}, "", inception_resnet.Pool("mean"), x)
    torch.testing.assert_close(pooled[0, 0, 0, 0], x[0, 0, :2, :2].mean())
    torch.testing.assert_close(pooled[0, 1, 2, 2], x[0, 1, 1:4, 1:4].mean())


def test_an_image_of_299_px_becomes_a_map_of_8x8():
    weights = inception_resnet.weights(random_state(inception_resnet.shapes("")), "")
    with torch.inference_mode():
        assert inception_resnet.last_map(weights, torch.zeros(1, 3, 299, 299)).shape == (1, 1536, 8, 8)


def test_inception_resnet_agrees_with_timm():
    timm = pytest.importorskip("timm")
    state = random_state(inception_resnet.shapes(""))
    official = timm.create_model("inception_resnet_v2", pretrained=False).eval()
    official.load_state_dict(state, strict=False)
    x = torch.rand(1, 3, 139, 170, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = official.forward_features(x)
        found = inception_resnet.last_map(inception_resnet.weights(state, ""), x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.max()))


# --- Scores of images ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 80), (299, 299), (310, 233)])
def test_it_agrees_with_pyiqa_under_the_same_random_weights(backbone, pyiqas, weights, size):
    x = images(2, *size)
    with torch.inference_mode():
        expected, shares = pyiqas(tensor(x), return_dist=True)
        found = network.distributions(backbone, weights, tensor(x))
    assert np.ptp(expected.numpy()) > 1e-3
    np.testing.assert_allclose(found, shares, atol=1e-5)
    np.testing.assert_allclose(of_weights(backbone, weights, x), expected.flatten(), rtol=1e-5)


@pytest.mark.slow
def test_it_agrees_with_pyiqa_in_float64(backbone, pyiqas, weights):
    x = images(2, 97, 131)
    try:
        with torch.inference_mode():
            expected = pyiqas.double()(tensor(x).double()).flatten().numpy()
    finally:
        pyiqas.float()
    np.testing.assert_allclose(of_weights(backbone, weights, x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 80), {"IR": [5.335519, 5.262558], "VG": [4.349905, 4.209107]}),
        ((310, 233), {"IR": [5.325592, 5.233433], "VG": [4.308211, 3.846001]}),
    ],
)
def test_under_the_same_random_weights_it_gives_the_frozen_values(backbone, weights, size, expected):
    values = expected["IR" if backbone is INCEPTION_RESNET else "VG"]
    np.testing.assert_allclose(of_weights(backbone, weights, images(2, *size)), values, rtol=2e-5)


def test_an_image_scores_the_same_in_any_batch(vgg_weights, monkeypatch):
    x = images(5, 30, 40)
    whole = of_weights(SMALL, vgg_weights, x)
    alone = [of_weights(SMALL, vgg_weights, ImageBatch(x.pixels[[i]])) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(alone), whole, rtol=1e-5)
    monkeypatch.setattr(metric_file, "PIXELS_AT_ONCE", 2 * 32 * 40)
    np.testing.assert_allclose(of_weights(SMALL, vgg_weights, x), whole, rtol=1e-5)


@pytest.mark.parametrize(("size", "together"), [((16, 16), [3, 2]), ((48, 64), [1] * 5)])
def test_an_image_counts_as_its_own_size_or_what_it_is_enlarged_to(vgg_weights, monkeypatch, size, together):
    seen = []
    of = network.distributions
    monkeypatch.setattr(metric_file, "PIXELS_AT_ONCE", 3 * 32 * 32)
    monkeypatch.setattr(network, "distributions", lambda b, w, x: seen.append(len(x)) or of(b, w, x))
    of_weights(SMALL, vgg_weights, images(5, *size))
    assert seen == together


def test_a_grey_image_scores_as_its_threefold_repetition(vgg_weights):
    x = images(2, bands=1)
    repeated = ImageBatch(np.repeat(x.pixels, 3, axis=3))
    np.testing.assert_allclose(of_weights(SMALL, vgg_weights, x), of_weights(SMALL, vgg_weights, repeated), rtol=1e-6)


def test_8_and_16_bits_of_one_image_score_the_same(vgg_weights):
    x = images(2)
    wide = ImageBatch(x.pixels.astype(np.uint16) * 257, 65535)
    np.testing.assert_allclose(of_weights(SMALL, vgg_weights, wide), of_weights(SMALL, vgg_weights, x), rtol=1e-5)


def test_images_of_two_bands_are_refused(vgg_weights):
    with pytest.raises(ContractError, match="nima takes images of 1 or 3 bands, got 2"):
        of_weights(SMALL, vgg_weights, images(1, bands=2))


# --- Weights ---------------------------------------------------------------------------------------------------------


def test_each_metric_reads_its_own_published_file(backbone, state, weights, monkeypatch):
    metric = registry.load_metric(METRICS[backbone])
    counters = {"base_model.conv2d_1a.bn.num_batches_tracked": torch.tensor(7)}
    monkeypatch.setattr(assets, "load_state_dict", lambda name: {metric.assets[0]: {"params": {**state, **counters}}}[name])
    metric_file._weights.cache_clear()
    x = images(1)
    try:
        np.testing.assert_array_equal(metric.rows(x), of_weights(backbone, weights, x))
    finally:
        metric_file._weights.cache_clear()


def test_a_file_of_another_network_is_refused():
    with pytest.raises(ContractError, match="the weights are not those of NIMA"):
        network.weights(INCEPTION_RESNET, state_of(VGG), CPU)


@pytest.mark.parametrize(("name", "asset"), [("nima", "nima"), ("nima@vgg16", "nima_vgg16")])
def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch, name, asset):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    metric_file._weights.cache_clear()
    with pytest.raises(assets.AssetMissing, match=f"sarbench fetch {asset}"):
        registry.load_metric(name).rows(images(1))
