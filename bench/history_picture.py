"""The picture of `sarbench history`: SVG, the same bytes for the same points."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from sarbench.bench.markdown import line

if TYPE_CHECKING:
    from sarbench.bench.history import Point

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 70
INK, FAINT, LINE = "#444", "#ddd", "#1f6feb"
TICKS = 5


def picture(points: Sequence[Point], title: str, axis: str) -> str:
    """One mark a point, in order, joined where the terms are the same; bars of one standard deviation where seeds give one."""
    spreads = [point.spread or 0.0 for point in points]
    low = min(p.value - s for p, s in zip(points, spreads, strict=True))
    high = max(p.value + s for p, s in zip(points, spreads, strict=True))
    margin = (high - low) * 0.1 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def x(i: int) -> str:
        share = 0.5 if len(points) == 1 else i / (len(points) - 1)
        return f"{LEFT + 15 + share * (WIDTH - LEFT - RIGHT - 30):.1f}"

    def y(value: float) -> str:
        return f"{TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>{_text(title)}: {_text(axis)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{_text(title)}</text>',
        f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2:.0f}" transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2:.0f})" '
        f'text-anchor="middle">{_text(axis)}</text>',
    ]
    for tick in range(TICKS):
        value = low + (high - low) * tick / (TICKS - 1)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value)}" y2="{y(value)}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value)}" dy="4" text-anchor="end">{value:.5g}</text>')
    for i, (before, after) in enumerate(pairwise(points)):
        if before.terms == after.terms:
            ends = f'x1="{x(i)}" y1="{y(before.value)}" x2="{x(i + 1)}" y2="{y(after.value)}"'
            parts.append(f'<line {ends} stroke="{LINE}" stroke-width="2"/>')
        else:
            middle = f"{(float(x(i)) + float(x(i + 1))) / 2:.1f}"
            place = f'x1="{middle}" x2="{middle}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
            parts.append(f'<line {place} stroke="{INK}" stroke-dasharray="4 4"><title>other terms</title></line>')
    every = max(1, len(points) // 8)
    for i, point in enumerate(points):
        if point.spread:
            bar = f'x1="{x(i)}" x2="{x(i)}" y1="{y(point.value - point.spread)}" y2="{y(point.value + point.spread)}"'
            parts.append(f'<line {bar} stroke="{LINE}"/>')
        told = f"{point.commit}, {point.when}: {point.value:.6g}, {len(point.seeds)} seeds, code at {point.code}"
        parts.append(f'<circle cx="{x(i)}" cy="{y(point.value)}" r="4" fill="{LINE}"><title>{_text(told)}</title></circle>')
        if i % every == 0 or i == len(points) - 1:
            place = f'x="{x(i)}" y="{HEIGHT - BOTTOM + 18}"'
            parts.append(f'<text {place} text-anchor="middle" font-size="10">{_text(point.commit[:7])}</text>')
            below = f'x="{x(i)}" y="{HEIGHT - BOTTOM + 32}"'
            parts.append(f'<text {below} text-anchor="middle" font-size="10">{_text(point.when[:10])}</text>')
    if any(before.terms != after.terms for before, after in pairwise(points)):
        words = "dashed: the terms changed (protocol, data or definitions); values beyond do not compare"
        parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" font-size="10">{words}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _text(text: str) -> str:
    return escape(line(text))
