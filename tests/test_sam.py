import numpy as np
import pytest
import torch
from torchmetrics.functional.image import spectral_angle_mapper

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.sam import compat, metric, sam


def one(*values, dtype=np.uint8, peak=255):
    """One image of one pixel."""
    return ImageBatch(np.array(values, dtype).reshape(1, 1, 1, -1), peak)


def images(seed, shape=(3, 20, 30, 3), least=1, peak=255, dtype=np.uint8):
    return ImageBatch(np.random.default_rng(seed).integers(least, peak + 1, shape).astype(dtype), peak)


def test_a_multiple_of_the_reference_has_no_angle():
    assert sam(one(10, 20, 30), one(50, 100, 150)).tolist() == [0]


def test_red_against_green_is_a_right_angle_and_against_yellow_half_of_one():
    np.testing.assert_allclose(sam(one(7, 0, 0), one(0, 200, 0)), 90, rtol=1e-15)
    np.testing.assert_allclose(sam(one(7, 0, 0), one(9, 9, 0)), 45, rtol=1e-15)


def test_white_against_a_band_is_the_angle_of_a_cubes_diagonal():
    np.testing.assert_allclose(sam(one(9, 9, 9), one(0, 0, 4)), np.degrees(np.arccos(1 / np.sqrt(3))), rtol=1e-14)


def test_a_pixel_black_on_both_sides_is_0_and_one_black_on_one_side_90():
    assert sam(one(0, 0, 0), one(0, 0, 0)).tolist() == [0]
    assert sam(one(0, 0, 0), one(1, 2, 3)).tolist() == [90]
    assert sam(one(1, 2, 3), one(0, 0, 0)).tolist() == [90]


def test_the_least_angle_of_16_bits_is_not_lost():
    x, y = one(65535, 65535, dtype=np.uint16, peak=65535), one(65535, 65534, dtype=np.uint16, peak=65535)
    np.testing.assert_allclose(sam(x, y), np.degrees(np.arctan(1 / (65535 + 65534))), rtol=1e-9)


def test_the_value_is_the_mean_over_pixels():
    x = ImageBatch(np.array([[[[1, 0], [1, 1], [0, 5], [3, 3]]]], np.uint8))
    y = ImageBatch(np.array([[[[0, 1], [0, 1], [0, 1], [1, 1]]]], np.uint8))
    np.testing.assert_allclose(sam(x, y), (90 + 45 + 0 + 0) / 4, rtol=1e-14)


@pytest.mark.parametrize("bands", [2, 3, 4, 13])
@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_under_torchmetrics_it_is_in_radians(bands, dtype, peak):
    x, y = (images(seed, (3, 20, 30, bands), peak=peak, dtype=dtype) for seed in (0, 1))
    a, b = (torch.from_numpy(i.pixels.astype(np.float64)).permute(0, 3, 1, 2) for i in (x, y))
    expected = spectral_angle_mapper(a, b, reduction="none").numpy().mean((1, 2))
    np.testing.assert_allclose(compat["torchmetrics"].rows(x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(sam(x, y), np.degrees(expected), rtol=1e-9)


def test_under_torchmetrics_a_black_pixel_makes_the_image_undefined():
    x, y = images(0), images(1)
    x.pixels[1, 3, 4] = 0
    assert np.isnan(compat["torchmetrics"].rows(x, y)).tolist() == [False, True, False]
    assert compat["torchmetrics"].undefined


def test_under_sewar_black_pixels_are_left_out():
    sewar = pytest.importorskip("sewar")
    x, y = images(0, least=0), images(1, least=0)
    x.pixels[:, :5] = 0
    pairs = zip(x.pixels, y.pixels, strict=True)
    expected = [sewar.sam(b.astype(np.float64), a.astype(np.float64)) for a, b in pairs]
    np.testing.assert_allclose(compat["sewar"].rows(x, y), expected, rtol=1e-9)


def test_under_sewar_black_rows_change_nothing_and_a_black_image_is_undefined():
    x, y = images(0), images(1)
    expected = compat["sewar"].rows(ImageBatch(x.pixels[:, 5:]), ImageBatch(y.pixels[:, 5:]))
    x.pixels[:, :5] = 0
    np.testing.assert_allclose(compat["sewar"].rows(x, y), expected, rtol=1e-12)
    assert np.isnan(compat["sewar"].rows(one(0, 0), one(1, 1))).all()
    assert compat["sewar"].undefined


@pytest.mark.parametrize("rows", [metric.rows, *(other.rows for other in compat.values())])
def test_a_single_band_has_no_angle_and_is_refused(rows):
    with pytest.raises(ContractError, match="2 bands or more, got 1"):
        rows(one(3), one(4))


def test_unlike_sides_are_refused():
    with pytest.raises(ContractError, match="sam compares images of one shape"):
        sam(one(3, 4), one(4, 5, 6))
