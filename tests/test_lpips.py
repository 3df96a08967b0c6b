import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sarbench.bench import assets, registry
from sarbench.bench.certification.corpus import pictures
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.networks import lpips as network
from sarbench.bench.metrics.networks.lpips import ALEX, SQUEEZE, VGG, Lpips

BACKBONES = [ALEX, VGG, SQUEEZE]
NAMES = [backbone.metric for backbone in BACKBONES]

needs_weights = pytest.mark.skipif(
    not os.environ.get("SARBENCH_ASSETS"), reason="set SARBENCH_ASSETS to a folder with AlexNet's and SqueezeNet's weights"
)


def package_of(backbone):
    """The `lpips` package's own network with random weights, and positive random heads."""
    import lpips as official

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is deprecated
        torch.manual_seed(0)
        found = official.LPIPS(pretrained=False, pnet_rand=True, net=backbone.heads, verbose=False)
    for head in found.lins:
        head.model[1].weight.data.abs_()
    return found


def state_of(package):
    """The package's weights under the names that `Lpips` takes."""
    found = {name: value for name, value in package.state_dict().items() if name.startswith("lin") and "lins" not in name}
    return found | {f"features.{name.partition('.')[2]}": value for name, value in package.net.state_dict().items()}


@pytest.fixture(scope="module", params=BACKBONES, ids=NAMES)
def both(request):
    """One of the three networks, as the package has it and as we do, under the same weights."""
    package = package_of(request.param)
    return package, Lpips(request.param, state_of(package))


@pytest.fixture(scope="module")
def alex():
    return Lpips(ALEX, state_of(package_of(ALEX)))


def pairs(n=7, side=64, bands=3, peak=255, dtype=np.uint8):
    rng = np.random.default_rng(0)
    x = rng.integers(0, peak + 1, (n, side, side, bands))
    y = np.clip(x + rng.integers(-peak // 3, peak // 3, x.shape), 0, peak)
    return ImageBatch(x.astype(dtype), peak), ImageBatch(y.astype(dtype), peak)


def tensor(image):
    return torch.from_numpy(image.pixels.astype(np.float32)).permute(0, 3, 1, 2) * 2 / image.peak - 1


def official(package, x, y):
    with torch.inference_mode():
        return package(x, y).flatten().numpy()


@pytest.mark.parametrize("side", [31, 64, 97])
def test_it_agrees_with_the_lpips_package_under_the_same_random_weights(both, side):
    package, own = both
    x, y = pairs(3, side)
    expected = official(package, tensor(x), tensor(y))
    assert expected.min() > 1e-4
    np.testing.assert_allclose(own.distances(x, y), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["flat", "dark", "saturated", "shifted", "noisy"])
def test_it_agrees_with_the_package_in_float64(both, kind):
    package, own = both
    image = pictures(3, 48, 56)
    other = {
        "flat": np.full_like(image, 128),
        "dark": image // 16,
        "saturated": np.where(image > 127, 255, 0).astype(np.uint8),
        "shifted": np.roll(image, 2, axis=2),
        "noisy": np.random.default_rng(1).integers(0, 256, image.shape).astype(np.uint8),
    }[kind]
    x, y = ImageBatch(image), ImageBatch(other)
    package = package.double()
    try:
        expected = official(package, tensor(x).double(), tensor(y).double())
    finally:
        package.float()
    np.testing.assert_allclose(own.distances(x, y), expected, rtol=1e-5, atol=1e-8)


def test_the_distance_is_equation_1_of_the_maps(both):
    package, own = both
    x, y = pairs(2)
    shift, scale = (np.array(v)[:, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    total = np.zeros(2)
    seen = [torch.from_numpy((tensor(image).numpy() - shift) / scale).float() for image in (x, y)]
    with torch.inference_mode():
        maps = [[np.float64(m.numpy()) for m in package.net(s)] for s in seen]
    for k, (a, b) in enumerate(zip(*maps, strict=True)):
        units = [m / (np.sqrt((m**2).sum(1, keepdims=True)) + 1e-10) for m in (a, b)]
        weights = own.heads[k].numpy().reshape(1, -1, 1, 1)
        total += (weights * (units[0] - units[1]) ** 2).sum(1).mean((1, 2))
    np.testing.assert_allclose(own.distances(x, y), total, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_pair_scores_the_same_in_any_batch(both, size):
    own = both[1]
    x, y = pairs(7)
    batches = [[ImageBatch(image.pixels[i : i + size]) for image in (x, y)] for i in range(0, 7, size)]
    parts = [own.distances(*batch) for batch in batches]
    np.testing.assert_allclose(np.concatenate(parts), own.distances(x, y), rtol=1e-5)


def test_many_pairs_are_cut_into_parts_of_bounded_size(alex, monkeypatch):
    x, y = pairs(7)
    whole, prepared = alex.distances(x, y), alex.prepare(y)
    seen = []
    count = alex._units
    monkeypatch.setattr(network, "PIXELS_AT_ONCE", 3 * 64 * 64)
    monkeypatch.setattr(alex, "_units", lambda pixels, peak: seen.append(len(pixels)) or count(pixels, peak))
    np.testing.assert_allclose(alex.distances(x, y), whole, atol=1e-6)
    assert seen == [6, 6, 2]
    np.testing.assert_allclose(alex.distances_prepared(x, prepared), whole, atol=1e-6)
    assert seen[3:] == [3, 3, 1]
    for k, rows in alex.prepare(y).items():
        np.testing.assert_allclose(rows, prepared[k], atol=1e-6)
    assert seen[6:] == [3, 3, 1]


def test_an_image_larger_than_a_part_is_scored_all_the_same(alex, monkeypatch):
    x, y = pairs(2)
    whole = alex.distances(x, y)
    monkeypatch.setattr(network, "PIXELS_AT_ONCE", 100)
    np.testing.assert_allclose(alex.distances(x, y), whole, atol=1e-6)


def test_prepared_references_give_the_same_distances(both):
    own = both[1]
    x, y = pairs(3)
    prepared = own.prepare(y)
    assert {rows.dtype for rows in prepared.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(own.distances_prepared(x, prepared), own.distances(x, y), rtol=1e-5)


def test_a_reference_can_be_prepared_alone_and_stacked_with_others(alex):
    x, y = pairs(3)
    alone = [alex.prepare(ImageBatch(y.pixels[[i]])) for i in (2, 0)]
    stacked = {k: np.concatenate([one[k] for one in alone]) for k in alone[0]}
    expected = alex.distances(x, y)[[2, 0]]
    np.testing.assert_allclose(alex.distances_prepared(ImageBatch(x.pixels[[2, 0]]), stacked), expected, rtol=1e-5)


def test_prepared_references_are_unit_vectors_or_nothing(alex):
    _, y = pairs(1)
    for rows in alex.prepare(y).values():
        lengths = np.linalg.norm(rows, axis=3)
        np.testing.assert_allclose(lengths[lengths > 0.5], 1, atol=1e-5)


def test_preparing_leaves_no_trace_of_the_translated_images(alex):
    x, y = pairs(2)
    prepared = alex.prepare(y)
    before = {k: rows.copy() for k, rows in prepared.items()}
    alex.distances_prepared(x, prepared)
    for k, rows in prepared.items():
        np.testing.assert_array_equal(rows, before[k])


def test_prepared_references_can_be_mapped_files(alex, tmp_path):
    x, y = pairs(2)
    for k, rows in alex.prepare(y).items():
        np.save(tmp_path / f"{k}.npy", rows)
    mapped = {file.stem: np.load(file, mmap_mode="r") for file in tmp_path.iterdir()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(alex.distances_prepared(x, mapped), alex.distances(x, y), rtol=1e-5)


def test_prepared_references_of_other_images_are_refused(alex):
    x, y = pairs(2)
    with pytest.raises(ContractError, match="prepare the references of these images"):
        alex.distances_prepared(x, alex.prepare(ImageBatch(y.pixels[:1])))
    with pytest.raises(ContractError, match="prepare the references of these images"):
        alex.distances_prepared(x, alex.prepare(ImageBatch(y.pixels[:, :40])))


def test_identical_images_are_at_distance_0_and_the_distance_is_symmetric(both):
    own = both[1]
    x, y = pairs(2)
    assert own.distances(x, x).tolist() == [0, 0]
    np.testing.assert_allclose(own.distances(x, y), own.distances(y, x), rtol=1e-6)


def test_a_grey_image_scores_as_its_threefold_repetition(alex):
    x, y = pairs(2, bands=1)
    repeated = [ImageBatch(np.repeat(image.pixels, 3, axis=3)) for image in (x, y)]
    np.testing.assert_allclose(alex.distances(x, y), alex.distances(*repeated), atol=1e-7)


def test_8_and_16_bits_of_one_scene_score_the_same(alex):
    x, y = pairs(2)
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(alex.distances(*wide), alex.distances(x, y), atol=1e-6)


def test_it_leaves_the_switches_of_torch_as_it_found_them(alex):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    x, y = pairs(1)
    alex.distances(x, y)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before
    assert not torch.is_inference_mode_enabled()


def test_autocast_around_it_changes_nothing(alex):
    x, y = pairs(2)
    expected = alex.distances(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(alex.distances(x, y), expected)


@pytest.mark.parametrize(
    ("backbone", "least"), [(ALEX, 31), (VGG, 16), (SQUEEZE, 17)], ids=lambda value: getattr(value, "metric", None)
)
def test_the_smallest_image_is_scored_and_a_smaller_one_refused(backbone, least):
    own = Lpips(backbone, state_of(package_of(backbone)))
    assert own.distances(*pairs(1, least)) > 0
    with pytest.raises(ContractError, match=f"{backbone.metric} needs images of at least {least}x{least} px"):
        own.distances(*pairs(1, least - 1))


def test_images_of_two_bands_are_refused(alex):
    with pytest.raises(ContractError, match="lpips takes images of 1 or 3 bands, got 2"):
        alex.distances(*pairs(1, bands=2))
    with pytest.raises(ContractError, match="1 or 3 bands"):
        alex.prepare(pairs(1, bands=2)[0])


def test_unlike_sides_are_refused(alex):
    x, y = pairs(2)
    with pytest.raises(ContractError, match="one shape"):
        alex.distances(x, ImageBatch(y.pixels[:1]))


def test_cdiffset_clips_a_quarter_at_either_end_and_feeds_0_to_1():
    x = torch.tensor([0, 0.25, 0.375, 0.5, 0.75, 1.0])  # in [0, 1]; -1, -0.5, -0.25, 0, 0.5, 1 in [-1, 1]
    assert network.cdiffset(x).tolist() == [0, 0, 0.25, 0.5, 1, 1]


def test_cdiffset_agrees_with_what_that_code_hands_to_the_package():
    package = package_of(VGG)
    own = Lpips(VGG, state_of(package), network.cdiffset)
    x, y = pairs(3)
    expected = official(package, *((tensor(image) + 0.5).clamp(0, 1) for image in (x, y)))
    np.testing.assert_allclose(own.distances(x, y), expected, rtol=1e-5)
    plain = Lpips(VGG, state_of(package)).distances(x, y)
    assert np.abs(plain / expected - 1).min() > 0.01


@pytest.mark.parametrize("name", [*NAMES, "lpips_vgg@cdiffset"])
def test_each_metric_reads_its_own_weights_in_its_own_way(monkeypatch, name):
    """The three files and the convention, each with a stand-in for the official weights."""
    metric = registry.load_metric(name)
    backbone = BACKBONES[NAMES.index(metric.name.partition("@")[0])]
    values = network.cdiffset if name.endswith("cdiffset") else network.full_range
    state = state_of(package_of(backbone))
    asked = []
    monkeypatch.setattr(assets, "load_state_dict", lambda asset: asked.append(asset) or state)
    network.load.cache_clear()
    x, y = pairs(1)
    try:
        found = metric.rows(x, y)
    finally:
        network.load.cache_clear()
    heads = torch.load(network.heads_file(backbone), map_location="cpu", weights_only=True)
    np.testing.assert_array_equal(found, Lpips(backbone, {**state, **heads}, values).distances(x, y))
    assert tuple(asked) == metric.assets


@pytest.mark.parametrize("name", NAMES)
def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network.load.cache_clear()
    metric = registry.load_metric(name)
    with pytest.raises(assets.AssetMissing, match=f"sarbench fetch {metric.assets[0]}"):
        metric.rows(*pairs(1))


@needs_weights
@pytest.mark.parametrize(
    ("name", "far", "near"),
    [("lpips", 0.721881, 0.137566), ("lpips_squeeze", 0.711048, 0.147902)],  # the second: the package on these weights
)
def test_the_authors_example_images_score_what_the_authors_code_gives(name, far, near):
    folder = Path(os.environ["SARBENCH_ASSETS"]) / "lpips_imgs"
    if not folder.is_dir():
        pytest.skip("no folder lpips_imgs in SARBENCH_ASSETS")
    rows = registry.load_metric(name).rows
    reference, p1, p0 = (ImageBatch(read_image(folder / f"ex_{image}.png")[None]) for image in ("ref", "p1", "p0"))
    np.testing.assert_allclose(rows(p0, reference), far, atol=1e-5)
    np.testing.assert_allclose(rows(p1, reference), near, atol=1e-5)


@needs_weights
def test_the_example_in_the_documentation_of_torchmetrics_comes_out():
    generator = torch.Generator().manual_seed(42)
    images = [torch.rand(2, 3, 100, 100, generator=generator).permute(0, 2, 3, 1).numpy() for _ in range(2)]
    x, y = (ImageBatch(np.rint(image * 65535).astype(np.uint16), 65535) for image in images)
    np.testing.assert_allclose(registry.load_metric("lpips_squeeze").rows(x, y), [0.1024, 0.0938], atol=5.1e-5)


def test_neither_the_package_nor_torchvision_is_imported():
    code = (
        "import sys; from sarbench.bench.metrics.networks import lpips; lpips.heads_file(lpips.ALEX);"
        "assert not {'torchvision', 'lpips'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
