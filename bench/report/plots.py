"""Pictures of numbers, as inline SVG: interval bars, cost against quality, curves, heat maps.

Colours are classes of the style sheet, so that they follow the reader's light or dark mode. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

BAR_PX, BAR_HEIGHT_PX = 108, 10
PLOT_PX, PLOT_HEIGHT_PX = 460, 340
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 58, 14, 14, 44  # margins of a plot
LEAST_DECADES = 0.8  # of an axis of costs, so that it has a number
LETTER_PX, LINE_PX = 6.1, 12.0  # of labels in a plot
CURVE_PX, CURVE_HEIGHT_PX = 140, 40
CELL_HEIGHT_PX, MAP_PX = 17, 1000  # of a heat map; its cells share the width, within bounds
PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ"}  # by power of ten, from large to small
SHADES = 9  # of heat maps and shaded tables; 0 is the worst


@dataclass(frozen=True)
class Scale:
    """An axis on which better is to the right: `worst` at 0, `best` at 1."""

    worst: float
    best: float

    def at(self, value: float) -> float:
        """Where a value lies; beyond the ends it lies on the end."""
        span = self.best - self.worst
        return 0.5 if not span else min(1.0, max(0.0, (value - self.worst) / span))


def scale_over(values: Sequence[float], *, higher_is_better: bool) -> Scale:
    """The axis that just holds these values; those that are not finite are left out."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    ends = (min(finite), max(finite))
    return Scale(*ends) if higher_is_better else Scale(*reversed(ends))


def shade(value: float, scale: Scale) -> int:
    """Which of the SHADES a value has."""
    return min(SHADES - 1, int(scale.at(value) * SHADES))


def _n(value: float) -> str:
    """A coordinate."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


# --- Interval bars ---------------------------------------------------------------------------------------------------


def interval_bar(mean: float, bounds: tuple[float, float] | None, scale: Scale, floor: float | None) -> Markup:
    """A dot at the mean, a bar over its interval, a tick at the best floor."""

    def x(value: float) -> str:
        return _n(4 + scale.at(value) * (BAR_PX - 8))

    middle = _n(BAR_HEIGHT_PX / 2)
    parts = [Markup('<line class="track" x1="4" x2="{}" y1="{}" y2="{}"/>').format(BAR_PX - 4, middle, middle)]
    if floor is not None:
        parts.append(Markup('<line class="floor" x1="{}" x2="{}" y1="0" y2="{}"/>').format(x(floor), x(floor), BAR_HEIGHT_PX))
    if bounds is not None:
        ends = sorted(bounds, key=scale.at)
        parts.append(Markup('<line class="ci" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(*map(x, ends), middle, middle))
    parts.append(Markup('<circle cx="{}" cy="{}" r="2.6"/>').format(x(mean), middle))
    head = Markup('<svg class="bar" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">')
    size = (BAR_PX, BAR_HEIGHT_PX)
    return head.format(*size, *size) + Markup("").join(parts) + Markup("</svg>")


# --- Cost against quality --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One entry in a plot of cost against quality."""

    entry: int  # its place on the board
    name: str
    cost: float  # > 0
    quality: float
    bounds: tuple[float, float] | None


def pareto(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that none is both cheaper than and as good as, from cheap to dear."""
    sign = 1.0 if higher_is_better else -1.0
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -sign * p.quality)):
        if not front or sign * point.quality > sign * front[-1].quality:
            front.append(point)
    return front


def scatter(
    points: Sequence[Point], cost: str, quality: str, floor: float | None, *, unit: str, higher_is_better: bool
) -> Markup:
    """Quality (up is better) against cost (logarithmic), the front of what is best for its cost, the best floor as a line.

    `cost` and `quality` are the titles of the axes, `unit` that of the cost. Names stand where there is room for them.
    """
    axis = _Axes(points, floor, higher_is_better)
    front = pareto(points, higher_is_better=higher_is_better)
    parts = axis.drawn(cost, quality, unit)
    steps = [(axis.x(p.cost), axis.y(p.quality)) for p in front]
    path = "".join(f"H{_n(x)}V{_n(y)}" for x, y in steps[1:])
    if steps:
        start = f"M{_n(steps[0][0])} {_n(steps[0][1])}{path}H{PLOT_PX - RIGHT_PX}"
        parts.append(Markup('<path class="front" d="{}"/>').format(start))
    for point in points:
        parts.append(_dot(point, axis, in_front=point in front))
    taken = [_around(axis.x(point.cost), axis.y(point.quality)) for point in points]
    if floor is not None and math.isfinite(floor):
        parts += _floor_line(axis, floor, taken)
    for point, x, y, anchor in _labels(points, front, axis, taken):
        text = '<text class="name{}" data-entry="{}" x="{}" y="{}" text-anchor="{}">{}</text>'
        parts.append(Markup(text).format(" front" if point in front else "", point.entry, _n(x), _n(y), anchor, point.name))
    said = f"{quality} against {cost}; on the front: {', '.join(point.name for point in front)}"
    head = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(PLOT_PX, PLOT_HEIGHT_PX, said) + Markup("").join(parts) + Markup("</svg>")


class _Axes:
    """Where values lie in a plot."""

    def __init__(self, points: Sequence[Point], floor: float | None, higher_is_better: bool) -> None:
        costs = [math.log10(point.cost) for point in points]
        middle, half = (min(costs) + max(costs)) / 2, max((max(costs) - min(costs)) / 2 + 0.08, LEAST_DECADES / 2)
        self.low, self.high = middle - half, middle + half
        shown = [v for p in points for v in (p.quality, *(p.bounds or ()))] + [floor] * (floor is not None)
        finite = [value for value in shown if value is not None and math.isfinite(value)]
        pad = 0.06 * ((max(finite) - min(finite)) or 1.0)
        self.least, self.most = min(finite) - pad, max(finite) + pad
        self.higher_is_better = higher_is_better

    def x(self, cost: float) -> float:
        share = (math.log10(cost) - self.low) / (self.high - self.low)
        return LEFT_PX + share * (PLOT_PX - LEFT_PX - RIGHT_PX)

    def y(self, quality: float) -> float:
        share = (quality - self.least) / (self.most - self.least)
        share = share if self.higher_is_better else 1 - share
        return PLOT_HEIGHT_PX - BOTTOM_PX - share * (PLOT_HEIGHT_PX - TOP_PX - BOTTOM_PX)

    def drawn(self, cost: str, quality: str, unit: str) -> list[Markup]:
        """The grid, its numbers, and the titles."""
        left, right, bottom = LEFT_PX, PLOT_PX - RIGHT_PX, PLOT_HEIGHT_PX - BOTTOM_PX
        line = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
        number = Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>')
        title = Markup('<text class="axis" transform="translate({} {}) rotate({})" text-anchor="middle">{}</text>')
        parts = []
        for value in round_steps(self.least, self.most, 6):
            y = _n(self.y(value))
            parts += [line.format(left, right, y, y), number.format(left - 6, _n(self.y(value) + 4), "end", f"{value:g}")]
        for value in log_steps(self.low, self.high):
            x = _n(self.x(value))
            parts += [line.format(x, x, TOP_PX, bottom), number.format(x, bottom + 16, "middle", with_prefix(value, unit))]
        parts.append(title.format(_n((left + right) / 2), PLOT_HEIGHT_PX - 8, 0, cost))
        parts.append(title.format(14, _n((TOP_PX + bottom) / 2), -90, quality))
        return parts


def _dot(point: Point, axis: _Axes, *, in_front: bool) -> Markup:
    x, parts = _n(axis.x(point.cost)), []
    if point.bounds is not None:
        ys = (_n(axis.y(bound)) for bound in point.bounds)
        parts.append(Markup('<line class="ci" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, *ys))
    parts.append(Markup('<circle cx="{}" cy="{}" r="{}"/>').format(x, _n(axis.y(point.quality)), 4.5 if in_front else 3.2))
    head = Markup('<g class="{}" data-entry="{}"><title>{}</title>').format(
        "front" if in_front else "", point.entry, point.name
    )
    return head + Markup("").join(parts) + Markup("</g>")


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _around(x: float, y: float) -> Box:
    """The place that a dot takes."""
    return x - 4, y - 4, x + 4, y + 4


def _floor_line(axis: _Axes, floor: float, taken: list[Box]) -> list[Markup]:
    """The line of the best floor, and its name at whichever end has room."""
    y, left, right, width = axis.y(floor), LEFT_PX + 4, PLOT_PX - RIGHT_PX - 4, len("best floor") * LETTER_PX
    ends = [(right, y - 4, "end"), (right, y + 12, "end"), (left, y - 4, "start"), (left, y + 12, "start")]
    boxes = [(x - width * (anchor == "end"), at - 9, x + width * (anchor == "start"), at + 3) for x, at, anchor in ends]
    free = next((i for i, box in enumerate(boxes) if not any(_overlap(box, other) for other in taken)), 0)
    taken.append(boxes[free])
    x, at, anchor = ends[free]
    line = Markup('<line class="floor" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT_PX, PLOT_PX - RIGHT_PX, _n(y), _n(y))
    text = Markup('<text class="floor" x="{}" y="{}" text-anchor="{}">best floor</text>').format(_n(x), _n(at), anchor)
    return [line, text]


def _labels(
    points: Sequence[Point], front: Sequence[Point], axis: _Axes, taken: list[Box]
) -> list[tuple[Point, float, float, str]]:
    """The names that find a free place beside their point, those of the front first."""
    placed = []
    for point in [*front, *(point for point in points if point not in front)]:
        x, y, width = axis.x(point.cost), axis.y(point.quality), len(point.name) * LETTER_PX
        beside = [(x + 8, y + 4, "start", x + 7), (x - 8, y + 4, "end", x - 7 - width)]
        above = [(x - 7, y - 7, "end", x - 7 - width), (x, y - 9, "middle", x - width / 2), (x + 7, y - 7, "start", x + 7)]
        below = [(x, y + 17, "middle", x - width / 2), (x + 7, y + 15, "start", x + 7), (x - 7, y + 15, "end", x - 7 - width)]
        for at_x, at_y, anchor, left in above + beside + below if point in front else beside + above + below:
            box = (left, at_y - LINE_PX + 2, left + width, at_y + 3)
            inside = box[0] > LEFT_PX and box[2] < PLOT_PX and box[1] > 0 and box[3] < PLOT_HEIGHT_PX - BOTTOM_PX
            if inside and not any(other != _around(x, y) and _overlap(box, other) for other in taken):
                taken.append(box)
                placed.append((point, at_x, at_y, anchor))
                break
    return placed


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def round_steps(low: float, high: float, most: int) -> list[float]:
    """At most so many round numbers from low to high, evenly spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [round(k * step, 12) for k in range(first, math.floor(high / step) + 1)]


def log_steps(low: float, high: float) -> list[float]:
    """Round numbers for an axis of powers of ten, from 10**low to 10**high: the denser, the shorter it is."""
    factors = (1,) if high - low > 3 else (1, 3) if high - low > 1.8 else (1, 2, 5)
    every = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors]
    return [value for value in every if low <= math.log10(value) <= high]


def with_prefix(value: float, unit: str, *, padded: bool = False) -> str:
    """A number with its unit and the prefix that makes it short, such as 1.04 M or 12 ms; `padded`: 12.0 ms, for columns."""
    powers = [power for power in PREFIXES if unit != "s" or power <= 0]  # nobody counts in kiloseconds
    power = next((power for power in powers if abs(value) >= 10.0**power), powers[-1])
    number = value / 10.0**power
    text = f"{number:,.0f}" if abs(number) >= 99.5 else f"{number:#.3g}" if padded else f"{number:.3g}"
    return f"{text} {PREFIXES[power]}{unit}".rstrip()


# --- Curves and heat maps --------------------------------------------------------------------------------------------


def curve(values: Sequence[float], said: str) -> Markup:
    """One line over evenly spaced values, from the least to the most of them; `said` for who can't see it."""
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(1, len(values) - 1)
    points = " ".join(
        f"{_n(2 + i / last * (CURVE_PX - 4))},{_n(CURVE_HEIGHT_PX - 3 - (value - low) / span * (CURVE_HEIGHT_PX - 6))}"
        for i, value in enumerate(values)
    )
    head = Markup('<svg class="curve" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">')
    size = (CURVE_PX, CURVE_HEIGHT_PX)
    return head.format(*size, *size, said) + Markup('<polyline points="{}"/></svg>').format(points)


def heat(rows: Sequence[tuple[int, str, Sequence[int | None]]], said: str) -> Markup:
    """A map of shades: rows of (entry, name, shade of each column; None where there is no value)."""
    columns = max((len(shades) for _, _, shades in rows), default=1)
    cell, names = (
        min(24, max(10, MAP_PX // columns)),
        14 + round(LETTER_PX * max((len(name) for _, name, _ in rows), default=0)),
    )
    width, height = names + columns * cell + 2, len(rows) * CELL_HEIGHT_PX + 2
    parts = []
    for i, (entry, name, shades) in enumerate(rows):
        y = i * CELL_HEIGHT_PX
        cells = "".join(
            f'<rect class="h{value}" x="{names + k * cell}" y="{y}" width="{cell - 1}" height="{CELL_HEIGHT_PX - 1}"/>'
            for k, value in enumerate(shades)
            if value is not None
        )
        text = Markup('<g data-entry="{}"><text x="{}" y="{}" text-anchor="end">{}</text>')
        parts.append(text.format(entry, names - 8, y + CELL_HEIGHT_PX - 4, name) + Markup(cells + "</g>"))
    head = Markup('<svg class="heat" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">')
    return head.format(width, height, width, height, said) + Markup("").join(parts) + Markup("</svg>")
