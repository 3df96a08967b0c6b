import numpy as np
import pytest
from skimage.metrics import structural_similarity

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.ssim import ssim


def textures(dtype, peak, bands=3, shape=(40, 50)):
    """Four pairs of noise around a step: flat, dark and bright areas, half of each pair shared."""
    rng = np.random.default_rng(0)
    base = np.linspace(0.1, 0.9, shape[1]).round(1)[None, None, :, None] + 0.1 * rng.standard_normal((4, *shape, bands))
    other = base + 0.05 * rng.standard_normal(base.shape)
    return [ImageBatch((np.clip(x, 0, 1) * peak).astype(dtype), peak) for x in (base, other)]


def oracle(x, y, peak):
    def of_pair(a, b):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return structural_similarity(a, b, data_range=peak, channel_axis=2, **settings)

    return [of_pair(a, b) for a, b in zip(x.pixels, y.pixels, strict=True)]


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_it_agrees_with_scikit_image(dtype, peak, bands):
    x, y = textures(dtype, peak, bands)
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, peak), atol=1e-9)


def test_it_agrees_with_scikit_image_where_variances_cancel():
    x = np.full((1, 32, 64, 3), 7, np.uint8)
    x[:, :, 32:] = 250
    y = x + np.where(x < 100, 4, -3).astype(np.int16)
    x, y = ImageBatch(x), ImageBatch(y.astype(np.uint8))
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, 255), atol=1e-9)


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


def test_an_image_as_small_as_the_window_is_scored_and_a_smaller_one_refused():
    x, y = textures(np.uint8, 255, shape=(11, 11))
    np.testing.assert_allclose(ssim(x, y), oracle(x, y, 255), atol=1e-9)
    with pytest.raises(ContractError, match="at least 11x11 px, got 10x11"):
        ssim(ImageBatch(x.pixels[:, :10]), ImageBatch(y.pixels[:, :10]))
