import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sarbench.bench import assets
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.lpips import distances, lpips

needs_weights = pytest.mark.skipif(
    not os.environ.get("SARBENCH_ASSETS"), reason="set SARBENCH_ASSETS to a folder with AlexNet's weights"
)


@pytest.fixture(scope="module")
def package():
    """The `lpips` package's own network with random weights, and positive random heads."""
    import lpips as official

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is deprecated
        torch.manual_seed(0)
        network = official.LPIPS(pretrained=False, pnet_rand=True, net="alex", verbose=False)
    for head in network.lins:
        head.model[1].weight.data.abs_()
    return network


def state(network):
    """The package's weights under the names that `distances` takes."""
    found = {name: value for name, value in network.state_dict().items() if name.startswith("lin") and "lins" not in name}
    for name, value in network.net.state_dict().items():
        _, index, kind = name.split(".")
        found[f"features.{index}.{kind}"] = value
    return found


def pairs(n=7, side=64, bands=3, peak=255, dtype=np.uint8):
    rng = np.random.default_rng(0)
    x = rng.integers(0, peak + 1, (n, side, side, bands))
    y = np.clip(x + rng.integers(-peak // 3, peak // 3, x.shape), 0, peak)
    return ImageBatch(x.astype(dtype), peak), ImageBatch(y.astype(dtype), peak)


def tensor(image):
    return torch.from_numpy(image.pixels.astype(np.float32)).permute(0, 3, 1, 2) * 2 / image.peak - 1


@pytest.mark.parametrize("side", [31, 64, 97])
def test_it_agrees_with_the_lpips_package_under_the_same_random_weights(package, side):
    x, y = pairs(3, side)
    with torch.no_grad():
        expected = package(tensor(x), tensor(y)).flatten().numpy()
    assert expected.min() > 1e-3
    np.testing.assert_allclose(distances(state(package), x, y), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_pair_scores_the_same_in_any_batch(package, size):
    x, y = pairs(7)
    weights = state(package)
    batches = [[ImageBatch(image.pixels[i : i + size]) for image in (x, y)] for i in range(0, 7, size)]
    parts = [distances(weights, *batch) for batch in batches]
    np.testing.assert_allclose(np.concatenate(parts), distances(weights, x, y), atol=1e-6)


def test_many_pairs_are_cut_into_parts_of_bounded_size(package, monkeypatch):
    x, y = pairs(7)
    whole = distances(state(package), x, y)
    monkeypatch.setattr("sarbench.bench.metrics.lpips.PIXELS_AT_ONCE", 3 * 64 * 64)
    np.testing.assert_allclose(distances(state(package), x, y), whole, atol=1e-6)


def test_identical_images_are_at_distance_0_and_the_distance_is_symmetric(package):
    x, y = pairs(2)
    weights = state(package)
    assert distances(weights, x, x).tolist() == [0, 0]
    np.testing.assert_allclose(distances(weights, x, y), distances(weights, y, x), rtol=1e-6)


def test_a_grey_image_scores_as_its_threefold_repetition(package):
    x, y = pairs(2, bands=1)
    repeated = [ImageBatch(np.repeat(image.pixels, 3, axis=3)) for image in (x, y)]
    np.testing.assert_allclose(distances(state(package), x, y), distances(state(package), *repeated), atol=1e-7)


def test_8_and_16_bits_of_one_scene_score_the_same(package):
    x, y = pairs(2)
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(distances(state(package), *wide), distances(state(package), x, y), atol=1e-6)


def test_it_leaves_the_switches_of_torch_as_it_found_them(package):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    x, y = pairs(1)
    distances(state(package), x, y)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before


@pytest.mark.parametrize(("bands", "side", "words"), [(2, 64, "1 or 3 bands, got 2"), (3, 30, "at least 31x31 px, got 30x30")])
def test_images_that_the_network_cannot_take_are_refused(package, bands, side, words):
    with pytest.raises(ContractError, match=words):
        distances(state(package), *pairs(1, side, bands))


def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch):
    from sarbench.bench.metrics.lpips import _weights

    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    _weights.cache_clear()
    with pytest.raises(assets.AssetMissing, match="sarbench fetch alexnet"):
        lpips(*pairs(1))


@needs_weights
def test_the_authors_example_images_score_what_the_authors_print():
    folder = Path(os.environ["SARBENCH_ASSETS"]) / "lpips_imgs"
    if not folder.is_dir():
        pytest.skip("no folder lpips_imgs in SARBENCH_ASSETS")
    reference, near, far = (ImageBatch(read_image(folder / f"ex_{name}.png")[None]) for name in ("ref", "p1", "p0"))
    np.testing.assert_allclose(lpips(far, reference), 0.721881, atol=1e-5)
    np.testing.assert_allclose(lpips(near, reference), 0.137566, atol=1e-5)


def test_neither_the_package_nor_torchvision_is_imported():
    code = (
        "import sys; from sarbench.bench.metrics import lpips; lpips._heads_file();"
        "assert not {'torchvision', 'lpips'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
