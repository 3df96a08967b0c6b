"""What judges said, as cells of a board: means over runs, spreads over judge seeds, shares of the gap, who can be fooled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.ceiling import share
from sarbench.bench.judged import Direction, Judged, JudgedImages, Kind, Net
from sarbench.bench.published import Published, rows_for

DECIMALS = 3
SEGMENTERS = {  # the judges of single images, and who they are
    "segmentation": "A segmenter trained on real target images",
    "fcn_cityscapes": "pix2pix's FCN-8s, which its authors trained on Cityscapes,",
}
MAIN = {"change_detection": "f1[change,pooled]", **dict.fromkeys(SEGMENTERS, "mean_iou[pooled]")}  # what shares are given of
COLUMNS = {
    "change_detection": (
        "accuracy[pooled]",
        "mean_iou[pooled]",
        "precision[change,pooled]",
        "recall[change,pooled]",
        "f1[change,pooled]",
        "f1[change,macro over samples]",
    ),
    **dict.fromkeys(
        SEGMENTERS, ("accuracy[pooled]", "class_accuracy[pooled]", "mean_iou[pooled]", "mean_iou[macro over samples]")
    ),
}
PRINTED = {  # a paper's name of a number
    "change_detection": {
        "accuracy": "accuracy[pooled]",
        "miou": "mean_iou[pooled]",
        "precision": "precision[change,pooled]",
        "recall": "recall[change,pooled]",
        "f1": "f1[change,pooled]",
    },
    **{
        name: {"pixel_accuracy": "accuracy[pooled]", "class_accuracy": "class_accuracy[pooled]", "miou": "mean_iou[pooled]"}
        for name in SEGMENTERS
    },
}
PLANTED: tuple[Kind, ...] = ("checkerboard", "noise")


# --- Values ----------------------------------------------------------------------------------------------------------


def images_of(entry: Entry, name: str, like: Judged, net: Net, kind: Kind, way: Direction) -> list[JudgedImages]:
    """What a judge of one signature said of an entry, a set of images a run seed; empty unless it is of all of them."""
    found = [(record.judged or {}).get(name) for record in entry.records]
    same = [one for one in found if one and (one.signature, one.classes) == (like.signature, like.classes)]
    images = [said for one in same if (said := one.of(net, kind, way))]
    return images if len(images) == len(entry.records) else []


def by_seed(images: Sequence[JudgedImages], of: str) -> list[float] | None:
    """The number by judge seed, a mean over the run's seeds; None where a value is missing."""
    columns = [one.numbers.get(of, ()) for one in images]
    values = [[value for value in column if value is not None] for column in columns]
    if not columns or any(len(v) != len(c) or not c for v, c in zip(values, columns, strict=True)):
        return None
    return [fmean(row) for row in zip(*values, strict=True)]


def cell(values: Sequence[float] | None) -> str:
    """The mean over judge seeds with its standard deviation; a dash for a number that is missing."""
    if not values:
        return "–"
    spread = f" ± {number(stdev(values), DECIMALS)}" if len(values) > 1 else ""
    return number(fmean(values), DECIMALS) + spread


def share_of(values: Sequence[float] | None, floor: Sequence[float] | None, ceiling: Sequence[float] | None) -> str:
    """Of the way from floor to ceiling, on means over the judge's seeds."""
    if not (values and floor and ceiling):
        return "–"
    found = share(fmean(values), [fmean(floor)], fmean(ceiling), higher_is_better=True)
    return "–" if math.isnan(found) else f"{number(100 * found, 0)} %"


def referee(board: Board, name: str, like: Judged, net: Net, kind: Kind, way: Direction) -> list[JudgedImages]:
    """What the judge said of a reference, which is the same beside every run of a signature."""
    for entry in board.ranked:
        if found := images_of(entry, name, like, net, kind, way):
            return found[:1]
    return []


def fooled(judged: Judged, of: str) -> dict[Kind, float]:
    """The planted artefacts that a fixed judge likes better than the clean source, and by how much.

    It does where the score rises for every judge seed, and in the mean by more than the scores' own spread over seeds.
    """
    source = judged.of("fixed", "source")
    clean = by_seed([source], of) if source else None
    found: dict[Kind, float] = {}
    for kind in PLANTED:
        images = judged.of("fixed", kind)
        planted = by_seed([images], of) if images else None
        if clean is None or planted is None:
            continue
        gains = [b - a for a, b in zip(clean, planted, strict=True)]
        spread = max(stdev(values) if len(values) > 1 else 0.0 for values in (clean, planted))
        if min(gains) > 0 and fmean(gains) > spread:
            found[kind] = fmean(gains)
    return found


def blind(floor: Sequence[float] | None, ceiling: Sequence[float] | None) -> list[str]:
    """A warning where the right answer is no better to a judge than the source, so that it can't tell a good translation."""
    if not (floor and ceiling) or fmean(ceiling) > fmean(floor):
        return []
    return [
        "**Blind**: to these networks the right answer is no better than the untranslated source, so that what they say of "
        "translations can't be read as worth."
    ]


def honesty(judge: Judged, name: str) -> str:
    """What ± is, and whether planted artefacts raise the judge's score."""
    main, seeds = MAIN[name], len(judge.seeds)
    spread = f"± is the standard deviation over {seeds} judge seeds. " if seeds > 1 else "One judge, so there is no spread. "
    gains = fooled(judge, main)
    if not gains:
        return f"{spread}No planted artefact (a checkerboard, fine noise with the target's spectrum) raises `{main}`."
    said = " and ".join(f"{kind} by {number(gain, DECIMALS)}" for kind, gain in gains.items())
    return f"{spread}**Gameable**: artefacts planted in the source raise `{main}` of the fixed judge: {said}."


def printed_of(board: Board, name: str, published: Sequence[Published], data: str | None) -> dict[tuple[str, str], str]:
    """(method, number) -> as its paper prints it, where the protocol is the paper's; `data`: the row's two images."""
    return {
        (row.method, PRINTED[name][row.metric]): row.printed
        for row in rows_for(board.newest.terms.name, published)
        if row.metric in PRINTED[name] and not row.variant and (data is None or row.setting.endswith(data))
    }


# --- Rows ------------------------------------------------------------------------------------------------------------


def row_of(
    name: str, title: str, data: str, images: Sequence[JudgedImages], printed: dict[str, str], reached: str
) -> dict[str, str]:
    """A row of a judge's table, by the heads of its columns; `printed`: what a paper prints beside a number."""
    row = {"method": title, "data": data}
    for of in COLUMNS[name]:
        row[markdown.text(of)] = cell(by_seed(images, of))
        if of in printed:
            row[f"{markdown.text(of)}, published"] = printed[of]
    row[f"share of {markdown.text(MAIN[name])}"] = reached
    return row


def with_all_columns(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows that all have the columns of any; a published one stands behind the column that it belongs to."""
    known = {head for row in rows for head in row}
    heads = [h for head in rows[0] for h in (head, f"{head}, published") if not head.endswith(", published") and h in known]
    return [{head: row.get(head, "–") for head in heads} for row in rows]


def marked(rows: Sequence[dict[str, str]], judge: Judged | None, main: str) -> list[dict[str, str]]:
    """The rows with "gameable" over the columns of what a judge can be fooled in."""
    gameable = set() if judge is None or not fooled(judge, main) else {markdown.text(main), f"share of {markdown.text(main)}"}
    return [{f"{head} gameable" if head in gameable else head: cell for head, cell in row.items()} for row in rows]


def signature(judge: Judged) -> str:
    """The line that says which judge it was."""
    return f"Judge: {markdown.code(judge.signature)}; judges of different signatures are never compared."
