import cv2
import numpy as np
import piq
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics import ssim as ssim_file
from sarbench.bench.metrics.ssim import compat, ssim


def textures(dtype, peak, bands=3, shape=(40, 50)):
    """Four pairs of noise around a step: flat, dark and bright areas, half of each pair shared."""
    rng = np.random.default_rng(0)
    base = np.linspace(0.1, 0.9, shape[1]).round(1)[None, None, :, None] + 0.1 * rng.standard_normal((4, *shape, bands))
    other = base + 0.05 * rng.standard_normal(base.shape)
    return [ImageBatch((np.clip(x, 0, 1) * peak).astype(dtype), peak) for x in (base, other)]


def tensors(*images):
    """Images in [0, 1], (B, C, H, W), float64."""
    return [torch.from_numpy(image.pixels.astype(np.float64) / image.peak).permute(0, 3, 1, 2) for image in images]


def torchmetrics(x, y):
    return structural_similarity_index_measure(x, y, data_range=1.0, reduction="none").numpy()


def oracle(x, y, peak):
    def of_pair(a, b):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return structural_similarity(a, b, data_range=peak, channel_axis=2, **settings)

    return [of_pair(a, b) for a, b in zip(x.pixels, y.pixels, strict=True)]


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_it_agrees_with_scikit_image(dtype, peak, bands):
    x, y = textures(dtype, peak, bands)
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, peak), atol=1e-12)


def test_it_agrees_with_scikit_image_where_variances_cancel():
    x = np.full((1, 32, 64, 3), 7, np.uint8)
    x[:, :, 32:] = 250
    y = x + np.where(x < 100, 4, -3).astype(np.int16)
    x, y = ImageBatch(x), ImageBatch(y.astype(np.uint8))
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, 255), atol=1e-12)


def test_identical_images_score_exactly_1():
    x, _ = textures(np.uint8, 255)
    assert ssim(x, x).tolist() == [1] * 4


def test_it_is_symmetric():
    x, y = textures(np.uint8, 255)
    np.testing.assert_allclose(ssim(x, y), ssim(y, x), rtol=1e-14)


def test_two_flat_images_score_the_luminance_term_alone():
    x, y = (ImageBatch(np.full((1, 20, 20, 1), value, np.uint8)) for value in (50, 100))
    c1 = 2.55**2
    np.testing.assert_allclose(ssim(x, y), (2 * 50 * 100 + c1) / (50**2 + 100**2 + c1), rtol=1e-9)


def test_an_image_against_its_negative_scores_below_0():
    x = np.random.default_rng(0).integers(0, 256, (1, 30, 30, 1)).astype(np.uint8)
    assert ssim(ImageBatch(x), ImageBatch(255 - x)) < -0.5


def test_the_value_is_the_mean_of_the_bands():
    x, y = textures(np.uint8, 255)
    bands = [ssim(ImageBatch(x.pixels[..., [i]]), ImageBatch(y.pixels[..., [i]])) for i in range(3)]
    np.testing.assert_allclose(ssim(x, y), np.mean(bands, axis=0), rtol=1e-14)


def test_a_scene_of_8_bits_scores_the_same_in_16():
    x, y = textures(np.uint8, 255)
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(ssim(*wide), ssim(x, y), rtol=1e-10)


def test_an_image_scores_the_same_in_any_batch_and_with_any_number_of_threads():
    x, y = textures(np.uint8, 255, shape=(90, 50))
    expected = ssim(x, y).tolist()
    alone = [float(ssim(ImageBatch(x.pixels[[i]]), ImageBatch(y.pixels[[i]]))[0]) for i in range(4)]
    assert alone == expected
    threads = cv2.getNumThreads()
    try:
        for n in (1, 2, 7):
            cv2.setNumThreads(n)
            assert ssim(x, y).tolist() == expected
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("shape", [(2100, 16), (16, 2100)])
def test_an_image_that_is_worked_on_in_several_strips_agrees_with_scikit_image(shape):
    x, y = textures(np.uint8, 255, bands=1, shape=shape)
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, 255), atol=1e-12)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_under_torchmetrics_the_border_is_reflected(bands):
    x, y = textures(np.uint8, 255, bands)
    np.testing.assert_allclose(compat["torchmetrics"].rows(x, y), torchmetrics(*tensors(x, y)), atol=1e-9)
    assert (np.abs(compat["torchmetrics"].rows(x, y) - ssim(x, y)) > 1e-4).all()


@pytest.mark.parametrize("shape", [(40, 50), (383, 390), (384, 390), (700, 401)])
def test_under_piq_large_images_are_shrunk_first(shape):
    x, y = textures(np.uint8, 255, 2, shape)
    expected = piq.ssim(*tensors(x, y), data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(compat["piq"].rows(x, y), expected, atol=1e-7)
    assert (np.abs(compat["piq"].rows(x, y) - ssim(x, y)) > 1e-3).all() == (min(shape) >= 384)


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_under_pyiqa_it_is_taken_of_the_rounded_luma(bands):
    arch = pytest.importorskip("pyiqa.archs.ssim_arch")
    x, y = textures(np.uint8, 255, bands)
    expected = arch.SSIM()(*(image.float() for image in tensors(x, y))).numpy()
    np.testing.assert_allclose(compat["pyiqa"].rows(x, y), expected, atol=1e-5)  # a few pixels may round the other way
    negative = ImageBatch(255 - x.pixels)
    assert (compat["pyiqa"].rows(x, negative) >= 0).all()
    assert (ssim(x, negative) < 0).all()


def test_the_luma_of_pyiqa_is_worked_by_hand():
    x = ImageBatch(np.full((1, 11, 11, 3), (10, 200, 90), np.uint8))  # 0.299 10 + 0.587 200 + 0.114 90 = 130.65
    y = ImageBatch(np.full((1, 11, 11, 3), (90, 90, 90), np.uint8))
    c1 = 2.55**2
    np.testing.assert_allclose(compat["pyiqa"].rows(x, y), (2 * 131 * 90 + c1) / (131**2 + 90**2 + c1), rtol=1e-7)


def test_under_pyiqa_a_window_that_goes_the_other_way_counts_as_0():
    x, _ = textures(np.uint8, 255, 1)
    both = np.concatenate((x.pixels, x.pixels), axis=2)
    half = np.concatenate((x.pixels, 255 - x.pixels), axis=2)
    clipped = compat["pyiqa"].rows(ImageBatch(half), ImageBatch(both))
    assert (clipped > ssim(ImageBatch(half), ImageBatch(both)) + 0.05).all()


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_under_skimage_the_window_is_flat_and_covariances_are_those_of_samples(bands, dtype, peak):
    x, y = textures(dtype, peak, bands)
    pairs = zip(x.pixels, y.pixels, strict=True)
    expected = [structural_similarity(a, b, data_range=peak, channel_axis=2) for a, b in pairs]
    np.testing.assert_allclose(compat["skimage"].rows(x, y), expected, atol=1e-10)


def test_under_cdiffset_the_images_are_stretched_first_as_its_tensors_are():
    x, y = textures(np.uint8, 255)
    a, b = ((2 * image - 1 + 0.5).clamp(0, 1) for image in tensors(x, y))
    np.testing.assert_allclose(compat["cdiffset"].rows(x, y), torchmetrics(a, b), atol=1e-9)
    assert (np.abs(compat["cdiffset"].rows(x, y) - compat["torchmetrics"].rows(x, y)) > 0.01).all()


@pytest.mark.parametrize("name", compat)
def test_every_convention_has_its_own_name_and_signature_and_gives_identical_images_1(name):
    metric = compat[name]
    assert metric.name == f"ssim@{name}"
    assert metric.signature.startswith(f"ssim@{name};")
    assert len({other.signature for other in [ssim_file.metric, *compat.values()]}) == len(compat) + 1
    x, _ = textures(np.uint8, 255)
    np.testing.assert_allclose(metric.rows(x, x), 1, rtol=1e-12)
    with pytest.raises(ContractError, match=f"ssim@{name} needs images of at least"):
        metric.rows(*(ImageBatch(x.pixels[:, :6]) for _ in range(2)))


def test_an_image_as_small_as_the_window_is_scored_and_a_smaller_one_refused():
    x, y = textures(np.uint8, 255, shape=(11, 11))
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, 255), atol=1e-12)
    with pytest.raises(ContractError, match="at least 11x11 px, got 10x11"):
        ssim(ImageBatch(x.pixels[:, :10]), ImageBatch(y.pixels[:, :10]))
