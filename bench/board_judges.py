"""The sections of a board on what judges said: change detection and segmentation of translated images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, name_of, number
from sarbench.bench.ceiling import share
from sarbench.bench.judged import Direction, Judged, JudgedImages, Kind, Net
from sarbench.bench.judges._confusion import flips, square_metres_per_km2
from sarbench.bench.published import Published, rows_for

DECIMALS = 3
MAIN = {"change_detection": "f1[change,pooled]", "segmentation": "mean_iou[pooled]"}  # what shares are given of
COLUMNS = {
    "change_detection": (
        "accuracy[pooled]",
        "mean_iou[pooled]",
        "precision[change,pooled]",
        "recall[change,pooled]",
        "f1[change,pooled]",
        "f1[change,macro over samples]",
    ),
    "segmentation": ("accuracy[pooled]", "class_accuracy[pooled]", "mean_iou[pooled]", "mean_iou[macro over samples]"),
}
PRINTED = {  # a paper's name of a number
    "change_detection": {
        "accuracy": "accuracy[pooled]",
        "miou": "mean_iou[pooled]",
        "precision": "precision[change,pooled]",
        "recall": "recall[change,pooled]",
        "f1": "f1[change,pooled]",
    },
    "segmentation": {
        "pixel_accuracy": "accuracy[pooled]",
        "class_accuracy": "class_accuracy[pooled]",
        "miou": "mean_iou[pooled]",
    },
}
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


WAYS: tuple[Direction, ...] = ("forward", "back")
PLANTED: tuple[Kind, ...] = ("checkerboard", "noise")
SHOWN: dict[Kind, str] = {"source": "floor", "ceiling": "ceiling"}  # of the segmenter, as columns of the tables by class


def judged(board: Board, published: Sequence[Published]) -> list[str]:
    """A section for each judge that has said something; empty where none has."""
    names = sorted({name for entry in board.ranked for name in (entry.newest.judged or {}) if name in MAIN})
    parts: list[str] = []
    for name in names:
        known = [found for entry in board.ranked if (found := (entry.newest.judged or {}).get(name))]
        speaks = next((found for found in known if found.images), None)
        title = f"## Judged by {name.replace('_', ' ')}"
        if speaks is None:
            parts += [title, f"{markdown.text(known[0].reason).capitalize()}."]
        elif name == "change_detection":
            parts += [title, *_change_detection(board, speaks, published)]
        elif name == "segmentation":
            parts += [title, *_segmentation(board, speaks, published)]
    return parts


# --- Values ----------------------------------------------------------------------------------------------------------


def _images(entry: Entry, name: str, like: Judged, net: Net, kind: Kind, way: Direction) -> list[JudgedImages]:
    """What a judge of one signature said of an entry, a set of images a run seed; empty unless it is of all of them."""
    found = [(record.judged or {}).get(name) for record in entry.records]
    same = [one for one in found if one and (one.signature, one.classes) == (like.signature, like.classes)]
    images = [said for one in same if (said := one.of(net, kind, way))]
    return images if len(images) == len(entry.records) else []


def _by_seed(images: Sequence[JudgedImages], of: str) -> list[float] | None:
    """The number by judge seed, a mean over the run's seeds; None where a value is missing."""
    columns = [one.numbers.get(of, ()) for one in images]
    values = [[value for value in column if value is not None] for column in columns]
    if not columns or any(len(v) != len(c) or not c for v, c in zip(values, columns, strict=True)):
        return None
    return [fmean(row) for row in zip(*values, strict=True)]


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return "–"
    spread = f" ± {number(stdev(values), DECIMALS)}" if len(values) > 1 else ""
    return number(fmean(values), DECIMALS) + spread


def _share(values: Sequence[float] | None, floor: Sequence[float] | None, ceiling: Sequence[float] | None) -> str:
    """Of the way from floor to ceiling, on means over the judge's seeds."""
    if not (values and floor and ceiling):
        return "–"
    found = share(fmean(values), [fmean(floor)], fmean(ceiling), higher_is_better=True)
    return "–" if math.isnan(found) else f"{number(100 * found, 0)} %"


def _referee(board: Board, name: str, like: Judged, net: Net, kind: Kind, way: Direction) -> list[JudgedImages]:
    """What the judge said of a reference, which is the same beside every run of a signature."""
    for entry in board.ranked:
        if found := _images(entry, name, like, net, kind, way):
            return found[:1]
    return []


def fooled(judged: Judged, of: str) -> dict[Kind, float]:
    """The planted artefacts that a fixed judge likes better than the clean source, and by how much.

    It does where the score rises for every judge seed, and in the mean by more than the scores' own spread over seeds.
    """
    source = judged.of("fixed", "source")
    clean = _by_seed([source], of) if source else None
    found: dict[Kind, float] = {}
    for kind in PLANTED:
        images = judged.of("fixed", kind)
        planted = _by_seed([images], of) if images else None
        if clean is None or planted is None:
            continue
        gains = [b - a for a, b in zip(clean, planted, strict=True)]
        spread = max(stdev(values) if len(values) > 1 else 0.0 for values in (clean, planted))
        if min(gains) > 0 and fmean(gains) > spread:
            found[kind] = fmean(gains)
    return found


def _honesty(judge: Judged, name: str) -> str:
    main, seeds = MAIN[name], len(judge.seeds)
    spread = f"± is the standard deviation over {seeds} judge seeds. " if seeds > 1 else ""
    gains = fooled(judge, main)
    if not gains:
        return f"{spread}No planted artefact (a checkerboard, fine noise with the target's spectrum) raises `{main}`."
    said = " and ".join(f"{kind} by {number(gain, DECIMALS)}" for kind, gain in gains.items())
    return f"{spread}**Gameable**: artefacts planted in the source raise `{main}` of the fixed judge: {said}."


def _printed(board: Board, name: str, published: Sequence[Published], data: str | None) -> dict[tuple[str, str], str]:
    """(method, number) -> as its paper prints it, where the protocol is the paper's; `data`: the row's two images."""
    return {
        (row.method, PRINTED[name][row.metric]): row.printed
        for row in rows_for(board.newest.terms.name, published)
        if row.metric in PRINTED[name] and not row.variant and (data is None or row.setting.endswith(data))
    }


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
        floor = _by_seed(_referee(board, name, like, net, "source", "forward"), main)
        rows = []
        references: list[tuple[Kind, Direction]] = [
            ("source", "forward"),
            ("ceiling", "forward"),
            ("ceiling", "back"),
            ("erased", "forward"),
        ]
        for kind, way in references:
            images = _referee(board, name, like, net, kind, way)
            if images:
                title = REFERENCES.get(kind, "the target itself")
                printed = _printed(board, name, published, DATA[kind, way]) if kind == "source" else {}
                rows.append(_row(name, title, DATA[kind, way], images, {k: v for (_, k), v in printed.items()}, "–"))
        for entry in board.ranked:
            for way in WAYS:
                images = _images(entry, name, like, net, "translated", way)
                if not images:
                    continue
                ceiling = _by_seed(_referee(board, name, like, net, "ceiling", way), main)
                data = DATA["translated", way]
                there = _printed(board, name, published, data)
                own = {k: v for (method, k), v in there.items() if method == entry.newest.method}
                rows.append(
                    _row(name, name_of(entry.newest), data, images, own, _share(_by_seed(images, main), floor, ceiling))
                )
        if rows:
            parts += [about, markdown.table(_with_all_columns(rows), left=2)]
    return [*parts, _honesty(like, name), _signature(like)]


def _row(
    name: str, title: str, data: str, images: Sequence[JudgedImages], printed: dict[str, str], reached: str
) -> dict[str, str]:
    row = {"method": title, "data": data}
    for of in COLUMNS[name]:
        row[markdown.text(of)] = _cell(_by_seed(images, of))
        if of in printed:
            row[f"{markdown.text(of)}, published"] = printed[of]
    row[f"share of {markdown.text(MAIN[name])}"] = reached
    return row


def _with_all_columns(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows that all have the columns of the fullest one, in its order."""
    fullest = max(rows, key=lambda row: len(row))
    return [{head: row.get(head, "–") for head in fullest} for row in rows]


def _signature(judge: Judged) -> str:
    return f"Judge: {markdown.code(judge.signature)}; judges of different signatures are never compared."


# --- Segmentation ----------------------------------------------------------------------------------------------------


def _segmentation(board: Board, like: Judged, published: Sequence[Published]) -> list[str]:
    name, main = "segmentation", MAIN["segmentation"]
    why = (
        "A segmenter trained on real target images labels the translations, and is compared with the labels of the source: "
        "what a translation shows elsewhere than the source has it counts as an error. The floor is the source itself, the "
        "ceiling the real target images of the test split with their own labels; of unpaired domains these show other "
        "scenes, so that their balance of classes differs too."
    )
    floor = _by_seed(_referee(board, name, like, "fixed", "source", "forward"), main)
    ceiling = _by_seed(_referee(board, name, like, "fixed", "ceiling", "forward"), main)
    rows: list[dict[str, str]] = []
    shown: dict[str, list[JudgedImages]] = {}
    for kind, title in SHOWN.items():
        if images := _referee(board, name, like, "fixed", kind, "forward"):
            rows.append(_row(name, REFERENCES[kind], "", images, {}, "–"))
            shown[title] = images
    there = _printed(board, name, published, None)
    for entry in board.ranked:
        images = _images(entry, name, like, "fixed", "translated", "forward")
        if images:
            own = {k: v for (method, k), v in there.items() if method == entry.newest.method}
            reached = _share(_by_seed(images, main), floor, ceiling)
            rows.append(_row(name, name_of(entry.newest), "", images, own, reached))
            shown[f"`{entry.newest.method}` {markdown.text(entry.newest.variant)}".rstrip()] = images
    plain = [{head: cell for head, cell in row.items() if head != "data"} for row in _with_all_columns(rows)]
    by_class = [
        {"class": markdown.text(c), **{title: _cell(_by_seed(images, f"iou[{c},pooled]")) for title, images in shown.items()}}
        for c in like.classes
    ]
    parts = [why, markdown.table(plain, left=1), "IoU by class, pooled:", markdown.table(by_class, left=1)]
    return [*parts, *_flips(like, shown), _honesty(like, name), _signature(like)]


def _flips(like: Judged, shown: dict[str, list[JudgedImages]]) -> list[str]:
    """Per class: how much of it is lost and to what, and how much ground is wrongly given to it."""
    found = {}
    for title, images in shown.items():
        if all(one.pooled for one in images):
            whole = np.sum([np.array(one.pooled) for one in images], axis=0)
            found[title] = (flips(whole[None], like.classes), int(whole.sum()))
    if not found:
        return []
    rows = []
    for c in like.classes:
        row = {"class": markdown.text(c)}
        for title, (of_class, labelled) in found.items():
            row[title] = "–"
            if c in of_class:
                flip = of_class[c]
                lost = "–" if not flip.pixels else f"−{number(100 * flip.omitted / flip.pixels, 0)} %"
                lost += f" to {markdown.text(flip.becomes[0])}" if flip.omitted else ""
                area = square_metres_per_km2(flip.hallucinated, labelled, like.gsd_m).value
                gained = (
                    f"+{number(100 * flip.hallucinated / labelled, 1)} %" if area is None else f"+{number(area / 1e4, 1)} ha"
                )
                row[title] = f"{lost}, {gained}"
        rows.append(row)
    unit = "in hectares per square kilometre of ground" if like.gsd_m else "as a share of all labelled pixels"
    why = (
        "Omission and hallucination: −, the share of a class that is seen as another, and as which most often; "
        f"+, what is wrongly seen as this class, {unit}:"
    )
    return [why, markdown.table(rows, left=1)]
