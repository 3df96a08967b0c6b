import math

import cv2
import numpy as np
import piq
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.psnr import compat, metric, psnr
from sarbench.bench.registry import load_metric


def flat(value, shape=(2, 8, 9, 3), dtype=np.uint8):
    return ImageBatch(np.full(shape, value, dtype), 255 if dtype == np.uint8 else 65535)


def random_pair(dtype, peak, bands=3):
    pixels = np.random.default_rng(0).integers(0, peak + 1, (2, 4, 30, 40, bands)).astype(dtype)
    return ImageBatch(pixels[0], peak), ImageBatch(pixels[1], peak)


def test_identical_images_are_infinitely_good():
    assert psnr(flat(7), flat(7)).tolist() == [math.inf, math.inf]


def test_the_worst_possible_error_is_0_db():
    assert psnr(flat(0), flat(255)).tolist() == [0, 0]
    assert psnr(flat(65535, dtype=np.uint16), flat(0, dtype=np.uint16)).tolist() == [0, 0]


def test_a_constant_error_of_one_fifth_of_the_range_is_14_db():
    np.testing.assert_allclose(psnr(flat(60), flat(111)), 20 * math.log10(5), rtol=1e-15)


def test_the_sign_of_the_error_does_not_matter():
    np.testing.assert_array_equal(psnr(flat(3), flat(250)), psnr(flat(250), flat(3)))


def test_the_bands_are_pooled_into_one_mean_square():
    x, y = flat(0, (1, 4, 4, 3)), flat(0, (1, 4, 4, 3))
    y.pixels[..., 0] = 30
    np.testing.assert_allclose(psnr(x, y), 10 * math.log10(255**2 / 300), rtol=1e-15)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("bands", [1, 3, 13])
def test_it_agrees_with_scikit_image(dtype, peak, bands):
    x, y = random_pair(dtype, peak, bands)
    expected = [peak_signal_noise_ratio(b, a, data_range=peak) for a, b in zip(x.pixels, y.pixels, strict=True)]
    np.testing.assert_allclose(psnr(x, y), expected, rtol=1e-12)


def test_one_wrong_grey_level_in_a_large_image_is_not_rounded_away():
    x, y = flat(9, (1, 2048, 2048, 3)), flat(9, (1, 2048, 2048, 3))
    y.pixels[0, 0, 0, 0] = 10
    np.testing.assert_allclose(psnr(x, y), 10 * math.log10(255**2 * 3 * 2048**2), rtol=1e-15)


def test_a_blur_scores_better_than_a_shift_of_two_pixels_as_the_docstring_warns():
    sharp = cv2.GaussianBlur(np.random.default_rng(0).random((64, 66, 3)), (0, 0), 1)
    sharp = (255 * (sharp - sharp.min()) / np.ptp(sharp)).astype(np.uint8)
    true = ImageBatch(sharp[None, :, :-2])
    shifted = ImageBatch(sharp[None, :, 2:])
    blurred = ImageBatch(cv2.GaussianBlur(sharp, (0, 0), 3)[None, :, :-2])
    assert psnr(blurred, true) > psnr(shifted, true)


@pytest.mark.parametrize(
    "other", [flat(0, (1, 8, 9, 3)), flat(0, (2, 9, 8, 3)), flat(0, (2, 8, 9, 1)), flat(0, dtype=np.uint16)]
)
def test_unlike_sides_are_refused(other):
    with pytest.raises(ContractError, match="one shape, dtype and peak"):
        psnr(flat(0), other)


def tensors(*images):
    """Images in [0, 1], (B, C, H, W), float64."""
    return [torch.from_numpy(image.pixels.astype(np.float64) / image.peak).permute(0, 3, 1, 2) for image in images]


def test_under_torchmetrics_it_is_the_functional_of_one_image():
    x, y = random_pair(np.uint8, 255)
    expected = [float(torchmetrics_psnr(a, b, data_range=1.0)) for a, b in zip(*tensors(x, y), strict=True)]
    np.testing.assert_allclose(compat["torchmetrics"].rows(x, y), expected, rtol=1e-6)
    assert compat["torchmetrics"].rows(flat(7), flat(7)).tolist() == [math.inf, math.inf]


@pytest.mark.parametrize("name", ["piq", "pyiqa"])
def test_under_piq_and_pyiqa_identical_images_have_80_db(name):
    x, y = random_pair(np.uint8, 255)
    y = ImageBatch((x.pixels ^ 1).astype(np.uint8))
    expected = piq.psnr(*tensors(x, y), data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(compat[name].rows(x, y), expected, rtol=1e-9)
    assert (compat[name].rows(x, y) < psnr(x, y) - 1e-3).all()
    np.testing.assert_allclose(compat[name].rows(x, x), 80, rtol=1e-15)


def test_pyiqa_agrees():
    arch = pytest.importorskip("pyiqa.archs.psnr_arch")
    x, y = random_pair(np.uint8, 255)
    expected = arch.PSNR()(*tensors(x, y)).numpy()
    np.testing.assert_allclose(compat["pyiqa"].rows(x, y), expected, rtol=1e-9)


def test_under_cdiffset_the_images_are_stretched_first_as_its_tensors_are():
    x, y = random_pair(np.uint8, 255)
    a, b = ((2 * image - 1 + 0.5).clamp(0, 1) for image in tensors(x, y))
    expected = [float(torchmetrics_psnr(u, v, data_range=1.0)) for u, v in zip(a, b, strict=True)]
    np.testing.assert_allclose(compat["cdiffset"].rows(x, y), expected, rtol=1e-6)
    assert compat["cdiffset"].rows(flat(200), flat(255)).tolist() == [math.inf, math.inf]  # both are white there
    np.testing.assert_allclose(compat["cdiffset"].rows(flat(100), flat(151)), -20 * math.log10(0.4), rtol=1e-12)


@pytest.mark.parametrize("name", compat)
def test_every_convention_has_its_own_name_and_signature_and_refuses_unlike_sides(name):
    assert compat[name].name == f"psnr@{name}"
    assert compat[name].signature.startswith(f"psnr@{name};")
    with pytest.raises(ContractError, match="one shape, dtype and peak"):
        compat[name].rows(flat(0), flat(0, (1, 8, 9, 3)))


def test_the_registry_loads_it_with_its_signature():
    assert load_metric("psnr") is metric
    assert metric.signature == "psnr;rgb-mse;range255;v1"
