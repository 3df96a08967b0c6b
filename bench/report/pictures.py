"""The pictures of a report: read losslessly from the runs, held to the record's scores, and compressed to fit into one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Shaped, UInt8

from sarbench.bench import markdown, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.images import find_images, read_image
from sarbench.bench.metric import ImageBatch
from sarbench.bench.records import Record
from sarbench.bench.score import signature

TOLERANCE_DB = 1e-6  # between the PSNR of a picture and that of its row
ERROR_PX = 128  # the longer side of an error map
LEVEL_STEP = 16  # the top of the error maps' scale is a multiple of it
CHECK = "psnr"  # cheap, and another image has another value

Pixels = Shaped[np.ndarray, "H W C"]
Picture = UInt8[np.ndarray, "H W C"]


@dataclass(frozen=True)
class Rung:
    """How far pictures are compressed: the longer side in px, and the quality of WebP."""

    side_px: int
    quality: int


RUNGS = tuple(
    Rung(*rung)
    for rung in (
        (256, 88),
        (256, 83),
        (256, 76),
        (256, 66),
        (256, 52),
        (192, 60),
        (192, 45),
        (128, 60),
        (128, 40),
        (96, 40),
        (64, 40),
    )
)


@dataclass(frozen=True)
class Shot:
    """The pictures of one sample, by entry of the board; None: there is none."""

    source: Picture | None
    target: Picture | None
    translated: tuple[Picture | None, ...]
    errors: tuple[Picture | None, ...]  # mean of |translated - target| over the bands, in grey levels


@dataclass(frozen=True)
class Album:
    """All pictures of a report, and what is to be said of those that are missing."""

    shots: tuple[Shot, ...]
    missing: tuple[str, ...]


def album(folder: Path, records: Sequence[Record], rows: Mapping[str, pd.DataFrame], ids: Sequence[str]) -> Album:
    """The pictures of these samples that the runs below `folder` (of one track) hold, for the records given.

    A run whose image can't be read, or does not have the PSNR that its record says, is left out whole and named.
    """
    missing: list[str] = []
    sources, targets = (_listed(folder / "reference" / part) for part in ("source", "target"))
    references = [_reference(sources, i, missing) for i in ids], [_reference(targets, i, missing) for i in ids]
    translated = [_translated(folder, record, rows, ids, references[1], missing) for record in records]
    shots = [
        Shot(
            None if source is None else _shown(source),
            None if target is None else _shown(target),
            tuple(own[k][0] for own in translated),
            tuple(own[k][1] for own in translated),
        )
        for k, (source, target) in enumerate(zip(*references, strict=True))
    ]
    return Album(tuple(shots), tuple(text.replace(f"{folder}/", "") for text in missing))


def _translated(
    folder: Path,
    record: Record,
    rows: Mapping[str, pd.DataFrame],
    ids: Sequence[str],
    targets: Sequence[Pixels | None],
    missing: list[str],
) -> list[tuple[Picture | None, Picture | None]]:
    """The pictures and error maps of one run; all None, and a word in `missing`, where they can't be shown."""
    name = markdown.line(f"{record.method} {record.variant}")
    files = _listed(folder / record.label / str(record.seed) / "translated")
    if not files:
        missing.append(f"{name}: no translated images of seed {record.seed} in the folder of the runs")
    own, made = rows.get(str(record.rows_hash)), []
    try:
        for sample_id, target in zip(ids, targets, strict=True):
            image = read_image(files[sample_id]) if sample_id in files else None
            _refuse_other(record, own, sample_id, image, target)
            made.append((None if image is None else _shown(image), _error(image, target)))
    except ContractError as error:
        missing.append(f"{name}: left out, {error}")
        return [(None, None)] * len(ids)
    return made


def _listed(folder: Path) -> dict[str, Path]:
    """The images below a folder by id; only these are opened, whatever ids a record names."""
    return find_images(folder) if folder.is_dir() else {}


def _reference(files: Mapping[str, Path], sample_id: str, missing: list[str]) -> Pixels | None:
    try:
        return read_image(files[sample_id]) if sample_id in files else None
    except ContractError as error:
        missing.append(str(error))
        return None


def _refuse_other(
    record: Record, rows: pd.DataFrame | None, sample_id: str, image: Pixels | None, target: Pixels | None
) -> None:
    """Raise ContractError for an image that is not the one that was scored, as far as PSNR tells."""
    score = record.scores.get(CHECK)
    if image is None or target is None or score is None or not score.n or rows is None:
        return
    if image.shape != target.shape or image.dtype != target.dtype:
        raise ContractError(f"{sample_id} is {image.shape} {image.dtype}, its target {target.shape} {target.dtype}")
    metric = registry.load_metric(CHECK)
    if metric.rows is None or score.signature != signature(metric, image.shape[2], np.iinfo(image.dtype).max):
        return
    (value,) = metric.rows(*(ImageBatch(pixels[None], np.iinfo(pixels.dtype).max) for pixels in (image, target)))
    recorded = float(rows.loc[rows["id"] == sample_id, CHECK].iloc[0])
    if value != recorded and not abs(value - recorded) <= TOLERANCE_DB:
        raise ContractError(
            f"{sample_id} has a PSNR of {value:.4f} dB and the record says {recorded:.4f}: these are not the images that were "
            "scored; make this run again"
        )


def _shown(pixels: Pixels) -> Picture:
    """At most 8 bits, the first three bands or the first, and no side above that of the first rung."""
    bands = pixels[:, :, : 3 if pixels.shape[2] >= 3 else 1]
    image = np.round(bands / (np.iinfo(bands.dtype).max / 255)).astype(np.uint8) if bands.dtype != np.uint8 else bands
    return _within(np.ascontiguousarray(image), RUNGS[0].side_px)


def _error(pixels: Pixels | None, target: Pixels | None) -> Picture | None:
    if pixels is None or target is None or pixels.shape != target.shape:
        return None
    peak = np.iinfo(pixels.dtype).max
    levels = np.abs(pixels.astype(np.float32) - target.astype(np.float32)).mean(axis=2, keepdims=True) * (255 / peak)
    return np.round(_within(levels, ERROR_PX)).astype(np.uint8)


def _within(image: Shaped[np.ndarray, "H W C"], side_px: int) -> Shaped[np.ndarray, "h w C"]:
    """The image with its longer side at most so long, each pixel the mean of those that it stands for."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= side_px:
        return image
    size = (max(1, round(width * side_px / longer)), max(1, round(height * side_px / longer)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], image.shape[2])


def error_top(shots: Sequence[Shot]) -> int:
    """The grey level that is the brightest of the error maps: 99 % of all errors are below it."""
    counts = np.zeros(256, np.int64)
    for shot in shots:
        for error in shot.errors:
            counts += 0 if error is None else np.bincount(error.ravel(), minlength=256)
    if not counts.sum():
        return 255
    level = int(np.searchsorted(np.cumsum(counts), 0.99 * counts.sum()))
    return min(255, LEVEL_STEP * max(1, -(-level // LEVEL_STEP)))


def brightened(error: Picture, top: int) -> Picture:
    """An error map on the scale from 0 to `top`."""
    levels = np.minimum(np.arange(256), top) * 255 / top
    return np.round(levels).astype(np.uint8)[error]


# --- Compression -----------------------------------------------------------------------------------------------------


def compressed(pictures: Sequence[Picture], most_bytes: int) -> tuple[list[bytes], Rung]:
    """All pictures as WebP, all at the same rung: the first at which they fit.

    ContractError where they don't fit at the last.
    """
    for rung in RUNGS:
        tried = [_webp(picture, rung) for picture in pictures[::8]]
        if sum(map(len, tried)) * len(pictures) > most_bytes * max(1, len(tried)):
            continue  # a sample is enough to see that all would be too large
        done = [_webp(picture, rung) for picture in pictures]
        if sum(map(len, done)) <= most_bytes:
            return done, rung
    raise ContractError(f"{len(pictures)} pictures don't fit into one page of {most_bytes:,} bytes; ask for fewer --samples")


def _webp(picture: Picture, rung: Rung) -> bytes:
    image = _within(picture, rung.side_px)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[2] == 3 else image
    done, data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, rung.quality])
    if not done:
        raise ContractError("this OpenCV can't write WebP; install opencv-python-headless")
    return data.tobytes()
