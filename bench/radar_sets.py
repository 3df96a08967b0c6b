"""What the SAR and optical sets share: files that belong together, split rules, bands and grey images of a known kind."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from sarbench.bench.errors import ContractError
from sarbench.bench.folders import listed
from sarbench.bench.images import REMEDY, Window, read_image

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


def matched(parts: Mapping[str, Mapping[str, Path]]) -> dict[str, dict[str, tuple[Path, ...]]]:
    """The files of each sample by part, from the files of each part by sample.

    Raises one ContractError that lists every sample of which a part is missing.
    """
    samples = sorted(set().union(*parts.values()))
    incomplete = []
    for sample in samples:
        missing = [part for part, files in parts.items() if sample not in files]
        if missing:
            present = next(files[sample] for files in parts.values() if sample in files)
            incomplete.append(f"{present} has no {' and no '.join(missing)}")
    if incomplete:
        raise ContractError(
            f"{len(incomplete)} files have no partner; download what is missing, or remove them:{listed(incomplete)}"
        )
    return {sample: {part: (files[sample],) for part, files in parts.items()} for sample in samples}


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


def read_decibels(path: Path, bands: Collection[int], window: Window | None = None) -> Float[np.ndarray, "C H W"]:
    """Bands of a Sentinel-1 tile of two bands, VV and VH, in dB; ContractError for one that holds no value below 0."""
    db = read_bands(path, 2, ("float32", "float64"), bands, window)
    if db.min() >= 0.0:
        raise ContractError(f"{path} holds no value below 0, so it is not in dB; {REMEDY}")
    return db


def read_grey(path: Path, hint: str = REMEDY) -> UInt8[np.ndarray, "1 H W"]:
    """An 8-bit grey image, also where it is stored as three equal channels; ContractError naming the file for any other."""
    pixels = read_image(path)
    if pixels.dtype != np.uint8:
        raise ContractError(f"{path} holds {pixels.dtype} values, expected uint8; {REMEDY}")
    grey = pixels[:, :, :1]
    if not (pixels == grey).all():
        raise ContractError(f"{path} is coloured, but SAR is grey; {hint}")
    return np.ascontiguousarray(grey.transpose(2, 0, 1))
