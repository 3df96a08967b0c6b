"""A whole run of a matcher: data -> train -> match -> score -> record -> board, resumable and recomputable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from sarbench.bench import cli, leaderboard, match_pipeline, match_scores, pipeline, provenance, runs
from sarbench.bench.errors import ContractError
from sarbench.bench.match_pipeline import MatchBench
from sarbench.bench.options import request
from sarbench.bench.records import Store
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

SLUG = "pairs-match.ground.tiny.4"


def write_pairs(root: Path, n_train: int = 20, n_test: int = 3, side: int = 256) -> Path:
    """Grey ground, and its colour image, of which the first band is the ground itself."""
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for i in range(n):
            ground = cv2.resize(rng.integers(0, 255, (32, 32), dtype=np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
            for domain, image in (("sar", ground), ("opt", np.stack([ground, ground // 2, ground // 3], axis=2))):
                (root / split / domain).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / split / domain / f"{i:02d}.png"), image)
    return root


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "ground")


def bench_on(data: Path, root: Path, budget: int = 4, **settings: str) -> MatchBench:
    made = track("pairs-match", "tiny", budget=budget, data=data)
    return MatchBench(made, Hardware(), root / "runs", root / "boards", settings, quiet=True)


def test_the_floor_finds_every_template_of_images_that_are_alike(ground: Path, tmp_path: Path) -> None:
    record = bench_on(ground, tmp_path).run("ncc", 0)
    assert record is not None
    assert {name: score.value for name, score in record.scores.items()} == {
        "cmr_1": 100,
        "cmr_2": 100,
        "cmr_5": 100,
        "distance": 0,
        "rmse_px": 0,
    }
    assert record.role == "floor"
    assert record.of_matching
    assert record.scores["cmr_1"].signature == "cmr;euclid<=1px;first-maximum;v1;192in256"


def test_a_run_leaves_a_record_rows_a_strip_and_a_page(ground: Path, tmp_path: Path) -> None:
    bench = bench_on(ground, tmp_path)
    bench.run("ncc", 0)
    record = bench.run("s2m2sar", 0)
    assert record is not None
    assert record.budget.images == 4
    assert record.card.supervision == "semi"
    folder = tmp_path / "boards/results" / SLUG / "s2m2sar"
    assert sorted(file.name for file in folder.iterdir()) == ["0.csv", "0.jpg", "0.json"]
    rows = pd.read_csv(folder / "0.csv")
    assert list(rows.columns) == ["id", "scene", *record.scores, *match_scores.OFFSET_COLUMNS]
    assert rows["distance"].mean() == pytest.approx(record.scores["distance"].value)
    assert (rows[["top", "left"]].to_numpy() <= 64).all()
    leaderboard.write_pages(tmp_path / "boards")
    page = (tmp_path / "boards" / f"{SLUG}.md").read_text()
    assert "few labelled pairs, unlabelled pairs" in page
    assert "Honeypots" not in page
    assert "has not learned to match" in page
    assert (tmp_path / "boards" / f"{SLUG}.jpg").is_file()
    assert not leaderboard.check_pages(tmp_path / "boards")


def test_a_second_run_does_nothing_again(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_on(ground, tmp_path).run("s2m2sar", 0)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a stage that was done is done again")

    monkeypatch.setattr(pipeline, "train", refuse)
    monkeypatch.setattr("sarbench.bench.match.match", refuse)
    second = bench_on(ground, tmp_path).run("s2m2sar", 0)
    assert first is not None
    assert second is not None
    assert first.scores == second.scores
    assert first.cost.seconds_per_image == second.cost.seconds_per_image


def test_a_killed_matching_goes_on_and_ends_in_the_same_rows(ground: Path, tmp_path: Path) -> None:
    bench = bench_on(ground, tmp_path)
    bench.run("ncc", 0)
    rows = (tmp_path / "boards/results" / SLUG / "ncc/0.csv").read_bytes()
    file = bench.folder_of("ncc", 0) / "matches/rank0.json"
    kept = json.loads(file.read_text())
    kept["found"].popitem()
    file.write_text(json.dumps(kept))
    shutil.rmtree(tmp_path / "boards")
    (tmp_path / "boards").mkdir()
    bench_on(ground, tmp_path).run("ncc", 0)
    assert (tmp_path / "boards/results" / SLUG / "ncc/0.csv").read_bytes() == rows


def test_a_row_that_was_edited_makes_its_record_unreadable(ground: Path, tmp_path: Path) -> None:
    bench = bench_on(ground, tmp_path)
    record = bench.run("ncc", 0)
    assert record is not None
    rows = pd.read_csv(tmp_path / "boards/results" / SLUG / "ncc/0.csv", dtype={"id": str})
    rows["scene"] = None
    rows.loc[0, "found_top"] += 1
    with pytest.raises(ContractError, match="others than the offsets beside them give"):
        Store(tmp_path / "boards").write(record, rows)


def test_modes_of_one_matcher_have_records_of_their_own(ground: Path, tmp_path: Path) -> None:
    record = bench_on(ground, tmp_path, supervised="true").run("s2m2sar", 0)
    assert record is not None
    assert (record.variant, record.card.supervision) == ("supervised=true", "paired")


def test_test_images_too_small_to_search_in_are_refused_before_anything_runs(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "small", n_train=4, n_test=2, side=192)
    with pytest.raises(ContractError, match=r"searched in images of 256 px, and 2 test images are smaller"):
        bench_on(data, tmp_path).run("ncc", 0)


WORDS: dict[str, Any] = {
    "method": [],
    "plugin": [],
    "seed": [],
    "precision": None,
    "workers": None,
    "accumulate": 1,
    "device": "cpu",
    "compile": False,
    "preset": "tiny",
    "budget": None,
    "data": None,
    "data_option": [],
    "set": [],
    "runs": "runs",
    "leaderboards": "boards",
}


def test_matchers_and_translators_are_not_run_on_one_anothers_protocols() -> None:
    with pytest.raises(
        ContractError, match="pix2pix: made to translate; the protocol 'synthetic-match' ranks matchers: ncc, s2m2sar"
    ):
        request({**WORDS, "method": ["pix2pix"], "protocol": "synthetic-match"})
    with pytest.raises(ContractError, match="s2m2sar: made to match; the protocol 'synthetic' ranks methods that translate"):
        request({**WORDS, "method": ["s2m2sar"], "protocol": "synthetic"})


def test_every_matcher_runs_beside_the_floor_of_matching_alone() -> None:
    asked = request({**WORDS, "method": ["all"], "protocol": "synthetic-match"})
    assert asked.methods == ("ncc", "s2m2sar")
    assert isinstance(runs.bench_of(asked), MatchBench)
    assert runs.honeypots_of(asked.track) == runs.ceilings_of(asked.track) == []


def test_what_decides_a_match_is_in_the_hash_of_its_code(tmp_path: Path) -> None:
    names = {file.stem for file in Path(match_pipeline.__file__).parent.glob("*.py")}
    assert set(match_pipeline.MATCHING) <= names
    assert provenance.code_hash("ncc", match_pipeline.MATCHING) != provenance.code_hash("ncc")


def test_a_plan_times_matchers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sarbench.bench import plan

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "TIMED_SECONDS", 0.0)
    small = ["--data-option", "n_train=8", "--data-option", "n_test=2", "--budget", "8"]
    assert (
        cli.main(["run", "--method", "s2m2sar", "--protocol", "synthetic-match", "--dry-run", "--device", "cpu", *small]) == 0
    )
    text = capsys.readouterr().out
    assert "s2m2sar              seed 0        4 steps  about" in text
    assert "ncc                  seed 0        0 steps" in text
