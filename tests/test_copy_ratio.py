import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.copy_ratio import copy_ratio, metric


def images(seed, bands=3, dtype=np.uint8, peak=255):
    return ImageBatch(np.random.default_rng(seed).integers(0, peak + 1, (3, 20, 30, bands)).astype(dtype), peak)


def flat(*values):
    return ImageBatch(np.broadcast_to(np.array(values, np.uint8), (1, 4, 5, len(values))).copy())


def test_a_copy_of_the_source_is_0():
    assert copy_ratio(images(0), images(0), images(1)).tolist() == [0, 0, 0]


def test_a_grey_copy_of_a_source_of_one_band_is_0_in_rgb_too():
    source = images(0, bands=1)
    grey = ImageBatch(np.repeat(source.pixels, 3, axis=3))
    np.testing.assert_allclose(copy_ratio(grey, source, images(1)), 0, atol=1e-12)


def test_half_way_between_source_and_target_is_1():
    np.testing.assert_allclose(copy_ratio(flat(50, 60, 70), flat(40, 80, 70), flat(60, 40, 70)), 1, rtol=1e-12)


def test_a_quarter_of_the_way_is_a_third():
    np.testing.assert_allclose(copy_ratio(flat(25), flat(0), flat(100)), 1 / 3, rtol=1e-12)


def test_bands_are_compared_one_by_one_where_there_are_as_many():
    np.testing.assert_allclose(copy_ratio(flat(10, 30), flat(30, 10), flat(10, 20)), 20 / 5, rtol=1e-12)


def test_band_means_are_compared_where_the_source_has_other_bands():
    translated, source, target = flat(10, 30, 50), flat(20, 60), flat(30, 30, 36)  # means 30, 40, 32
    np.testing.assert_allclose(copy_ratio(translated, source, target), 10 / 2, rtol=1e-12)


def test_differences_of_opposite_sign_do_not_cancel_over_pixels():
    pixels = np.array([[[[0], [100]]]], np.uint8)
    np.testing.assert_allclose(
        copy_ratio(ImageBatch(pixels), ImageBatch(100 - pixels), ImageBatch(pixels + 10)), 10, rtol=1e-12
    )


def test_the_target_itself_is_undefined():
    assert np.isnan(copy_ratio(images(1), images(0), images(1))).all()
    assert metric.undefined


def test_a_source_of_16_bits_is_taken_by_its_peak():
    wide = ImageBatch(images(0).pixels.astype(np.uint16) * 257, 65535)
    np.testing.assert_allclose(copy_ratio(images(2), wide, images(1)), copy_ratio(images(2), images(0), images(1)), rtol=1e-12)


def test_it_reads_the_source_between_the_other_two():
    assert metric.reads == ("translated", "source", "reference")


def test_unlike_sides_and_a_source_on_another_grid_are_refused():
    with pytest.raises(ContractError, match="copy_ratio compares images of one shape"):
        copy_ratio(images(0), images(1), images(2, bands=1))
    with pytest.raises(ContractError, match="sources on the same grid"):
        copy_ratio(images(0), ImageBatch(images(1).pixels[:, :10]), images(2))
