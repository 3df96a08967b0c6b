"""What the land is made of: the class, colour and backscatter of each material.

Colours are (R, G, B) from 0 to 1 as a contrast-stretched image shows them, one for each season; they and the game's colours
are ours, chosen by eye. Backscatter is in dB on flat ground: round numbers of ours for C band, VV, 40 degrees of incidence;
order and spacing follow the statistics of Ulaby and Dobson, Handbook of Radar Scattering Statistics for Terrain (1989), and
no more than that is claimed. It does not depend on the season.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

CLASSES = ("water", "bare soil", "crop", "grass", "forest", "road", "building")
WATER, SOIL, CROP, GRASS, FOREST, ROAD, BUILDING = range(7)
SEASONS = ("spring", "summer", "autumn", "winter")

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """One material."""

    name: str
    label: int  # index into CLASSES
    spring: Colour
    summer: Colour
    autumn: Colour
    winter: Colour
    game: Colour  # in the rendered domain
    sigma0_db: float
    grain: float = 0.04  # relative brightness of its texture
    snow: float = 1.0  # how much of it snow can cover


def _soil(name: str, dry: Colour, game: Colour, sigma0_db: float) -> Material:
    r, g, b = dry
    damp, wet = (0.92 * r, 0.90 * g, 0.88 * b), (0.80 * r, 0.78 * g, 0.77 * b)
    return Material(name, SOIL, damp, dry, damp, wet, game, sigma0_db, grain=0.05)


def _still(name: str, label: int, colour: Colour, game: Colour, sigma0_db: float, grain: float, snow: float) -> Material:
    return Material(name, label, colour, colour, colour, colour, game, sigma0_db, grain, snow)


MATERIALS = (
    Material("water", WATER, (0.16, 0.25, 0.24), (0.12, 0.23, 0.25), (0.14, 0.21, 0.22), (0.17, 0.21, 0.22), (0.10, 0.42, 0.80), -21.0, 0.01, 0.0),
    _still("sand", SOIL, (0.60, 0.55, 0.44), (0.93, 0.84, 0.55), -14.5, 0.05, 0.6),
    _soil("brown soil", (0.50, 0.39, 0.29), (0.62, 0.40, 0.20), -13.5),
    _soil("dark soil", (0.39, 0.31, 0.25), (0.50, 0.31, 0.16), -12.5),
    _soil("pale soil", (0.62, 0.53, 0.41), (0.76, 0.55, 0.30), -15.0),
    _soil("felled wood", (0.46, 0.40, 0.28), (0.55, 0.38, 0.20), -10.5),
    Material("wheat", CROP, (0.24, 0.41, 0.15), (0.70, 0.60, 0.36), (0.53, 0.45, 0.32), (0.33, 0.40, 0.21), (0.98, 0.80, 0.22), -12.0),
    Material("barley", CROP, (0.33, 0.46, 0.19), (0.66, 0.60, 0.42), (0.46, 0.40, 0.29), (0.37, 0.39, 0.23), (0.93, 0.88, 0.45), -13.0),
    Material("rape", CROP, (0.76, 0.72, 0.19), (0.52, 0.49, 0.28), (0.33, 0.42, 0.20), (0.29, 0.37, 0.19), (0.85, 0.90, 0.15), -9.5),
    Material("maize", CROP, (0.50, 0.41, 0.31), (0.22, 0.35, 0.15), (0.60, 0.51, 0.31), (0.49, 0.42, 0.32), (0.35, 0.72, 0.15), -9.0),
    Material("beet", CROP, (0.46, 0.39, 0.28), (0.27, 0.42, 0.18), (0.28, 0.41, 0.18), (0.41, 0.34, 0.26), (0.25, 0.85, 0.35), -10.5),
    Material("potato", CROP, (0.43, 0.36, 0.27), (0.31, 0.42, 0.20), (0.45, 0.40, 0.26), (0.42, 0.36, 0.28), (0.55, 0.80, 0.30), -11.0),
    Material("meadow", GRASS, (0.32, 0.48, 0.18), (0.37, 0.46, 0.22), (0.40, 0.43, 0.23), (0.41, 0.41, 0.27), (0.42, 0.86, 0.22), -12.0, 0.06),
    Material("pasture", GRASS, (0.36, 0.46, 0.22), (0.44, 0.46, 0.26), (0.43, 0.42, 0.25), (0.42, 0.40, 0.28), (0.50, 0.88, 0.25), -13.0, 0.07),
    Material("garden", GRASS, (0.33, 0.42, 0.21), (0.33, 0.39, 0.22), (0.38, 0.37, 0.23), (0.37, 0.36, 0.27), (0.36, 0.80, 0.30), -11.0, 0.16),
    Material("broadleaf", FOREST, (0.27, 0.39, 0.15), (0.15, 0.26, 0.10), (0.50, 0.34, 0.13), (0.37, 0.33, 0.28), (0.15, 0.60, 0.15), -7.5, 0.15, 0.30),
    Material("conifer", FOREST, (0.11, 0.21, 0.11), (0.10, 0.19, 0.10), (0.10, 0.18, 0.10), (0.10, 0.17, 0.11), (0.05, 0.45, 0.25), -8.3, 0.15, 0.25),
    Material("hedge", FOREST, (0.26, 0.37, 0.16), (0.18, 0.29, 0.12), (0.44, 0.34, 0.15), (0.36, 0.33, 0.27), (0.20, 0.65, 0.15), -8.0, 0.15, 0.30),
    _still("asphalt", ROAD, (0.50, 0.50, 0.50), (0.25, 0.26, 0.30), -17.0, 0.03, 0.05),
    _still("track", ROAD, (0.63, 0.57, 0.47), (0.70, 0.52, 0.33), -15.5, 0.05, 0.5),
    _still("yard", ROAD, (0.57, 0.56, 0.54), (0.40, 0.41, 0.45), -14.5, 0.06, 0.3),
    _still("red roof", BUILDING, (0.60, 0.34, 0.25), (0.95, 0.25, 0.15), -7.0, 0.03, 0.8),
    _still("brown roof", BUILDING, (0.45, 0.31, 0.26), (0.75, 0.30, 0.10), -7.0, 0.03, 0.8),
    _still("slate roof", BUILDING, (0.40, 0.40, 0.43), (0.35, 0.35, 0.75), -7.5, 0.03, 0.8),
    _still("pale roof", BUILDING, (0.70, 0.67, 0.62), (0.98, 0.95, 0.90), -8.5, 0.03, 0.8),
    _still("blue roof", BUILDING, (0.46, 0.54, 0.62), (0.15, 0.55, 0.95), -11.0, 0.03, 0.8),
    _still("white roof", BUILDING, (0.85, 0.85, 0.83), (0.80, 0.85, 0.95), -12.0, 0.03, 0.8),
)  # fmt: skip

INDEX = {material.name: index for index, material in enumerate(MATERIALS)}
LABELS = np.array([material.label for material in MATERIALS], np.uint8)
SIGMA0_DB = np.array([material.sigma0_db for material in MATERIALS])
GRAIN = np.array([material.grain for material in MATERIALS], np.float32)
SNOW = np.array([material.snow for material in MATERIALS], np.float32)
GAME_COLOURS = np.array([material.game for material in MATERIALS], np.float32)


def of(*names: str) -> UInt8[np.ndarray, " K"]:
    """The indices of materials given by name."""
    return np.array([INDEX[name] for name in names], np.uint8)


def palette(season: str) -> Float32[np.ndarray, "M 3"]:
    """The colour of every material in a season."""
    return np.array([getattr(material, season) for material in MATERIALS], np.float32)
