import cv2
import numpy as np
import piq
import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.ms_ssim import compat, ms_ssim
from sarbench.bench.metrics.ssim import ssim


def textures(shape=(176, 192), bands=3, dtype=np.uint8, peak=255):
    """Two pairs with structure at every scale, a quarter of it noise on one side."""
    rng = np.random.default_rng(0)
    base = sum(cv2.resize(rng.random((2 ** (k + 2), 2 ** (k + 2), 2 * bands)), shape[::-1]) for k in range(6)) / 6
    other = base + 0.1 * rng.standard_normal(base.shape)
    pair = ((np.clip(image, 0, 1) * peak).astype(dtype) for image in (base, other))
    return [ImageBatch(np.stack((image[..., :bands], image[..., bands:])), peak) for image in pair]


def tensors(*images):
    return [torch.from_numpy(image.pixels.astype(np.float64) / image.peak).permute(0, 3, 1, 2) for image in images]


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_it_agrees_with_piq_where_no_side_is_ever_odd(bands):
    x, y = textures((176, 192), bands)
    expected = piq.multi_scale_ssim(*tensors(x, y), data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(ms_ssim(x, y), expected, atol=1e-6)  # its weights are float32


@pytest.mark.parametrize("shape", [(176, 192), (179, 200), (301, 178)])
def test_under_piq_odd_sides_are_padded(shape):
    x, y = textures(shape)
    expected = piq.multi_scale_ssim(*tensors(x, y), data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(compat["piq"].rows(x, y), expected, atol=1e-6)
    assert (np.abs(ms_ssim(x, y) - expected) > 1e-5).all() == (shape != (176, 192))


@pytest.mark.parametrize("shape", [(176, 192), (301, 178)])
@pytest.mark.parametrize("bands", [1, 3])
def test_under_torchmetrics_the_bands_are_averaged_first_and_the_last_border_reflected(shape, bands):
    x, y = textures(shape, bands)
    expected = multiscale_structural_similarity_index_measure(*tensors(x, y), data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(compat["torchmetrics"].rows(x, y), expected, atol=1e-7)
    assert (np.abs(compat["torchmetrics"].rows(x, y) - ms_ssim(x, y)) > 1e-6).all()


def test_the_powers_sum_to_1_so_that_equal_scales_give_their_value():
    flat = [ImageBatch(np.full((1, 176, 176, 1), value, np.uint8)) for value in (50, 100)]
    luminance = (2 * 50 * 100 + 2.55**2) / (50**2 + 100**2 + 2.55**2)
    np.testing.assert_allclose(ms_ssim(*flat), luminance**0.1333, rtol=1e-9)


def test_identical_images_score_exactly_1():
    x, _ = textures()
    assert ms_ssim(x, x).tolist() == [1, 1]


def test_it_is_symmetric():
    x, y = textures()
    assert ms_ssim(x, y).tolist() == ms_ssim(y, x).tolist()


def test_a_negative_scores_0_and_not_nan():
    x, _ = textures()
    assert ms_ssim(x, ImageBatch(255 - x.pixels)).tolist() == [0, 0]


def test_the_value_is_the_mean_of_the_bands():
    x, y = textures()
    bands = [ms_ssim(ImageBatch(x.pixels[..., [i]]), ImageBatch(y.pixels[..., [i]])) for i in range(3)]
    np.testing.assert_allclose(ms_ssim(x, y), np.mean(bands, axis=0), rtol=1e-12)


def test_an_odd_last_row_and_column_are_left_out_of_the_coarser_scales():
    x, y = textures((177, 193))
    twice = [ImageBatch(np.concatenate((i.pixels[:, :176], i.pixels[:, 175:176]), axis=1)) for i in (x, y)]
    assert (np.abs(ms_ssim(*twice) - ms_ssim(x, y)) < 1e-3).all()  # the finest scale alone sees the row


def test_a_scene_of_8_bits_scores_the_same_in_16():
    x, y = textures()
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(ms_ssim(*wide), ms_ssim(x, y), rtol=1e-10)


def test_noise_on_the_finest_scale_weighs_less_than_in_ssim():
    x, y = textures()
    assert (ms_ssim(x, y) > ssim(x, y) + 0.1).all()


def test_it_prefers_a_blur_to_a_shift_of_two_pixels_as_the_docstring_warns():
    x, _ = textures((192, 194))
    true = ImageBatch(x.pixels[:, :, 2:])
    shifted = ImageBatch(x.pixels[:, :, :-2])
    blurred = ImageBatch(np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in true.pixels]))
    assert (ms_ssim(shifted, true) > ssim(shifted, true)).all()
    assert (ms_ssim(blurred, true) > ms_ssim(shifted, true)).all()


@pytest.mark.parametrize("name", [None, *compat])
def test_sides_below_176_px_are_refused(name):
    metric = compat[name].rows if name else ms_ssim
    x, y = (ImageBatch(image.pixels[:, :175]) for image in textures())
    with pytest.raises(ContractError, match="at least 176x176 px, got 175x192"):
        metric(x, y)
