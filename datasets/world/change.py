"""A second date: what has really changed on the land since the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from sarbench.datasets.world.land import Ground, Stage, first_stage
from sarbench.datasets.world.settlements import settled

BUILT, DEMOLISHED, FELLED, FLOODED = 0.6, 0.5, 0.45, 0.4  # chance of each in a scene


def second_stage(rng: Generator, ground: Ground) -> Stage:
    """Draw the second date: villages grow, houses and halls vanish, forest is felled parcel by parcel, water rises."""
    builds, demolishes, fells, floods = rng.random(4) < (BUILT, DEMOLISHED, FELLED, FLOODED)
    grown, gone, felled, flood_px = (
        rng.uniform(1.08, 1.35),
        rng.uniform(0.1, 0.4),
        rng.uniform(0.1, 0.3),
        rng.uniform(4.0, 16.0),
    )
    stage = first_stage(ground)
    if builds:
        stage = replace(stage, settled=settled(ground.plan, grown))
    if demolishes:
        now = stage.settled
        house = now.house & (rng.random(len(now.house)) >= gone)
        hall = now.hall & (rng.random(len(now.hall)) >= gone)
        stage = replace(stage, settled=replace(now, house=house, hall=hall))
    if fells:
        stage = replace(stage, felled=rng.random(len(stage.felled)) < felled)
    if floods:
        stage = replace(stage, flood_px=float(np.float32(flood_px)))
    return stage
