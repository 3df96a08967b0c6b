"""The plots of a report: better is right and up, names find room or stay away, numbers are short."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from sarbench.bench.report.curves import read_log, thinned
from sarbench.bench.report.plots import (
    SHADES,
    Point,
    Scale,
    curve,
    heat,
    interval_bar,
    log_steps,
    pareto,
    round_steps,
    scale_over,
    scatter,
    shade,
    with_prefix,
)


def points() -> list[Point]:
    return [Point(i, f"method_{i}", 10.0 ** (i % 5), 0.1 * i, (0.1 * i - 0.02, 0.1 * i + 0.02)) for i in range(12)]


def test_better_is_to_the_right_whichever_direction_a_metric_has() -> None:
    assert scale_over([1.0, 3.0, math.inf], higher_is_better=True) == Scale(1.0, 3.0)
    assert scale_over([1.0, 3.0], higher_is_better=False) == Scale(3.0, 1.0)
    assert Scale(3.0, 1.0).at(1.5) == 0.75
    assert Scale(1.0, 3.0).at(99.0) == 1.0


def test_shades_go_from_the_worst_to_the_best() -> None:
    assert [shade(v, Scale(0.0, 1.0)) for v in (0.0, 0.5, 1.0)] == [0, SHADES // 2, SHADES - 1]


def test_the_bar_of_a_metric_where_lower_is_better_still_runs_from_left_to_right() -> None:
    bar = ElementTree.fromstring(interval_bar(0.4, (0.3, 0.5), Scale(0.8, 0.2), 0.7))
    ends = next(line for line in bar if line.get("class") == "ci")
    floor = next(line for line in bar if line.get("class") == "floor")
    assert float(str(floor.get("x1"))) < float(str(ends.get("x1"))) < float(str(ends.get("x2")))


def test_the_front_holds_what_nothing_cheaper_matches() -> None:
    cheap, good, dear = Point(0, "a", 1, 0.5, None), Point(1, "b", 2, 0.7, None), Point(2, "c", 3, 0.7, None)
    assert pareto([dear, good, cheap], higher_is_better=True) == [cheap, good]
    assert pareto([dear, good, cheap], higher_is_better=False) == [cheap]


def test_names_in_a_plot_do_not_lie_on_each_other() -> None:
    plot = ElementTree.fromstring(scatter(points(), "parameters", "ssim", 0.3, unit="", higher_is_better=True))
    names = [text for text in plot.iter("text") if str(text.get("class")).startswith("name")]
    assert names
    boxes = []
    for text in names:
        width = 6.1 * len(str(text.text))
        left = float(str(text.get("x"))) - {"start": 0, "middle": width / 2, "end": width}[str(text.get("text-anchor"))]
        boxes.append((left, float(str(text.get("y"))), left + width))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or abs(a[1] - b[1]) >= 10


def test_an_axis_of_equal_costs_still_has_a_number() -> None:
    equal = [Point(i, f"m{i}", 54.4e6, 0.1 * i, None) for i in range(3)]
    assert "50 M" in scatter(equal, "parameters", "ssim", None, unit="", higher_is_better=True)


def test_text_in_a_plot_is_escaped() -> None:
    bad = '<script>alert("&")</script>'
    for picture in (
        scatter([Point(0, bad, 1, 0, None), Point(1, bad, 2, 1, None)], bad, bad, None, unit=bad, higher_is_better=True),
        heat([(0, bad, [0, None, 8])], bad),
        curve([1.0, 2.0], bad),
    ):
        root = ElementTree.fromstring(picture)
        assert not list(root.iter("script"))
        assert root.get("aria-label")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_043_619, "", "1.04 M"),
        (0.0048, "s", "4.8 ms"),
        (452.3, "s", "452 s"),
        (3600, "s", "3,600 s"),
        (1.2e10, "FLOP", "12 GFLOP"),
    ],
)
def test_numbers_are_short_and_have_their_prefix(value: float, unit: str, text: str) -> None:
    assert with_prefix(value, unit) == text


def test_numbers_in_a_column_have_three_digits() -> None:
    assert [with_prefix(v, "B", padded=True) for v in (1e9, 984e6, 49_000)] == ["1.00 GB", "984 MB", "49.0 kB"]


def test_ticks_are_round_and_within_the_axis() -> None:
    assert round_steps(0.06, 0.47, 6) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert log_steps(1.5, 2.8) == pytest.approx([50, 100, 200, 500])
    assert log_steps(0, 5) == pytest.approx([1, 10, 100, 1e3, 1e4, 1e5])


def test_a_flat_curve_and_a_single_value_are_drawn() -> None:
    for values in ([2.0], [2.0, 2.0, 2.0]):
        assert not re.search("nan|inf", curve(values, "flat"))


def test_thinned_values_are_medians_of_neighbours() -> None:
    assert thinned([1, 2, 9, 4, 5, 6], 2) == [2, 5]
    assert thinned([3.0], 70) == [3.0]


def test_a_log_of_anything_gives_what_can_be_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = [
        '{"images": 4, "losses": {"G": 1.0, "D": NaN}}',
        "[]",
        '{"losses": 3, "images": 1}',
        "{",
        '{"images": 8, "losses": {"G": 2}}',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    assert read_log(tmp_path / "log.jsonl") == (8, {"G": [1.0, 2.0]})
