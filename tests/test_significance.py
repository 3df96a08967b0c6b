"""A board says which differences its tests can tell from chance: intervals, a bold top group, ranks that are open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sarbench.bench import registry
from sarbench.bench.board import board_of
from sarbench.bench.board_page import render
from sarbench.bench.records import Replicates
from sarbench.bench.storage import value_digest

SLUG, N = "synthetic.tiny", 40


@pytest.fixture
def board(make_run):
    """Records and rows of runs (method, role, seed, mean of ssim over noise); samples of two lie in one scene."""

    def build(*runs, noise=0.02, scene=lambda i: f"scene {i // 2}"):
        records, rows = [], {}
        hard = np.random.default_rng(0).normal(0, 0.2, N)  # what makes a sample easy or hard for every method
        for at, (method, role, seed, mean) in enumerate(runs):
            values = mean + hard + np.random.default_rng(at + 1).normal(0, noise, N)
            record = make_run(method, role, seed, {"ssim": float(values.mean())}).record
            own = pd.DataFrame({"id": [f"{i:03d}" for i in range(N)], "scene": [scene(i) for i in range(N)], "ssim": values})
            content = value_digest(own.to_csv())
            records.append(record.model_copy(update={"rows_hash": content}))
            rows[content] = own
        return records, rows

    return build


def test_the_top_group_is_whoever_is_beaten_by_no_method(board):
    records, rows = board(("a", "method", 0, 0.500), ("b", "method", 0, 0.498), ("c", "method", 0, 0.400))
    found = board_of(SLUG, records, rows)
    assert {e.newest.method for e in found.methods if found.in_top_group(e, "ssim")} == {"a", "b"}
    assert {e.newest.method: found.open_ranks(e, "ssim") for e in found.methods} == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_a_common_difficulty_of_scenes_hides_no_difference(board):
    records, rows = board(("a", "method", 0, 0.55), ("b", "method", 0, 0.50))
    found = board_of(SLUG, records, rows)
    intervals = [found.interval(entry, "ssim") for entry in found.methods]
    assert intervals[0].low < intervals[1].high  # they overlap, since scenes differ
    assert not found.in_top_group(found.methods[1], "ssim")  # and yet b is worse on the same scenes


def test_a_method_must_beat_a_floor_by_more_than_chance(board):
    records, rows = board(("a", "method", 0, 0.502), ("b", "method", 0, 0.600), ("mean_color", "floor", 0, 0.500))
    found = board_of(SLUG, records, rows)
    assert {e.newest.method: found.below_a_floor(e, "ssim") for e in found.methods} == {"a": True, "b": False}


def test_lucky_trainings_do_not_make_a_method_better(board):
    means = {"a": (0.60, 0.45, 0.62), "b": (0.44, 0.61, 0.45)}
    runs = [(method, "method", seed, mean) for method, of in means.items() for seed, mean in enumerate(of)]
    records, rows = board(*runs)
    found = board_of(SLUG, records, rows)
    assert all(found.in_top_group(entry, "ssim") for entry in found.methods)
    one = [record for record in records if record.seed == 0]
    alone = board_of(SLUG, one, rows)
    assert [alone.in_top_group(entry, "ssim") for entry in alone.methods] == [True, False]


def test_a_page_says_what_its_marks_rest_on(board):
    records, rows = board(("a", "method", 0, 0.5), ("b", "method", 0, 0.4))
    text = render(SLUG, records, rows)
    assert "± is half of the 95 % interval over scenes, by bootstrap" in text
    assert "With one seed" in text
    assert "Holm's correction at 5 %. Differences that this board sees with a probability of 80 %: 0.0" in text
    assert "rank: the places in `ssim` that these tests leave open" in text
    assert "Not tested, so that bold is the best number alone: `psnr`, `lpips`" in text
    assert "| rank |" in text.replace("  ", " ").replace("  ", " ")
    assert "rank |" not in render(SLUG, records)


def test_a_page_says_where_no_difference_could_be_seen(board):
    records, rows = board(
        ("a", "method", 0, 0.5), ("b", "method", 0, 0.4), ("c", "method", 0, 0.1), scene=lambda i: f"scene {i % 4}"
    )
    text = render(SLUG, records, rows)
    assert "Too few scenes for so many methods" in text
    assert "Differences that this board sees" not in text
    assert "Too few scenes" not in render(SLUG, *board(("a", "method", 0, 0.5), ("b", "method", 0, 0.4)))


def test_images_of_unknown_scenes_are_said_to_be_taken_for_scenes(board):
    records, rows = board(("a", "method", 0, 0.5), ("b", "method", 0, 0.4), scene=lambda i: "")
    assert "over images, each taken for a scene of its own" in render(SLUG, records, rows)


def test_a_row_of_an_ablation_that_may_be_as_good_as_the_full_method_is_marked(board, monkeypatch):
    rows_of = {"2": {"": {}, "CAM": {"msm": "off"}, "MSM": {"cam": "false"}}}
    monkeypatch.setattr(registry, "ablations_of", lambda name: rows_of if name == "s3oil" else {})
    records, rows = board(("s3oil", "method", 0, 0.500), ("s3oil", "method", 0, 0.499), ("s3oil", "method", 0, 0.300))
    for at, variant in ((1, "msm=off"), (2, "cam=false")):
        records[at] = records[at].model_copy(update={"variant": variant})
    section = render(SLUG, records, rows).partition("## Ablation")[2]
    cells = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in section.splitlines() if line.startswith("| ")}
    assert cells["CAM"].endswith(" =")
    assert not cells["MSM"].endswith(" =")
    assert not cells["the full method"].endswith(" =")
    assert "=: the tests can't tell this row from the full method." in section


def test_a_page_is_the_same_for_rows_and_records_in_any_order(board):
    records, rows = board(("a", "method", 0, 0.5), ("b", "method", 0, 0.49), ("c", "method", 0, 0.4))
    turned = {name: found.sample(frac=1.0, random_state=1) for name, found in reversed(rows.items())}
    assert render(SLUG, records, rows) == render(SLUG, records[::-1], turned)


def test_a_method_without_a_finite_value_for_each_image_is_not_tested(board):
    records, rows = board(("a", "method", 0, 0.5), ("b", "method", 0, 0.4), ("c", "method", 0, 0.3), noise=0.03)
    rows[str(records[2].rows_hash)].loc[3, "ssim"] = np.inf
    found = board_of(SLUG, records, rows)
    assert found.verdicts["ssim"].labels == ("a", "b")


# --- Metrics of sets -------------------------------------------------------------------------------------------------


@pytest.fixture
def sets(make_run):
    """Records of methods (name, role, FID) whose halves move together; `changes`: of the replicates of one method."""

    def build(*runs, n_test=4, **changes):
        together, found = np.random.default_rng(0).normal(0, 5, 100), []
        for at, (method, role, value) in enumerate(runs):
            own = value + together + np.random.default_rng(at + 1).normal(0, 0.2, 100)
            halved = Replicates(drawn="halves-of-scenes;100;v1;0123456789abcdef", scenes=48, values=tuple(own.tolist()))
            halved = halved.model_copy(update=changes.get(method, {}))
            record = make_run(method, role).record
            score = record.scores["lpips"].model_copy(
                update={"of_set": True, "std": None, "value": value, "replicates": halved, "ranked_from": n_test}
            )
            found.append(record.model_copy(update={"scores": {**record.scores, "lpips": score}}))
        return found

    return build


def test_a_metric_of_sets_has_intervals_and_a_tested_top_group(sets):
    records = sets(("a", "method", 50.0), ("b", "method", 50.1), ("c", "method", 60.0), ("identity", "floor", 58.0))
    found = board_of(SLUG, records)
    assert {e.newest.method for e in found.methods if found.in_top_group(e, "lpips")} == {"a", "b"}
    assert {e.newest.method for e in found.methods if found.below_a_floor(e, "lpips")} == {"c"}
    interval = found.interval(found.methods[0], "lpips")
    assert 8 < interval.high - interval.low < 30  # far wider than the difference that the common halves show
    text = render(SLUG, records)
    assert "± of `lpips` is half of the 95 % interval over scenes, by half samples without repetition" in text
    assert "by bootstrap" not in text


def test_too_small_a_set_has_an_interval_and_no_rank(sets):
    records = sets(("a", "method", 50.0), ("b", "method", 70.0), n_test=2048)
    found = board_of(SLUG, records)
    assert found.interval(found.methods[0], "lpips") is not None
    assert not any(found.in_top_group(entry, "lpips") for entry in found.methods)
    assert "in `lpips`." not in render(SLUG, records)


def test_other_halves_are_not_compared(sets):
    other = {"drawn": "halves-of-scenes;100;v1;fedcba9876543210"}
    records = sets(("a", "method", 50.0), ("b", "method", 60.0), ("c", "method", 70.0), c=other)
    assert board_of(SLUG, records).verdicts["lpips"].labels == ("a", "b")


def test_records_without_halves_have_no_interval(sets, make_run):
    records = sets(("a", "method", 50.0), ("b", "method", 60.0))
    scores = [record.scores["lpips"].model_copy(update={"replicates": None}) for record in records]
    old = [r.model_copy(update={"scores": {**r.scores, "lpips": s}}) for r, s in zip(records, scores, strict=True)]
    assert "lpips" not in board_of(SLUG, old).verdicts
    assert "lpips" not in board_of(SLUG, [records[0], old[1]]).verdicts
