import numpy as np
import pytest
import torch
from torchmetrics.functional.image import spatial_correlation_coefficient

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.scc import scc


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
    np.testing.assert_allclose(scc(x, y), oracle(x, y), atol=1e-6)


def test_it_agrees_with_torchmetrics_on_flat_areas():
    x, y = noise()
    for image in (x, y):
        image.pixels[:, :, 20:] = 77
    np.testing.assert_allclose(scc(x, y), oracle(x, y), atol=1e-6)
    assert (scc(x, x) < 0.7).all()


def test_it_agrees_with_its_definition_window_by_window():
    x, y = noise((1, 12, 13, 1))

    def high_pass(image):
        padded = np.pad(image.pixels[0, :, :, 0].astype(float), 1, mode="symmetric")
        around = sum(padded[i : i + 12, j : j + 13] for i in range(3) for j in range(3))
        return np.pad(9 * padded[1:-1, 1:-1] - around, (4, 3))

    a, b = high_pass(x), high_pass(y)
    windows = [(a[i : i + 8, j : j + 8].ravel(), b[i : i + 8, j : j + 8].ravel()) for i in range(12) for j in range(13)]
    np.testing.assert_allclose(scc(x, y), np.mean([np.corrcoef(u, v)[0, 1] for u, v in windows]), rtol=1e-12)


def test_an_identical_textured_pair_scores_1():
    x, _ = noise()
    np.testing.assert_allclose(scc(x, x), 1, rtol=1e-12)


def test_a_negative_scores_minus_1():
    x, _ = noise()
    np.testing.assert_allclose(scc(ImageBatch(255 - x.pixels), x), -1, rtol=1e-12)


def test_brightness_and_contrast_play_no_part():
    x, y = noise(peak=100)
    x, y = ImageBatch(x.pixels), ImageBatch(y.pixels)
    np.testing.assert_allclose(scc(ImageBatch(x.pixels * 2 + 40), y), scc(x, y), rtol=1e-12)


def test_flat_pairs_score_0_not_nan():
    flat = ImageBatch(np.full((2, 20, 20, 3), 200, np.uint8))
    assert scc(flat, flat).tolist() == [0, 0]


def test_16_bits_lose_nothing():
    x, y = noise()
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(scc(*wide), scc(x, y), rtol=1e-12)


def test_images_smaller_than_the_window_are_refused():
    x, y = noise((1, 7, 20, 3))
    with pytest.raises(ContractError, match="at least 8x8 px, got 7x20"):
        scc(x, y)
