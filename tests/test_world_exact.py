import numpy as np
import pytest

from sarbench.datasets.world.exact import decibels, direction, intensity, single, stream, words


def test_decibels_are_right_to_three_thousandths_over_the_whole_range():
    values = np.logspace(-5.9, 4.7, 200_001).astype(np.float32)
    assert np.abs(decibels(values) - 10.0 * np.log10(values.astype(np.float64))).max() < 0.003


def test_decibels_of_nothing_and_of_too_much_stay_finite():
    assert np.allclose(decibels(np.array([0.0, 1e-30, 1e30], np.float32)), [-60.2, -60.2, 48.2], atol=0.05)


def test_intensity_undoes_decibels():
    assert np.allclose(decibels(intensity(np.linspace(-30.0, 20.0, 1001))), np.linspace(-30.0, 20.0, 1001), atol=0.003)


def test_words_are_uniform_and_a_function_of_what_names_their_stream():
    drawn = words(stream("a", 1), 300, 301)
    assert drawn.shape == (300, 301) and drawn.dtype == np.uint16
    assert np.array_equal(drawn, words(stream("a", 1), 300, 301))
    assert not np.array_equal(drawn, words(stream("a", 2), 300, 301))
    counts = np.histogram(drawn, 64, (0, 65536))[0]
    assert ((counts - drawn.size / 64) ** 2 / (drawn.size / 64)).sum() < 63 + 5 * np.sqrt(2 * 63)  # chi squared


def test_the_first_words_of_a_stream_are_the_same_on_every_machine():
    assert words(stream("synthetic", 0), 4).tolist() == [33971, 50983, 62667, 45568]


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_directions_have_length_one_and_single_precision(angle):
    x, y = direction(angle)
    assert np.isclose(x * x + y * y, 1.0) and (x, y) == (single(x), single(y))
    assert np.allclose((x, y), (np.cos(angle), np.sin(angle)))
