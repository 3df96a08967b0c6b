import numpy as np
import pytest
import torch
from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.ergas import compat, ergas, metric


def images(seed, shape=(3, 20, 30, 3), peak=255, dtype=np.uint8):
    return ImageBatch(np.random.default_rng(seed).integers(0, peak + 1, shape).astype(dtype), peak)


def flat(*values):
    return ImageBatch(np.broadcast_to(np.array(values, np.uint8), (1, 4, 5, len(values))).copy())


def test_identical_images_have_none():
    assert ergas(images(0), images(0)).tolist() == [0, 0, 0]


def test_a_band_off_by_a_tenth_of_its_mean_is_10_percent():
    np.testing.assert_allclose(ergas(flat(110), flat(100)), 10, rtol=1e-14)


def test_bands_count_by_the_square_of_their_relative_errors():
    np.testing.assert_allclose(ergas(flat(130, 40), flat(100, 50)), 100 * np.sqrt((0.3**2 + 0.2**2) / 2), rtol=1e-14)


def test_the_means_are_those_of_the_reference():
    assert ergas(flat(50), flat(100))[0] == pytest.approx(50)
    assert ergas(flat(100), flat(50))[0] == pytest.approx(100)


@pytest.mark.parametrize("name", compat)
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_libraries_give_a_quarter_of_it(name, bands, dtype, peak):
    x, y = (images(seed, (3, 20, 30, bands), peak, dtype) for seed in (0, 1))
    a, b = (torch.from_numpy(i.pixels.astype(np.float64)).permute(0, 3, 1, 2) for i in (x, y))
    expected = error_relative_global_dimensionless_synthesis(a, b, reduction="none").numpy()
    np.testing.assert_allclose(compat[name].rows(x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(ergas(x, y), 4 * expected, rtol=1e-9)


def test_sewar_has_the_same_quarter():
    sewar = pytest.importorskip("sewar")
    x, y = images(0), images(1)
    expected = [sewar.ergas(b.astype(np.float64), a.astype(np.float64)) for a, b in zip(x.pixels, y.pixels, strict=True)]
    np.testing.assert_allclose(compat["sewar"].rows(x, y), expected, rtol=1e-9)


def test_a_black_band_of_the_reference_makes_the_image_undefined():
    x, y = images(0), images(1)
    y.pixels[1, ..., 2] = 0
    assert np.isnan(ergas(x, y)).tolist() == [False, True, False]
    assert metric.undefined


def test_unlike_sides_are_refused():
    with pytest.raises(ContractError, match="ergas compares images of one shape"):
        ergas(flat(1), flat(1, 2))


@pytest.mark.parametrize("name", compat)
def test_libraries_divide_by_a_black_band_all_the_same(name):
    x, y = images(0), images(1)
    x.pixels[2, ..., 2] = y.pixels[1:, ..., 2] = 0
    a, b = (torch.from_numpy(i.pixels.astype(np.float64)).permute(0, 3, 1, 2) for i in (x, y))
    expected = error_relative_global_dimensionless_synthesis(a, b, reduction="none").numpy()
    np.testing.assert_allclose(compat[name].rows(x, y), expected, rtol=1e-9)
    assert np.isinf(expected).tolist() == [False, True, False]
    assert np.isnan(expected).tolist() == [False, False, True]
