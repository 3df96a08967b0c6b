import math

import cv2
import numpy as np
import pytest

from sarbench.bench.ceiling import noise_sigma, second_look, share
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.psnr import psnr
from sarbench.bench.metrics.psnr_shift import psnr_shift
from sarbench.bench.metrics.ssim import ssim


def land(sigma_px=3.0, shape=(96, 112, 3), dtype=np.uint8):
    peak = np.iinfo(dtype).max
    image = cv2.GaussianBlur(np.random.default_rng(0).random(shape), (0, 0), sigma_px)
    return (peak * (0.2 + 0.6 * (image - image.min()) / np.ptp(image))).astype(dtype)


def noisy(image, sigma):
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def score(metric, image, reference):
    return float(metric(ImageBatch(image[None]), ImageBatch(reference[None]))[0])


@pytest.mark.parametrize("sigma", [3, 10, 25])
def test_the_noise_of_a_smooth_image_is_found(sigma):
    np.testing.assert_allclose(noise_sigma(noisy(land(), sigma)), sigma, rtol=0.1)


def test_the_noise_is_found_band_by_band():
    image = land()
    image[..., 1] = noisy(image[..., 1], 12)
    quiet, loud, other = noise_sigma(image)
    assert loud > 10
    assert max(quiet, other) < 2


def test_a_plane_and_a_flat_area_have_no_noise_and_edges_add_little():
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (90, 1))[..., None]
    assert noise_sigma(ramp).tolist() == [0]
    blocks = np.kron(np.random.default_rng(0).integers(0, 255, (6, 6)), np.ones((16, 16))).astype(np.uint8)[..., None]
    assert noise_sigma(blocks).tolist() == [0]


def test_a_second_look_differs_as_much_as_two_looks_at_a_moving_noisy_scene_do():
    quiet = land(sigma_px=6.0)
    looks = [noisy(quiet, 10), second_look(noisy(quiet, 10), "a")]
    between = 20 * math.log10(255 / (10 * math.sqrt(2)))  # the noise of both, and nothing else
    assert abs(score(psnr, looks[1], looks[0]) - between) < 1.5


def test_without_an_offset_and_noise_it_is_the_image_itself():
    assert (second_look(np.full((20, 20, 3), 9, np.uint8), "a") == 9).all()
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (90, 1))[..., None]
    assert (second_look(ramp, "a", offset_px=0) == ramp).all()


def test_it_is_moved_by_the_offset():
    image = land(sigma_px=4.0)
    assert score(psnr, second_look(image, "a", 0.25), image) > score(psnr, second_look(image, "a", 0.5), image) + 3
    far = second_look(image, "a", 2.0)
    assert score(psnr_shift, far, image) > score(psnr, far, image) + 5


def test_the_direction_and_the_noise_belong_to_the_sample():
    image = noisy(land(), 5)
    assert (second_look(image, "a") == second_look(image, "a")).all()
    assert (second_look(image, "a") != second_look(image, "b")).any()


def test_it_beats_the_honeypots_that_are_spoilt_further():
    from sarbench.bench.honeypots import HONEYPOTS

    image = noisy(land(sigma_px=1.5), 4)
    look = score(ssim, second_look(image, "a"), image)
    assert all(look > score(ssim, honeypot.make(image, "a"), image) for honeypot in HONEYPOTS.values())


@pytest.mark.parametrize("bands", [1, 4])
def test_16_bits_and_other_bands_keep_their_type(bands):
    image = land(shape=(40, 50, 3), dtype=np.uint16)[..., :1].repeat(bands, axis=2)
    look = second_look(image, "a")
    assert look.dtype == np.uint16
    assert look.shape == image.shape
    assert look.max() > 255


def test_a_white_image_stays_white():
    assert (second_look(np.full((20, 20, 1), 255, np.uint8), "a") == 255).all()


def test_a_share_is_where_a_score_lies_between_the_best_floor_and_the_ceiling():
    assert share(15, [10, 8], 20, True) == 0.5
    assert share(0.4, [0.9, 0.6], 0.1, False) == pytest.approx(0.4)
    assert share(10, [10, 8], 20, True) == 0
    assert share(20, [10, 8], 20, True) == 1


def test_a_share_is_not_clipped():
    assert share(5, [10], 20, True) == -0.5
    assert share(25, [10], 20, True) == 1.5


def test_a_floor_without_a_value_is_no_floor():
    assert share(15, [math.nan, 10], 20, True) == 0.5


@pytest.mark.parametrize(
    "terms",
    [
        (15, [], 20, True),
        (15, [math.nan], 20, True),
        (15, [20], 20, True),
        (15, [10, 21], 20, True),
        (math.nan, [10], 20, True),
        (math.inf, [10], 20, True),
        (15, [10], math.inf, True),
        (15, [10], math.nan, True),
        (15, [10], 20, False),
    ],
)
def test_where_a_share_says_nothing_it_is_nan(terms):
    assert math.isnan(share(*terms))


def test_the_noise_of_nine_pixels_is_told_by_the_one_whose_neighbours_are_all_there():
    image = np.array([[10, 12, 9], [11, 40, 8], [10, 13, 7]], np.uint8)[:, :, None]
    response = 10 + 9 + 10 + 7 - 2 * (12 + 11 + 8 + 13) + 4 * 40
    np.testing.assert_allclose(noise_sigma(image), [response / (0.6744897501960817 * 6)], rtol=1e-12)
