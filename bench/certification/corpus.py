"""What metrics are certified on: pairs of images and sets of features, made by code, that are hard for fast arithmetic.

The same on every machine; beside them stand real pairs where a folder has some. Odd sides, flat, dark and saturated areas, one
to four bands, 8 and 16 bits. A random state dict lets two implementations of one network be compared without its weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from sarbench.bench.metric import ImageBatch

if TYPE_CHECKING:
    from torch import Tensor

SIZE = (180, 191)  # odd, not square, and just large enough for MS-SSIM


@dataclass(frozen=True)
class Pair:
    """One image of each kind that a metric may read."""

    translated: ImageBatch
    reference: ImageBatch
    source: ImageBatch

    @property
    def peak(self) -> int:
        """The value of white, of all three."""
        return self.reference.peak

    @property
    def bands(self) -> int:
        """Of the translated image and the reference."""
        return self.reference.pixels.shape[3]

    def of(self, sides: tuple[str, ...]) -> list[ImageBatch]:
        """The images that a metric reads, in its order."""
        return [getattr(self, side) for side in sides]


@dataclass(frozen=True)
class Sets:
    """Feature vectors of all translated images, and of all references."""

    translated: Float[np.ndarray, "n D"]
    reference: Float[np.ndarray, "m D"]


# --- Pairs of images -------------------------------------------------------------------------------------------------


def scene(shape: tuple[int, int] = SIZE, bands: int = 3, seed: int = 0) -> Float[np.ndarray, "H W C"]:
    """Blocks of even colour under a slope, with texture on half of them; about [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    blocks = rng.uniform(0.15, 0.85, (20, 20, bands))[y // 12 % 20, x // 12 % 20]
    texture = 0.08 * rng.standard_normal((*shape, bands)) * ((y // 30 + x // 30) % 2)[..., None]
    return blocks + texture + 0.1 * (x / shape[1] - 0.5)[..., None]


def pixels(image: Float[np.ndarray, "*shape"], peak: int = 255) -> Shaped[np.ndarray, "*shape"]:
    """Values of [0, 1] as levels, uint8 or uint16; what lies outside is clipped."""
    return np.clip(np.rint(image * peak), 0, peak).astype(np.uint8 if peak == 255 else np.uint16)


def _noise(shape: tuple[int, ...], sigma: float) -> Float[np.ndarray, "*shape"]:
    return sigma * np.random.default_rng(9).standard_normal(shape)


def pair(translated: Shaped[np.ndarray, "H W C"], reference: Shaped[np.ndarray, "H W C"]) -> Pair:
    """A pair of levels with a source made of both, of one band or of all, as one pixel of it falls."""
    peak = 255 if reference.dtype == np.uint8 else 65535
    source = np.flip(reference // 2 + translated // 3, axis=1)
    source = source[..., :1] if source[0, 0, 0] % 2 else source
    x, y, s = (ImageBatch(np.ascontiguousarray(image)[None], peak) for image in (translated, reference, source))
    return Pair(x, y, s)


@cache
def images() -> dict[str, Pair]:
    """The corpus by name, in the order in which the first difference is looked for."""
    image, other = scene(), scene((192, 208), seed=1)
    tall, large = scene((400, 177), seed=1), scene((385, 390), bands=1, seed=2)
    half = np.where(np.indices(SIZE)[1][..., None] < 90, 7.0, 250.0) / 255 * np.ones(3)
    step = np.where(half < 0.5, 4, -3) / 255
    left = pixels(half)
    wide = pixels(image, 65535)
    found = {
        "noisy": (pixels(image + _noise(image.shape, 0.05)), pixels(image)),
        "very noisy": (pixels(image + _noise(image.shape, 0.6)), pixels(image)),
        "shifted": (np.roll(pixels(image), (2, -1), (0, 1)), pixels(image)),
        "unlike": (pixels(scene(seed=5)), pixels(image)),
        "negative": (255 - pixels(image), pixels(image)),
        "one level off": (pixels(image) + np.uint8(1), pixels(image)),
        "dark": (pixels(image * 0.02), pixels(image * 0.02 + _noise(image.shape, 0.01))),
        "saturated": (pixels(image * 3), pixels(image * 3 + _noise(image.shape, 0.05))),
        "two flat halves": (pixels(half + step), left),
        "flat and bright": (np.full_like(left, 254), np.full_like(left, 251)),
        "flat reference": (pixels(image), np.full_like(left, 200)),
        "black reference": (pixels(image), np.zeros_like(left)),
        "black": (np.zeros_like(left), np.zeros_like(left)),
        "identical": (pixels(image), pixels(image)),
        "even sides": (pixels(other), pixels(other + _noise(other.shape, 0.1))),
        "tall": (pixels(tall), pixels(tall + _noise(tall.shape, 0.1))),
        "large, one band": (pixels(large), pixels(large + _noise(large.shape, 0.1))),
        "one band": (pixels(image[..., :1]), pixels(image[..., :1] + _noise((*SIZE, 1), 0.05))),
        "four bands": (pixels(scene(bands=4)), pixels(scene(bands=4) + _noise((*SIZE, 4), 0.05))),
        "16 bits": (wide, pixels(image + _noise(image.shape, 0.001), 65535)),
        "16 bits, two bands": (wide[..., :2], pixels(image[..., :2] + _noise((*SIZE, 2), 0.2), 65535)),
    }
    return {name: pair(*sides) for name, sides in found.items()}


def real_images(folder: Path) -> dict[str, Pair]:
    """The first test pair of a folder that the dataset `pairs` reads: its source for a translation; its target, blurred, moved.

    ContractError for a folder that it can't read. Images larger than 192 px are cut to their upper left corner.
    """
    from sarbench.bench import registry
    from sarbench.bench.images import quantise

    dataset = registry.load_dataset("pairs")(folder)
    sample = dataset.read(dataset.ids("test")[0])
    assert sample.source is not None and sample.target is not None
    target, source = (np.moveaxis(quantise(part[:, :192, :192]), 0, 2) for part in (sample.target, sample.source))
    height, width, bands = target.shape
    padded = np.pad(target.astype(np.uint16), ((1, 1), (2, 0), (0, 0)), mode="edge")
    blurred = np.sum([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0) // 9
    return {
        "real: the source": pair(np.repeat(source[..., :1], bands, axis=2), target),
        "real: blurred, moved": pair(blurred.astype(np.uint8), target),
    }


def digest(case: Pair | Sets) -> str:
    """The first 16 digits of the sha256 of what a metric reads of a case."""
    sides = (case.translated, case.reference)
    arrays = [np.ascontiguousarray(side.pixels if isinstance(side, ImageBatch) else side) for side in sides]
    return hashlib.sha256(b"".join(f"{a.dtype} {a.shape} ".encode() + a.tobytes() for a in arrays)).hexdigest()[:16]


# --- For networks ----------------------------------------------------------------------------------------------------


def pictures(n: int, height: int, width: int, bands: int = 3, seed: int = 0) -> UInt8[np.ndarray, "n H W C"]:
    """Images from smooth to noisy; the first is dark, the second bright."""
    import cv2

    rng = np.random.default_rng(seed)
    smooth = rng.random((n, height // 8 + 2, width // 8 + 2, bands), np.float32) * 255
    large = [cv2.resize(x, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, bands) for x in smooth]
    found = np.stack(large) + rng.normal(size=(n, height, width, bands)) * np.linspace(2, 60, n)[:, None, None, None]
    found[0] *= 0.2
    found[1:2] += 120
    return np.clip(found, 0, 255).astype(np.uint8)


def small_images() -> dict[str, Pair]:
    """Small pairs for networks, which take long; the slowest take the first two."""
    flat, grey = np.full((64, 64, 3), 128, np.uint8), pictures(2, 64, 64, 1)
    x, y = pictures(2, 64, 64), pictures(2, 64, 64, seed=1)
    return {
        "dark": pair(x[0], y[0]),
        "noisy, odd sides": pair(pictures(3, 67, 83)[2], pictures(3, 67, 83, seed=1)[2]),
        "bright": pair(x[1], y[1]),
        "flat": pair(flat, flat + np.uint8(40)),
        "one band": pair(*grey),
        "16 bits": pair(x[1] * np.uint16(257), y[0] * np.uint16(257)),
    }


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """A state dict of these shapes by name, whose maps keep one scale: He-uniform kernels, normalisations off the identity."""
    import torch

    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        values: Float[np.ndarray, "*shape"] = rng.random(shape, np.float32)
        if len(shape) > 1:
            values = (2 * values - 1) * (6 / np.prod(shape[1:])) ** 0.5
        elif name.endswith((".weight", ".running_var")):
            values = values + 0.5
        else:
            values = 0.4 * values - 0.2
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


# --- Sets of features ------------------------------------------------------------------------------------------------

FOR_SUBSETS = ("40 and 50 vectors, 64 wide", "1010 and 1300 vectors, 8 wide")


def vectors(n: int, width: int, seed: int, decay: float = 0.5, offset: float = 0.0) -> Float[np.ndarray, "n D"]:
    """Correlated features whose spectrum falls as a power."""
    spread = np.arange(1.0, width + 1) ** -decay
    mixing = np.linalg.qr(np.random.default_rng(99).standard_normal((width, width)))[0]
    return (np.random.default_rng(seed).standard_normal((n, width)) * spread) @ mixing + offset


@cache
def feature_sets() -> dict[str, Sets]:
    """Sets of full rank and of fewer vectors than features, equal ones, dead features, and as wide as Inception's."""

    def sets(n: int, m: int, width: int) -> Sets:
        return Sets(vectors(n, width, 0), vectors(m, width, 1, decay=0.8, offset=0.05))

    full, dead = sets(300, 400, 64), sets(300, 400, 64)
    dead.translated[:, 3] = dead.reference[:, 5] = 0
    return {
        "full rank, 64 wide": full,
        "full rank, 256 wide": sets(600, 500, 256),
        "40 and 50 vectors, 64 wide": sets(40, 50, 64),
        "dead features": dead,
        "far means": Sets(full.translated + 100, full.reference),
        "equal sets": Sets(full.translated, full.translated),
        "1010 and 1300 vectors, 8 wide": sets(1010, 1300, 8),
        "200 vectors, 2048 wide": sets(200, 200, 2048),
    }
