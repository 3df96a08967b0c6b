"""A board says which differences its tests can tell from chance: intervals, a bold top group, ranks that are open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sarbench.bench import registry
from sarbench.bench.board import board_of
from sarbench.bench.board_page import render
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
