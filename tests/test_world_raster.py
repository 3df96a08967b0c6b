import numpy as np
import pytest

from sarbench.datasets.world.raster import blurred, cast_shadow, cosine, gradient, moved

GSD_M = 3.0


def towards(azimuth_deg, elevation_deg):
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)


def plane(size_px, right, down):
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    return x * np.float32(right) + y * np.float32(down)


def test_the_gradient_of_a_plane_is_its_slope_up_to_the_border():
    down, right = gradient(plane(9, 0.5, -2.0))
    assert np.allclose(right, 0.5) and np.allclose(down, -2.0)


def test_a_plane_square_to_a_direction_has_the_cosine_one():
    x, y, z = towards(120.0, 40.0)
    height_m = plane(8, -x / z * GSD_M, -y / z * GSD_M)
    assert np.allclose(cosine(height_m, GSD_M, (x, y, z)), 1.0, atol=1e-5)
    assert np.allclose(cosine(np.zeros((8, 8), np.float32), GSD_M, (x, y, z)), z)


@pytest.mark.parametrize("elevation_deg", [17.0, 30.0, 45.0, 63.0])
@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, 100.0, 135.0, 160.0, 180.0, 250.0])
def test_a_shadow_points_away_from_the_light_and_is_as_long_as_it_is_low(azimuth_deg, elevation_deg):
    height_m = np.zeros((101, 101), np.float32)
    height_m[50, 50] = 15.0
    shadow = cast_shadow(height_m, GSD_M, towards(azimuth_deg, elevation_deg))
    rows, columns = np.nonzero(shadow)
    away = np.hypot(rows - 50, columns - 50)
    assert np.isclose(away.max(), 15.0 / np.tan(np.radians(elevation_deg)) / GSD_M, atol=1.2)
    tip = away.argmax()
    found_deg = np.degrees(np.arctan2(columns[tip] - 50, -(rows[tip] - 50))) % 360.0
    assert abs((found_deg - azimuth_deg - 180.0 + 180.0) % 360.0 - 180.0) < np.degrees(1.0 / away.max())


def test_what_stands_in_a_shadow_is_lit_above_its_edge():
    height_m = np.zeros((5, 40), np.float32)
    height_m[:, 30] = 20.0
    height_m[:, 24] = 6.0
    shadow = cast_shadow(height_m, 1.0, towards(90.0, 45.0))  # the edge is 14 m high six metres behind
    assert np.all(shadow[:, 24] == 1.0)
    height_m[:, 24] = 13.5
    assert np.allclose(cast_shadow(height_m, 1.0, towards(90.0, 45.0))[:, 24], 0.5, atol=1e-4)
    height_m[:, 24] = 15.0
    assert np.all(cast_shadow(height_m, 1.0, towards(90.0, 45.0))[:, 24] == 0.0)


def test_blur_keeps_the_sum_and_a_constant():
    image = np.zeros((3, 9, 9), np.float32)
    image[:, 4, 4] = 64.0
    assert blurred(image).shape == (3, 7, 7)
    assert np.isclose(blurred(image)[0].sum(), 64.0)
    assert blurred(image)[0, 2:5, 2:5].round(4).tolist() == [[1, 6, 1], [6, 36, 6], [1, 6, 1]]
    assert np.allclose(blurred(np.full((6, 6), 0.7, np.float32)), 0.7)


@pytest.mark.parametrize(("down_px", "right_px"), [(0.0, 0.0), (2.0, -3.0), (-5.0, 1.0), (8.0, 8.0)])
def test_a_move_by_whole_pixels_is_exact(down_px, right_px):
    image = np.random.default_rng(0).random((2, 40, 44), np.float32)
    rolled = np.roll(image, (int(down_px), int(right_px)), (1, 2))
    assert np.array_equal(moved(image, down_px, right_px, 10), rolled[:, 10:-10, 10:-10])


@pytest.mark.parametrize(("down_px", "right_px"), [(0.5, 0.0), (-1.3, 2.7), (0.01, -0.99)])
def test_a_move_by_a_part_of_a_pixel_keeps_smooth_images_smooth(down_px, right_px):
    y, x = np.mgrid[:60, :60].astype(np.float64)

    def wave(y, x):
        return np.sin(2 * np.pi * (x / 13.0 + y / 17.0)) + np.cos(2 * np.pi * (x / 9.0 - y / 11.0))

    found = moved(wave(y, x).astype(np.float32), down_px, right_px, 6)
    assert np.abs(found - wave(y - down_px, x - right_px)[6:-6, 6:-6]).max() < 0.06
