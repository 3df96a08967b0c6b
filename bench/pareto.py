"""Quality against cost as a picture: a board's main metric over FLOPs and over training time, as SVG text of our own.

No library draws it, so that the same records give the same bytes on every machine. A method is filled where no other is both
cheaper and at least as good by its shown number: the Pareto front. Whiskers are 95 % intervals; the dashed line is the best
floor. Labels keep clear of each other, and are tied to their point where they could not stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, number
from sarbench.bench.labels import HEIGHT as TEXT_PX
from sarbench.bench.labels import WIDTH as LETTER_PX
from sarbench.bench.labels import Box, Label, place

GENERATED = f"{markdown.GENERATED} the records in results/. Don't edit. -->"
WIDTH, HEIGHT = 960.0, 430.0  # px of a panel, with its axes
LEFT, RIGHT, TOP, BOTTOM = 84.0, 24.0, 30.0, 46.0  # px around the field of a panel
HEAD = 62.0  # px above the first panel
RADIUS = 4.5  # px of a point
LONGEST = 34  # letters of a label
COLOURS = {  # by what a method is trained on; apart for colour-blind readers too (Okabe and Ito, 2008)
    "paired": ("#0072b2", "pairs"),
    "semi": ("#009e73", "few pairs, unpaired images"),
    "unpaired": ("#d55e00", "unpaired images"),
    "none": ("#555555", "nothing"),
}
INK, FAINT = "#222222", "#c8c8c8"


@dataclass(frozen=True)
class Point:
    """A method in a panel."""

    name: str
    supervision: str
    cost: float
    quality: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One cost."""

    title: str
    points: tuple[Point, ...]
    tick: Callable[[float], str]
    round_costs: Callable[[float, float], list[float]]  # logarithms of ticks between two
    left_out: tuple[str, ...]  # methods without a finite value or a cost


def plot(board: Board) -> str:
    """The picture of a board; empty where no cost is known of two methods that have a value."""
    panels = [panel for panel in _panels(board) if len(panel.points) > 1]
    if not panels:
        return ""
    score = board.newest.scores[board.newest.terms.main_metric]
    metric, better = board.newest.terms.main_metric, "higher" if score.higher_is_better else "lower"
    height = HEAD + len(panels) * HEIGHT
    unit = f", {score.unit}" if score.unit.strip() else ""
    axis = f"{metric}{unit} ({better} is better)"
    title = f"{board.slug}: {metric} against cost"
    parts = [
        GENERATED,
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label={quoteattr(markdown.line(title))} '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11">',
        f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        _text(LEFT, 20, title, size=14),
        *_key(board, panels),
    ]
    floor = _best_floor(board)
    for at, panel in enumerate(panels):
        parts += _panel(panel, HEAD + at * HEIGHT, axis, score.higher_is_better, floor)
    return "\n".join([*parts, "</svg>"]) + "\n"


def front(points: Iterable[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that no other is cheaper than, or as cheap as, without being worse; from cheap to dear."""
    sign = 1.0 if higher_is_better else -1.0
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -sign * p.quality, p.name)):
        if not found or sign * point.quality > sign * found[-1].quality:
            found.append(point)
    return found


# --- What is drawn ---------------------------------------------------------------------------------------------------


def _panels(board: Board) -> list[Panel]:
    what = "matched template" if board.newest.of_matching else "translated image"
    devices = {entry.newest.cost.device for entry in board.methods if entry.newest.cost.train_seconds}
    on = f", on {next(iter(devices))}" if len(devices) == 1 else ", on the device of each run"
    return [
        _of(board, f"FLOPs of a {what}", lambda entry: entry.newest.cost.flops_per_image, _flops, _decades),
        _of(board, f"time of training{on}", lambda entry: entry.newest.cost.train_seconds, _seconds, _times),
    ]


def _of(
    board: Board,
    title: str,
    cost_of: Callable[[Entry], float | None],
    tick: Callable[[float], str],
    round_costs: Callable[[float, float], list[float]],
) -> Panel:
    points, left_out = [], []
    for entry in board.methods:
        quality, cost = board.shown(entry, board.newest.terms.main_metric), cost_of(entry)
        name = _short(f"{entry.newest.method} {entry.newest.variant}")
        if quality is None or not math.isfinite(quality) or not cost:
            left_out.append(name)
            continue
        interval = board.interval(entry, board.newest.terms.main_metric)
        low, high = (quality, quality) if interval is None else (interval.low, interval.high)
        points.append(Point(name, entry.newest.card.supervision, float(cost), quality, low, high))
    return Panel(title, tuple(points), tick, round_costs, tuple(left_out))


def _best_floor(board: Board) -> float | None:
    metric = board.newest.terms.main_metric
    values = [value for entry in board.floors if (value := board.shown(entry, metric)) is not None and math.isfinite(value)]
    return (max if board.newest.scores[metric].higher_is_better else min)(values, default=None)


def _short(name: str) -> str:
    text = markdown.line(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _key(board: Board, panels: Sequence[Panel]) -> list[str]:
    """What colours and marks mean, in one line."""
    used = {point.supervision for panel in panels for point in panel.points}
    x, y, parts = LEFT, 42.0, []
    shown = [(colour, f"trained on {said}") for name, (colour, said) in COLOURS.items() if name in used]
    for colour, said in shown:
        parts += [_circle(x + 5, y, colour, colour), _text(x + 14, y + 4, said)]
        x += 14 + len(said) * LETTER_PX + 20
    parts += [_circle(x + 5, y, INK, INK), _text(x + 14, y + 4, "Pareto front")]
    x += 14 + len("Pareto front") * LETTER_PX + 20
    return [*parts, _circle(x + 5, y, INK, "#ffffff"), _text(x + 14, y + 4, "behind it")]


def _panel(panel: Panel, top: float, axis: str, higher: bool, floor: float | None) -> list[str]:
    """One field with its axes, points and labels."""
    field = Box(LEFT, top + TOP, WIDTH - RIGHT, top + HEIGHT - BOTTOM)
    logs = [math.log10(point.cost) for point in panel.points]
    spread = max(max(logs) - min(logs), 0.5)
    x_low, x_high = min(logs) - 0.08 * spread, max(logs) + 0.08 * spread
    ends = [value for point in panel.points for value in (point.low, point.high)] + ([] if floor is None else [floor])
    y_low, y_high = min(ends), max(ends)
    margin = 0.07 * ((y_high - y_low) or abs(y_high) or 1.0)
    y_low, y_high = y_low - margin, y_high + margin

    def at(log: float) -> float:
        return field.left + (log - x_low) / (x_high - x_low) * (field.right - field.left)

    def up(value: float) -> float:
        share = (value - y_low) / (y_high - y_low)
        return field.bottom - (share if higher else 1 - share) * (field.bottom - field.top)

    edges = f'x="{field.left:.1f}" y="{field.top:.1f}" width="{field.width:.1f}" height="{field.height:.1f}"'
    parts = [f'<rect {edges} fill="none" stroke="{FAINT}"/>']
    for log in panel.round_costs(x_low, x_high):
        parts += [_line(at(log), field.top, at(log), field.bottom, FAINT, 0.5)]
        parts += [_text(at(log), field.bottom + 16, panel.tick(10**log), anchor="middle")]
    for value, text in _ticks(y_low, y_high):
        parts += [_line(field.left, up(value), field.right, up(value), FAINT, 0.5)]
        parts += [_text(field.left - 6, up(value) + 4, text, anchor="end")]
    parts.append(_text((field.left + field.right) / 2, field.bottom + 34, panel.title, anchor="middle"))
    middle = (field.top + field.bottom) / 2
    parts.append(_text(16, middle, axis, anchor="middle", turned=True))
    taken = []
    if floor is not None:
        said = "best floor"
        parts.append(_line(field.left, up(floor), field.right, up(floor), INK, 1, "6 4"))
        parts.append(_text(field.right - 4, up(floor) - 4, said, anchor="end"))
        taken.append(Box(field.right - 8 - len(said) * LETTER_PX, up(floor) - 4 - TEXT_PX, field.right, up(floor)))
        taken.append(Box(field.left, up(floor) - 1, field.right, up(floor) + 1))
    best = front(panel.points, higher_is_better=higher)
    steps = [(at(math.log10(p.cost)), up(p.quality)) for p in best]
    parts += _staircase(steps, field.right)
    taken += _along(steps, field.right)
    ordered = best + sorted((p for p in panel.points if p not in best), key=lambda p: (up(p.quality), p.name))
    marks = [Label(p.name, at(math.log10(p.cost)), up(p.quality)) for p in ordered]
    for point, mark in zip(ordered, marks, strict=True):
        parts.append(_line(mark.x, up(point.low), mark.x, up(point.high), COLOURS[point.supervision][0], 0.6))
    placed = place(marks, field, taken, RADIUS)
    for point, mark in zip(ordered, marks, strict=True):
        colour = COLOURS[point.supervision][0]
        said = f"{point.name}: {number(point.quality, 4)}, {panel.tick(point.cost)}"
        parts.append(_circle(mark.x, mark.y, colour, colour if point in best else "#ffffff", said))
    for mark, box in zip(marks, placed, strict=True):
        if box is not None:
            if (end := box.nearest(mark.x, mark.y)) and math.dist(end, (mark.x, mark.y)) > 2 * RADIUS:
                parts.append(_line(mark.x, mark.y, end[0], end[1], "#888888", 0.5))
            parts.append(_text(box.left, box.bottom - 3, mark.text))
    lost = {
        "without room for a name": [mark.text for mark, box in zip(marks, placed, strict=True) if box is None],
        "without a score or a cost": list(panel.left_out),
    }
    if said := "; ".join(f"{why}: {', '.join(names)}" for why, names in lost.items() if names):
        most = int(field.width / LETTER_PX)
        parts.append(_text(field.left, field.top - 8, said if len(said) <= most else f"{said[: most - 1]}…"))
    return parts


def _staircase(steps: Sequence[tuple[float, float]], right: float) -> list[str]:
    """The best quality that can be had at each cost."""
    path = "".join(f" H{x:.1f} V{y:.1f}" for x, y in steps[1:])
    start = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}"
    return [f'<path d="{start}{path} H{right:.1f}" fill="none" stroke="{INK}" stroke-opacity="0.35"/>']


def _along(steps: Sequence[tuple[float, float]], right: float) -> list[Box]:
    """The staircase as thin boxes, which no name may cover."""
    ends = [*steps[1:], (right, steps[-1][1])]
    flat = [Box(x, y - 1, end, y + 1) for (x, y), (end, _) in zip(steps, ends, strict=True)]
    upright = [Box(x - 1, min(y, to), x + 1, max(y, to)) for (_, y), (x, to) in pairwise(steps)]
    return flat + upright


# --- Axes ------------------------------------------------------------------------------------------------------------


def _decades(low: float, high: float) -> list[float]:
    """Logarithms of round numbers between two: powers of ten, and 2 and 5 times these where there are few."""
    whole = [float(e) for e in range(math.ceil(low), math.floor(high) + 1)]
    if len(whole) > 2:
        return whole
    return [
        log
        for e in range(math.floor(low) - 1, math.ceil(high) + 1)
        for times in (1, 2, 5)
        if low <= (log := e + math.log10(times)) <= high
    ]


def _times(low: float, high: float) -> list[float]:
    """Logarithms of round numbers of seconds, minutes, hours and days between two."""
    round_ones = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30] + [60 * t for t in (1, 2, 5, 10, 20, 30)]
    round_ones += [3600 * t for t in (1, 2, 5, 12)] + [86400 * t for t in (1, 2, 5, 10, 20, 50, 100)]
    return [log for t in round_ones if low <= (log := math.log10(t)) <= high]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """About six round numbers between two."""
    rough = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(times * size for times in (1, 2, 5, 10) if times * size >= rough * (1 - 1e-9))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(k * step, number(k * step, decimals)) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _flops(value: float) -> str:
    for scale, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale * (1 - 1e-9):
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    for scale, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= scale * (1 - 1e-9):
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} s"


# --- SVG -------------------------------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    big = f' font-size="{size}"' if size != 11 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}"{big}{turn}>{escape(markdown.line(text))}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def _circle(x: float, y: float, colour: str, fill: str, said: str = "") -> str:
    inside = f"<title>{escape(said)}</title>" if said else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS:g}" fill="{fill}" stroke="{colour}" stroke-width="1.5">{inside}</circle>'
    )
