"""Where the names of points can stand in a picture, clear of each other and of all points; the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 6.7, 13.0  # px of a letter of 11 px in a font of fixed width, with a little air
RINGS = (8.0, 13.0, 20.0, 28.0, 38.0, 50.0, 64.0, 80.0, 98.0, 118.0, 140.0, 165.0, 190.0)  # px from a point to its name
DIRECTIONS = (0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90)  # degrees, in order of preference; 90 is down
ALONG = 3.0  # px between the places of a tie line that are kept clear


@dataclass(frozen=True)
class Box:
    """A rectangle in px, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    def meets(self, other: Box) -> bool:
        """Do the insides overlap?"""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def within(self, other: Box) -> bool:
        """Does it lie in another?"""
        inside = self.left >= other.left and self.right <= other.right
        return inside and self.top >= other.top and self.bottom <= other.bottom

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The place of the rectangle that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


@dataclass(frozen=True)
class Label:
    """A name and its point."""

    text: str
    x: float
    y: float


def place(labels: Sequence[Label], field: Box, taken: Sequence[Box], radius: float) -> list[Box | None]:
    """A box within the field for each name, in order of importance; None where there is no room left.

    No box meets another, one that is `taken`, or a point of that radius; nor does the line that ties a far name to its point.
    """
    points = [Box(one.x - radius, one.y - radius, one.x + radius, one.y + radius) for one in labels]
    busy, ties, found = list(taken), list[Box](), list[Box | None]()
    for at, label in enumerate(labels):
        others = [point for point in points if not point.meets(points[at])]
        chosen = None
        for box in _candidates(label):
            tie = _tie(label, box, radius)
            if not box.within(field) or any(box.meets(other) for other in (*points, *busy, *ties)):
                continue
            if any(step.meets(other) for step in tie for other in (*others, *busy)):
                continue
            chosen = box
            busy.append(box)
            ties += tie
            break
        found.append(chosen)
    return found


def _candidates(label: Label) -> list[Box]:
    """Boxes around a point, the best first."""
    width, boxes = len(label.text) * WIDTH, []
    for ring in RINGS:
        for degrees in DIRECTIONS:
            x = label.x + ring * math.cos(math.radians(degrees))
            y = label.y + ring * math.sin(math.radians(degrees))
            side = math.cos(math.radians(degrees))
            left = x if side > 0.1 else x - width if side < -0.1 else x - width / 2
            boxes.append(Box(left, y - HEIGHT / 2, left + width, y + HEIGHT / 2))
    return boxes


def _tie(label: Label, box: Box, radius: float) -> list[Box]:
    """Small boxes along the line from a point to its name; none where these are side by side."""
    x, y = box.nearest(label.x, label.y)
    length = math.dist((x, y), (label.x, label.y))
    if length <= 2 * radius:
        return []
    steps = int(length / ALONG)
    shares = [k * ALONG / length for k in range(1, steps) if k * ALONG > radius]
    centres = [(label.x + s * (x - label.x), label.y + s * (y - label.y)) for s in shares]
    return [Box(cx - 1, cy - 1, cx + 1, cy + 1) for cx, cy in centres]
