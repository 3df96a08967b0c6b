"""The sections of a board on what judges said: change detection and segmentation of translated images."""

from __future__ import annotations

from collections.abc import Sequence

from sarbench.bench import markdown
from sarbench.bench.board import Board, name_of, number
from sarbench.bench.board_flips import class_flips
from sarbench.bench.board_verdicts import (
    MAIN,
    SEGMENTERS,
    blind,
    by_seed,
    cell,
    honesty,
    images_of,
    marked,
    printed_of,
    referee,
    row_of,
    share_of,
    signature,
    with_all_columns,
)
from sarbench.bench.judged import Direction, Judged, JudgedImages, Kind, Net
from sarbench.bench.protocols import UNREFERENCED
from sarbench.bench.published import Published, rows_for

DATA: dict[tuple[Kind, Direction], str] = {  # as the tables of SRUIT call the two images
    ("source", "forward"): "A vs. B",
    ("ceiling", "forward"): "A as seen in B vs. B",
    ("erased", "forward"): "B vs. B",
    ("translated", "forward"): "t-B vs. B",
    ("translated", "back"): "t-A vs. A",
    ("ceiling", "back"): "B as seen in A vs. A",
}
REFERENCES: dict[Kind, str] = {"source": "the source itself (floor)", "ceiling": "the right answer (ceiling)"}
NETS: dict[Net, str] = {
    "own": "One network for each method, trained on its own translations of the training images:",
    "fixed": "One network for all, trained on real images:",
}
PUBLISHED_BY = "fcn_cityscapes"  # the segmenter that the papers' numbers are of
WAYS: tuple[Direction, ...] = ("forward", "back")
SHOWN: dict[Kind, str] = {"source": "floor", "ceiling": "ceiling"}  # of the segmenter, as columns of the tables by class


def judged(board: Board, published: Sequence[Published]) -> list[str]:
    """A section for each judge that has said something; empty where none has."""
    names = sorted({name for entry in board.ranked for name in (entry.newest.judged or {}) if name in MAIN})
    parts: list[str] = []
    for name in names:
        newest = sorted((entry.newest for entry in board.ranked), key=lambda r: (r.created, r.method, r.seed), reverse=True)
        known = [found for record in newest if (found := (record.judged or {}).get(name))]
        speaks = next((found for found in known if found.images), None)
        title = f"## Judged by {name.replace('_', ' ')}"
        if speaks is None:
            parts += [title, f"{markdown.text(known[0].reason).capitalize()}."]
        elif name == "change_detection":
            parts += [title, *_change_detection(board, speaks, published)]
        else:
            parts += [title, *_segmentation(board, name, speaks, published)]
    return parts


# --- Change detection ------------------------------------------------------------------------------------------------


def _change_detection(board: Board, like: Judged, published: Sequence[Published]) -> list[str]:
    name, main = "change_detection", MAIN["change_detection"]
    why = (
        "What is changed between two dates, found by a siamese network from a translation and the other date's image. A is the "
        "source, B the target, t-B the source as the target shows it, t-A the way back. A translation must keep what has "
        "changed: B itself in place of t-B matches the target perfectly and shows no change. The share is of the way from "
        "A vs. B to the right answer, which only data made by code can have."
    )
    parts = [why]
    for net, about in NETS.items():
        floor = by_seed(referee(board, name, like, net, "source", "forward"), main)
        rows = []
        references: list[tuple[Kind, Direction]] = [
            ("source", "forward"),
            ("ceiling", "forward"),
            ("ceiling", "back"),
            ("erased", "forward"),
        ]
        for kind, way in references:
            images = referee(board, name, like, net, kind, way)
            if images:
                title = REFERENCES.get(kind, "the target itself")
                printed = printed_of(board, name, published, DATA[kind, way]) if (net, kind) == ("own", "source") else {}
                rows.append(row_of(name, title, DATA[kind, way], images, {k: v for (_, k), v in printed.items()}, "–"))
        for entry in board.ranked:
            for way in WAYS:
                images = images_of(entry, name, like, net, "translated", way)
                if not images:
                    continue
                ceiling = by_seed(referee(board, name, like, net, "ceiling", way), main)
                data = DATA["translated", way]
                there = printed_of(board, name, published, data) if net == "own" else {}  # as the paper does it
                own = {k: v for (method, k), v in there.items() if method == entry.newest.method}
                rows.append(
                    row_of(name, name_of(entry.newest), data, images, own, share_of(by_seed(images, main), floor, ceiling))
                )
        if rows:
            table = markdown.table(marked(with_all_columns(rows), like if net == "fixed" else None, main), left=2)
            best = by_seed(referee(board, name, like, net, "ceiling", "forward"), main)
            parts += [about, table, *blind(floor, best)]
    return [*parts, honesty(like, name), *_unreferenced(board, published), signature(like)]


def _unreferenced(board: Board, published: Sequence[Published]) -> list[str]:
    """The quality of the same translations without a reference, as SRUIT's table 3; empty where nothing of it was measured."""
    metrics = [metric for metric in UNREFERENCED if metric in board.newest.scores]
    if all(entry.mean(metric) is None for entry in board.ranked for metric in metrics):
        return []
    printed = {(row.method, row.metric): row.printed for row in rows_for(board.newest.terms.name, published) if not row.variant}
    rows = []
    for entry in board.ranked:
        row = {"method": name_of(entry.newest), "data": DATA["translated", "forward"]}
        for metric in metrics:
            score, mean = board.newest.scores[metric], entry.mean(metric)
            head = f"{markdown.text(metric)} {'↑' if score.higher_is_better else '↓'}"
            row[head] = "–" if mean is None else number(mean, score.decimals)
            if (entry.newest.method, metric) in printed:
                row[f"{head}, published"] = printed[entry.newest.method, metric]
        rows.append(row)
    why = (
        "Image quality without reference, as SRUIT's table 3. These say nothing of what is shown: a judge may like what they "
        "dislike. The paper gives no unit of its total variation, so that published ones do not compare."
    )
    return [why, markdown.table(with_all_columns(rows), left=2)]


# --- Segmentation ----------------------------------------------------------------------------------------------------


def _segmentation(board: Board, name: str, like: Judged, published: Sequence[Published]) -> list[str]:
    main = MAIN[name]
    why = (
        f"{SEGMENTERS[name]} labels the translations, and is compared with the labels of the source: "
        "what a translation shows elsewhere than the source has it counts as an error. The floor is the source itself, the "
        "ceiling the real target images of the test split with their own labels; of unpaired domains these show other "
        "scenes, so that their balance of classes differs too."
    )
    floor = by_seed(referee(board, name, like, "fixed", "source", "forward"), main)
    ceiling = by_seed(referee(board, name, like, "fixed", "ceiling", "forward"), main)
    rows: list[dict[str, str]] = []
    shown: dict[str, list[JudgedImages]] = {}
    for kind, title in SHOWN.items():
        if images := referee(board, name, like, "fixed", kind, "forward"):
            rows.append(row_of(name, REFERENCES[kind], "", images, {}, "–"))
            shown[title] = images
    there = printed_of(board, name, published, None)
    if there and name != PUBLISHED_BY:
        why += f" Published numbers are of pix2pix's own network (`{PUBLISHED_BY}`), not of this one."
    for entry in board.ranked:
        images = images_of(entry, name, like, "fixed", "translated", "forward")
        if images:
            own = {k: v for (method, k), v in there.items() if method == entry.newest.method}
            reached = share_of(by_seed(images, main), floor, ceiling)
            rows.append(row_of(name, name_of(entry.newest), "", images, own, reached))
            shown[f"`{entry.newest.method}` {markdown.text(entry.newest.variant)}".rstrip()] = images
    plain = [{head: cell for head, cell in row.items() if head != "data"} for row in with_all_columns(rows)]
    by_class = [
        {"class": markdown.text(c), **{title: cell(by_seed(images, f"iou[{c},pooled]")) for title, images in shown.items()}}
        for c in like.classes
    ]
    parts = [
        why,
        markdown.table(marked(plain, like, main), left=1),
        *blind(floor, ceiling),
        "IoU by class, pooled:",
        markdown.table(by_class, left=1),
    ]
    return [*parts, *class_flips(like, shown), honesty(like, name), signature(like)]
