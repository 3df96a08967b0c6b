import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.registry import load_metric

DELTAS = (5, 10)


def accuracy(delta, x, y):
    return load_metric(f"accuracy_delta{delta}").rows(x, y)


def pair(error, bands=3, dtype=np.uint8, peak=255):
    """Four pixels, of which one is off by `error` in the last band."""
    x = np.full((1, 2, 2, bands), peak // 2, dtype)
    y = x.copy()
    y[0, 0, 0, -1] = int(y[0, 0, 0, -1]) + error
    return ImageBatch(x, peak), ImageBatch(y, peak)


@pytest.mark.parametrize("delta", DELTAS)
def test_identical_images_are_wholly_right(delta):
    x, _ = pair(0)
    assert accuracy(delta, x, x).tolist() == [100]


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_error_of_exactly_delta_is_wrong_and_one_level_less_is_right(delta, bands, sign):
    assert accuracy(delta, *pair(sign * delta, bands)).tolist() == [75]
    assert accuracy(delta, *pair(sign * (delta - 1), bands)).tolist() == [100]


@pytest.mark.parametrize("delta", DELTAS)
def test_in_16_bits_a_level_is_257_values(delta):
    assert accuracy(delta, *pair(delta * 257, dtype=np.uint16, peak=65535)).tolist() == [75]
    assert accuracy(delta, *pair(delta * 257 - 1, dtype=np.uint16, peak=65535)).tolist() == [100]


@pytest.mark.parametrize("delta", DELTAS)
def test_the_worst_band_of_a_pixel_decides(delta):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 40, (3, 20, 30, 3)).astype(np.uint8) for _ in range(2))
    right = np.all(np.abs(x.astype(int) - y) < delta, axis=3)
    np.testing.assert_allclose(accuracy(delta, ImageBatch(x), ImageBatch(y)), 100 * right.mean((1, 2)), rtol=1e-12)


def test_more_is_right_at_10_levels_than_at_5():
    rng = np.random.default_rng(0)
    x, y = (ImageBatch(rng.integers(0, 20, (3, 20, 30, 3)).astype(np.uint8)) for _ in range(2))
    assert (accuracy(10, x, y) > accuracy(5, x, y)).all()


@pytest.mark.parametrize("delta", DELTAS)
def test_unlike_sides_are_refused(delta):
    x, _ = pair(0)
    with pytest.raises(ContractError, match=f"accuracy_delta{delta} compares images of one shape"):
        accuracy(delta, x, ImageBatch(x.pixels[:, :1]))
