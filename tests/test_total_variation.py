import numpy as np
import piq
import pytest
import torch
from torchmetrics.functional.image import total_variation as summed

from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.total_variation import compat, metric, total_variation


def noise(shape=(4, 20, 30, 3), peak=255, dtype=np.uint8):
    return ImageBatch(np.random.default_rng(0).integers(0, peak + 1, shape).astype(dtype), peak)


def tensor(image):
    return torch.from_numpy(image.pixels.astype(np.float64)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("bands", [1, 3, 13])
def test_times_the_number_of_differences_it_is_the_sum_of_torchmetrics_and_piq(bands):
    image = noise((4, 20, 30, bands))
    differences = bands * (19 * 30 + 20 * 29)
    np.testing.assert_allclose(total_variation(image) * differences, summed(tensor(image), reduction="none"), rtol=1e-12)
    l1 = piq.total_variation(tensor(image) / 255, reduction="none", norm_type="l1")
    np.testing.assert_allclose(total_variation(image) * differences / 255, l1, rtol=1e-12)


def test_a_flat_image_has_none():
    assert total_variation(ImageBatch(np.full((2, 5, 6, 3), 255, np.uint8))).tolist() == [0, 0]


def test_a_checkerboard_of_black_and_white_has_the_most():
    board = (np.indices((6, 7)).sum(0) % 2 * 255).astype(np.uint8)[None, :, :, None]
    assert total_variation(ImageBatch(board)).tolist() == [255]


def test_a_ramp_of_two_levels_a_column_has_one_level_a_difference():
    ramp = np.tile(np.arange(0, 40, 2, dtype=np.uint8), (20, 1))[None, :, :, None]
    assert total_variation(ImageBatch(ramp)).tolist() == [1]


def test_it_does_not_grow_with_the_tile():
    board = (np.indices((64, 64)).sum(0) % 3 * 50).astype(np.uint8)[None, :, :, None]
    np.testing.assert_allclose(total_variation(ImageBatch(board)), total_variation(ImageBatch(board[:, :16, :16])), rtol=0.05)


def test_8_and_16_bits_have_one_unit():
    image = noise()
    wide = ImageBatch(image.pixels.astype(np.uint16) * 257, 65535)
    np.testing.assert_allclose(total_variation(wide), total_variation(image), rtol=1e-12)


def test_one_row_has_only_sideways_differences():
    assert total_variation(ImageBatch(np.array([[[[0], [10], [40]]]], np.uint8))).tolist() == [20]


def test_a_single_pixel_is_undefined():
    assert np.isnan(total_variation(ImageBatch(np.zeros((1, 1, 1, 3), np.uint8)))).all()
    assert metric.undefined


def test_it_reads_the_translated_image_alone():
    assert metric.reads == ("translated",)


@pytest.mark.parametrize("bands", [1, 3, 13])
@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_under_torchmetrics_and_piq_it_is_a_sum_and_a_root_of_squares_over_0_to_1(bands, dtype, peak):
    image = noise((4, 20, 30, bands), peak, dtype)
    values = tensor(image) / peak
    np.testing.assert_allclose(compat["torchmetrics"].rows(image), summed(values, reduction="none"), rtol=1e-10)
    np.testing.assert_allclose(compat["piq"].rows(image), piq.total_variation(values, reduction="none"), rtol=1e-10)


def test_the_conventions_reproduce_by_hand():
    image = ImageBatch(np.array([[[[0], [51]], [[102], [255]]]], np.uint8))  # differences 0.2 and 0.6 across, 0.4 and 0.8 down
    np.testing.assert_allclose(compat["torchmetrics"].rows(image), 2.0, rtol=1e-12)
    np.testing.assert_allclose(compat["piq"].rows(image), np.sqrt(0.04 + 0.36 + 0.16 + 0.64), rtol=1e-12)
    np.testing.assert_allclose(total_variation(image), 255 * 0.5, rtol=1e-12)


@pytest.mark.parametrize("name", compat)
def test_a_single_pixel_has_a_sum_of_0_where_a_mean_is_undefined(name):
    assert compat[name].rows(ImageBatch(np.zeros((1, 1, 1, 3), np.uint8))).tolist() == [0]
    assert compat[name].name == f"total_variation@{name}"
    assert compat[name].reads == ("translated",)
