import dataclasses

import numpy as np
import pytest

from sarbench.datasets.world.exact import intensity, stream
from sarbench.datasets.world.land import GSD_M, MARGIN_PX, REAL, Land, Patches, first_stage, make_ground, survey
from sarbench.datasets.world.materials import FOREST, INDEX, LABELS, MATERIALS, SIGMA0_DB
from sarbench.datasets.world.sar import (
    BETWEEN_TREES,
    CORNER_DB,
    CORNER_TURN,
    INCIDENCE_DEG,
    NOISE_FLOOR_DB,
    RANGE_DB,
    WIND_DB,
    mean_intensity,
    sar_image,
    speckle,
    to_unit,
)

TAN = np.tan(np.radians(INCIDENCE_DEG))
FLOOR = 10.0 ** (NOISE_FLOOR_DB / 10.0)
GROUND = 10.0 ** (SIGMA0_DB[INDEX["brown soil"]] / 10.0) + FLOOR


def flat(material="brown soil", size_px=64):
    """Level ground of one material, without texture; the margin is 8 px wide."""
    whole = size_px + 16
    count = len(MATERIALS)
    patches = Patches(
        np.arange(count, dtype=np.uint8),
        np.zeros((3, count), np.float32),
        SIGMA0_DB.copy(),
        np.zeros((2, count), np.float32),
        count,
        count,
    )
    zeros = np.zeros((whole, whole), np.float32)
    images = {
        field.name: zeros.copy() for field in dataclasses.fields(Land) if field.name not in ("margin_px", "patches", "patch")
    }
    images["patch"] = np.full(zeros.shape, INDEX[material], np.int32)
    images["labels"] = np.full(zeros.shape, LABELS[INDEX[material]], np.uint8)
    images["across"] = zeros + np.arange(whole, dtype=np.float32)[:, None]
    return Land(margin_px=8, patches=patches, **images)


def put(land, rows, columns, height_m, material):
    """The same land with a block of a material on it; rows and columns count from the image's corner."""
    where = slice(rows[0] + 8, rows[1] + 8), slice(columns[0] + 8, columns[1] + 8)
    land.object_m[where] = height_m
    land.patch[where] = INDEX[material]
    land.labels[where] = LABELS[INDEX[material]]
    return land


def seen(land):
    return mean_intensity(stream(0), land).astype(np.float64)


# --- Speckle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [1, 2, 4, 16, 64])
def test_speckle_has_mean_one_and_varies_by_one_over_the_root_of_the_looks(looks):
    values = speckle(stream(looks), (500, 500), looks).astype(np.float64)
    assert np.isclose(values.mean(), 1.0, rtol=0.01)
    assert np.isclose(values.std(), looks**-0.5, rtol=0.02)
    assert values.min() > 0.0


def test_speckle_of_three_looks_is_gamma_and_independent_from_pixel_to_pixel():
    values = speckle(stream(1), (500, 500), 3).astype(np.float64)
    centred = values - values.mean()
    assert np.isclose((centred**3).mean() / values.std() ** 3, 2.0 / 3.0**0.5, rtol=0.05)  # skewness 2 / sqrt(L)
    for neighbour in (centred[:, 1:] * centred[:, :-1], centred[1:] * centred[:-1]):
        assert abs(neighbour.mean() / values.var()) < 0.01


def test_speckle_of_one_look_is_exponential():
    values = speckle(stream(2), (500, 500), 1)
    for level in (0.1, 1.0, 3.0):
        assert np.isclose((values > level).mean(), np.exp(-level), atol=0.004)


@pytest.mark.parametrize("looks", [1, 4])
def test_intensity_over_flat_ground_varies_by_one_over_the_root_of_the_looks(looks):
    image = sar_image(stream(3), mean_intensity(stream(0), flat(size_px=300)), looks).astype(np.float64)
    assert np.isclose(image.mean(), GROUND, rtol=0.01)
    assert np.isclose(image.std() / image.mean(), looks**-0.5, rtol=0.02)


# --- Geometry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope_deg", [-15.0, -5.0, 5.0, 15.0])
def test_ground_that_faces_the_sensor_is_brighter_by_the_square_of_the_cosine(slope_deg):
    x_m = np.arange(80, dtype=np.float32) * np.float32(GSD_M)
    rising = np.tan(np.radians(slope_deg)).astype(np.float32) * x_m  # the sensor is on the left: rising ground faces it
    land = dataclasses.replace(flat(), terrain_m=np.broadcast_to(rising, (80, 80)))
    expected = (np.cos(np.radians(INCIDENCE_DEG - slope_deg)) / np.cos(np.radians(INCIDENCE_DEG))) ** 2
    assert np.allclose((seen(land) - FLOOR) / (GROUND - FLOOR), expected, rtol=1e-3)


@pytest.mark.parametrize("height_m", [6.0, 10.0, 17.0])
def test_a_house_appears_nearer_to_the_sensor_by_its_height_over_the_tangent(height_m):
    row = seen(put(flat(), (20, 40), (30, 36), height_m, "red roof"))[30]
    layover_px = height_m / TAN / GSD_M
    brighter = np.flatnonzero(row > 1.5 * GROUND)
    assert abs(brighter[0] - (30 - layover_px)) <= 1.0
    assert np.allclose(row[: brighter[0] - 1], GROUND)


@pytest.mark.parametrize("height_m", [6.0, 10.0, 17.0])
def test_a_house_hides_the_ground_behind_it_up_to_its_height_times_the_tangent(height_m):
    row = seen(put(flat(), (20, 40), (30, 36), height_m, "red roof"))[30]
    dark = np.flatnonzero(row < 1.01 * FLOOR)
    behind = dark[dark >= 36]
    assert behind[0] == 36
    assert abs(len(behind) - height_m * TAN / GSD_M) <= 1.0
    assert np.allclose(row[behind[-1] + 2 :], GROUND)


def test_the_foot_of_the_wall_that_faces_the_sensor_is_the_brightest_line():
    image = seen(put(flat(), (20, 40), (30, 36), 10.0, "red roof"))
    assert np.all(image[20:40].argmax(axis=1) == 30)
    assert image[30, 30] > 10.0 ** (CORNER_DB / 10.0)
    assert np.allclose(image[:19], GROUND) and np.allclose(image[41:], GROUND)


def test_the_bright_foot_fades_as_the_wall_turns_away():
    feet = []
    for turn in (0.0, CORNER_TURN, 3.0 * CORNER_TURN):
        land = put(flat(), (20, 40), (30, 36), 10.0, "red roof")
        slanting = land.across + np.float32(turn) * np.arange(80, dtype=np.float32)
        feet.append(seen(dataclasses.replace(land, across=slanting))[30, 30])
    other = feet[0] - 10.0 ** (CORNER_DB / 10.0)
    assert np.isclose((feet[1] - other) / (feet[0] - other), 1 / 2, rtol=1e-3)
    assert np.isclose((feet[2] - other) / (feet[0] - other), 1 / 10, rtol=1e-3)


def test_a_forest_is_moved_towards_the_sensor_as_a_whole_and_loses_no_power():
    image = seen(put(flat(), (0, 64), (30, 50), 10.0, "conifer"))
    forest = 10.0 ** (SIGMA0_DB[INDEX["conifer"]] / 10.0)
    shift_px, shade_px = 10.0 / TAN / GSD_M, 10.0 * TAN / GSD_M
    bright = np.flatnonzero(image[30] > 0.9 * forest)
    assert np.allclose((bright[0], bright[-1] + 1), (30 - shift_px, 50 - shift_px), atol=1.0)
    assert np.isclose(image[30, 32:40].mean(), forest + FLOOR, rtol=1e-3)
    behind = image[30, 50 : 50 + int(shade_px)]
    assert np.allclose(behind, BETWEEN_TREES * (GROUND - FLOOR) + FLOOR)
    raised = (image[30, :50] - FLOOR).sum() - 30 * (GROUND - FLOOR)
    assert np.isclose(raised, 20 * forest, rtol=1e-3)


def test_wind_changes_the_water_and_nothing_else():
    water = [mean_intensity(stream(day), flat("water")).mean() for day in range(30)]
    soil = [mean_intensity(stream(day), flat()).mean() for day in range(5)]
    spread_db = np.ptp(10.0 * np.log10(np.array(water) - FLOOR))
    assert WIND_DB < spread_db < 2.0 * WIND_DB
    assert np.ptp(soil) == 0.0


def test_what_stands_outside_the_image_casts_its_shadow_and_layover_into_it():
    inside = seen(flat())
    left = put(flat(), (20, 40), (-4, 0), 12.0, "red roof")
    right = put(flat(), (20, 40), (64, 68), 12.0, "red roof")
    assert np.all(seen(left)[21:39, 0] < 0.5 * inside[21:39, 0])
    assert np.all(seen(right)[21:39, 63] > 2.0 * inside[21:39, 63])


def test_a_margin_that_is_kept_shows_what_the_image_shows():
    land = survey(ground := make_ground(stream("g"), 64, REAL), first_stage(ground))
    wide, narrow = mean_intensity(stream(0), land, 10), mean_intensity(stream(0), land)
    assert wide.shape == (84, 84) and narrow.shape == (64, 64)
    assert np.array_equal(wide[10:-10, 10:-10], narrow)


# --- Statistics ------------------------------------------------------------------------------------------------------


def test_mean_backscatter_rises_from_water_over_roads_and_fields_to_forest():
    found = {name: [] for name in ("water", "asphalt", "brown soil", "wheat")} | {"forest": []}
    for seed in range(12):
        land = survey(ground := make_ground(stream(seed), 128, REAL), first_stage(ground))
        image = 10.0 * np.log10(mean_intensity(stream(seed), land))
        kind = land.cut(0, land.patches.material[land.patch])
        for name in found:
            chosen = land.cut(0, land.labels) == FOREST if name == "forest" else kind == INDEX[name]
            found[name].append(image[chosen])
    medians = [np.median(np.concatenate(found[name])) for name in ("water", "asphalt", "brown soil", "wheat", "forest")]
    assert medians == sorted(medians)
    assert medians[0] < medians[2] - 4.0


def test_decibels_are_clipped_to_the_stated_range():
    low, high = RANGE_DB
    values = np.array([low - 9, low, (low + high) / 2, high, high + 9], np.float32)
    assert np.allclose(to_unit(values), [0.0, 0.0, 0.5, 1.0, 1.0])
    assert intensity(low) < intensity(high) and MARGIN_PX > 10
