import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.scc import scc
from sarbench.bench.metrics.scc_local import scc_local


def noise(shape=(4, 40, 50, 3), dtype=np.uint8, peak=255):
    rng = np.random.default_rng(0)
    base = rng.integers(0, peak + 1, shape).astype(np.int64)
    other = np.clip(base + rng.integers(-peak // 4, peak // 4 + 1, shape), 0, peak)
    return ImageBatch(base.astype(dtype), peak), ImageBatch(other.astype(dtype), peak)


def test_it_is_the_correlation_of_the_sums_of_differences_from_eight_neighbours():
    x, y = noise((1, 12, 13, 1))

    def high_pass(image):
        values = image.pixels[0, :, :, 0].astype(float)
        steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        return [sum(values[i, j] - values[i + a, j + b] for a, b in steps) for i in range(1, 11) for j in range(1, 12)]

    np.testing.assert_allclose(scc(x, y), np.corrcoef(high_pass(x), high_pass(y))[0, 1], rtol=1e-12)


def test_an_identical_textured_pair_scores_1_and_a_negative_minus_1():
    x, _ = noise()
    np.testing.assert_allclose(scc(x, x), 1, rtol=1e-12)
    np.testing.assert_allclose(scc(ImageBatch(255 - x.pixels), x), -1, rtol=1e-12)


def test_brightness_and_contrast_play_no_part():
    x, y = noise(peak=100)
    x, y = ImageBatch(x.pixels), ImageBatch(y.pixels)
    np.testing.assert_allclose(scc(ImageBatch(x.pixels * 2 + 40), y), scc(x, y), rtol=1e-12)


def test_it_is_symmetric():
    x, y = noise()
    assert scc(x, y).tolist() == scc(y, x).tolist()


def test_the_value_is_the_mean_of_the_bands():
    x, y = noise()
    bands = [scc(ImageBatch(x.pixels[..., [i]]), ImageBatch(y.pixels[..., [i]])) for i in range(3)]
    np.testing.assert_allclose(scc(x, y), np.mean(bands, axis=0), rtol=1e-12)


def test_a_flat_band_counts_as_0_on_either_side():
    x, y = noise()
    flat = ImageBatch(np.full_like(x.pixels, 200))
    assert scc(flat, y).tolist() == scc(y, flat).tolist() == scc(flat, flat).tolist() == [0] * 4
    one = ImageBatch(x.pixels.copy())
    one.pixels[..., 1] = 7
    np.testing.assert_allclose(scc(one, x), 2 / 3, rtol=1e-12)


def test_a_flat_half_on_both_sides_takes_nothing_away_as_it_does_in_the_local_form():
    x, y = noise()
    whole = scc(x, y)
    for image in (x, y):
        image.pixels[:, :, 25:] = 77
    np.testing.assert_allclose(scc(x, y), whole, atol=0.1)
    assert (scc_local(x, y) < 0.7 * scc(x, y)).all()


def test_the_outermost_pixels_are_neighbours_only():
    x, y = noise((1, 4, 4, 1))
    expected = np.corrcoef(*(9.0 * i.pixels[0, 1:3, 1:3, 0].ravel() - _around(i.pixels[0, :, :, 0]) for i in (x, y)))[0, 1]
    np.testing.assert_allclose(scc(x, y), expected, rtol=1e-12)


def _around(image):
    return np.array([image[i - 1 : i + 2, j - 1 : j + 2].sum(dtype=float) for i in (1, 2) for j in (1, 2)])


def test_16_bits_lose_nothing():
    x, y = noise()
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(scc(*wide), scc(x, y), rtol=1e-12)


def test_a_pixel_of_misregistration_takes_nearly_all_of_it_away_as_the_docstring_warns():
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 65, 3)).astype(np.uint8)
    assert abs(scc(ImageBatch(image[:, :, 1:]), ImageBatch(image[:, :, :-1]))[0]) < 0.3


def test_images_smaller_than_4_px_are_refused():
    x, y = noise((1, 3, 20, 3))
    with pytest.raises(ContractError, match="scc needs images of at least 4x4 px, got 3x20"):
        scc(x, y)
