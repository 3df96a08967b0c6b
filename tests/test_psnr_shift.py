import math

import cv2
import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics._shifts import best_shift, squared_errors
from sarbench.bench.metrics.psnr import psnr
from sarbench.bench.metrics.psnr_shift import psnr_shift

MOVES = [(0, 0), (2, 0), (0, -3), (-1, 2), (3, 3), (-3, 1)]


def land(seed=0, shape=(70, 80, 3), sigma=1.0):
    image = cv2.GaussianBlur(np.random.default_rng(seed).random(shape), (0, 0), sigma)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def moved(image, dy, dx, margin=5):
    """A window of an image whose content lies dy px further down and dx px further right than in `moved(image, 0, 0)`."""
    height, width = image.shape[:2]
    return image[margin - dy : height - margin - dy, margin - dx : width - margin - dx]


def batch(*images):
    return ImageBatch(np.stack(images))


@pytest.mark.parametrize("move", MOVES)
def test_a_perfect_image_shifted_by_up_to_3_px_is_infinitely_good(move):
    assert psnr_shift(batch(moved(land(), *move)), batch(moved(land(), 0, 0))).tolist() == [math.inf]


@pytest.mark.parametrize("move", MOVES)
def test_the_shift_is_how_far_down_and_right_the_translated_image_lies(move):
    assert best_shift(batch(moved(land(), *move)), batch(moved(land(), 0, 0))).tolist() == [list(move)]


def test_a_shift_of_4_px_is_beyond_it():
    values = psnr_shift(*(batch(moved(land(), dy, 0)) for dy in (4, 0)))
    assert np.isfinite(values).all()
    assert psnr_shift(*(batch(moved(land(), dy, 0)) for dy in (4, 0)), k=4).tolist() == [math.inf]


def test_a_perfect_image_shifted_by_2_px_no_longer_loses_to_a_blur():
    true = batch(moved(land(), 0, 0))
    shifted = batch(moved(land(), 2, -2))
    blurred = batch(moved(cv2.GaussianBlur(land(), (0, 0), 3), 0, 0))
    assert psnr(blurred, true) > psnr(shifted, true)
    assert psnr_shift(blurred, true) < psnr_shift(shifted, true)


def test_it_is_never_less_than_psnr_of_the_interior_and_equal_where_the_pair_is_registered():
    rng = np.random.default_rng(0)
    y = np.stack([land(seed) for seed in range(6)])
    x = np.clip(y + rng.normal(0, 12, y.shape), 0, 255).astype(np.uint8)
    x[3:] = np.roll(x[3:], 1, axis=1)
    inside = np.s_[:, 3:-3, 3:-3]
    untolerant = psnr(ImageBatch(x[inside]), ImageBatch(y[inside]))
    tolerant = psnr_shift(ImageBatch(x), ImageBatch(y))
    np.testing.assert_allclose(tolerant[:3], untolerant[:3], rtol=1e-14)
    assert (tolerant[3:] > untolerant[3:] + 1).all()


def test_what_lies_beyond_the_interior_of_the_reference_plays_no_part():
    x, y = batch(land(0)), batch(land(1))
    expected = psnr_shift(x, y)
    y.pixels[:, :3], y.pixels[:, -3:], y.pixels[:, :, :3], y.pixels[:, :, -3:] = 0, 255, 0, 255
    assert psnr_shift(x, y).tolist() == expected.tolist()


def test_every_shift_is_judged_by_the_same_number_of_exact_errors():
    x, y = batch(land(0, (12, 13, 2))), batch(land(1, (12, 13, 2)))
    errors = squared_errors(x, y, k=2)
    assert errors.shape == (1, 5, 5)
    a, b = x.pixels[0].astype(int), y.pixels[0].astype(int)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            window = a[2 + dy : 10 + dy, 2 + dx : 11 + dx]
            assert errors[0, 2 + dy, 2 + dx] == ((window - b[2:10, 2:11]) ** 2).mean()


def test_of_equal_shifts_the_shortest_counts():
    stripes = batch(np.tile(np.array([0, 100, 200], np.uint8), (30, 10))[..., None])
    flat = batch(np.full((30, 30, 1), 7, np.uint8))
    assert best_shift(stripes, stripes).tolist() == [[0, 0]]
    assert best_shift(flat, stripes).tolist() == [[0, 0]]
    left = batch(np.roll(stripes.pixels[0], 2, axis=1))  # as well one to the left as two to the right
    assert best_shift(left, stripes).tolist() == [[0, -1]]


def test_16_bits_and_8_agree():
    x, y = batch(land(0)), batch(land(1))
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    np.testing.assert_allclose(psnr_shift(*wide), psnr_shift(x, y), rtol=1e-12)


def test_images_without_an_interior_are_refused():
    assert np.isfinite(psnr_shift(batch(land(0)[:7, :7]), batch(land(1)[:7, :7]))).all()
    with pytest.raises(ContractError, match="psnr_shift needs images of at least 7x7 px, got 6x80"):
        psnr_shift(batch(land(0)[:6]), batch(land(1)[:6]))
