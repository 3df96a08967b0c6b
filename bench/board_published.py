"""The section of a board that sets what was measured beside what the paper of its protocol prints, with the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.published import METRICS, Published, rows_for, title_of

SAME_UNIT = {"points": ""}  # a unit that the papers leave out
WHY = (
    "Measured here, and printed in the paper, as the digits stand there; the difference is measured less published. It is no "
    "error of either: papers differ in test images, value ranges and metric code, and mostly do not say which "
    "([published.md](published.md))."
)


def beside_published(board: Board, published: Sequence[Published]) -> list[str]:
    """A line for each printed number of a method and metric of this board; empty where its protocol is of no paper."""
    printed = rows_for(board.newest.terms.name, published)
    rows = [row for entry in board.ranked for row in _of_entry(board, entry, printed)]
    if not rows:
        return []
    preset = board.newest.terms.preset
    parts = ["## Beside the published numbers", WHY]
    if preset != "paper":
        parts.append(
            f"This board is of the preset `{preset}`: networks, budget and images are smaller than the paper's, so that the "
            "differences say little of either."
        )
    if not any(row["setting"] != "–" for row in rows):
        rows = [{head: cell for head, cell in row.items() if head != "setting"} for row in rows]
    return [*parts, markdown.table(rows, left=3 if "setting" in rows[0] else 2)]


def _of_entry(board: Board, entry: Entry, printed: Sequence[Published]) -> list[dict[str, str]]:
    if entry.newest.variant:
        return []  # rows of ablations stand in their own section
    own = [row for row in printed if row.method == entry.newest.method and not row.variant]
    found = []
    for row in own:
        score = board.newest.scores.get(row.metric)
        mean = None if score is None else entry.mean(row.metric)
        if score is None or mean is None:
            continue
        interval = board.interval(entry, row.metric)
        measured = number(mean, score.decimals)
        if interval is not None:
            measured += f" ± {number((interval.high - interval.low) / 2, score.decimals)}"
        found.append(
            {
                "method": f"`{row.method}`",
                "metric": f"`{row.metric}`" + (f" ({markdown.text(score.unit)})" if score.unit.strip() else ""),
                "setting": markdown.text(row.setting) or "–",
                "measured": measured,
                "published": f"{row.printed} {markdown.text(row.unit)}".rstrip(),
                "difference": difference(mean, row, score.unit, score.decimals),
                "where": f"[{markdown.text(row.paper)}](published.md#{row.paper}) {title_of(row.table).lower()}",
            }
        )
    return found


def difference(measured: float, row: Published, unit: str, decimals: int) -> str:
    """Measured less published, signed; a dash where the units differ or one is no finite number."""
    if METRICS[row.metric].unit != SAME_UNIT.get(unit, unit) or not math.isfinite(measured):
        return "–"
    text = number(measured - row.value, decimals)
    return text if text.startswith("-") else f"+{text}"
