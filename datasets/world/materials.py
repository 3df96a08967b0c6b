"""What the land is made of: the class, the colours and the backscatter of each material.

Colours are as a contrast-stretched image shows them, one for each season, and one in the rendered domain; they are ours, chosen
by eye. Backscatter is in dB on flat ground: round numbers of ours for C band, VV, 40 degrees of incidence; order and spacing
follow the statistics of Ulaby and Dobson, Handbook of Radar Scattering Statistics for Terrain (1989), and no more than that is
claimed. It does not depend on the season.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

CLASSES = ("water", "bare soil", "crop", "grass", "forest", "road", "building")
WATER, SOIL, CROP, GRASS, FOREST, ROAD, BUILDING = range(7)
SEASONS = ("spring", "summer", "autumn", "winter")


@dataclass(frozen=True)
class Material:
    """One material; colours as #RRGGBB."""

    name: str
    label: int  # index into CLASSES
    spring: str
    summer: str
    autumn: str
    winter: str
    game: str
    sigma0_db: float
    grain: float  # relative brightness of its texture
    snow: float  # how much of it snow can cover


MATERIALS = (
    Material("water", WATER, "#29403d", "#1f3b40", "#243638", "#2b3638", "#1a6bcc", -21.0, 0.015, 0.0),
    Material("sand", SOIL, "#998c70", "#998c70", "#998c70", "#998c70", "#edd68c", -14.5, 0.05, 0.6),
    Material("brown soil", SOIL, "#755a41", "#80634a", "#755a41", "#664e39", "#9e6633", -13.5, 0.08, 1.0),
    Material("dark soil", SOIL, "#5b4738", "#634f40", "#5b4738", "#503e31", "#804f29", -12.5, 0.08, 1.0),
    Material("pale soil", SOIL, "#917a5c", "#9e8769", "#917a5c", "#7e6951", "#c28c4c", -15.0, 0.08, 1.0),
    Material("felled wood", SOIL, "#6c5c3f", "#756647", "#6c5c3f", "#5e5037", "#8c6133", -10.5, 0.08, 1.0),
    Material("wheat", CROP, "#3d6926", "#b2995c", "#877352", "#546636", "#facc38", -12.0, 0.065, 1.0),
    Material("barley", CROP, "#547530", "#a8996b", "#75664a", "#5e633b", "#ede073", -13.0, 0.065, 1.0),
    Material("rape", CROP, "#c2b830", "#857d47", "#546b33", "#4a5e30", "#d9e626", -9.5, 0.065, 1.0),
    Material("maize", CROP, "#80694f", "#385926", "#99824f", "#7d6b52", "#59b826", -9.0, 0.065, 1.0),
    Material("beet", CROP, "#756347", "#456b2e", "#47692e", "#695742", "#40d959", -10.5, 0.065, 1.0),
    Material("potato", CROP, "#6e5c45", "#4f6b33", "#736642", "#6b5c47", "#8ccc4c", -11.0, 0.065, 1.0),
    Material("meadow", GRASS, "#527a2e", "#5e7538", "#666e3b", "#696945", "#6bdb38", -12.0, 0.09, 1.0),
    Material("pasture", GRASS, "#5c7538", "#707542", "#6e6b40", "#6b6647", "#80e040", -13.0, 0.11, 1.0),
    Material("garden", GRASS, "#546b36", "#546338", "#615e3b", "#5e5c45", "#5ccc4c", -11.0, 0.18, 1.0),
    Material("broadleaf", FOREST, "#456326", "#26421a", "#805721", "#5e5447", "#269926", -7.5, 0.19, 0.3),
    Material("conifer", FOREST, "#1c361c", "#1a301a", "#1a2e1a", "#1a2b1c", "#0d7340", -8.3, 0.19, 0.25),
    Material("hedge", FOREST, "#425e29", "#2e4a1f", "#705726", "#5c5445", "#33a626", -8.0, 0.19, 0.3),
    Material("asphalt", ROAD, "#808080", "#808080", "#808080", "#808080", "#40424c", -17.0, 0.03, 0.05),
    Material("track", ROAD, "#a19178", "#a19178", "#a19178", "#a19178", "#b28554", -15.5, 0.05, 0.5),
    Material("yard", ROAD, "#918f8a", "#918f8a", "#918f8a", "#918f8a", "#666973", -14.5, 0.06, 0.3),
    Material("red roof", BUILDING, "#995740", "#995740", "#995740", "#995740", "#f24026", -7.0, 0.03, 0.8),
    Material("brown roof", BUILDING, "#734f42", "#734f42", "#734f42", "#734f42", "#bf4c1a", -7.0, 0.03, 0.8),
    Material("slate roof", BUILDING, "#66666e", "#66666e", "#66666e", "#66666e", "#5959bf", -7.5, 0.03, 0.8),
    Material("pale roof", BUILDING, "#b2ab9e", "#b2ab9e", "#b2ab9e", "#b2ab9e", "#faf2e6", -8.5, 0.03, 0.8),
    Material("blue roof", BUILDING, "#758a9e", "#758a9e", "#758a9e", "#758a9e", "#268cf2", -11.0, 0.03, 0.8),
    Material("white roof", BUILDING, "#d9d9d4", "#d9d9d4", "#d9d9d4", "#d9d9d4", "#ccd9f2", -12.0, 0.03, 0.8),
)  # fmt: skip
INDEX = {material.name: index for index, material in enumerate(MATERIALS)}
LABELS = np.array([material.label for material in MATERIALS], np.uint8)
SIGMA0_DB = np.array([material.sigma0_db for material in MATERIALS])
GRAIN = np.array([material.grain for material in MATERIALS], np.float32)
SNOW = np.array([material.snow for material in MATERIALS], np.float32)


def of(*names: str) -> UInt8[np.ndarray, " K"]:
    """The indices of materials given by name."""
    return np.array([INDEX[name] for name in names], np.uint8)


def palette(look: str) -> Float32[np.ndarray, "M 3"]:
    """The colour (R, G, B), from 0 to 1, of every material in a season, or in the "game"."""
    return np.array([list(bytes.fromhex(getattr(material, look)[1:])) for material in MATERIALS], np.float32) / np.float32(255)
