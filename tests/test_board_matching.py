"""The section of a board on matching: gains over the source, shares of what the target reaches, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sarbench.bench.board_page import render
from sarbench.bench.errors import ContractError
from sarbench.bench.matched import COLUMNS, SIDES, Matched, columns_of, scores_of
from sarbench.bench.records import Store

TRUE = np.array([[4, 8], [0, 3], [16, 16], [7, 7]])
TITLE = "Judged by matching"
PAIRED = {"paired": True}


def places(off_px: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The first half is found in place, the second so many px too low."""
    return {side: TRUE + [[0, 0], [0, 0], [off_px[side], 0], [off_px[side], 0]] for side in SIDES}


def matched(signature: str = "matching;ncc;v1", **off_px: int) -> Matched:
    return Matched(signature=signature, search_px=64, scores=scores_of(TRUE, places({"source": 9, "target": 0, **off_px})))


@pytest.fixture
def section(make_run: Callable[..., Any]) -> Callable[..., str]:
    def section(*runs: Mapping[str, Any]) -> str:
        page = render("synthetic.tiny", [make_run(**run, terms=PAIRED).record for run in runs])
        return page.split(f"\n## {TITLE}\n")[1].split("\n## ")[0] if TITLE in page else ""

    return section


def row(text: str, start: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if start in line)


def test_a_board_without_matching_says_nothing_of_it(section: Callable[..., str]) -> None:
    assert section({}) == ""


def test_a_translation_stands_between_its_source_and_the_target(section: Callable[..., str]) -> None:
    text = section({"matched": matched(translated=2)}, {"method": "cut", "matched": matched(translated=9)})
    assert row(text, "| the source")[1:] == ["50.0", "50.0", "50.0", "4.50", "6.36", "0.0", "0 %"]
    assert row(text, "| the target")[1:] == ["100.0", "100.0", "100.0", "0.00", "0.00", "+50.0", "100 %"]
    assert row(text, "pix2pix")[1:] == ["50.0", "100.0", "100.0", "1.00", "1.41", "+50.0", "100 %"]
    assert row(text, "`cut`")[-2:] == ["0.0", "0 %"]


def test_a_target_that_is_found_no_better_than_the_source_gives_no_share(section: Callable[..., str]) -> None:
    assert row(section({"matched": matched(translated=0, source=0)}), "pix2pix")[-1] == "–"


def test_runs_matched_in_another_way_are_left_out(section: Callable[..., str]) -> None:
    text = section(
        {"matched": matched(translated=0), "created": "2025-02-01T00:00:00Z"},
        {"method": "cut", "matched": matched("matching;ncc;v0", translated=0), "created": "2025-01-01T00:00:00Z"},
    )
    assert "`cut`" not in text


def test_a_record_comes_back_with_its_offsets_and_is_refused_where_its_scores_are_others(
    make_run: Callable[..., Any], tmp_path: Any
) -> None:
    store = Store(tmp_path)
    rows = columns_of(TRUE, places({"translated": 1, "source": 9, "target": 0}))
    run = make_run(matched=matched(translated=1), terms=PAIRED)
    store.write(run.record, run.rows.assign(**rows))
    (loaded,) = store.read("synthetic.tiny")
    assert loaded.record.matched == run.record.matched
    assert list(loaded.rows.columns)[-8:] == list(COLUMNS)
    for wrong, words in (
        ({"translated_top": 0}, "cmr_1 of translated is recorded as"),
        ({"source_left": 0.5}, "no whole numbers of px"),
        ({"match_top": 64}, "no whole numbers of px from 0 to 63"),
        ({"target_top": -1}, "no whole numbers of px"),
    ):
        with pytest.raises(ContractError, match=words):
            store.write(run.record, run.rows.assign(**{**rows, **wrong}))
    with pytest.raises(ContractError, match="have the columns"):
        store.write(run.record, run.rows)


def test_scores_of_a_side_too_few_or_too_many_are_refused() -> None:
    whole = matched(translated=0).model_dump()
    for change in ({"translated": {}}, {"target": {**whole["scores"]["target"], "beauty": 1.0}}):
        with pytest.raises(ValidationError, match="matching needs cmr_1"):
            Matched(**{**whole, "scores": {**whole["scores"], **change}})
    with pytest.raises(ValidationError):
        Matched(**{**whole, "scores": {**whole["scores"], "beauty": whole["scores"]["target"]}})


def test_a_record_of_unpaired_domains_holds_no_matching(make_run: Callable[..., Any]) -> None:
    with pytest.raises(ValidationError, match="does not ask where templates"):
        make_run(matched=matched(translated=0), terms={"paired": False})
    with pytest.raises(ValidationError, match="does not ask where templates"):
        make_run(matched=matched(translated=0), terms={**PAIRED, "task": "season"})
