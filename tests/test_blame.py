"""In what two records differ, and what each difference alone does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sarbench.bench import blame, cli
from sarbench.bench.factors import factors
from sarbench.bench.records import Git, Record, Store

ROOT = Path(__file__).parent.parent
CHEAP = {"train_seconds": 1.0}


@pytest.fixture
def sides(make_run: Callable[..., Any], tmp_path: Path) -> Callable[..., list[str]]:
    """The words of `sarbench blame` for two records of one track, NEW with changes."""

    def sides(train_seconds: float = 1.0, **changes: Any) -> list[str]:
        for name, changed in (("old", {}), ("new", changes)):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            cost = {"train_seconds": train_seconds, **changed.pop("cost", {})}
            run = make_run(**{"values": {"psnr": 20.0}, **changed, "cost": cost})
            Store(tmp_path / name).write(run.record, run.rows)
        return ["blame", str(tmp_path / "old"), str(tmp_path / "new")]

    return sides


def test_the_factors_that_differ_come_first(make_run: Callable[..., Any]) -> None:
    old = make_run().record
    new = make_run(
        seed=3,
        code_hash="e" * 64,
        config={"learning_rate": 1e-3, "betas": (0.5, 0.999)},
        versions={"python": "3.11.9", "torch": "2.9.0", "numpy": "2.1.0"},
        cost={"device": "NVIDIA H100", "threads": 4},
        terms={"share": 0.2},
    ).record
    found = factors(old, new)
    differs = [factor.name for factor in found if factor.differs]
    assert differs == ["code", "config", "seed", "threads", "hardware", "torch", "protocol (share)"]
    assert [factor.name for factor in found if factor.differs and factor.swappable] == ["code", "config", "seed", "threads"]
    assert next(factor for factor in found if factor.name == "config").old == "learning_rate=0.0002"
    assert not [factor for factor in factors(old, old) if factor.differs]


def test_what_can_not_be_swapped_is_said_and_how_to(
    sides: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(sides(versions={"python": "3.11.9", "torch": "2.9.0", "numpy": "2.1.0"}, values={"psnr": 19.0})) == 0
    text = capsys.readouterr().out
    assert "not swapped: torch: it takes an environment of its own: pip install 'torch==2.8.0'" in text
    assert "nothing that differs can be swapped here" in text
    assert "| psnr" in text


def test_long_trainings_are_not_run_unasked(sides: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(sides(train_seconds=50.0, config={"a": 1}, seed=1)) == 0
    assert "not run: 4 runs that swap config, seed train for about 200 s; say --train" in capsys.readouterr().out


def test_each_swap_is_held_against_old_as_it_runs_here(
    sides: Callable[..., list[str]],
    make_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Here all scores 0.25 dB less than recorded; the config takes 2 dB and the seed gives 0.5 dB, both together take 1.75."""

    def run(side: blame.Side, args: object) -> Record:
        config, seed = side.config.config.get("a"), side.seed.seed
        value = 19.75 - 2.0 * bool(config) + 0.5 * seed - 0.25 * bool(config and seed)
        return make_run(values={"psnr": value}).record

    monkeypatch.setattr(blame, "_run", run)
    assert cli.main(sides(config={"a": 1}, seed=1, values={"psnr": 18.5})) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    found = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines}
    assert found["recorded: NEW - OLD"] == "-1.5"
    assert found["swapped: config of NEW"] == "-2"
    assert found["swapped: seed of NEW"] == "+0.5"
    assert found["swapped: all of these"] == "-1.75"
    assert found["OLD run here - OLD recorded"] == "-0.25"
    assert found["not explained: NEW recorded - all swapped"] == "+0.5"


def test_code_that_no_commit_holds_is_said(
    sides: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sides(code_hash="d" * 64, git=Git(commit="1" * 40, dirty=True))
    assert cli.main([*words, "--repository", str(ROOT)]) == 0
    text = capsys.readouterr().out
    assert f"could not be run: OLD, run here: commit {'0' * 40} is not in" in text
    assert "was made of uncommitted code" in text
    assert "nothing can be swapped into it" in text


def test_the_options_of_a_run_come_from_the_records(make_run: Callable[..., Any]) -> None:
    import argparse

    old = make_run(variant="width=8", config={"width": 8, "rate": 0.1, "kind": "a"}).record
    new = make_run(config={"width": 8, "rate": None, "kind": "b"}, seed=7).record
    args = argparse.Namespace(data=None, plugin=None)
    side = blame.Side(*[old] * 4)
    words = list(blame._options(side, args))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["width=8"]
    words = list(blame._options(replace(side, config=new, seed=new), args))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["kind=b", "rate=none", "width=8"]
    assert words[words.index("--seed") + 1] == "7"
    assert words[words.index("--data-option") + 1] == "size_px=128"


def test_the_same_record_differs_in_nothing(sides: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(sides()) == 0
    text = capsys.readouterr().out
    assert "nothing that the records hold differs" in text
    assert "the rows are the same to the last bit" in text


def test_folders_of_several_records_need_a_name(
    sides: Callable[..., list[str]], make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sides()
    run = make_run("cut")
    Store(tmp_path / "old").write(run.record, run.rows)
    assert cli.main(words) == 1
    assert "--method" in capsys.readouterr().err
    assert cli.main([*words, "--method", "pix2pix"]) == 0


@pytest.mark.slow
def test_a_commit_is_blamed_by_running_the_code_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two commits of a copy of this checkout; the second makes the floor `mean_color` brighter."""
    tree = tmp_path / "tree"
    for part in ("bench", "methods", "datasets"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    who = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    method = tree / "methods" / "mean_color.py"
    subprocess.run([*who, "init", "-q"], check=True)
    (tree / ".gitignore").write_text("__pycache__/\n")
    (tmp_path / "path" / "sarbench").mkdir(parents=True)
    for part in ("bench", "methods", "datasets"):
        (tmp_path / "path" / "sarbench" / part).symlink_to(tree / part)
    options = ["size_px=64", "n_train=4", "n_test=2"]
    for name in ("old", "new"):
        if name == "new":
            text = method.read_text()
            method.write_text(text.replace("def translate(", "def translate_darker(", 1) + BRIGHTER)
        subprocess.run([*who, "add", "-A"], check=True)
        subprocess.run([*who, "commit", "-q", "-m", name], check=True)
        words = ["run", "--method", "mean_color", "--budget", "8", "--device", "cpu"]
        words += [word for option in options for word in ("--data-option", option)]
        words += ["--runs", str(tmp_path / "runs" / name), "--leaderboards", str(tmp_path / name)]
        command = [blame.sys.executable, "-c", blame.START, str(tmp_path / "path"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    words = ["blame", str(tmp_path / "old"), str(tmp_path / "new"), "--method", "mean_color", "--repository", str(tree)]
    assert cli.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines}
    assert found["swapped: code of NEW"] == found["recorded: NEW - OLD"] != "+0"
    assert found["OLD run here - OLD recorded"] == found["not explained: NEW recorded - all swapped"] == "+0"


BRIGHTER = """

    def translate(self, source, seeds):
        return (self.translate_darker(source, seeds) + 0.2).clamp(-1, 1)
"""
