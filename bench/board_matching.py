"""The section of a board on matching: does correlation find a translated template in the true image, where not its source?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, name_of, number
from sarbench.bench.ceiling import share
from sarbench.bench.match_scores import SCORES
from sarbench.bench.matched import SIDES, Matched

MAIN = "cmr_2"  # what shares and gains are given of
REFERENCES = {"source": "the source itself (floor)", "target": "the target itself (ceiling)"}
HEADS = {
    name: f"{markdown.text(name)} ({score.unit}) {'↑' if score.higher_is_better else '↓'}" for name, score in SCORES.items()
}
WHY = (
    "A template is cut from each translation and searched in the true image by normalised cross-correlation, which learns "
    "nothing: the floor is the same template cut from the source, the ceiling the one cut from the target. What a translation "
    "gains over its source is what it is worth for registration. `cmr_N`: the share of templates found within N px of their "
    "place; sources and targets are taken as registered. The correlation is signed, so that an image whose light and dark are "
    "swapped is found nowhere."
)


def matching(board: Board) -> list[str]:
    """The section; empty where nothing was matched."""
    known = [(entry, found) for entry in board.ranked if (found := _of(entry))]
    if not known:
        return []
    newest = max((record for entry, _ in known for record in entry.records), key=lambda r: (r.created, r.method, r.seed))
    assert newest.matched is not None
    signature = newest.matched.signature
    same = [(entry, found) for entry, found in known if all(one.signature == signature for one in found)]
    means = {side: _means([same[0][1][0]], side) for side in REFERENCES}
    rows = [{"method": title, **_cells(means[side]), **_gain(means[side], means)} for side, title in REFERENCES.items()]
    for entry, found in same:
        own = _means(found, "translated")
        rows.append({"method": name_of(entry.newest), **_cells(own), **_gain(own, means)})
    judge = f"Judge: {markdown.code(signature)}; numbers of different signatures are never compared."
    return ["## Judged by matching", WHY, markdown.table(rows, left=1), judge]


def _of(entry: Entry) -> list[Matched]:
    """What was found of an entry, by run seed; empty unless it is of all of them."""
    found = [record.matched for record in entry.records if record.matched]
    return found if len(found) == len(entry.records) else []


def _means(found: Sequence[Matched], side: str) -> dict[str, float]:
    assert side in SIDES
    return {name: fmean(one.scores[side][name] for one in found) for name in SCORES}


def _cells(means: dict[str, float]) -> dict[str, str]:
    return {HEADS[name]: number(means[name], score.decimals) for name, score in SCORES.items()}


def _gain(own: dict[str, float], references: dict[str, dict[str, float]]) -> dict[str, str]:
    """How much more often than the source, and where between source and target that is."""
    score, floor, ceiling = SCORES[MAIN], references["source"][MAIN], references["target"][MAIN]
    gained, reached = own[MAIN] - floor, share(own[MAIN], [floor], ceiling, score.higher_is_better)
    sign = "+" if round(gained, score.decimals) > 0 else ""
    return {
        f"{markdown.text(MAIN)} over the source": sign + number(gained, score.decimals),
        f"share of {markdown.text(MAIN)}": "–" if math.isnan(reached) else f"{number(100 * reached, 0)} %",
    }
