import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sarbench.bench import assets
from sarbench.bench.certification.corpus import pictures, random_state
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics import dbcnn as metric_file
from sarbench.bench.metrics.dbcnn import dbcnn, metric, of_weights
from sarbench.bench.metrics.networks import dbcnn as network
from sarbench.bench.metrics.networks import published

CPU = torch.device("cpu")
SHAPES = network.shapes()


@pytest.fixture(scope="module")
def state():
    found = random_state(SHAPES)
    found["fc.weight"] *= 50  # so that scores lie apart
    found["fc.bias"] += 1  # and away from 0
    return found


@pytest.fixture(scope="module")
def weights(state):
    return network.weights(state, CPU)


def images(n=3, height=64, width=80, bands=3):
    return ImageBatch(pictures(n, height, width, bands))


def tensor(x):
    return torch.from_numpy(x.pixels.astype(np.float32)).permute(0, 3, 1, 2) / x.peak


def branch(state, prefix):
    """S-CNN's convolutions of torch's own layers, under a state dict."""
    layers = []
    for _, narrow, wide, stride in network.SCNN:
        layers += [nn.Conv2d(narrow, wide, 3, stride, 1), nn.BatchNorm2d(wide), nn.ReLU()]
    found = nn.Sequential(*layers).eval()
    mine = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    assert {key for key in found.state_dict() if "num_batches" not in key} == set(mine)
    found.load_state_dict(mine, strict=False)
    return found


@pytest.fixture(scope="module")
def pyiqas(state):
    """pyiqa's DBCNN under the same weights; it downloads nothing."""
    arch = pytest.importorskip("pyiqa.archs.dbcnn_arch")
    import torchvision

    with pytest.MonkeyPatch.context() as patch:
        build = torchvision.models.vgg16
        patch.setattr(torchvision.models, "vgg16", lambda weights: build(weights=None))
        patch.setattr(arch, "load_pretrained_network", lambda *given, **named: None)
        found = arch.DBCNN(pretrained=False).eval()
    keys = {name: tuple(value.shape) for name, value in found.state_dict().items() if "num_batches" not in name}
    assert keys == SHAPES
    found.load_state_dict(state, strict=False)
    return found


# --- The network -----------------------------------------------------------------------------------------------------


def test_the_weights_have_the_names_and_shapes_of_pyiqas_file():
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(SHAPES.items()))
    assert len(SHAPES) == 82
    assert hashlib.sha256(lines.encode()).hexdigest() == "d5ec55566f62a99d2229ad9153435314d94a998104e25e3fcddc12772b7672fa"
    assert SHAPES["features1.28.weight"] == (512, 512, 3, 3)
    assert SHAPES["features2.24.weight"] == (128, 128, 3, 3)
    assert SHAPES["features2.25.running_var"] == (128,)
    assert SHAPES["fc.weight"] == (1, 65536)


def test_it_has_the_parameters_of_vgg_and_scnn_and_a_linear_layer():
    trained = {name: int(np.prod(shape)) for name, shape in SHAPES.items() if "running" not in name}
    parts = [sum(n for name, n in trained.items() if name.startswith(start)) for start in ("features1.", "features2.", "fc.")]
    assert parts == [14_714_688, 531_120, 65_537]


def test_bilinear_pooling_by_hand():
    """Two positions, two bands and one: the mean products are 1 and 0, and below the root stands 1e-8 more."""
    a = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # (1, 2, 1, 2)
    b = torch.tensor([[[[2.0, 0.0]]]])  # (1, 1, 1, 2)
    expected = np.array([np.sqrt(1 + 1e-8), 1e-4]) / np.sqrt(1 + 2e-8)
    np.testing.assert_allclose(network.bilinear(a, b), expected[None], rtol=1e-12)


def test_bilinear_pooling_agrees_with_numpy_in_float64():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 5, 3, 4)).astype(np.float32), rng.random((2, 7, 3, 4)).astype(np.float32)
    for i, row in enumerate(network.bilinear(torch.from_numpy(a), torch.from_numpy(b)).numpy()):
        outer = np.mean([np.outer(a[i, :, y, x].astype(float), b[i, :, y, x]) for y in range(3) for x in range(4)], axis=0)
        root = np.sqrt(outer + 1e-8).ravel()
        np.testing.assert_allclose(row, root / np.linalg.norm(root), rtol=1e-12)


def test_bilinear_pooling_of_maps_without_a_response_is_finite():
    pooled = network.bilinear(torch.zeros(1, 512, 2, 2), torch.zeros(1, 128, 2, 2))
    np.testing.assert_allclose(pooled, 1 / 256, rtol=1e-12)  # 65,536 equal values of unit length


def test_scnn_with_its_normalisations_folded_is_scnn(state):
    x = torch.randn(2, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = network.distortions(network.scnn(state, "features2."), "features2.", x)
        expected = branch(state, "features2.").double()(x.double())
    assert found.shape == (2, 128, 3, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.max()))


def test_folding_does_what_batch_normalisation_does_at_test_time():
    state = random_state({"0.weight": (4, 3, 3, 3), "0.bias": (4,), **published.norm_shapes("1", 4)})
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for bias in (True, False):
        if not bias:
            del state["0.bias"]
        kernel, offset = published.folded(state, "0", "1", eps=0.3)
        y = nn.functional.conv2d(x, state["0.weight"].double(), state["0.bias"].double() if bias else None)
        wide = {name: value.double() for name, value in state.items()}
        norm = [wide[f"1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        expected = nn.functional.batch_norm(y, *norm, eps=0.3)
        np.testing.assert_allclose(nn.functional.conv2d(x, kernel.double(), offset.double()), expected, atol=1e-6)


# --- Scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (97, 131), (100, 64), (33, 48)])
def test_it_agrees_with_pyiqa_under_the_same_random_weights(pyiqas, weights, size):
    x = images(3, *size)
    with torch.inference_mode():
        expected = pyiqas(tensor(x)).flatten().numpy()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(of_weights(weights, x), expected, rtol=1e-5)


def test_it_agrees_with_pyiqa_in_float64(pyiqas, weights):
    x = images(3, 97, 131)
    try:
        with torch.inference_mode():
            expected = pyiqas.double()(tensor(x).double()).flatten().numpy()
    finally:
        pyiqas.float()
    np.testing.assert_allclose(of_weights(weights, x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 80), [1.040387, 0.955356, 1.039183]), ((97, 131), [1.009663, 0.940299, 0.88934])]
)
def test_under_the_same_random_weights_it_gives_the_frozen_values(weights, size, expected):
    np.testing.assert_allclose(of_weights(weights, images(3, *size)), expected, rtol=2e-5)


def test_an_image_scores_the_same_in_any_batch(weights, monkeypatch):
    x = images(5)
    whole = of_weights(weights, x)
    alone = [of_weights(weights, ImageBatch(x.pixels[[i]])) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(alone), whole, rtol=1e-5)
    monkeypatch.setattr(metric_file, "PIXELS_AT_ONCE", 2 * 64 * 80)
    np.testing.assert_allclose(of_weights(weights, x), whole, rtol=1e-5)


def test_a_grey_image_scores_as_its_threefold_repetition(weights):
    x = images(2, bands=1)
    repeated = ImageBatch(np.repeat(x.pixels, 3, axis=3))
    np.testing.assert_allclose(of_weights(weights, x), of_weights(weights, repeated), rtol=1e-6)


def test_8_and_16_bits_of_one_image_score_the_same(weights):
    x = images(2)
    np.testing.assert_allclose(
        of_weights(weights, ImageBatch(x.pixels.astype(np.uint16) * 257, 65535)), of_weights(weights, x), rtol=1e-5
    )


def test_the_order_of_the_bands_counts(weights):
    x = images(2)
    swapped = ImageBatch(np.ascontiguousarray(x.pixels[..., ::-1]))
    assert np.abs(of_weights(weights, swapped) - of_weights(weights, x)).min() > 1e-4


@pytest.mark.parametrize(
    ("shape", "words"), [((1, 64, 64, 2), "1 or 3 bands, got 2"), ((1, 15, 64, 3), "at least 16x16 px, got 15x64")]
)
def test_images_that_the_network_cannot_take_are_refused(weights, shape, words):
    with pytest.raises(ContractError, match=f"dbcnn .*{words}"):
        of_weights(weights, ImageBatch(np.zeros(shape, np.uint8)))


# --- Weights ---------------------------------------------------------------------------------------------------------


def test_the_metric_reads_the_published_file(state, weights, monkeypatch):
    counters = {"features2.1.num_batches_tracked": torch.tensor(7)}
    monkeypatch.setattr(assets, "load_state_dict", lambda name: {"dbcnn": {"params": {**state, **counters}}}[name])
    metric_file._weights.cache_clear()
    x = images()
    try:
        np.testing.assert_array_equal(metric.rows(x), of_weights(weights, x))
    finally:
        metric_file._weights.cache_clear()


def test_names_that_parallel_training_left_are_understood(state):
    found = network.weights({f"module.{name}": value for name, value in state.items()}, CPU)
    assert torch.equal(found["features1.0.weight"], state["features1.0.weight"])


def test_a_file_of_another_network_is_refused(state):
    short = {name: value for name, value in state.items() if name != "fc.bias"}
    with pytest.raises(ContractError, match=r"not those of DBCNN: 1 tensors differ: fc\.bias missing, expected \(1,\)"):
        network.weights(short, CPU)
    with pytest.raises(ContractError, match=r"fc\.weight \(1, 2\), expected \(1, 65536\)"):
        network.weights({**state, "fc.weight": torch.zeros(1, 2)}, CPU)
    with pytest.raises(ContractError, match=r"other \(1,\), expected None"):
        network.weights({**state, "other": torch.zeros(1)}, CPU)


def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    metric_file._weights.cache_clear()
    with pytest.raises(assets.AssetMissing, match="sarbench fetch dbcnn"):
        dbcnn(images(1))


@pytest.fixture(scope="module")
def official_scnn():
    """The S-CNN that the authors published, as a state dict."""
    file = Path(os.environ.get("SARBENCH_ASSETS") or "absent") / "dbcnn_scnn.pkl"
    if not file.is_file():
        pytest.skip("no dbcnn_scnn.pkl, the authors' scnn.pkl, in the folder SARBENCH_ASSETS")
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("7ea73d75")  # pyiqa's DBCNN_scnn-7ea73d75 too
    return torch.load(file, map_location="cpu", weights_only=True)


def test_the_authors_scnn_has_the_names_and_shapes_that_we_expect(official_scnn):
    convolutions = {name: value for name, value in official_scnn.items() if name.startswith("module.features.")}
    state = published.checked(convolutions, network.scnn_shapes("features."), "S-CNN")
    for name, value in state.items():
        assert torch.equal(value, official_scnn[f"module.{name}"])


def test_the_authors_scnn_folded_is_the_authors_scnn(official_scnn):
    prefix = "module.features."
    x = network.running.standardised(tensor(images(3, 64, 96)), network.MEAN, network.SPREAD)
    with torch.inference_mode():
        found = network.distortions(network.scnn(official_scnn, prefix), prefix, x)
        expected = branch({n: v for n, v in official_scnn.items() if n.startswith(prefix)}, prefix).double()(x.double())
    assert float(expected.max()) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.max()))
