"""A procedural landscape seen by an optical sensor and by a SAR; made by code from a seed, no download.

The land (ground sample distance 3 m). Terrain height is a random field with a von Karman spectrum, i.e. fractal below a
longest wavelength (Musgrave et al., 1989, for its use in landscapes). A river or a lake lies in its flattened low parts;
forest stands where a second fractal field is high; the rest is parcels of crops and bare soil, rows of bricks turned by
the scene's angle; roads run along rows of parcels; villages are rows of houses, turned with the parcels.

Optical image (R, G, B; the target). Class colours, a colour of its own for each parcel, texture, furrows, Lambert shading
and cast shadows by a sun at 150 degrees azimuth, 45 degrees elevation (mid-morning, as for Sentinel-2), contrast stretch.

SAR image (1 band, the source). Intensity in dB, clipped to [-25, 5] dB and mapped to [-1, 1]; the sensor looks from the
left at an incidence angle of 40 degrees. Mean backscatter per class is a round number of ours for C band, VV, 40 degrees;
order and spacing follow the statistics of Ulaby and Dobson, Handbook of Radar Scattering Statistics for Terrain (1989),
and no more than that is claimed. Terrain changes it by (cos local / cos 40)^2, Lambert's law for surfaces (Clapp, 1946;
Ulaby, Moore and Fung, 1982). A house of height h moves its roof h / tan(40) towards the sensor (layover), hides
h tan(40) behind it (shadow), and has a bright line at the foot of the wall that faces the sensor, from the double bounce
between ground and wall, which fades as the wall turns away (Franceschetti et al., 2002, 10.1109/TGRS.2002.802509).
Speckle multiplies the intensity by a gamma variable of mean 1 and shape L, so that over flat ground its coefficient of
variation is 1 / sqrt(L) (Goodman, 1976); it is independent from pixel to pixel.

What SAR does not tell: the hue of a parcel (crops of one backscatter differ in colour), and bare soil against some crops.

Both images lie on the 256 levels of an 8-bit product, so that last-digit differences between machines vanish.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy.random import PCG64, Generator

from sarbench.bench.dataset import BOTH, ContractError, Dataset, DatasetCard, Sample, key

CLASSES = ("water", "bare soil", "crop", "forest", "road", "building")
WATER, SOIL, CROP, FOREST, ROAD, BUILDING = range(6)

GSD_M = 3.0
SUN_AZIMUTH_DEG, SUN_ELEVATION_DEG = 150.0, 45.0  # azimuth clockwise from north, which is up
INCIDENCE_DEG = 40.0
SAR_RANGE_DB = (-25.0, 5.0)
STREETS_PX = 24.0  # between two streets of a village
FIRST_TEST_SCENE = 1_000_000  # so that the test scenes are the same for every n_train
OPTIONS = {
    "size_px": (128, 16, 4096),  # default, least, most
    "n_train": (384, 1, FIRST_TEST_SCENE),
    "n_test": (48, 1, FIRST_TEST_SCENE),
    "seed": (0, 0, 2**63),
    "looks": (4, 1, 64),
}

# Reflectance (R, G, B) as a stretched image shows it, and mean backscatter in dB; crops and soils: one row a kind.
COLOUR = {
    WATER: (0.09, 0.16, 0.20),
    FOREST: (0.11, 0.20, 0.10),
    ROAD: (0.50, 0.49, 0.47),
}
ROOFS = ((0.58, 0.30, 0.22), (0.45, 0.25, 0.20), (0.52, 0.52, 0.54), (0.72, 0.70, 0.66))
YARD = (0.30, 0.34, 0.22)  # the ground between houses, class crop: grass
CROPS = ((0.25, 0.36, 0.17), (0.33, 0.42, 0.22), (0.58, 0.51, 0.32), (0.38, 0.40, 0.23), (0.50, 0.50, 0.28))
CROPS_DB = (-10.5, -12.5, -12.5, -9.5, -10.5)
SOILS = ((0.46, 0.37, 0.28), (0.38, 0.31, 0.25), (0.55, 0.48, 0.40))
SOILS_DB = (-13.5, -12.5, -15.0)
BACKSCATTER_DB = {WATER: -21.0, FOREST: -7.5, ROAD: -17.0}
ROOF_DB, WALL_DB, CORNER_DB = -5.0, -3.0, 9.0
YARD_DB = -11.0
NOISE_FLOOR_DB = -24.0  # of the sensor: what shadow shows


@dataclass(frozen=True)
class Landscape:
    """A piece of land, (H, W) each: what both sensors look at."""

    terrain_m: Float[np.ndarray, "H W"]
    object_m: Float[np.ndarray, "H W"]  # height of houses and trees above the ground
    labels: Int64[np.ndarray, "H W"]  # index into CLASSES
    colour: Float[np.ndarray, "3 H W"]  # reflectance before light and texture, in [0, 1]
    backscatter_db: Float[np.ndarray, "H W"]  # on flat ground, before geometry and speckle
    furrow: Float[np.ndarray, "H W"]  # brightness of plough lines, about 0
    angle: float  # of parcels, streets and walls against the image's rows, in radians


class Synthetic(Dataset):
    """The embedded dataset; options size_px, n_train, n_test, seed, looks, channels=none|repeat."""

    card = DatasetCard(
        title="Synthetic landscape",
        source="simulated C-band VV intensity, 3 m, -25 to 5 dB",
        target="simulated RGB, 3 m, 8 bit",
        task="sar to optical",
        group="scene",
        licence="Apache-2.0",
        reference="",
    )

    def __init__(self, root: Path | None = None, **options: str) -> None:
        if root is not None:
            raise ContractError(f"the dataset 'synthetic' is made by code and reads no folder; drop {root}")
        if unknown := sorted(options.keys() - OPTIONS.keys() - {"channels"}):
            raise ContractError(
                f"the dataset 'synthetic' has no option {unknown[0]!r}; it knows: {', '.join(OPTIONS)}, channels=none|repeat"
            )
        if options.get("channels", "none") not in ("none", "repeat"):
            raise ContractError(f"channels={options['channels']}: choose from none, repeat")
        numbers = {name: _integer(name, options.get(name)) for name in OPTIONS}
        self.size_px, self.seed, self.looks = numbers["size_px"], numbers["seed"], numbers["looks"]
        self.target_channels = 3
        self.source_channels = 3 if options.get("channels") == "repeat" else 1
        first = {"train": 0, "test": FIRST_TEST_SCENE}
        self._index = {f"{split}/{i:07d}": first[split] + i for split in first for i in range(numbers[f"n_{split}"])}

    def ids(self, split: str) -> tuple[str, ...]:
        """The sample ids of "train" or "test", sorted; one sample is one scene."""
        return tuple(sample_id for sample_id in self._index if sample_id.startswith(f"{split}/"))

    aux = ("labels",)
    classes = CLASSES

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Make one pair; `aux["labels"]` is the class map, (1, H, W) int64, index into CLASSES."""
        index = self._index[sample_id]
        land = landscape(self._rng(index, "land"), self.size_px)
        source = to_unit(sar_image(self._rng(index, "sar"), land, self.looks))[None]
        target = optical_image(self._rng(index, "optical"), land)
        return Sample(
            _on_8_bits(np.repeat(source, self.source_channels, axis=0)),
            _on_8_bits(2.0 * target - 1.0),
            {"labels": land.labels[None]},
        )

    def scene(self, sample_id: str) -> str:
        """Each sample is a scene of its own."""
        return f"scene {self._index[sample_id]}"

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px."""
        return self.size_px, self.size_px

    def _rng(self, index: int, purpose: str) -> Generator:
        return Generator(PCG64(key("synthetic", self.seed, index, purpose)))


def _integer(name: str, text: str | None) -> int:
    default, least, most = OPTIONS[name]
    if text is None:
        return default
    if not text.strip().isdecimal() or not least <= int(text) <= most:
        raise ContractError(f"{name}={text}: give an integer from {least} to {most}")
    return int(text)


# --- The land --------------------------------------------------------------------------------------------------------


def fractal_field(rng: Generator, size_px: int, slope: float, longest_px: float) -> Float[np.ndarray, "H W"]:
    """A random field of mean 0 and variance 1 with the power spectrum (f^2 + longest^-2)^(-slope/2).

    Made on a margin, so that opposite edges do not continue each other as a Fourier series does.
    """
    padded = size_px + size_px // 4
    spectrum = np.fft.rfft2(rng.random((padded, padded))) * _amplitude(padded, slope, longest_px)
    return np.fft.irfft2(spectrum, (padded, padded))[:size_px, :size_px]


@lru_cache(maxsize=32)
def _amplitude(size_px: int, slope: float, longest_px: float) -> Float[np.ndarray, "H F"]:
    """The filter that gives white noise from [0, 1) that spectrum, and the field unit variance."""
    y, x = np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None]
    power = (y**2 + x**2 + longest_px**-2.0) ** (-slope / 2.0)
    power[0, 0] = 0.0
    both_halves = np.where((x == 0.0) | (x == 0.5), 1.0, 2.0)  # rfft2 keeps one of two conjugate halves
    variance = (power * both_halves).sum() / size_px**2 / 12.0  # 1/12: variance of a uniform variable
    return np.sqrt(power / variance)


def landscape(rng: Generator, size_px: int) -> Landscape:
    """A random piece of land."""
    relief_m, forest_share = rng.uniform(2.0, 16.0), rng.uniform(0.1, 0.4)
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    broad = fractal_field(rng, size_px, 4.6, 160.0)
    cover = fractal_field(rng, size_px, 4.0, 80.0)
    detail = fractal_field(rng, size_px, 2.8, 24.0)

    y, x = np.mgrid[:size_px, :size_px].astype(np.float64)
    along = x * np.cos(angle) + y * np.sin(angle)  # px; the grid of parcels, streets and houses
    across = y * np.cos(angle) - x * np.sin(angle)
    bent_along, bent_across = along + 6.0 * broad, across - 4.0 * broad

    shore_px = _distance_to_water(rng, x, y, broad, detail)
    water = shore_px < 0.0
    dry = np.clip(shore_px / 40.0, 0.0, 1.0)
    terrain_m = relief_m * broad * dry * dry * (3.0 - 2.0 * dry)

    colour, backscatter_db, soil, furrow, edge_px = _parcels(rng, bent_along, bent_across)
    labels = np.where(soil, SOIL, CROP)

    wooded = cover + 0.08 * detail > np.quantile(cover, 1.0 - forest_share)
    labels[wooded] = FOREST

    yard, house, house_m, roof = _village(rng, along, across, x, y, detail)
    yard &= ~wooded | house
    labels[yard] = CROP
    colour[:, yard] = np.array(YARD)[:, None]
    backscatter_db[yard] = YARD_DB
    furrow[yard | wooded] = 0.0

    road = _roads(rng, bent_along, bent_across, edge_px) | (yard & (np.mod(across, STREETS_PX) < 2.0))
    labels[water] = WATER
    labels[road] = ROAD
    house &= ~water & ~road
    labels[house] = BUILDING
    furrow[water | road | house] = 0.0

    for kind, values in COLOUR.items():
        colour[:, labels == kind] = np.array(values)[:, None]
    for kind, mean_db in BACKSCATTER_DB.items():
        backscatter_db[labels == kind] = mean_db
    colour[:, house] = np.array(ROOFS)[roof[house]].T
    backscatter_db[house] = ROOF_DB
    backscatter_db[labels == FOREST] += 0.8 * detail[labels == FOREST]
    trees_m = np.where(labels == FOREST, 10.0 + 2.0 * detail, 0.0)
    return Landscape(terrain_m, np.where(house, house_m, trees_m), labels, colour, backscatter_db, furrow, angle)


def _distance_to_water(
    rng: Generator, x: np.ndarray, y: np.ndarray, broad: np.ndarray, detail: np.ndarray
) -> Float[np.ndarray, "H W"]:
    """About the distance to the nearest shore in px, negative inside: a river in 6 of 10 scenes, a lake in 4 of 10."""
    size_px = len(x)
    has_river, has_lake = rng.random() < 0.6, rng.random() < 0.4
    turn, offset, half_width_px = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) * size_px, rng.uniform(2.5, 7.0)
    share = rng.uniform(0.05, 0.2)
    distance = np.full_like(x, np.inf)
    if has_river:
        line = (x - size_px / 2) * np.cos(turn) + (y - size_px / 2) * np.sin(turn) - offset
        distance = np.abs(line + 18.0 * broad + 0.5 * detail) - half_width_px
    if has_lake:
        distance = np.minimum(distance, 30.0 * (broad + 0.03 * detail - np.quantile(broad, share)))
    return distance


def _parcels(rng: Generator, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows of brick-like fields: colour (3, H, W), dB, is it soil, furrows, and distance to the row's edge in px."""
    reach = int(np.ceil(max(-along.min(), along.max(), -across.min(), across.max())))
    depths_px = rng.uniform(22.0, 52.0, 2 * reach // 22 + 2)
    edges = np.cumsum(depths_px) - reach - rng.uniform(0.0, 22.0)
    row = np.searchsorted(edges, across)
    widths_px, shifts_px = rng.uniform(20.0, 75.0, (2, len(edges) + 1))
    column = np.floor((along + reach + shifts_px[row]) / widths_px[row]).astype(np.int64)
    parcel = row * (column.max() + 1) + column
    count = int(parcel.max()) + 1

    is_soil = rng.random(count) < 0.25
    crop, bare = rng.integers(0, len(CROPS), count), rng.integers(0, len(SOILS), count)
    colours = np.where(is_soil[:, None], np.array(SOILS)[bare], np.array(CROPS)[crop])
    colours = colours * rng.uniform(0.8, 1.2, (count, 1)) + rng.uniform(-0.025, 0.025, (count, 3))
    decibels = np.where(is_soil, np.array(SOILS_DB)[bare], np.array(CROPS_DB)[crop]) + rng.uniform(-1.2, 1.2, count)
    depth = rng.uniform(0.0, 0.05, count) * (rng.random(count) < 0.6)

    furrow = depth[parcel] * np.sin(across * (2.0 * np.pi / 4.0))
    upper, lower = edges[np.minimum(row, len(edges) - 1)], edges[np.maximum(row - 1, 0)]
    return (
        np.ascontiguousarray(colours.T)[:, parcel],
        decibels[parcel],
        is_soil[parcel],
        furrow,
        np.minimum(np.abs(upper - across), np.abs(across - lower)),
    )


def _village(
    rng: Generator, along: np.ndarray, across: np.ndarray, x: np.ndarray, y: np.ndarray, detail: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Houses on plots between streets: where the village is, where houses stand, their height in m, and the roof's index."""
    size_px = len(x)
    centre_x, centre_y = rng.uniform(0.1, 0.9, 2) * size_px
    radius_px = rng.uniform(22.0, 60.0) * (rng.random() < 0.85)
    inside = np.hypot(x - centre_x, y - centre_y) + 5.0 * detail < radius_px
    depth_px, width_px = STREETS_PX / 2.0, rng.uniform(9.0, 13.0)  # of a plot; two rows of plots between two streets
    column, row = np.floor(along / width_px).astype(np.int64), np.floor(across / depth_px).astype(np.int64)
    column -= column.min()
    row -= row.min()
    plot = row * (column.max() + 1) + column
    count = int(plot.max()) + 1
    long_px, deep_px = rng.uniform(5.0, 8.5, count), rng.uniform(4.0, 7.0, count)
    from_side_px, from_front_px = rng.uniform(0.5, 2.0, count), rng.uniform(3.0, 4.5, count)
    height_m, roof = rng.uniform(5.0, 14.0, count), rng.integers(0, len(ROOFS), count)
    built = rng.random(count) < 0.9
    u = np.mod(along, width_px) - from_side_px[plot]
    v = np.mod(across, depth_px) - from_front_px[plot]
    settled = np.bincount(plot.ravel(), inside.ravel(), count) > 0.6 * np.bincount(plot.ravel(), minlength=count)
    house = (built & settled)[plot] & (u >= 0) & (u < long_px[plot]) & (v >= 0) & (v < deep_px[plot])
    return inside | settled[plot], house, height_m[plot], roof[plot]


def _roads(rng: Generator, along: np.ndarray, across: np.ndarray, edge_px: np.ndarray) -> Bool[np.ndarray, "H W"]:
    """A main road across the scene, 4 px wide, and tracks along some rows of parcels."""
    main = np.abs(along - rng.uniform(np.quantile(along, 0.2), np.quantile(along, 0.8))) < 2.0
    track = (edge_px < 0.9) & (np.sin(across / 37.0 + rng.uniform(0.0, 2.0 * np.pi)) > 0.2)
    return main | track


# --- The sensors -----------------------------------------------------------------------------------------------------


def optical_image(rng: Generator, land: Landscape) -> Float[np.ndarray, "3 H W"]:
    """The RGB image in [0, 1]: colour times light, plus texture."""
    azimuth, elevation = np.radians(SUN_AZIMUTH_DEG), np.radians(SUN_ELEVATION_DEG)
    sun = (np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation))  # x right, y down
    size_px = len(land.labels)
    grain = fractal_field(rng, size_px, 1.4, 12.0)
    crowns_m = np.where(land.labels == FOREST, 1.1 * grain, 0.0)
    direct = np.clip(_cosine(land.terrain_m + crowns_m, sun) / sun[2], 0.0, 1.6)
    direct *= 1.0 - 0.75 * cast_shadow(land.object_m, sun)
    light = 0.35 + 0.65 * direct  # 0.35: the sky
    strength = np.array([0.02, 0.05, 0.06, 0.14, 0.03, 0.04])[land.labels]
    image = land.colour * (light * (1.0 + land.furrow + strength * grain))
    return np.clip(1.15 * image + 0.01, 0.0, 1.0)


def cast_shadow(height_m: Float[np.ndarray, "H W"], sun: tuple[float, float, float]) -> Bool[np.ndarray, "H W"]:
    """Which ground lies in the shadow of something higher; `sun` points to the sun (x right, y down, z up)."""
    horizontal = float(np.hypot(sun[0], sun[1]))
    shadow = np.zeros(height_m.shape, bool)
    for step in range(1, int(np.ceil(height_m.max() / GSD_M * horizontal / sun[2])) + 1):
        dx, dy = round(-sun[0] / horizontal * step), round(-sun[1] / horizontal * step)
        reach_m = height_m - step * GSD_M * sun[2] / horizontal  # height of the shadow's upper edge, step px away
        shadow |= _shifted(reach_m, dx, dy, -np.inf) > height_m
    return shadow


def sar_image(rng: Generator, land: Landscape, looks: int) -> Float[np.ndarray, "H W"]:
    """The SAR image in dB, speckled: an intensity of `looks` independent looks."""
    return decibels(mean_intensity(land) * speckle(rng, land.labels.shape, looks))


def mean_intensity(land: Landscape) -> Float[np.ndarray, "H W"]:
    """Backscatter without speckle, linear: terrain, shadow, layover and double bounce; the sensor looks to the right."""
    angle = np.radians(INCIDENCE_DEG)
    sensor = (-np.sin(angle), 0.0, np.cos(angle))
    local = np.clip(_cosine(land.terrain_m, sensor), 0.05, 1.0) / np.cos(angle)
    intensity = 10.0 ** (land.backscatter_db / 10.0) * local**2

    # A point is hidden when an earlier one of its row rises above the ray through it.
    ray = land.object_m + np.arange(land.object_m.shape[1]) * (GSD_M / np.tan(angle))
    hidden = ray < np.maximum.accumulate(ray, axis=1) - 1e-9
    house = land.labels == BUILDING
    floor = 10.0 ** (NOISE_FLOOR_DB / 10.0)
    ground = np.where(house | hidden, 0.0, intensity) + floor

    # Roofs appear nearer to the sensor by h / tan(angle), on top of what lies there.
    rows, columns = np.nonzero(house & ~hidden)
    moved = np.rint(land.object_m / (np.tan(angle) * GSD_M)).astype(np.int64)
    seen = columns - moved[rows, columns]
    inside = seen >= 0
    np.add.at(ground, (rows[inside], seen[inside]), intensity[rows[inside], columns[inside]])

    # A wall that faces the sensor fills the pixels from its top's place to its foot, and its foot is a corner reflector.
    front = house & ~_shifted(house, 1, 0, False)
    rows, columns = np.nonzero(front)
    turned = np.degrees(abs(land.angle))
    corner = 10.0 ** ((CORNER_DB - 12.0 * (1.0 - np.exp(-((turned / 12.0) ** 2)))) / 10.0)
    for back in range(1, int(moved.max(initial=0)) + 1):
        hit = (moved[rows, columns] >= back) & (columns >= back)
        np.add.at(ground, (rows[hit], columns[hit] - back), 10.0 ** (WALL_DB / 10.0))
    ground[rows, columns] += corner
    return ground


def speckle(rng: Generator, shape: tuple[int, ...], looks: int) -> Float[np.ndarray, "..."]:
    """Gamma variables of mean 1 and coefficient of variation 1 / sqrt(looks): the mean of `looks` exponential ones."""
    return -np.log1p(-rng.random((looks, *shape))).sum(axis=0) / looks


def decibels(intensity: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """10 log10 of an intensity."""
    return 10.0 * np.log10(np.maximum(intensity, 1e-12))


def to_unit(values_db: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Decibels clipped to SAR_RANGE_DB and mapped to [-1, 1]."""
    low, high = SAR_RANGE_DB
    return (np.clip(values_db, low, high) - low) / (high - low) * 2.0 - 1.0


def _cosine(height_m: Float[np.ndarray, "H W"], direction: tuple[float, float, float]) -> Float[np.ndarray, "H W"]:
    """The cosine of the angle between the ground's normal and a unit vector (x right, y down, z up)."""
    down, right = np.gradient(height_m, GSD_M)
    return (direction[2] - direction[0] * right - direction[1] * down) / np.sqrt(1.0 + right**2 + down**2)


def _shifted(image: np.ndarray, dx: int, dy: int, fill: float) -> np.ndarray:
    """The image moved by dx to the right and dy down; what comes in from outside is `fill`."""
    height, width = image.shape
    moved = np.full_like(image, fill)
    if abs(dx) < width and abs(dy) < height:
        moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = image[
            max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
        ]
    return moved


def _on_8_bits(image: Float[np.ndarray, "C H W"]) -> Float[np.ndarray, "C H W"]:
    """The nearest of the 256 levels between -1 and 1."""
    return np.ascontiguousarray(np.rint((image + 1.0) * 127.5) / 127.5 - 1.0, dtype=np.float32)
