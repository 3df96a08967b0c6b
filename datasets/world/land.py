"""The land: what lies at each pixel, at a date. Both sensors, and the game, look at nothing else.

A `Ground` is all that stays: hills, shores, the plan of fields and plots, forest. A `Stage` says what is true at one date:
which plots are built, what is felled, how high the water stands. `survey` puts the two together into a `Land`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from numpy.random import Generator

from sarbench.datasets.world import settlements
from sarbench.datasets.world.exact import words
from sarbench.datasets.world.materials import INDEX, LABELS, MATERIALS, SIGMA0_DB, of
from sarbench.datasets.world.noise import fractal
from sarbench.datasets.world.parcels import HEDGE, ROAD, STRIPS, TRACK, Frame, Parcels, frame, parcels
from sarbench.datasets.world.settlements import Density, Grid, Plan, Settled
from sarbench.datasets.world.water import Shores, shores

GSD_M = 3.0
MARGIN_PX = 32  # of land around an image, so that shadows and layover come in from outside it
GROWN = of(
    "wheat", "wheat", "barley", "rape", "maize", "maize", "beet", "potato",
    "meadow", "meadow", "pasture", "brown soil", "dark soil", "pale soil",
)  # fmt: skip
FURROWED = of("wheat", "barley", "rape", "maize", "beet", "potato", "brown soil", "dark soil", "pale soil", "meadow")
WATER, SAND, FELLED, GARDEN, HEDGEROW = (INDEX[name] for name in ("water", "sand", "felled wood", "garden", "hedge"))
BROADLEAF, CONIFER, ASPHALT, DIRT, PAVED = (INDEX[name] for name in ("broadleaf", "conifer", "asphalt", "track", "yard"))


@dataclass(frozen=True)
class Recipe:
    """How often things occur."""

    density: Density
    forest: tuple[float, float]  # the forest's threshold, in standard deviations of its noise, is drawn between these
    paved: float  # share of the ways between rows of blocks that are roads
    river: float  # chance in a scene
    lake: float


@dataclass(frozen=True)
class Patches:
    """What a pixel's patch index stands for: the materials themselves, then parcels, then house roofs by halves, then halls."""

    material: UInt8[np.ndarray, " P"]
    tint: Float32[np.ndarray, "3 P"]  # added to 1, the factor of the material's colour
    sigma0_db: np.ndarray
    tilt: Float32[np.ndarray, "2 P"]  # rise of a pitched roof to the right and downwards, m per m
    first_house: int
    first_hall: int


@dataclass(frozen=True)
class Ground:
    """What stays from date to date; (H, W) each, the margin included."""

    terrain_m: Float32[np.ndarray, "H W"]
    frame: Frame
    parcels: Parcels
    shores: Shores
    wooded: Bool[np.ndarray, "H W"]
    conifer: Bool[np.ndarray, "H W"]
    cover: Float32[np.ndarray, "H W"]  # noise of variance 1, lattices from 64 px
    detail: Float32[np.ndarray, "H W"]  # noise of variance 1, lattices from 16 px
    grain: Float32[np.ndarray, "H W"]  # noise of variance 1, lattices from 4 px
    furrow: Float32[np.ndarray, "H W"]  # relative brightness of plough lines
    hedged: Bool[np.ndarray, " parcels"]
    plots: Grid
    plan: Plan
    patches: Patches


@dataclass(frozen=True)
class Stage:
    """What is true at one date."""

    settled: Settled
    felled: Bool[np.ndarray, " parcels"]
    flood_px: float = 0.0  # how far the water reaches beyond its shore


@dataclass(frozen=True)
class Land:
    """The land at one date; (H, W) each, with a margin on each side."""

    margin_px: int
    patches: Patches
    patch: Int32[np.ndarray, "H W"]  # index into `patches`
    labels: UInt8[np.ndarray, "H W"]  # index into CLASSES
    terrain_m: Float32[np.ndarray, "H W"]
    object_m: Float32[np.ndarray, "H W"]  # height of houses and trees above the ground
    shore_px: Float32[np.ndarray, "H W"]  # about the distance to the nearest shore, negative in the water
    across: Float32[np.ndarray, "H W"]  # walls follow its lines, or lie square to them
    cover: Float32[np.ndarray, "H W"]
    detail: Float32[np.ndarray, "H W"]
    grain: Float32[np.ndarray, "H W"]
    furrow: Float32[np.ndarray, "H W"]

    def cut(self, margin_px: int, image: np.ndarray) -> np.ndarray:
        """An image of this land's size, cut to a smaller margin."""
        drop = self.margin_px - margin_px
        return image[drop : len(image) - drop, drop : image.shape[1] - drop]

    def within(self, margin_px: int) -> Land:
        """The same land with a smaller margin."""
        images: dict[str, Any] = {
            field.name: self.cut(margin_px, value)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return replace(self, margin_px=margin_px, **images)


def make_ground(rng: Generator, size_px: int, recipe: Recipe) -> Ground:
    """Draw the ground below an image of size_px and its margin."""
    whole = size_px + 2 * MARGIN_PX
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    broad = fractal(rng, whole, 128, 8, 4.6)
    cover = fractal(rng, whole, 64, 2, 4.0)
    detail = fractal(rng, whole, 16, 1, 2.8)
    grain = fractal(rng, whole, 4, 1, 2.2)

    lines = frame(angle, broad)
    plan_of_fields = parcels(rng, lines, recipe.paved)
    water = shores(rng, broad, recipe.river, recipe.lake)
    terrain_m = (broad + np.float32(0.15) * cover) * water.valley * np.float32(rng.uniform(3.0, 16.0))

    block = plan_of_fields.parcel // STRIPS
    favour = rng.choice(np.array([-0.9, 0.0, 0.0, 0.7], np.float32), plan_of_fields.blocks)  # some edges follow blocks
    limit = np.float32(rng.uniform(*recipe.forest))
    wooded = cover + np.float32(0.16) * detail + favour.take(block) > limit
    wooded |= (np.abs(water.river_px - np.float32(3.5)) < 2.5) & (detail > 0.4)  # trees along the banks
    evergreen = rng.uniform(-1.0, 1.8, plan_of_fields.blocks).astype(np.float32)
    conifer = evergreen.take(block) + broad + np.float32(0.35) * grain < 0.0

    count = plan_of_fields.blocks * STRIPS
    plots = settlements.grid(rng, lines)
    plan = settlements.plan(rng, plots, recipe.density)
    patches = _patches(rng, angle, plan_of_fields.blocks, plan)
    strength = rng.uniform(0.0, 0.16, count) * np.isin(patches.material[len(MATERIALS) :][:count], FURROWED)
    streaks = words(rng, 4096).view("<i2") * np.float32(2.0**-15)
    furrow = streaks.take((plan_of_fields.line + plan_of_fields.parcel * 977) & 4095)
    furrow *= strength.astype(np.float32).take(plan_of_fields.parcel)
    return Ground(
        terrain_m=terrain_m,
        frame=lines,
        parcels=plan_of_fields,
        shores=water,
        wooded=wooded,
        conifer=conifer,
        cover=cover,
        detail=detail,
        grain=grain,
        furrow=furrow,
        hedged=rng.random(count) < 0.12,
        plots=plots,
        plan=plan,
        patches=patches,
    )


def _patches(rng: Generator, angle: float, blocks: int, plan: Plan) -> Patches:
    count = blocks * STRIPS
    favourite = rng.integers(0, len(GROWN), blocks).repeat(STRIPS)  # neighbours often grow the same
    grown = GROWN[np.where(rng.random(count) < 0.35, favourite, rng.integers(0, len(GROWN), count))]
    roofs = plan.house_roof.repeat(2)
    material = np.concatenate([np.arange(len(MATERIALS), dtype=np.uint8), grown, roofs, plan.hall_roof])
    first_field, first_house = len(MATERIALS), len(MATERIALS) + count
    first_hall = first_house + len(roofs)

    tint = rng.uniform(-0.16, 0.16, len(material)) + rng.uniform(-0.06, 0.06, (3, len(material)))
    tint[:, :first_field] = 0.0
    tint[:, first_house + 1 : first_hall : 2] = tint[:, first_house:first_hall:2]
    sigma0_db = SIGMA0_DB[material]
    sigma0_db[first_field:first_house] += rng.uniform(-1.4, 1.4, count)
    tilt = np.zeros((2, len(material)))
    rise = 0.6 * plan.pitched  # 31 degrees, from the near eaves up to the ridge, and down again
    tilt[:, first_house:first_hall:2] = -np.sin(angle) * rise, np.cos(angle) * rise
    tilt[:, first_house + 1 : first_hall : 2] = -tilt[:, first_house:first_hall:2]
    return Patches(material, tint.astype(np.float32), sigma0_db, tilt.astype(np.float32), first_house, first_hall)


def first_stage(ground: Ground) -> Stage:
    """The first date."""
    return Stage(settlements.settled(ground.plan), np.zeros(len(ground.hedged), bool))


def survey(ground: Ground, stage: Stage) -> Land:
    """What lies at each pixel at a date; what is laid later covers what was there."""
    patch = _countryside(ground, stage)
    settlement = settlements.built(ground.frame, ground.plots, ground.plan, stage.settled)
    flat, pixel = patch.ravel(), settlement.pixel
    flat[pixel] = np.where(settlement.paved, PAVED, GARDEN)
    flat[pixel[ground.grain.ravel().take(pixel) > np.where(settlement.paved, 2.2, 1.45)]] = HEDGEROW  # trees
    flat[pixel[settlement.street]] = ASPHALT
    road = ground.parcels.way == ROAD
    np.copyto(patch, ASPHALT, where=road)

    shore_px, detail = ground.shores.nearest_px, ground.detail
    np.copyto(patch, SAND, where=(np.abs(shore_px + np.float32(0.2)) < 1.4) & (ground.cover + np.float32(0.3) * detail > 0.4))
    water = shore_px < 0.0
    water &= ~(road & (ground.shores.lake_px > 0.0))  # roads cross rivers on bridges
    np.copyto(patch, WATER, where=water)

    object_m = np.float32(10.0) + np.float32(1.5) * detail
    object_m *= (patch == BROADLEAF) | (patch == CONIFER)
    np.copyto(object_m, np.float32(5.0), where=patch == HEDGEROW)
    blocked, tall = (water | road).ravel().take(pixel), object_m.ravel()
    house = _standing(settlement.house, settlement.plot, blocked)
    plot = settlement.plot[house]
    flat[pixel[house]] = ground.patches.first_house + 2 * plot + settlement.far_half[house]
    tall[pixel[house]] = ground.plan.house_m.take(plot)
    hall = _standing(settlement.hall, settlement.cell, blocked)
    cell = settlement.cell[hall]
    flat[pixel[hall]] = ground.patches.first_hall + cell
    tall[pixel[hall]] = ground.plan.hall_m.take(cell)

    if stage.flood_px:
        wet = (shore_px + np.float32(2.0) * detail < np.float32(stage.flood_px)) & (patch < ground.patches.first_house)
        np.copyto(patch, WATER, where=wet)
        np.copyto(object_m, np.float32(0.0), where=wet)
    labels = LABELS.take(ground.patches.material).take(patch)
    return Land(
        margin_px=MARGIN_PX,
        patches=ground.patches,
        patch=patch,
        labels=labels,
        terrain_m=ground.terrain_m,
        object_m=object_m,
        shore_px=shore_px,
        across=ground.frame.across,
        cover=ground.cover,
        detail=detail,
        grain=ground.grain,
        furrow=ground.furrow,
    )


def _countryside(ground: Ground, stage: Stage) -> Int32[np.ndarray, "H W"]:
    """Fields, tracks, hedges and forest."""
    plan = ground.parcels
    patch = plan.parcel + len(MATERIALS)
    np.copyto(patch, DIRT, where=plan.way == TRACK)
    hedge = plan.way == HEDGE
    border = np.flatnonzero(plan.border_px < 1.1)
    hedge.ravel()[border[ground.hedged.take(plan.parcel.ravel().take(border))]] = True
    np.copyto(patch, HEDGEROW, where=hedge & (ground.detail > -0.6))
    np.copyto(patch, BROADLEAF, where=ground.wooded)
    np.copyto(patch, CONIFER, where=ground.wooded & ground.conifer)
    if stage.felled.any():
        np.copyto(patch, FELLED, where=ground.wooded & stage.felled.take(plan.parcel))
    return patch


def _standing(there: Bool[np.ndarray, " N"], number: Int32[np.ndarray, " N"], blocked: Bool[np.ndarray, " N"]) -> np.ndarray:
    """The pixels of buildings, without every building that would stand on a road or in the water."""
    lost = np.bincount(number[there & blocked], minlength=int(number.max(initial=0)) + 1) > 0
    return np.flatnonzero(there & ~lost.take(number))


REAL = Recipe(Density(0.75, (30.0, 75.0), 0.006, 0.3), (0.1, 1.3), paved=0.25, river=0.55, lake=0.3)
GAME = Recipe(Density(1.0, (70.0, 130.0), 0.01, 0.35), (0.6, 1.6), paved=0.45, river=0.5, lake=0.4)
