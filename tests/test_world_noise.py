import numpy as np
import pytest

from sarbench.datasets.world.exact import stream
from sarbench.datasets.world.noise import doubled, fractal


@pytest.mark.parametrize(("coarsest", "finest", "slope"), [(16, 1, 3.0), (64, 2, 4.0), (4, 1, 2.2), (1, 1, 2.0), (32, 8, 5.0)])
def test_a_field_has_mean_zero_and_variance_one(coarsest, finest, slope):
    fields = np.stack([fractal(stream(i), 256, coarsest, finest, slope) for i in range(24)])
    assert fields.shape == (24, 256, 256) and fields.dtype == np.float32
    assert abs(fields.mean()) < 0.1
    assert np.isclose(fields.var(), 1.0, rtol=0.12)


@pytest.mark.parametrize("slope", [2.5, 3.0, 4.0])
def test_the_power_spectrum_falls_with_the_slope_asked_for(slope):
    fields = np.stack([fractal(stream(i), 256, 128, 1, slope) for i in range(8)])
    window = np.hanning(256)[:, None] * np.hanning(256)
    power = (np.abs(np.fft.fft2(fields * window)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    bands = [(radius > f) & (radius < 1.3 * f) for f in (0.02, 0.16)]
    found = np.log(power[bands[0]].mean() / power[bands[1]].mean()) / np.log(8.0)
    assert np.isclose(found, slope, atol=0.35)


def test_the_spectrum_is_flat_below_the_coarsest_lattice():
    fields = np.stack([fractal(stream(i), 512, 8, 1, 3.0) for i in range(8)])
    window = np.hanning(512)[:, None] * np.hanning(512)
    power = (np.abs(np.fft.fft2(fields * window)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
    low, lower = (power[(radius > f) & (radius < 1.5 * f)].mean() for f in (0.014, 0.007))
    assert np.isclose(low / lower, 1.0, atol=0.3)


def test_a_field_has_no_direction_of_its_own():
    """Differences along the lattice and across its diagonals have equal variance."""
    fields = np.stack([fractal(stream(i), 256, 32, 4, 4.0) for i in range(24)]).astype(np.float64)
    straight = (fields[:, :, 14:] - fields[:, :, :-14]).var()
    diagonal = (fields[:, 10:, 10:] - fields[:, :-10, :-10]).var() * (14 / (10 * 2**0.5)) ** 2
    assert np.isclose(diagonal / straight, 1.0, atol=0.08)


def test_opposite_edges_do_not_continue_each_other():
    fields = np.stack([fractal(stream(i), 128, 16, 1, 4.0) for i in range(24)])
    inside = np.abs(fields[:, 1:] - fields[:, :-1]).mean()
    assert np.abs(fields[:, 0] - fields[:, -1]).mean() > 3.0 * inside


def test_doubling_keeps_planes_and_their_slope():
    y, x = np.mgrid[:9, :7].astype(np.float32)
    fine = doubled(2.0 * x - 3.0 * y)
    assert fine.shape == (14, 10)
    assert np.allclose(np.diff(fine, axis=1), 1.0) and np.allclose(np.diff(fine, axis=0), -1.5)


@pytest.mark.parametrize("size_px", [16, 17, 80, 101])
def test_any_size_can_be_made(size_px):
    assert fractal(stream(0), size_px, 128, 8).shape == (size_px, size_px)
