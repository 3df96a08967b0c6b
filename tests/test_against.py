"""`pytest bench --against`: the exit code is the outcome, and the baseline is never written over."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sarbench.bench import cli, frozen, noise, registry
from sarbench.bench.against import Baseline, baseline
from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, Request, request
from sarbench.bench.outcomes import Outcome, Verdict
from sarbench.bench.records import Store
from sarbench.bench.runs import bench_of

ROOT = Path(__file__).parent.parent
SMALL = ["--data-option", "size_px=64", "--data-option", "n_train=4", "--data-option", "n_test=2", "--budget", "8"]
SLUG = "synthetic.tiny.8"


def asked(root: Path, boards: Path, *words: str) -> Request:
    parser = argparse.ArgumentParser()
    for flag, given in OPTIONS:
        parser.add_argument(flag, **given)
    folders = ["--runs", str(root / "runs"), "--leaderboards", str(boards)]
    return request(vars(parser.parse_args(["--method", "mean_color", "--device", "cpu", *SMALL, *folders, *words])))


def measure(wanted: Request, boards: Path) -> None:
    """Run the floors, the honeypots and the ceiling, as a session does."""
    bench = bench_of(replace(wanted, leaderboards=boards))
    for name in ("oracle_blur", "oracle_shift", "oracle_noise"):
        bench.run_honeypot(name)
    bench.run_ceiling()
    for name in wanted.methods:
        bench.run(name, wanted.seeds[0])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the boards of an earlier session, and its runs."""
    root = tmp_path_factory.mktemp("before")
    measure(asked(root, root / "boards"), root / "boards")
    return root


@pytest.fixture
def lab(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and no time lost with the frozen corpus."""
    monkeypatch.setattr(frozen, "check", lambda names: Verdict(()))
    return Path(shutil.copytree(before, tmp_path / "lab"))


def session(root: Path) -> Baseline:
    """A session against these boards, which is told to write into them."""
    return baseline(root / "boards" / "results", asked(root, root / "boards"))


def test_a_session_that_changes_nothing_is_equivalent_and_leaves_the_baseline_alone(lab: Path) -> None:
    kept = {path: path.read_bytes() for path in (lab / "boards").rglob("*") if path.is_file()}
    made = session(lab)
    assert made.new_records == lab / "runs" / "against"
    measure(made.asked, made.new_records)
    assert made.conclude() == Outcome.EQUIVALENT, made.text
    assert {path: path.read_bytes() for path in (lab / "boards").rglob("*") if path.is_file()} == kept


def test_what_was_not_run_in_this_session_is_not_measured(lab: Path) -> None:
    made = session(lab)
    assert made.conclude() == Outcome.NOT_MEASURED
    measure(made.asked, made.new_records)
    for path in (made.new_records / "results" / SLUG).glob("*/*.json"):
        path.write_text(path.read_text().replace('"created": "20', '"created": "19'))  # by an earlier session
    assert made.conclude() == Outcome.NOT_MEASURED
    assert "NEW has no record of it" in made.text


def test_a_kept_score_does_not_hide_a_metric_that_has_changed(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load_metric

    def drifted(name: str) -> object:
        metric = load(name)
        if name != "psnr" or metric.rows is None:
            return metric
        rows = metric.rows
        return replace(metric, rows=lambda x, y: rows(x, y) - 0.3, shared={})

    monkeypatch.setattr(registry, "load_metric", drifted)
    made = session(lab)
    measure(made.asked, made.new_records)
    assert made.conclude() == Outcome.DRIFTED
    assert "worse by 0.3 dB" in made.text


def test_a_baseline_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no records there"):
        baseline(tmp_path, asked(tmp_path, tmp_path / "boards"))


def test_noise_is_measured_by_repeating_a_method(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--runs", str(lab / "runs"), "--leaderboards", str(lab / "boards"), "--device", "cpu", *SMALL]
    assert cli.main(["noise", "mean_color", "--repeats", "3", *words]) == 0
    assert "3 runs gave the same rows to the last bit; it has no noise" in capsys.readouterr().out
    (run,) = [run for run in Store(lab / "boards").read(SLUG) if run.record.method == "mean_color"]
    known = noise.read(lab / "boards", run.record)
    assert known is not None
    assert known.exact
    assert known.is_of(run.record)
    assert len(list((lab / "boards/results" / SLUG / "mean_color").glob("*.json"))) == 1
    assert cli.main(["noise", "mean_color", "--repeats", "2", *words]) == 1


@pytest.mark.slow
def test_the_exit_code_of_pytest_is_the_outcome(before: Path, tmp_path: Path) -> None:
    """A record of the baseline that this code does not give: drifted."""
    root = Path(shutil.copytree(before, tmp_path / "lab"))
    store = Store(root / "boards")
    (run,) = [run for run in store.read(SLUG) if run.record.method == "oracle_blur"]
    rows = run.rows.assign(psnr=run.rows["psnr"] + 0.3)
    score = run.record.scores["psnr"]
    moved = score.model_copy(update={"value": float(rows["psnr"].mean())})
    store.write(run.record.model_copy(update={"scores": {**run.record.scores, "psnr": moved}}), rows)
    words = ["--method", "mean_color", "--device", "cpu", *SMALL, "--runs", str(root / "runs")]
    words += ["--against", str(root / "boards"), "--leaderboards", str(root / "boards")]
    command = [sys.executable, "-m", "pytest", str(ROOT / "bench"), "-q", "-p", "no:cacheprovider", "-k", "not seconds", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "drifted: synthetic.tiny.8 oracle_blur, psnr: 2 of 2 values differ" in done.stdout
    assert "drifted (" in done.stdout
    shutil.rmtree(root / "boards/results" / SLUG / "oracle_noise")
    shutil.rmtree(root / "boards/results" / SLUG / "oracle_blur")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3, done.stdout[-3000:]
    assert "OLD has no record of it" in done.stdout
