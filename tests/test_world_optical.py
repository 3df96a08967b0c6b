import dataclasses

import numpy as np
import pytest

from sarbench.datasets.world.exact import stream
from sarbench.datasets.world.land import GSD_M, MARGIN_PX, REAL, first_stage, make_ground, survey
from sarbench.datasets.world.materials import CROP, FOREST, INDEX, SEASONS, SNOW, WATER
from sarbench.datasets.world.optical import NOISE, SNOWY, Weather, optical_image, sky_share, weather
from sarbench.datasets.world.raster import cast_shadow
from sarbench.datasets.world.rendered import rendered_image
from sarbench.datasets.world.settlements import TALLEST_M
from sarbench.datasets.world.sun import DAYS, HOUR, LATITUDE_DEG, Sun, sun

NOON = Sun(180.0, 60.0)


@pytest.fixture(scope="module")
def lands():
    grounds = [make_ground(stream("optical", seed), 128, REAL) for seed in range(8)]
    return [survey(ground, first_stage(ground)) for ground in grounds]


def bare(land, **changes):
    """The same land without hills and without texture."""
    zeros = np.zeros_like(land.detail)
    return dataclasses.replace(
        land, **{"terrain_m": zeros, "cover": zeros, "detail": zeros, "grain": zeros, "furrow": zeros, **changes}
    )


def clear(season, place=NOON):
    return Weather(season, place, 0.0)


# --- The sun ---------------------------------------------------------------------------------------------------------


def test_the_sun_stands_in_the_south_east_in_the_morning_higher_in_summer():
    means = {}
    for season in SEASONS:
        drawn = [sun(stream(season, i), season) for i in range(200)]
        assert all(100.0 < place.azimuth_deg < 180.0 for place in drawn)
        means[season] = np.mean([place.elevation_deg for place in drawn])
    assert means["winter"] < means["autumn"] < means["spring"] < means["summer"]
    assert 15.0 < means["winter"] < 30.0 and 55.0 < means["summer"] < 72.0


def test_at_noon_on_the_longest_day_the_sun_is_as_high_as_latitude_and_tilt_allow(monkeypatch):
    monkeypatch.setitem(DAYS, "summer", (172, 172))
    monkeypatch.setattr("sarbench.datasets.world.sun.LATITUDE_DEG", (45.0, 45.0))
    monkeypatch.setattr("sarbench.datasets.world.sun.HOUR", (12.0, 12.0))
    place = sun(stream(0), "summer")
    assert np.isclose(place.elevation_deg, 90.0 - 45.0 + 23.45, atol=0.01)
    assert np.isclose(place.azimuth_deg, 180.0)
    assert np.allclose(place.towards, (0.0, np.cos(np.radians(68.45)), np.sin(np.radians(68.45))), atol=1e-4)


def test_the_longest_shadow_fits_into_the_margin():
    """The lowest sun is that of the shortest day, in the north, at the earliest hour."""
    low = min(sun(stream(i), "winter").elevation_deg for i in range(2000))
    assert TALLEST_M / np.tan(np.radians(low - 0.5)) / GSD_M < MARGIN_PX - 8
    assert LATITUDE_DEG[1] <= 48.0 and HOUR[0] >= 10.3


# --- Light -----------------------------------------------------------------------------------------------------------


def test_slopes_towards_the_sun_are_brighter(lands):
    size = len(lands[0].detail)
    down = np.arange(size, dtype=np.float32)[:, None] * np.ones(size, np.float32) * np.float32(GSD_M)
    means = []
    for tilt in (-0.1, 0.0, 0.1):  # the sun is in the south and y points south: ground that falls with y faces it
        land = bare(lands[0], terrain_m=np.float32(-tilt) * down)
        means.append(optical_image(stream(0), land, clear("summer")).mean())
    assert means[0] < means[1] < means[2]


def test_shadowed_ground_has_the_light_of_the_sky_alone(lands):
    land = bare(lands[0], object_m=np.zeros_like(lands[0].object_m))
    wall = land.object_m.copy()
    wall[100:102] = 15.0  # the sun is in the south: the shadow falls on the rows above
    now = clear("summer", Sun(180.0, 45.0))
    lit, shaded = (optical_image(stream(0), dataclasses.replace(land, object_m=tall), now) for tall in (land.object_m, wall))
    row = 100 - MARGIN_PX
    ratio = shaded[:, row - 3] / lit[:, row - 3]
    assert np.isclose(np.median(ratio), sky_share(now.sun.towards), atol=0.03)
    assert np.allclose(shaded[:, row - 8], lit[:, row - 8], atol=0.03)
    assert cast_shadow(wall, GSD_M, now.sun.towards)[96:100].min() == pytest.approx(1.0, abs=0.01)


def test_a_low_sun_leaves_a_larger_share_of_the_light_to_the_sky():
    shares = [sky_share(Sun(150.0, elevation).towards) for elevation in (15.0, 30.0, 60.0, 90.0)]
    assert shares == sorted(shares, reverse=True) and 0.2 < shares[-1] < shares[0] < 0.6


def test_noise_is_as_strong_as_is_said_and_differs_from_image_to_image(lands):
    one, two = (optical_image(stream(i), bare(lands[1]), clear("summer")) for i in range(2))
    inside = (one > 0.02) & (one < 0.98)
    assert np.isclose((one - two)[inside].std(), NOISE * 2**0.5, rtol=0.03)


def test_a_margin_that_is_kept_shows_what_the_image_shows(lands):
    wide, narrow = (optical_image(stream(0), lands[2], clear("autumn"), edge) for edge in (10, 0))
    assert wide.shape == (3, 148, 148) and narrow.shape == (3, 128, 128)
    assert np.abs(wide[:, 10:-10, 10:-10] - narrow).max() <= 2.0 * NOISE * 3.0**0.5 + 1e-6  # but for the noise


# --- Seasons ---------------------------------------------------------------------------------------------------------


def test_broadleaf_forest_turns_and_conifers_do_not(lands):
    colours = {}
    for season in SEASONS:
        images = [optical_image(stream(i), bare(land), clear(season)) for i, land in enumerate(lands)]
        for name in ("broadleaf", "conifer"):
            picked = [image[:, land.within(0).patch == INDEX[name]] for image, land in zip(images, lands, strict=True)]
            colours[season, name] = np.concatenate(picked, axis=1).mean(axis=1)
    red_over_green = {place: colour[0] / colour[1] for place, colour in colours.items()}
    assert red_over_green["summer", "broadleaf"] < 0.75 < 1.0 < red_over_green["autumn", "broadleaf"]
    assert max(abs(red_over_green[season, "conifer"] - red_over_green["summer", "conifer"]) for season in SEASONS) < 0.15


def test_crops_are_greener_in_spring_than_in_autumn(lands):
    ratio = {}
    for season in ("spring", "autumn"):
        images = [optical_image(stream(i), land, clear(season)) for i, land in enumerate(lands)]
        picked = [image[:, land.within(0).labels == CROP] for image, land in zip(images, lands, strict=True)]
        mean = np.concatenate(picked, axis=1).mean(axis=1)
        ratio[season] = mean[1] / mean[0]
    assert ratio["spring"] > ratio["autumn"]


def test_snow_lies_in_winter_alone_and_not_always():
    for season in ("spring", "summer", "autumn"):
        assert all(weather(stream(i), season).snow == 0.0 for i in range(50))
    winters = [weather(stream(i), "winter").snow for i in range(400)]
    assert np.isclose(np.mean(np.array(winters) > 0.0), SNOWY, atol=0.08)


def test_snow_is_white_and_lies_on_fields_but_not_on_water(lands):
    for land in lands:
        dry, snowy = (optical_image(stream(0), land, Weather("winter", NOON, snow)) for snow in (0.0, 1.5))
        here = land.within(0)
        fields, water = here.labels == CROP, here.labels == WATER
        assert snowy[:, fields].mean() > 0.75 > 0.5 > dry[:, fields].mean()
        inner = water & (here.shore_px < -3.0)
        assert np.allclose(snowy[:, inner], dry[:, inner], atol=0.01)
    assert SNOW[INDEX["water"]] == 0.0


def test_fields_of_one_backscatter_differ_in_colour(lands):
    """The colour of a parcel is not a function of its backscatter: what makes the task ill-posed, as the real one is."""
    hue, value_db = [], []
    for land in lands:
        crop = np.flatnonzero(np.isin(land.patches.material, [INDEX[name] for name in ("wheat", "barley", "beet", "potato")]))
        image = optical_image(stream(0), bare(land), clear("summer"))
        patch = land.within(0).patch
        for parcel in np.unique(patch[np.isin(patch, crop)]):
            red, green, _ = image[:, patch == parcel].mean(axis=1)
            hue.append(red / green)
            value_db.append(land.patches.sigma0_db[parcel])
    hue, value_db = np.array(hue), np.array(value_db)
    narrow = np.abs(value_db + 11.5) < 0.5
    assert narrow.sum() >= 8 and hue[narrow].std() > 0.5 * hue.std()


# --- The rendered domain ---------------------------------------------------------------------------------------------


def test_the_rendered_image_has_few_colours_and_no_noise(lands):
    rendered, real = rendered_image(lands[3], NOON), optical_image(stream(0), lands[3], clear("summer"))
    assert rendered.shape == real.shape == (3, 128, 128)
    assert np.array_equal(rendered, rendered_image(lands[3], NOON))
    count = [len(np.unique((image * 255).round().reshape(3, -1), axis=1).T) for image in (rendered, real)]
    assert count[0] < 600 and count[1] > 4000


def test_the_rendered_image_is_more_saturated(lands):
    def saturation(image):
        return ((image.max(axis=0) - image.min(axis=0)) / image.max(axis=0).clip(0.01)).mean()

    for land in lands:
        assert saturation(rendered_image(land, NOON)) > 1.2 * saturation(optical_image(stream(0), land, clear("summer")))


def test_both_domains_show_the_same_land_in_the_same_place(lands):
    """Where the class changes, both images have an edge."""
    here = lands[0].within(0)
    border = np.zeros(here.labels.shape, bool)
    border[:, 1:] = (here.labels[:, 1:] != here.labels[:, :-1]) & (here.labels[:, 1:] != FOREST)
    for image in (rendered_image(lands[0], NOON), optical_image(stream(0), bare(lands[0]), clear("summer"))):
        step = np.zeros(border.shape)
        step[:, 1:] = np.abs(np.diff(image, axis=2)).mean(axis=0)
        assert step[border].mean() > 4.0 * step[~border].mean()
