"""The sections of a board that ask more than who is best: shares of the ceiling, land cover, audit, misregistration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, name_of, number
from sarbench.bench.board_tables import Notes, score_table
from sarbench.bench.ceiling import NAME as CEILING
from sarbench.bench.ceiling import share

DECIMALS = {"psnr": 2, "ssim": 4}  # of the scores by class
TWINS = {"psnr": "psnr_shift", "ssim": "ssim_shift"}


# --- The ceiling -----------------------------------------------------------------------------------------------------


def shares(board: Board) -> list[str]:
    """Methods x metrics that rank: where each score lies between the best floor and the ceiling, as shown numbers."""
    ceiling = next((entry for entry in board.ceilings if entry.newest.method == CEILING), None)
    if ceiling is None:
        return []
    metrics = [metric for metric in board.metrics if board.ranks_by(metric) and board.shown(ceiling, metric) is not None]
    if not metrics:
        return []
    rows = [{"method": name_of(entry.newest)} for entry in board.methods]
    rows += [{"method": "best floor: 0 %"}, {"method": f"`{ceiling.newest.method}` (ceiling): 100 %"}]
    for metric in metrics:
        score = board.newest.scores[metric]
        unit = f" ({markdown.text(score.unit)})" if score.unit.strip() else ""
        floors = [value for entry in board.floors if (value := board.shown(entry, metric)) is not None]
        best = (max if score.higher_is_better else min)(floors, default=None)
        top = board.shown(ceiling, metric)
        cells = [_share(board.shown(entry, metric), floors, top, score.higher_is_better) for entry in board.methods]
        cells += ["–" if value is None else number(value, score.decimals) for value in (best, top)]
        for row, cell in zip(rows, cells, strict=True):
            row[markdown.text(metric) + unit] = cell
    read = (
        "0 % is the best floor, 100 % the true ground seen a second time, which the last two rows give in the metric's own "
        "unit: a right answer, taken again, would not score as an identical image does."
    )
    misleads = (
        "More than 100 %: nearer to this one reference than a second look, as an image smoother than the truth can be. "
        "– where a score is missing, or the ceiling does not beat the best floor, so that the metric can't tell the truth from "
        "a floor on these data. The noise is estimated from the reference, where texture counts as noise: on rough ground the "
        f"ceiling is too low. {markdown.code(ceiling.newest.config['signature'])}; another ceiling gives other shares."
    )
    return ["## Share of what can be reached", read, markdown.table(rows, left=1), misleads]


def _share(value: float | None, floors: Sequence[float], ceiling: float | None, higher_is_better: bool) -> str:
    found = math.nan if value is None or ceiling is None else share(value, floors, ceiling, higher_is_better)
    return "–" if math.isnan(found) else f"{number(100 * found, 0)} %"


# --- By land cover ---------------------------------------------------------------------------------------------------


def by_land_cover(board: Board) -> list[str]:
    """Per class: its share of the pixels, then each method and the best floor; empty where the records have no classes."""
    labelled = [record for entry in board.ranked for record in entry.records if record.by_class]
    if not labelled:
        return []
    pixels = {name: score.pixels for name, score in (labelled[0].by_class or {}).items()}
    total = sum(pixels.values())
    why = (
        "On the labelled pixels of each class, pooled over all test images: PSNR of the pooled error, SSIM of the windows "
        "whose centre is of the class. A mean over images, as above, is another number. **Bold** is the best method of a "
        "class; † does not beat the best floor."
    )
    parts = ["## By land cover", why]
    for metric, title in (("psnr", "PSNR (dB) ↑"), ("ssim", "SSIM ↑")):
        rows = []
        for name in sorted(pixels, key=lambda name: (-pixels[name], name)):
            row = {"class": markdown.text(name), "pixels": _percent(pixels[name] / total)}
            methods = [of_class(entry, name, metric) for entry in board.methods]
            floors = [value for entry in board.floors if (value := of_class(entry, name, metric)) is not None]
            best, floor = max((value for value in methods if value is not None), default=None), max(floors, default=None)
            for entry, value in zip(board.methods, methods, strict=True):
                cell = _cell(value, metric)
                cell = f"**{cell}**" if value is not None and value == best else cell
                row[_column(entry)] = cell + "†" * (value is not None and floor is not None and value <= floor)
            row["best floor"] = _cell(floor, metric)
            rows.append(row)
        parts += [f"{title}:", markdown.table(rows, left=1)]
    return parts


def _column(entry: Entry) -> str:
    return f"`{entry.newest.method}` {markdown.text(entry.newest.variant)}".rstrip()


def of_class(entry: Entry, name: str, metric: str) -> float | None:
    """The mean over seeds as it is shown; inf where one is infinite; None where one has no value."""
    values = []
    for record in entry.records:
        score = (record.by_class or {}).get(name)
        value = None if score is None else score.ssim if metric == "ssim" else math.inf if score.psnr is None else score.psnr
        if value is None:
            return None
        values.append(value)
    mean = math.inf if math.inf in values else fmean(values)
    return float(number(mean, DECIMALS[metric], infinity="inf"))


def _cell(value: float | None, metric: str) -> str:
    return "–" if value is None else number(value, DECIMALS[metric])


def _percent(part: float) -> str:
    return "<1 %" if 0 < part < 0.01 else f"{number(100 * part, 0)} %"


# --- Audit -----------------------------------------------------------------------------------------------------------


def audit(board: Board, notes: Notes) -> list[str]:
    """The metrics that are measured and do not rank, for everything on the board; empty where there are none."""
    if not board.audits:
        return []
    why = "Measured, and not ranked by: what they say is about how a method works. `sarbench explain` says how to read each."
    return ["## Audit", why, score_table(board, board.ranked + board.made, notes, board.audits)]


def misregistration(board: Board) -> list[str]:
    """One line an entry: at which shift its images fit best, and what that shift gains; empty where none was searched."""
    lines = [f"- {_column(entry)}: {line}" for entry in board.methods + board.made if (line := _shifts(board, entry))]
    if not lines:
        return []
    why = (
        "At which shift of up to 3 px each test image fits its target best, and PSNR and SSIM there, on the interior 3 px from "
        "the border: what is gained was registration, not image. A method that moves everything is forgiven too."
    )
    return ["## Misregistration", why, "\n".join(lines)]


def _shifts(board: Board, entry: Entry) -> str:
    counts: Counter[str] = Counter()
    for record in entry.records:
        counts.update(record.shifts or {})
    if not counts:
        return ""
    facts = [_where(counts)]
    for metric, twin in TWINS.items():
        if twin not in board.newest.scores:
            continue
        there, score = board.shown(entry, twin), board.newest.scores[twin]
        here = board.shown(entry, metric) if metric in board.newest.scores else None
        if there is None:
            continue
        if here is None:
            facts.append(f"{metric.upper()} {number(there, score.decimals)} {score.unit} there".replace("  ", " "))
            continue
        gain = f" ({_signed(there - here, score.decimals)})" if math.isfinite(there - here) else ""
        text = f"{metric.upper()} {number(here, score.decimals)} → {number(there, score.decimals)} {score.unit}".rstrip()
        facts.append(text + gain)
    return "; ".join(facts) + "."


def _where(counts: Mapping[str, int]) -> str:
    """How many images fit best unshifted, and which other shift is the most frequent: of equal ones the shortest."""
    total, still = sum(counts.values()), counts.get("0,0", 0)
    others = {_pair(text): count for text, count in counts.items() if _pair(text) != (0, 0)}
    if not others:
        return "best unshifted on every image"
    move = min(others, key=lambda pair: (-others[pair], pair[0] ** 2 + pair[1] ** 2, pair))
    said = f"on {_percent(still / total)} of the images, next" if still else "on no image,"
    return f"best unshifted {said} most often {_words(move)} ({_percent(others[move] / total)})"


def _pair(text: str) -> tuple[int, int]:
    dy, dx = text.split(",")
    return int(dy), int(dx)


def _words(move: Iterable[int]) -> str:
    """A shift (dy, dx) in words."""
    names = (("down", "up"), ("right", "left"))
    parts = [f"{abs(px)} px {names[axis][px < 0]}" for axis, px in enumerate(move) if px]
    return " and ".join(parts)


def _signed(value: float, decimals: int) -> str:
    text = number(value, decimals)
    return text if text.startswith("-") else f"+{text}"
