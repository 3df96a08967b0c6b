import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.psnr import psnr
from sarbench.bench.metrics.rmse import compat, rmse


def images(seed, shape=(3, 20, 30, 3), peak=255, dtype=np.uint8):
    return ImageBatch(np.random.default_rng(seed).integers(0, peak + 1, shape).astype(dtype), peak)


def test_identical_images_have_none():
    assert rmse(images(0), images(0)).tolist() == [0, 0, 0]


def test_one_band_of_three_off_by_30_levels_is_30_over_the_root_of_3():
    x = images(0)
    x.pixels[..., 1] //= 2
    y = ImageBatch(x.pixels.copy())
    y.pixels[..., 1] += 30
    np.testing.assert_allclose(rmse(x, y), 30 / np.sqrt(3), rtol=1e-14)
    np.testing.assert_allclose(compat["gcgan"].rows(x, y), 30, rtol=1e-14)


def test_white_against_black_is_255_levels_in_8_and_in_16_bits():
    for dtype, peak in ((np.uint8, 255), (np.uint16, 65535)):
        black, white = (ImageBatch(np.full((1, 4, 5, 3), value, dtype), peak) for value in (0, peak))
        np.testing.assert_allclose(rmse(black, white), 255, rtol=1e-14)


def test_psnr_says_the_same_in_decibels():
    x, y = images(0), images(1)
    np.testing.assert_allclose(20 * np.log10(255 / rmse(x, y)), psnr(x, y), rtol=1e-12)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_under_gcgan_the_squares_of_all_bands_are_divided_by_the_pixels_alone(bands):
    x, y = images(0, (3, 20, 30, bands)), images(1, (3, 20, 30, bands))
    difference = x.pixels.astype(np.float64) - y.pixels
    expected = [np.sqrt(np.sum(pair**2) / (20 * 30)) for pair in difference]
    np.testing.assert_allclose(compat["gcgan"].rows(x, y), expected, rtol=1e-12)


def test_unlike_sides_are_refused():
    with pytest.raises(ContractError, match="rmse compares images of one shape"):
        rmse(images(0), images(0, (3, 20, 30, 1)))
