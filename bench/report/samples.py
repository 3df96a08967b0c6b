"""Which test images a report shows, and the data that its sample browser reads."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from sarbench.bench import markdown
from sarbench.bench.board import Board
from sarbench.bench.report.pictures import Rung, Shot, album, brightened, compressed, error_top
from sarbench.bench.report.table import entries_of

MIME = "image/webp"


@dataclass(frozen=True)
class Browser:
    """What the sample browser holds."""

    data: Mapping[str, Any] | None  # JSON; None: there is no picture to show
    shown: int
    of: int
    rung: Rung | None
    error_top: int
    zoom_px: int  # width of the large picture
    missing: tuple[str, ...]  # what is not shown, and why


def score_columns(board: Board) -> list[str]:
    """The metrics with a row for each image, the main metric first."""
    main = board.newest.terms.main_metric
    known = [metric for metric in board.metrics if any(metric in rows for rows in board.rows.values())]
    return sorted(known, key=lambda metric: metric != main)


def table(board: Board, metric: str, ids: Sequence[str]) -> Float[np.ndarray, "entries samples"]:
    """The values of each entry's first seed; NaN where there is none."""
    values = np.full((len(entries_of(board)), len(ids)), np.nan)
    for i, entry in enumerate(entries_of(board)):
        rows = board.rows.get(str(entry.records[0].rows_hash))
        if rows is not None and metric in rows:
            found = dict(zip(rows["id"], rows[metric], strict=True))
            values[i] = [found.get(sample_id, math.nan) for sample_id in ids]
    return values


def choose(values: Float[np.ndarray, "methods samples"], count: int, *, higher_is_better: bool) -> list[int]:
    """Which samples to show: the worst, the best and the most disputed in turn, each once, until there are so many.

    Worst and best by the mean over methods; disputed by the standard deviation between them. Values that are not finite take
    no part, and samples without any come last.
    """
    finite = np.where(np.isfinite(values), values if higher_is_better else -values, np.nan)
    known = np.flatnonzero(np.isfinite(finite).any(axis=0)).tolist()
    means = np.full(values.shape[1], np.nan)
    spread = np.zeros(values.shape[1])
    means[known] = np.nanmean(finite[:, known], axis=0)
    spread[known] = np.nanstd(finite[:, known], axis=0)
    worst, disputed = sorted(known, key=lambda k: means[k]), sorted(known, key=lambda k: -spread[k])
    turns = chain.from_iterable(zip(worst, reversed(worst), disputed, strict=True))
    order = dict.fromkeys([*turns, *range(values.shape[1])])
    return list(order)[:count]


def browser(board: Board, runs: Path, count: int, most_bytes: int) -> Browser:
    """The sample browser of a board, with so many samples from the folder `runs`, and at most so many bytes of pictures."""
    entries = entries_of(board)
    records = [entry.records[0] for entry in entries]
    own = next((rows for record in records if (rows := board.rows.get(str(record.rows_hash))) is not None), None)
    every = [] if own is None else own["id"].tolist()

    def nothing(*why: str) -> Browser:
        return Browser(None, 0, len(every), None, 255, 0, why)

    if board.newest.of_matching:
        return nothing("A matcher finds places and makes no images; there are none to browse.")
    if not (runs / board.slug).is_dir():
        return nothing(
            f"No pictures: the folder of the runs holds nothing of {board.slug}. Make the runs on this machine, or name their "
            "folder with --runs."
        )
    metrics = score_columns(board)
    chosen = list(range(len(every)))[:count]
    if metrics:
        values = table(board, metrics[0], every)[: len(board.methods) or None]
        chosen = choose(values, count, higher_is_better=board.newest.scores[metrics[0]].higher_is_better)
    ids = [every[k] for k in sorted(chosen)]
    found = album(runs / board.slug, records, board.rows, ids)
    top = error_top(found.shots)
    pictures = [picture for shot in found.shots for picture in _pictures(shot, top)]
    if not pictures:
        return nothing(f"No pictures: the folder of the runs holds none of the {len(ids)} samples.", *found.missing)
    done, rung = compressed(pictures, most_bytes)
    waiting = iter(base64.b64encode(data).decode() for data in done)
    tables = [table(board, metric, ids) for metric in metrics]
    scenes = dict(zip(every, own["scene"], strict=True)) if own is not None else {}
    samples = [
        {
            "id": markdown.line(sample_id),
            "scene": markdown.line(scenes.get(sample_id, "")),
            "source": None if shot.source is None else next(waiting),
            "target": None if shot.target is None else next(waiting),
            "images": [None if picture is None else next(waiting) for picture in shot.translated],
            "errors": [None if picture is None else next(waiting) for picture in shot.errors],
            "scores": [[_finite(v) for v in values[:, k]] for values in tables],
        }
        for k, (sample_id, shot) in enumerate(zip(ids, found.shots, strict=True))
    ]
    width = max(min(rung.side_px, picture.shape[1]) for picture in pictures)
    data = {"mime": MIME, "metrics": _metrics(board, metrics), "samples": samples}
    return Browser(data, len(ids), len(every), rung, top, width * max(1, 512 // width), found.missing)


def _pictures(shot: Shot, top: int) -> list[np.ndarray]:
    """The pictures of a sample, in the order in which they are taken up again."""
    errors = [brightened(error, top) for error in shot.errors if error is not None]
    images = [shot.source, shot.target, *shot.translated]
    return [picture for picture in images if picture is not None] + errors


def _metrics(board: Board, metrics: Sequence[str]) -> list[dict[str, Any]]:
    scores = board.newest.scores
    return [
        {
            "name": metric,
            "unit": markdown.line(scores[metric].unit),
            "decimals": scores[metric].decimals,
            "higher": scores[metric].higher_is_better,
        }
        for metric in metrics
    ]


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
