"""Scores of matching, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sarbench.bench import match_scores
from sarbench.bench.errors import ContractError
from sarbench.bench.summary import summarise

TRUE = np.array([[0, 0], [10, 20], [64, 64], [5, 5]])
FOUND = np.array([[0, 0], [13, 24], [64, 65], [6, 6]])  # off by 0, (3, 4), (0, 1), (1, 1)


def test_distances_are_euclidean() -> None:
    assert match_scores.distance_px(FOUND, TRUE).tolist() == [0, 5, 1, math.sqrt(2)]


def test_a_distance_of_exactly_the_tolerance_is_correct() -> None:
    rows = match_scores.rows(FOUND, TRUE)
    assert rows["cmr_1"].tolist() == [100, 0, 100, 0]
    assert rows["cmr_2"].tolist() == [100, 0, 100, 100]
    assert rows["cmr_5"].tolist() == [100, 100, 100, 100]


def test_the_mean_distance_is_not_the_root_of_the_mean_square() -> None:
    rows = match_scores.rows(FOUND, TRUE)
    assert summarise(rows["distance"]).value == pytest.approx((0 + 5 + 1 + math.sqrt(2)) / 4)
    rmse = summarise(rows["rmse_px"], match_scores.SCORES["rmse_px"].aggregate)
    assert rmse.value == pytest.approx(math.sqrt((0 + 25 + 1 + 2) / 4))
    assert rmse.std is None


def test_the_correct_matching_rate_is_a_share_in_percent() -> None:
    assert summarise(match_scores.rows(FOUND, TRUE)["cmr_2"]).value == 75


def columns() -> dict[str, np.ndarray]:
    offsets = dict(zip(match_scores.OFFSET_COLUMNS, (*TRUE.T, *FOUND.T), strict=True))
    return {**match_scores.rows(FOUND, TRUE), **offsets}


def test_rows_that_follow_from_their_offsets_are_taken() -> None:
    match_scores.refuse_wrong_rows(columns(), 1e-9)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("found_left", 25, "others than the offsets"),
        ("distance", 4.9, "others than the offsets"),
        ("cmr_5", 0.0, "others than the offsets"),
        ("top", 10.5, "no whole numbers"),
        ("left", -1, "no whole numbers"),
        ("left", math.nan, "no whole numbers"),
    ],
)
def test_a_row_that_was_changed_is_found(name: str, value: float, words: str) -> None:
    changed = {key: column.astype(np.float64) for key, column in columns().items()}
    changed[name][1] = value
    with pytest.raises(ContractError, match=words):
        match_scores.refuse_wrong_rows(changed, 1e-9)


def test_a_score_that_is_none_of_matching_is_refused() -> None:
    with pytest.raises(ContractError, match="ssim is no score of matching"):
        match_scores.refuse_wrong_rows({**columns(), "ssim": np.zeros(4)}, 1e-9)
