"""Progress without a terminal: a few plain lines, and none when quiet."""

from __future__ import annotations

import pytest

from sarbench.bench.progress import PLAIN_LINES, Progress


def test_a_long_job_prints_ten_lines_with_the_newest_values(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 1000, unit="steps") as progress:
        for step in range(1000):
            progress.advance(1, {"loss": step})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == PLAIN_LINES
    assert lines[0].startswith("train: 100/1000 steps, ")
    assert lines[-1].startswith("train: 1000/1000 steps, 0 s left  loss=999")


def test_a_resumed_job_counts_from_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 10, start=8) as progress:
        progress.advance(2)
    assert capsys.readouterr().err.startswith("train: 10/10")


def test_a_quiet_job_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 10, quiet=True) as progress:
        progress.advance(10)
    assert capsys.readouterr().err == ""
