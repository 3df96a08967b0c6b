"""One scene: the land of a (seed, index), and what each sensor sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int64
from numpy.random import Generator

from sarbench.datasets.world.change import second_stage
from sarbench.datasets.world.exact import decibels, stream
from sarbench.datasets.world.land import GAME, REAL, Ground, Land, first_stage, make_ground, survey
from sarbench.datasets.world.materials import SEASONS
from sarbench.datasets.world.optical import Weather, optical_image, weather
from sarbench.datasets.world.raster import moved
from sarbench.datasets.world.rendered import rendered_image
from sarbench.datasets.world.sar import mean_intensity, sar_image, to_unit
from sarbench.datasets.world.sun import sun

MOST_OFFSET_PX = 8.0
Offset = tuple[float, float]  # px down and to the right


@dataclass(frozen=True)
class Scene:
    """A scene; each part of it is made when it is first asked for, from random numbers of its own."""

    seed: int
    index: int
    size_px: int
    game: bool = False  # the land of the rendered domain

    def _rng(self, *purpose: object) -> Generator:
        return stream("synthetic", self.seed, self.index, *purpose)

    @cached_property
    def _ground(self) -> Ground:
        return make_ground(self._rng("ground"), self.size_px, GAME if self.game else REAL)

    @cached_property
    def _lands(self) -> dict[int, Land]:
        return {}

    def land(self, date: int = 1) -> Land:
        """The land at date 1 or 2, with its margin."""
        if date not in self._lands:
            stage = first_stage(self._ground) if date == 1 else second_stage(self._rng("change"), self._ground)
            self._lands[date] = survey(self._ground, stage)
        return self._lands[date]

    def labels(self, date: int = 1) -> Int64[np.ndarray, "1 H W"]:
        """The class map: index into CLASSES."""
        land = self.land(date)
        return land.cut(0, land.labels)[None].astype(np.int64)

    def weather(self, date: int, season: str) -> Weather:
        """The overpass of a date; the season "any" is drawn."""
        rng = self._rng("weather", date)
        drawn = SEASONS[int(rng.integers(len(SEASONS)))]
        return weather(rng, drawn if season == "any" else season)

    def optical(self, date: int, season: str, offset: Offset = (0.0, 0.0)) -> Float32[np.ndarray, "3 H W"]:
        """The optical image of a date in [0, 1], moved by an offset."""
        edge_px = _edge(offset)
        image = optical_image(self._rng("optical", date), self.land(date), self.weather(date, season), edge_px)
        return np.clip(moved(image, *offset, edge_px), 0.0, 1.0) if edge_px else image

    def as_on(self, date: int, other: int, season: str) -> Float32[np.ndarray, "3 H W"]:
        """The land of a date under the sky and season of the other date: what a perfect translation of its image shows."""
        return optical_image(self._rng("optical", date), self.land(date), self.weather(other, season), 0)

    def sar(self, looks: int, offset: Offset = (0.0, 0.0)) -> Float32[np.ndarray, "1 H W"]:
        """The SAR image of date 1 in [0, 1]; what is moved is the land, not the speckle."""
        edge_px = _edge(offset)
        mean = mean_intensity(self._rng("radar"), self.land(), edge_px)
        if edge_px:
            mean = np.maximum(moved(mean, *offset, edge_px), mean.min())  # cubic convolution undershoots beside bright points
        return to_unit(decibels(sar_image(self._rng("speckle"), mean, looks)))[None]

    def rendered(self) -> Float32[np.ndarray, "3 H W"]:
        """The rendered image in [0, 1]."""
        return rendered_image(self.land(), sun(self._rng("rendered"), "spring"))


def _edge(offset: Offset) -> int:
    return int(MOST_OFFSET_PX) + 2 if any(offset) else 0
