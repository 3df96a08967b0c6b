"""What the SAR and optical sets share: files that belong together, split rules, bands and grey images of a known kind."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Option, value_range
from sarbench.bench.images import REMEDY, Window, read_image, scale

# --- Listing ---------------------------------------------------------------------------------------------------------


def named(folder: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    """The files right in a folder whose whole names fit a pattern, by the text of its groups with "_" between them.

    Empty where the folder does not exist: `matched` then says what is missing.
    """
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        matches = [pattern.fullmatch(entry.name) for entry in entries if entry.is_file()]
    return {"_".join(match.groups()): folder / match[0] for match in matches if match}


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file, without blank ones and white space at their ends; ContractError naming the file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path} can't be read as text in UTF-8 ({error})") from error
    return tuple(line.strip() for line in lines if line.strip())


def sampled(names: Iterable[str]) -> frozenset[str]:
    """A fifth of the names at random, in the way of C-DiffSET: 3,999 of 20,000 and 680 of 3,401.

    Python's generator with the seed 2025 over the sorted names (`data_split.py` of KAIST-VICLab/C-DiffSET, commit f5f708de;
    later ones say 2024). Their names came in the order of their disk, so the same draw gave them other images: only counts
    and chances are equal. A draw by image puts neighbours that overlap on both sides.
    """
    every = sorted(names)
    return frozenset(random.Random(2025).sample(every, int(len(every) * (1 - 80 / 100))))


# --- Pixels ----------------------------------------------------------------------------------------------------------


def read_bands(
    path: Path, count: int, dtypes: Collection[str], bands: Collection[int] | None = None, window: Window | None = None
) -> Shaped[np.ndarray, "C H W"]:
    """Bands of a file, counted from 1 (None: all), in its own type.

    Raises ContractError naming the file unless it has `count` bands of one of `dtypes`.
    """
    pixels = read_image(path, bands=None if bands is None else tuple(bands), window=window, count=count)
    if pixels.dtype.name not in dtypes:
        raise ContractError(f"{path} holds {pixels.dtype} values, expected {' or '.join(dtypes)}; {REMEDY}")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_grey(path: Path, hint: str = REMEDY) -> UInt8[np.ndarray, "1 H W"]:
    """An 8-bit grey image, also where it is stored as three equal channels; ContractError naming the file for any other."""
    pixels = read_image(path)
    if pixels.dtype != np.uint8:
        raise ContractError(f"{path} holds {pixels.dtype} values, expected uint8; {REMEDY}")
    grey = pixels[:, :, :1]
    if not (pixels == grey).all():
        raise ContractError(f"{path} is coloured, but SAR is grey; {hint}")
    return np.ascontiguousarray(grey.transpose(2, 0, 1))


# --- Sentinel-1 and Sentinel-2 as in SEN12MS and DFC2020 ---------------------------------------------------------------

VV, VH = 1, 2
VH_RANGE_DB, DIFFERENCE_RANGE_DB = (-32.5, 0.0), (0.0, 20.0)
RED_GREEN_BLUE, NIR = (4, 3, 2), (8,)  # of the 13 bands B1 to B8, B8A, B9 to B12
NIR_RANGE = (0.0, 10_000.0)

SENTINEL_OPTIONS = {
    "channels": Option("vv", "vv; repeat: VV three times; vv-vh-diff: VV, VH, VV - VH", ("vv", "repeat", "vv-vh-diff")),
    "source_range": Option("-25,0", "LO,HI in dB: the VV values that become -1 and 1", parse=value_range),
    "target_range": Option("0,3000", "LO,HI in digital numbers: the values that become -1 and 1", parse=value_range),
}


def read_sentinel_1(
    path: Path, channels: str, vv_range_db: tuple[float, float], window: Window | None = None
) -> Float[np.ndarray, "C H W"]:
    """VV in [-1, 1], or with `channels` "vv-vh-diff" VV, VH and VV - VH, each by its own range.

    Raises ContractError naming the file unless it has 2 floating-point bands, and for one without a value below 0 dB.
    """
    both = channels == "vv-vh-diff"
    db = read_bands(path, 2, ("float32", "float64"), (VV, VH) if both else (VV,), window)
    if db.min() >= 0.0:
        raise ContractError(f"{path} holds no value below 0, so it is not in dB; {REMEDY}")
    vv = scale(db[:1], *vv_range_db)
    if not both:
        return vv
    return np.concatenate([vv, scale(db[1:], *VH_RANGE_DB), scale(db[:1] - db[1:], *DIFFERENCE_RANGE_DB)])


def read_sentinel_2(
    path: Path, bands: tuple[int, ...], limits: tuple[float, float], window: Window | None = None
) -> Float[np.ndarray, "C H W"]:
    """Some of the 13 bands, digital numbers in `limits` to [-1, 1]; ContractError unless the file has 13 bands of uint16."""
    return scale(read_bands(path, 13, ("uint16",), bands, window), *limits)
