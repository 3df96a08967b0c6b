"""Where methods do well and where they don't: by class of the ground, and by scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.board_sections import DECIMALS, of_class
from sarbench.bench.records import Score
from sarbench.bench.report.plots import heat, scale_over, shade
from sarbench.bench.report.samples import score_columns
from sarbench.bench.report.samples import table as values_of
from sarbench.bench.report.table import entries_of, title_of

MOST_SCENES = 60  # that are shown; of more, the hardest and the easiest


@dataclass(frozen=True)
class ClassCell:
    """A method's score on one class."""

    text: str
    sort: str
    shade: int | None
    best: bool  # of the methods


@dataclass(frozen=True)
class ClassTable:
    """One metric by class: a row an entry."""

    title: str
    classes: tuple[tuple[str, str], ...]  # name, share of the pixels
    rows: tuple[tuple[int, str, str, tuple[ClassCell, ...]], ...]  # entry, name, role, cells


def by_class(board: Board) -> list[ClassTable]:
    """PSNR and SSIM by class, the largest class first; empty where the records have no classes."""
    labelled = next((r.by_class for entry in board.ranked for r in entry.records if r.by_class), None)
    if labelled is None:
        return []
    total = sum(score.pixels for score in labelled.values())
    names = sorted(labelled, key=lambda name: (-labelled[name].pixels, name))
    heads = tuple((markdown.line(name), f"{100 * labelled[name].pixels / total:.0f} %") for name in names)
    tables = []
    for metric, title in (("psnr", "PSNR in dB"), ("ssim", "SSIM")):
        columns = []
        for name in names:
            values = [of_class(entry, name, metric) for entry in board.ranked]
            best = max((v for v in values[: len(board.methods)] if v is not None), default=None)
            scale = scale_over([v for v in values if v is not None], higher_is_better=True)
            columns.append(
                [
                    ClassCell("–", "", None, False)
                    if v is None
                    else ClassCell(
                        number(v, DECIMALS[metric]),
                        "1e999" if math.isinf(v) else repr(v),
                        shade(v, scale),
                        v == best and i < len(board.methods),
                    )
                    for i, v in enumerate(values)
                ]
            )
        rows = tuple(
            (i, title_of(entry.newest), entry.newest.role, tuple(column[i] for column in columns))
            for i, entry in enumerate(board.ranked)
        )
        tables.append(ClassTable(title, heads, rows))
    return tables


@dataclass(frozen=True)
class Scene:
    """What all methods together make of one scene."""

    name: str
    images: int
    mean: str
    mean_sort: str
    spread: str
    spread_sort: str
    best: str  # the method, and its value


@dataclass(frozen=True)
class Scenes:
    """The scenes of a board in its main metric, from hard to easy."""

    metric: str
    unit: str
    rows: tuple[Scene, ...]
    map: Markup
    of: int  # scenes there are
    why: str  # why there are none; empty where there are


def by_scene(board: Board) -> Scenes:
    """Each scene's mean over methods, their spread and the best of them, and a map of scenes and methods."""
    metrics = score_columns(board)
    methods = board.methods or board.floors
    own = [rows for entry in methods if (rows := board.rows.get(str(entry.records[0].rows_hash))) is not None]

    def nothing(why: str) -> Scenes:
        return Scenes("", "", (), Markup(""), 0, why)

    if not own or not metrics:
        return nothing("No metric of this board has a value for each image.")
    ids, names = own[0]["id"].tolist(), own[0]["scene"].tolist()
    if not all(names):
        return nothing("The data set does not say which images are of one scene.")
    metric = metrics[0]
    score = board.newest.scores[metric]
    places = [entries_of(board).index(entry) for entry in methods]
    labels, table = _scene_means(values_of(board, metric, ids)[places], names)
    known = np.isfinite(table).any(axis=0)
    total = int(known.sum())
    if not total:
        return nothing(f"No method has a finite {metric} for any scene.")
    sign = 1 if score.higher_is_better else -1
    order = sorted(np.flatnonzero(known).tolist(), key=lambda k: sign * float(np.nanmean(table[:, k])))
    if total > MOST_SCENES:
        order = order[: MOST_SCENES // 2] + order[-(MOST_SCENES // 2) :]
    scale = scale_over(table[:, order].ravel().tolist(), higher_is_better=score.higher_is_better)
    shades = [
        (place, title_of(entry.newest), [None if math.isnan(v) else shade(v, scale) for v in line[order].tolist()])
        for place, entry, line in zip(places, methods, table, strict=True)
    ]
    said = f"{metric} of {len(methods)} methods (rows) on {len(order)} scenes (columns, from hard to easy)"
    rows = tuple(_scene(labels[k], names.count(labels[k]), table[:, k], methods, score) for k in order)
    return Scenes(metric, score.unit, rows, heat(shades, said), total, "")


def _scene_means(values: Float[np.ndarray, "methods images"], names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The scenes, and each method's mean over the images of each that have a finite value; NaN where none has."""
    labels, which = np.unique(np.asarray(names, str), return_inverse=True)
    of_scene = (which[:, None] == np.arange(len(labels))).astype(float)
    finite = np.isfinite(values)
    sums, counts = np.where(finite, values, 0.0) @ of_scene, finite.astype(float) @ of_scene
    return labels.tolist(), np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _scene(name: str, images: int, values: Float[np.ndarray, " methods"], methods: Sequence[Entry], score: Score) -> Scene:
    mean, spread = float(np.nanmean(values)), float(np.nanstd(values))
    best = int(np.nanargmax(values) if score.higher_is_better else np.nanargmin(values))
    return Scene(
        markdown.line(name),
        images,
        number(mean, score.decimals),
        repr(mean),
        number(spread, score.decimals),
        repr(spread),
        f"{title_of(methods[best].newest)} {number(float(values[best]), score.decimals)}",
    )
