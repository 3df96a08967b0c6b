from functools import cache

import numpy as np
import pytest

from sarbench.datasets.world.change import second_stage
from sarbench.datasets.world.exact import stream
from sarbench.datasets.world.land import GAME, MARGIN_PX, REAL, first_stage, make_ground, survey
from sarbench.datasets.world.materials import (
    BUILDING,
    CLASSES,
    FOREST,
    GRAIN,
    INDEX,
    LABELS,
    MATERIALS,
    SEASONS,
    SOIL,
    WATER,
    of,
    palette,
)
from sarbench.datasets.world.parcels import ROAD as PAVED_WAY
from sarbench.datasets.world.parcels import STRIPS, frame, parcels
from sarbench.datasets.world.settlements import TALLEST_M, built, grid, plan, settled
from sarbench.datasets.world.water import FAR_PX, distance

SCENES = range(24)


@cache
def ground(seed, recipe=REAL):
    return make_ground(stream("land", seed), 128, recipe)


@cache
def land(seed, date=1):
    stage = first_stage(ground(seed)) if date == 1 else second_stage(stream("change", seed), ground(seed))
    return survey(ground(seed), stage)


def changed(seed):
    """Where the class of the image's pixels has changed."""
    before, after = land(seed), land(seed, 2)
    return before.cut(0, before.labels) != after.cut(0, after.labels)


# --- Materials -------------------------------------------------------------------------------------------------------


def test_every_class_has_a_material_and_every_material_a_name_of_its_own():
    assert set(LABELS) == set(range(len(CLASSES)))
    assert len(INDEX) == len(MATERIALS) and of("water", "sand").tolist() == [0, 1]
    assert (GRAIN > 0.0).all()


@pytest.mark.parametrize("look", [*SEASONS, "game"])
def test_a_palette_has_a_colour_for_every_material(look):
    colours = palette(look)
    assert colours.shape == (len(MATERIALS), 3) and colours.dtype == np.float32
    assert colours.min() > 0.0 and colours.max() < 1.0
    assert np.allclose(colours[INDEX["asphalt"]], 128 / 255) or look == "game"


# --- Fields ----------------------------------------------------------------------------------------------------------


def test_parcels_are_strips_of_even_width_within_their_block():
    lines = frame(0.3, np.zeros((200, 200), np.float32))
    drawn = parcels(stream("p"), lines, 0.25)
    assert drawn.parcel.min() >= 0 and drawn.parcel.max() < drawn.blocks * STRIPS
    areas = np.bincount(drawn.parcel.ravel())
    assert 150 < np.median(areas[areas > 0]) < 4000
    assert drawn.border_px.min() >= 0.0 and drawn.border_px.max() < 70.0
    same = drawn.parcel[:, 1:] == drawn.parcel[:, :-1]
    assert np.median(drawn.border_px[:, 1:][~same]) < 1.5  # where the parcel changes, its border is near


def test_frames_turn_with_the_angle():
    lines = frame(np.pi / 6, np.zeros((9, 9), np.float32))
    assert np.allclose(np.diff(lines.along, axis=1), np.cos(np.pi / 6), atol=1e-5)
    assert np.allclose(np.diff(lines.across, axis=1), -np.sin(np.pi / 6), atol=1e-5)


@pytest.mark.parametrize("paved", [0.0, 0.25, 0.6])
def test_more_paved_ways_are_more_roads(paved):
    shares = []
    for seed in range(10):
        drawn = parcels(stream(seed), frame(0.1 * seed, np.zeros((300, 300), np.float32)), paved)
        shares.append((drawn.way == PAVED_WAY).mean())
    assert np.isclose(np.mean(shares), 0.0022 + paved * 3.2 / 79.0, atol=0.008)  # 3.2 px of every 79, and a few between blocks


# --- Water -----------------------------------------------------------------------------------------------------------


def test_the_distance_to_a_straight_line_is_right_whatever_its_slope():
    x = np.arange(100, dtype=np.float32)[None, :].repeat(100, axis=0)
    for slope in (1.0, 3.0):
        assert np.allclose(distance(slope * (x - 40.0)), np.abs(x - 40.0), rtol=0.02)


def test_water_is_level_and_lies_no_higher_than_its_banks():
    for seed in SCENES:
        here = land(seed)
        water = here.labels == WATER
        assert np.all(here.terrain_m[water] == 0.0) and np.all(here.object_m[water] == 0.0)
        assert np.all(here.shore_px[water] < 0.0)


def test_some_scenes_have_a_river_some_a_lake_and_some_no_water():
    rivers = [ground(seed).shores.river_px.min() < FAR_PX for seed in range(60)]
    lakes = [ground(seed).shores.lake_px.min() < FAR_PX for seed in range(60)]
    assert 20 < sum(rivers) < 46 and 8 < sum(lakes) < 30
    assert 5 < sum(not (river or lake) for river, lake in zip(rivers, lakes, strict=True)) < 35


def test_a_river_is_narrow_and_crosses_the_scene():
    for seed in range(60):
        river_px = ground(seed).shores.river_px
        if river_px.min() < FAR_PX:
            assert 0.005 < (river_px < 0.0).mean() < 0.25
            assert -7.6 < river_px.min() < -1.0


# --- Settlements -----------------------------------------------------------------------------------------------------


def test_buildings_are_as_tall_as_is_said_and_trees_are_lower_than_most():
    heights = np.concatenate([land(seed).object_m[land(seed).labels == BUILDING] for seed in SCENES])
    assert heights.min() >= 5.0 and heights.max() <= TALLEST_M
    trees = np.concatenate([land(seed).object_m[land(seed).labels == FOREST] for seed in SCENES])
    assert trees.min() > 0.0 and 8.0 < np.median(trees) < 12.0


def test_only_buildings_and_trees_stand_above_the_ground():
    for seed in SCENES:
        assert np.isin(land(seed).labels[land(seed).object_m > 0.0], (BUILDING, FOREST)).all()


def test_no_building_is_cut_by_a_road_or_by_water():
    """A house that touches either is left out whole: the pixels of a plot's house are all of them, or none."""
    for seed in SCENES:
        here, below = land(seed), ground(seed)
        there = built(below.frame, below.plots, below.plan, settled(below.plan))
        standing = (here.labels == BUILDING).ravel()[there.pixel]
        whole = np.bincount(there.plot, there.house, below.plots.plots)
        left = np.bincount(there.plot, there.house & standing, below.plots.plots)
        assert np.all((left == 0) | (left == whole))


def test_a_village_that_grows_keeps_what_it_has():
    plots = grid(stream(1), frame(0.2, np.zeros((256, 256), np.float32)))
    drawn = plan(stream(2), plots, REAL.density)
    small, large = settled(drawn), settled(drawn, 1.5)
    for before, after in ((small.plot, large.plot), (small.house, large.house), (small.hall, large.hall)):
        assert np.all(after[before]) and after.sum() >= before.sum()
    assert large.house.sum() > small.house.sum()
    assert np.all(small.plot[small.house])


def test_the_plan_of_plots_covers_every_pixel():
    lines = frame(-0.6, np.zeros((77, 77), np.float32))
    plots = grid(stream(3), lines)
    assert plots.plot.min() >= 0 and plots.plot.max() < plots.plots
    along, across = plots.centres
    assert np.abs(lines.along - along[plots.plot]).max() < 0.51 * plots.width_px
    assert np.abs(lines.across - across[plots.plot]).max() < 9.0
    assert np.bincount(plots.cell).tolist() == [8] * (plots.plots // 8)


# --- The whole -------------------------------------------------------------------------------------------------------


def test_every_class_occurs_and_none_swallows_the_rest():
    share = np.bincount(np.concatenate([land(seed).labels.ravel() for seed in SCENES]), minlength=len(CLASSES))
    share = share / share.sum()
    assert share.min() > 0.008 and share.max() < 0.45
    assert share[FOREST] > 0.12 and share[WATER] > 0.02 and share[SOIL] > 0.06


def test_the_rendered_domain_has_more_buildings_and_roads_and_less_forest():
    real, game = (
        np.bincount(
            np.concatenate([survey(g, first_stage(g)).labels.ravel() for g in (ground(seed, r) for seed in SCENES)]),
            minlength=7,
        )
        for r in (REAL, GAME)
    )
    ratio = (game / game.sum()) / (real / real.sum())
    assert ratio[BUILDING] > 2.0 and ratio[CLASSES.index("road")] > 1.5 and ratio[FOREST] < 0.8


def test_a_patch_says_the_class_of_its_pixels():
    here = land(0)
    assert np.array_equal(LABELS[here.patches.material[here.patch]], here.labels)
    assert here.patch.shape == (128 + 2 * MARGIN_PX,) * 2


def test_a_land_can_be_cut_to_a_smaller_margin():
    here = land(1).within(3)
    assert here.margin_px == 3 and here.labels.shape == here.terrain_m.shape == (134, 134)
    assert np.array_equal(here.labels, land(1).labels[MARGIN_PX - 3 : -MARGIN_PX + 3, MARGIN_PX - 3 : -MARGIN_PX + 3])
    assert np.array_equal(here.cut(0, here.labels), land(1).cut(0, land(1).labels))


# --- Change ----------------------------------------------------------------------------------------------------------


def test_some_land_changes_in_most_scenes_and_never_all_of_it():
    shares = np.array([changed(seed).mean() for seed in range(60)])
    assert 0.02 < shares.mean() < 0.2
    assert 0.6 < (shares > 0.0).mean() < 1.0 and shares.max() < 0.8


def test_houses_are_built_and_torn_down_forest_is_felled_and_fields_are_flooded():
    """What can become what: the pairs of classes before and after."""
    pairs = np.zeros((7, 7), np.int64)
    for seed in range(60):
        before, after = (land(seed, date).within(0).labels[changed(seed)] for date in (1, 2))
        np.add.at(pairs, (before, after), 1)
    crop, grass = CLASSES.index("crop"), CLASSES.index("grass")
    for before, after in ((crop, BUILDING), (crop, grass), (BUILDING, grass), (FOREST, SOIL), (crop, WATER), (SOIL, WATER)):
        assert pairs[before, after] > 50, (CLASSES[before], CLASSES[after])
    assert pairs[WATER].sum() == 0 and pairs[:, crop].sum() == 0  # water stays, and nobody clears land for crops
    assert np.trace(pairs) == 0


def test_unchanged_land_stays_what_it_was_to_the_last_patch_or_is_rebuilt():
    for seed in SCENES:
        before, after = land(seed).within(0), land(seed, 2).within(0)
        moved = (before.patch != after.patch) & ~changed(seed)
        assert np.isin(before.labels[moved], (BUILDING, CLASSES.index("grass"), FOREST, CLASSES.index("road"))).all()


def test_a_scene_in_which_nothing_happened_is_the_same():
    same = [seed for seed in range(60) if not changed(seed).any()]
    assert same
    for seed in same:
        assert np.array_equal(land(seed).within(0).patch, land(seed, 2).within(0).patch)
