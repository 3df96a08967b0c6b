import numpy as np
import pytest
import torch
from torchmetrics.functional.image import spatial_correlation_coefficient

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics import scc as scc_file
from sarbench.bench.metrics.scc_local import compat, scc_local


def noise(shape=(4, 40, 50, 3), dtype=np.uint8, peak=255):
    rng = np.random.default_rng(0)
    base = rng.integers(0, peak + 1, shape).astype(np.int64)
    other = np.clip(base + rng.integers(-peak // 4, peak // 4 + 1, shape), 0, peak)
    return ImageBatch(base.astype(dtype), peak), ImageBatch(other.astype(dtype), peak)


def oracle(x, y):
    a, b = (torch.from_numpy(image.pixels.astype(np.float32)).permute(0, 3, 1, 2) for image in (x, y))
    return spatial_correlation_coefficient(a, b, reduction="none").numpy()


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_it_agrees_with_torchmetrics(bands):
    x, y = noise((4, 40, 50, bands))
    np.testing.assert_allclose(scc_local(x, y), oracle(x, y), atol=1e-6)


def test_it_agrees_with_torchmetrics_on_flat_areas():
    x, y = noise()
    for image in (x, y):
        image.pixels[:, :, 20:] = 77
    np.testing.assert_allclose(scc_local(x, y), oracle(x, y), atol=1e-6)
    assert (scc_local(x, x) < 0.7).all()


def test_it_agrees_with_its_definition_window_by_window():
    x, y = noise((1, 12, 13, 1))

    def high_pass(image):
        padded = np.pad(image.pixels[0, :, :, 0].astype(float), 1, mode="symmetric")
        around = sum(padded[i : i + 12, j : j + 13] for i in range(3) for j in range(3))
        return np.pad(9 * padded[1:-1, 1:-1] - around, (4, 3))

    a, b = high_pass(x), high_pass(y)
    windows = [(a[i : i + 8, j : j + 8].ravel(), b[i : i + 8, j : j + 8].ravel()) for i in range(12) for j in range(13)]
    np.testing.assert_allclose(scc_local(x, y), np.mean([np.corrcoef(u, v)[0, 1] for u, v in windows]), rtol=1e-12)


def test_an_identical_textured_pair_scores_1():
    x, _ = noise()
    np.testing.assert_allclose(scc_local(x, x), 1, rtol=1e-12)


def test_a_negative_scores_minus_1():
    x, _ = noise()
    np.testing.assert_allclose(scc_local(ImageBatch(255 - x.pixels), x), -1, rtol=1e-12)


def test_brightness_and_contrast_play_no_part():
    x, y = noise(peak=100)
    x, y = ImageBatch(x.pixels), ImageBatch(y.pixels)
    np.testing.assert_allclose(scc_local(ImageBatch(x.pixels * 2 + 40), y), scc_local(x, y), rtol=1e-12)


def test_flat_pairs_score_0_not_nan():
    flat = ImageBatch(np.full((2, 20, 20, 3), 200, np.uint8))
    assert scc_local(flat, flat).tolist() == [0, 0]


def test_16_bits_lose_nothing():
    x, y = noise()
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(scc_local(*wide), scc_local(x, y), rtol=1e-12)


def test_sewar_defines_it_so_too():
    sewar = pytest.importorskip("sewar")
    x, y = noise((2, 40, 50, 3))
    expected = [sewar.scc(b.astype(np.float64), a.astype(np.float64)) for a, b in zip(x.pixels, y.pixels, strict=True)]
    np.testing.assert_allclose(compat["sewar"].rows(x, y), expected, atol=1e-9)


def test_under_torchmetrics_and_sewar_it_is_itself():
    x, y = noise()
    for name in ("torchmetrics", "sewar"):
        assert compat[name].rows(x, y).tolist() == scc_local(x, y).tolist()


def test_cdiffset_stretches_the_images_first_as_its_tensors_are():
    x, y = noise()
    a, b = ((torch.from_numpy(i.pixels).permute(0, 3, 1, 2).double() / 127.5 - 1 + 0.5).clamp(0, 1) for i in (x, y))
    expected = spatial_correlation_coefficient(a, b, reduction="none").numpy()  # in float32, whatever it is given
    np.testing.assert_allclose(compat["cdiffset"].rows(x, y), expected, atol=1e-5)
    assert (np.abs(compat["cdiffset"].rows(x, y) - scc_local(x, y)) > 0.005).all()


def test_areas_that_the_stretch_clips_are_exactly_flat():
    x = np.random.default_rng(0).integers(0, 60, (1, 20, 20, 3)).astype(np.uint8)
    assert compat["cdiffset"].rows(ImageBatch(x), ImageBatch(x)).tolist() == [0]


def test_the_conventions_can_be_asked_of_scc_too():
    x, y = noise()
    assert list(scc_file.compat) == list(compat)
    for name, metric in scc_file.compat.items():
        assert metric.name == f"scc@{name}"
        assert metric.signature.startswith(f"scc@{name};")
        assert metric.rows(x, y).tolist() == compat[name].rows(x, y).tolist()


def test_images_smaller_than_the_window_are_refused():
    x, y = noise((1, 7, 20, 3))
    with pytest.raises(ContractError, match="at least 8x8 px, got 7x20"):
        scc_local(x, y)
