import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sarbench.bench.honeypots import HONEYPOTS, oracle_blur, oracle_noise, oracle_shift


def _image(height=40, width=48, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("name", HONEYPOTS)
@pytest.mark.parametrize("shape", [(40, 48, 3), (33, 17, 1), (5, 4, 3), (24, 24, 13)])
def test_a_honeypot_keeps_shape_and_type_and_leaves_its_input_alone(name, shape):
    image = _image(*shape)
    before = image.copy()
    made = HONEYPOTS[name].make(image, "a")
    assert (made.shape, made.dtype) == (shape, np.uint8)
    assert (image == before).all()
    assert (made != image).any()
    assert (made == HONEYPOTS[name].make(before, "a")).all()


def test_names_are_those_of_the_table_and_can_be_method_names():
    assert list(HONEYPOTS) == ["oracle_blur", "oracle_shift", "oracle_noise"]
    assert all(honeypot.name == name and honeypot.about for name, honeypot in HONEYPOTS.items())


def test_the_shift_moves_every_pixel_two_to_the_right_and_two_down():
    image = _image()
    assert (oracle_shift(image, "a")[2:, 2:] == image[:-2, :-2]).all()


def test_the_shift_fills_its_border_by_reflection():
    image = np.arange(5, dtype=np.uint8).reshape(1, 5, 1).repeat(5, axis=0)
    assert oracle_shift(image, "a")[0, :, 0].tolist() == [2, 1, 0, 1, 2]
    assert (oracle_shift(image.transpose(1, 0, 2), "a")[:, 0, 0] == [2, 1, 0, 1, 2]).all()


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_the_blur_keeps_a_constant_image(value):
    image = np.full((31, 29, 3), value, np.uint8)
    assert (oracle_blur(image, "a") == image).all()


def test_the_blur_is_a_gaussian_of_sigma_three():
    image = _image()
    expected = gaussian_filter(image.astype(np.float64), (3, 3, 0), mode="mirror", truncate=4.0)
    assert np.abs(oracle_blur(image, "a") - expected).max() <= 0.5 + 1e-9


def test_the_noise_has_a_sigma_of_a_tenth_of_the_range_and_no_bias():
    image = np.full((256, 256, 3), 128, np.uint8)  # 5 sigma from both ends, so clipping does not count
    noise = oracle_noise(image, "a").astype(np.float64) - 128
    n = noise.size
    assert abs(noise.mean()) < 4 * 25.5 / n**0.5
    assert noise.std() == pytest.approx(25.5, rel=4 / (2 * n) ** 0.5)


def test_the_noise_depends_on_the_sample_and_clips_instead_of_wrapping():
    image = _image()
    assert (oracle_noise(image, "a") != oracle_noise(image, "b")).any()
    assert oracle_noise(np.zeros((64, 64, 1), np.uint8), "a").max() < 150
    assert oracle_noise(np.full((64, 64, 1), 255, np.uint8), "a").min() > 105
