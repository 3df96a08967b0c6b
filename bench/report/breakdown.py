"""Where methods do well and where they don't: by class of the ground, and by scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
from markupsafe import Markup

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.report.plots import heat, scale_over, shade
from sarbench.bench.report.samples import score_columns
from sarbench.bench.report.samples import table as values_of
from sarbench.bench.report.table import entries_of, title_of

DECIMALS = {"psnr": 2, "ssim": 4}  # of the scores by class
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
            values = [_of_class(entry, name, metric) for entry in board.ranked]
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


def _of_class(entry: Entry, name: str, metric: str) -> float | None:
    """The mean over seeds; inf where one is infinite; None where one has no value."""
    values: list[float] = []
    for record in entry.records:
        score = (record.by_class or {}).get(name)
        value = None if score is None else score.ssim if metric == "ssim" else math.inf if score.psnr is None else score.psnr
        if value is None:
            return None
        values.append(value)
    mean = math.inf if math.inf in values else fmean(values)
    return float(number(mean, DECIMALS[metric], infinity="inf"))


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
    values = values_of(board, metric, ids)[places]
    values = np.where(np.isfinite(values), values, np.nan)
    frame = pd.DataFrame(values.T).groupby(pd.Series(names)).mean()  # scenes x methods, a mean over the images of each
    images = pd.Series(names).value_counts()
    frame = frame[frame.notna().any(axis=1)]
    frame = frame.loc[frame.mean(axis=1).sort_values(ascending=score.higher_is_better, kind="stable").index]
    total = len(frame)
    if not total:
        return nothing(f"No method has a finite {metric} for any scene.")
    if total > MOST_SCENES:
        frame = pd.concat([frame.iloc[: MOST_SCENES // 2], frame.iloc[-(MOST_SCENES // 2) :]])
    scale = scale_over(frame.to_numpy().ravel().tolist(), higher_is_better=score.higher_is_better)
    shades = [
        (place, title_of(entry.newest), [None if math.isnan(v) else shade(v, scale) for v in frame[i]])
        for i, (place, entry) in enumerate(zip(places, methods, strict=True))
    ]
    said = f"{metric} of {len(methods)} methods (rows) on {len(frame)} scenes (columns, from hard to easy)"
    rows = tuple(
        _scene(str(name), int(images[name]), line, methods, score.decimals, score.higher_is_better)
        for name, line in frame.iterrows()
    )
    return Scenes(metric, score.unit, rows, heat(shades, said), total, "")


def _scene(name: str, images: int, line: pd.Series, methods: Sequence[Entry], decimals: int, higher: bool) -> Scene:
    mean, spread = float(line.mean()), float(line.std(ddof=0))
    best = line.idxmax() if higher else line.idxmin()
    return Scene(
        markdown.line(name),
        images,
        number(mean, decimals),
        repr(mean),
        number(spread, decimals),
        repr(spread),
        f"{title_of(methods[best].newest)} {number(float(line[best]), decimals)}",
    )
