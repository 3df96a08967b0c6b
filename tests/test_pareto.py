"""The picture of quality against cost: who is on the front, what is drawn, the same bytes, and no markup from a record."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from sarbench.bench.board import board_of
from sarbench.bench.pareto import Point, _decades, _flops, _seconds, _ticks, front, plot

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def picture(make_run):
    """The picture of methods (name, ssim, FLOPs), with the keywords of the factory for all."""

    def picture(*methods, **words):
        runs = [make_run(m, values={"ssim": ssim}, cost={"flops_per_image": f}, **words) for m, ssim, f in methods]
        return plot(board_of("synthetic.tiny", [run.record for run in runs]))

    return picture


def _point(name, cost, quality):
    return Point(name, "paired", cost, quality, quality, quality)


def _texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_front_is_whoever_none_is_cheaper_than_without_being_worse():
    points = [_point("cheap", 1, 0.2), _point("beaten", 2, 0.1), _point("good", 3, 0.5), _point("dear", 9, 0.5)]
    assert [point.name for point in front(points, higher_is_better=True)] == ["cheap", "good"]
    assert [point.name for point in front(points, higher_is_better=False)] == ["cheap", "beaten"]
    same = [_point("b", 1, 0.2), _point("a", 1, 0.2)]
    assert [point.name for point in front(same, higher_is_better=True)] == ["a"]


def test_methods_of_the_front_are_filled(picture):
    svg = picture(("cheap", 0.2, 10**7), ("beaten", 0.1, 10**8), ("good", 0.5, 10**9))
    svg = svg.partition("FLOPs of")[2].partition("time of")[0]
    filled = {}
    for circle in re.findall(r'<circle[^>]* fill="(#\w+)"[^>]*><title>(\w+):', svg):
        filled[circle[1]] = circle[0] != "#ffffff"
    assert filled == {"cheap": True, "beaten": False, "good": True}


def test_a_better_method_stands_higher_whatever_the_direction(make_run):
    for metric, better in (("ssim", 0.9), ("lpips", 0.1)):
        values = {"a": better, "b": 0.5}
        runs = [
            make_run(m, values={metric: v}, cost={"flops_per_image": 10**9}, terms={"main_metric": metric}).record
            for m, v in values.items()
        ]
        svg = plot(board_of("synthetic.tiny", runs))
        height = {m: float(re.search(rf'cy="([\d.]+)"[^>]*><title>{m}:', svg)[1]) for m in values}
        assert height["a"] < height["b"]
        assert f"{metric} ({'higher' if metric == 'ssim' else 'lower'} is better)" in _texts(svg)


def test_nothing_is_drawn_of_fewer_than_two_methods_or_without_costs(picture):
    assert picture(("a", 0.5, 10**9)) == ""
    nothing = picture(("a", 0.5, None), ("b", 0.4, None))
    assert "FLOPs" not in nothing
    assert "time of training" in nothing


def test_a_method_without_a_score_or_a_cost_is_named_and_not_drawn(picture, make_run):
    svg = picture(("a", 0.5, 10**9), ("b", 0.4, 10**8), ("free", 0.4, 0), ("unscored", "no weights", 10**8))
    assert "without a score or a cost: free, unscored" in _texts(svg)
    assert _texts(svg).count("unscored") == 0
    infinite = {"values": {"ssim": [math.inf] * 4}}
    records = [make_run(name, **words).record for name, words in (("a", {}), ("b", {}), ("c", infinite))]
    assert "without a score or a cost: c" in _texts(plot(board_of("synthetic.tiny", records)))


def test_equal_qualities_and_equal_costs_can_be_drawn(picture):
    svg = picture(("a", 0.0, 10**9), ("b", 0.0, 10**9))
    assert "nan" not in svg
    assert {"a", "b"} <= set(_texts(svg))


def test_the_best_floor_is_a_line(make_run):
    runs = [("a", "method", 0.5), ("b", "method", 0.4), ("identity", "floor", 0.3), ("mean_color", "floor", 0.45)]
    records = [make_run(m, role, values={"ssim": v}).record for m, role, v in runs]
    svg = plot(board_of("synthetic.tiny", records))
    assert _texts(svg).count("best floor") == 2
    assert "identity" not in svg


def test_the_order_of_the_records_does_not_change_the_picture(make_run):
    records = [
        make_run(m, values={"ssim": v}, cost={"flops_per_image": 10**9}).record
        for m, v in zip("abcd", (3, 2, 2, 1), strict=True)
    ]
    assert len({plot(board_of("synthetic.tiny", order)) for order in itertools.permutations(records)}) == 1


@pytest.mark.parametrize("text", ["</text><script>alert(1)</script>", "a & b", "]]> --> \"x' onload=1", "right\u202eto\nleft"])
def test_text_of_a_record_is_no_markup(make_run, text):
    made = []
    for words in (text, "x"):
        records = [make_run(m, variant=words, cost={"device": words}).record for m in "ab"]
        made.append([element.tag for element in ElementTree.fromstring(plot(board_of("synthetic.tiny", records))).iter()])
    assert len(made[0]) == len(made[1])
    assert set(made[0]) <= {f"{SVG}{name}" for name in ("svg", "rect", "text", "line", "circle", "title", "path")}


def test_ticks_are_round_and_within():
    assert [text for _, text in _ticks(0.12, 0.48)] == ["0.2", "0.3", "0.4"]
    assert all(2 <= len(_ticks(0.0, span)) <= 14 for span in (1e-4, 0.3, 1.0, 7.0, 99.0))
    assert _decades(6.9, 10.1) == [7, 8, 9, 10]
    assert [round(10**log) for log in _decades(0.9, 1.8)] == [10, 20, 50]
    assert [_flops(value) for value in (950.0, 5e8, 2e13)] == ["950", "500 M", "20 T"]
    assert [_seconds(value) for value in (30.0, 120.0, 7200.0)] == ["30 s", "2 min", "2 h"]
