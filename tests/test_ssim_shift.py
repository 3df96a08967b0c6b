import cv2
import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.ssim import ssim
from sarbench.bench.metrics.ssim_shift import ssim_shift

INSIDE = np.s_[:, 3:-3, 3:-3]


def land(seed=0, shape=(70, 80, 3)):
    image = cv2.GaussianBlur(np.random.default_rng(seed).random(shape), (0, 0), 1)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def moved(image, dy, dx, margin=5):
    height, width = image.shape[:2]
    return image[margin - dy : height - margin - dy, margin - dx : width - margin - dx]


def batch(*images):
    return ImageBatch(np.stack(images))


def interior(images):
    return ImageBatch(images.pixels[INSIDE], images.peak)


@pytest.mark.parametrize("move", [(0, 0), (2, 0), (0, -3), (-1, 2), (3, 3)])
def test_a_perfect_image_shifted_by_up_to_3_px_scores_1(move):
    assert ssim_shift(batch(moved(land(), *move)), batch(moved(land(), 0, 0))).tolist() == [1]


def test_a_perfect_image_shifted_by_2_px_no_longer_loses_to_a_blur():
    true = batch(moved(land(), 0, 0))
    shifted = batch(moved(land(), 2, -2))
    blurred = batch(moved(cv2.GaussianBlur(land(), (0, 0), 3), 0, 0))
    assert ssim(blurred, true) > ssim(shifted, true)
    assert ssim_shift(blurred, true) < ssim_shift(shifted, true)


def test_of_a_registered_pair_it_is_ssim_of_the_interior():
    y = land()
    x = np.clip(y + np.random.default_rng(0).normal(0, 12, y.shape), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(ssim_shift(batch(x), batch(y)), ssim(interior(batch(x)), interior(batch(y))), rtol=1e-14)


def test_of_a_shifted_noisy_pair_it_is_ssim_of_the_overlap():
    y = land()
    x = np.clip(np.roll(y, (1, -2), (0, 1)) + np.random.default_rng(0).normal(0, 12, y.shape), 0, 255).astype(np.uint8)
    expected = ssim(batch(x[4:-2, 1:-5]), interior(batch(y)))
    np.testing.assert_allclose(ssim_shift(batch(x), batch(y)), expected, rtol=1e-14)


def test_it_is_never_less_than_ssim_of_the_interior_even_for_unlike_images():
    x, y = (batch(*(land(seed) for seed in seeds)) for seeds in (range(12), range(20, 32)))
    tolerant, untolerant = ssim_shift(x, y), ssim(interior(x), interior(y))
    assert (tolerant >= untolerant).all()
    assert (tolerant == untolerant).any()  # where least squares would choose a shift of less SSIM
    assert (tolerant > untolerant).any()


def test_a_row_does_not_depend_on_its_batch():
    x, y = (batch(*(land(seed) for seed in seeds)) for seeds in (range(4), (0, 9, 2, 9)))
    alone = [float(ssim_shift(batch(a), batch(b))[0]) for a, b in zip(x.pixels, y.pixels, strict=True)]
    assert ssim_shift(x, y).tolist() == alone


def test_images_whose_interior_is_smaller_than_the_window_are_refused():
    assert np.isfinite(ssim_shift(batch(land(0)[:17, :17]), batch(land(1)[:17, :17]))).all()
    with pytest.raises(ContractError, match="ssim_shift needs images of at least 17x17 px, got 16x80"):
        ssim_shift(batch(land(0)[:16]), batch(land(1)[:16]))
