"""Names in a picture cover nothing."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from sarbench.bench.labels import Box, Label, place

FIELD, RADIUS = Box(0, 0, 800, 400), 4.0


def crowd(n):
    rng = np.random.default_rng(0)
    return [Label(f"method_{i}", *map(float, rng.uniform((20, 45), (780, 380)))) for i in range(n)]


def test_no_name_covers_a_name_or_a_point_or_what_is_taken_or_leaves_the_field():
    labels, taken = crowd(30), [Box(0, 0, 800, 30)]
    boxes = place(labels, FIELD, taken, RADIUS)
    assert None not in boxes
    points = [Box(one.x - RADIUS, one.y - RADIUS, one.x + RADIUS, one.y + RADIUS) for one in labels]
    assert not any(a.meets(b) for a, b in combinations(boxes, 2))
    assert not any(box.meets(other) for box in boxes for other in (*points, *taken))
    assert all(box.within(FIELD) for box in boxes)


def test_a_name_alone_stands_at_the_right_of_its_point_and_at_the_left_near_the_edge():
    (box,) = place([Label("name", 400, 200)], FIELD, [], RADIUS)
    assert box.left > 400
    (box,) = place([Label("name", 795, 200)], FIELD, [], RADIUS)
    assert box.right < 795


def test_a_name_without_room_is_left_out_and_the_important_ones_come_first():
    labels = [Label("a_long_name", 50, 10), Label("a_long_name", 52, 10)]
    boxes = place(labels, Box(0, 0, 140, 20), [], RADIUS)
    assert [box is None for box in boxes] == [False, True]


def test_points_on_top_of_each_other_have_names_apart():
    boxes = place([Label("first", 400, 200), Label("second", 400, 200), Label("third", 401, 201)], FIELD, [], RADIUS)
    assert None not in boxes
