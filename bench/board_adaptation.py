"""The section of a board on adaptation: what labelled images of each kind teach a segmenter about real target images.

Rows as in SemST's table 2: each way to adapt, with source images and with each method's translations in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sarbench.bench import markdown
from sarbench.bench.board import Board, name_of, number
from sarbench.bench.board_verdicts import DECIMALS, by_seed, cell, images_of, referee, share_of, with_all_columns
from sarbench.bench.judged import Judged, JudgedImages, Kind
from sarbench.bench.published import Published, rows_for

MAIN = "mean_iou[pooled]"  # what shares are given of
COLUMNS = ("accuracy[pooled]", "class_accuracy[pooled]", MAIN)
PLAIN = "adaptation"
ADAPTERS = {PLAIN: "none", "bdl": "BDL", "proda": "ProDA", "sepico": "SePiCo"}  # the judges that this section is of
REFERENCES: dict[Kind, str] = {"source": "source images (floor)", "ceiling": "real target images (ceiling)"}
WHY = (
    "A segmenter learns from labelled images and is tested on real target images with their own labels. What it learns from: "
    "source images (the floor), their translations with the source's labels, or real target images with theirs, which nobody "
    "has who needs to adapt (the ceiling). The share is of the way from floor to ceiling, without adaptation. BDL, ProDA and "
    "SePiCo also learn from target images without labels."
)
HONEST = (
    "No artefact is planted here: the images are learned from, not scored, and an artefact that raises the score on real "
    "images has helped."
)


@dataclass(frozen=True)
class _Row:
    learned: str  # from which labelled images
    method: str  # whose translations; empty for the source or target images
    adapter: str
    images: Sequence[JudgedImages]


def adapted(board: Board, published: Sequence[Published]) -> list[str]:
    """The section; empty where no adapter was asked."""
    asked = [name for name in ADAPTERS if any(name in (entry.newest.judged or {}) for entry in board.ranked)]
    if not asked:
        return []
    parts = ["## Judged by adaptation"]
    known = {name: judge for name in asked if (judge := _speaking(board, name)) is not None}
    for name in asked:
        if name not in known:
            silent = next(entry.newest.judged[name] for entry in board.ranked if name in (entry.newest.judged or {}))  # type: ignore[index]
            parts.append(f"{ADAPTERS[name] if name != PLAIN else 'Without adaptation'}: {markdown.text(silent.reason)}.")
    if not known:
        return parts
    rows = [row for name, like in known.items() for row in _rows(board, name, like)]
    ends = {kind: by_seed(_reference(rows, kind), MAIN) for kind in REFERENCES}
    printed = _printed(board, published)
    scores = [_scores(row, ends, printed) for row in rows]
    first = next(iter(known.values()))
    by_class = [
        {"learned from": row.learned, "adaptation": ADAPTERS[row.adapter]}
        | {markdown.text(c): _mean(row.images, f"iou[{c},pooled]") for c in first.classes}
        | {"mean": _mean(row.images, MAIN)}
        for row in rows
    ]
    seeds = len(first.seeds)
    spread = f"± is the standard deviation over {seeds} judge seeds. " if seeds > 1 else ""
    signatures = ", ".join(markdown.code(judge.signature) for judge in known.values())
    return [
        *parts,
        WHY,
        markdown.table(with_all_columns(scores), left=2),
        "IoU by class, pooled, means over judge seeds:",
        markdown.table(by_class, left=2),
        spread + HONEST,
        f"Judges: {signatures}; judges of different signatures are never compared.",
    ]


def _speaking(board: Board, name: str) -> Judged | None:
    """What the newest record that has an answer of this judge holds; None where none has."""
    newest = sorted((entry.newest for entry in board.ranked), key=lambda r: (r.created, r.method, r.seed), reverse=True)
    return next((judge for record in newest if (judge := (record.judged or {}).get(name)) and judge.images), None)


def _rows(board: Board, name: str, like: Judged) -> list[_Row]:
    rows = []
    for kind, title in REFERENCES.items():
        if images := referee(board, name, like, "own", kind, "forward"):
            rows.append(_Row(title, "", name, images))
    for entry in board.ranked:
        if images := images_of(entry, name, like, "own", "translated", "forward"):
            rows.append(_Row(f"translated by {name_of(entry.newest)}", entry.newest.method, name, images))
    return rows


def _reference(rows: Sequence[_Row], kind: Kind) -> Sequence[JudgedImages]:
    return next((row.images for row in rows if row.adapter == PLAIN and row.learned == REFERENCES[kind]), ())


def _scores(row: _Row, ends: dict[Kind, list[float] | None], printed: dict[tuple[str, str], str]) -> dict[str, str]:
    found = {"learned from": row.learned, "adaptation": ADAPTERS[row.adapter]}
    for of in COLUMNS:
        found[markdown.text(of)] = cell(by_seed(row.images, of))
        if of == MAIN and (row.adapter, row.method) in printed:
            found[f"{markdown.text(of)}, published"] = printed[row.adapter, row.method]
    is_reference = row.adapter == PLAIN and not row.method
    found[f"share of {markdown.text(MAIN)}"] = (
        "–" if is_reference else share_of(by_seed(row.images, MAIN), ends["source"], ends["ceiling"])
    )
    return found


def _mean(images: Sequence[JudgedImages], of: str) -> str:
    values = by_seed(images, of)
    return number(fmean(values), DECIMALS) if values else "–"


def _printed(board: Board, published: Sequence[Published]) -> dict[tuple[str, str], str]:
    """(adapter, method or "") -> the mean IoU as a paper prints it, where the protocol is the paper's."""
    found = {}
    for row in rows_for(board.newest.terms.name, published):
        adapter, _, method = row.method.partition("+")
        if row.metric == "miou" and adapter in ADAPTERS:
            found[adapter, method] = f"{row.printed} {row.unit}".rstrip()
    return found
