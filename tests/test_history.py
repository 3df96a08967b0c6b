"""A method's scores commit by commit: the table, the picture, and what breaks the line."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sarbench.bench import cli
from sarbench.bench.history_picture import picture
from sarbench.bench.records import Store


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)


@pytest.fixture
def boards(make_run: Callable[..., Any], tmp_path: Path) -> Path:
    """A checkout whose records of pix2pix were committed three times: twice under one protocol, then under another."""
    root = tmp_path / "boards"
    root.mkdir()
    git(tmp_path, "init", "-q")
    for ssim, share, day, seeds in ((0.5, 0.1, 1, 1), (0.4, 0.1, 2, 2), (0.6, 0.2, 3, 1)):
        for seed in range(seeds):
            changes = {"terms": {"share": share}, "created": f"2025-03-0{day}T12:00:00Z", "seed": seed}
            run = make_run("pix2pix", values={"ssim": ssim + seed / 10}, **changes)
            Store(root).write(run.record, run.rows)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", f"day {day}")
    return root


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_the_table_has_a_row_for_each_commit_and_says_where_terms_change(
    boards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["history", "--method", "pix2pix", "--leaderboards", str(boards)]
    assert cli.main(words) == 0
    found = rows(capsys.readouterr().out)
    assert [row[5] for row in found] == ["", "-0.05", "other terms"]
    assert [row[4] for row in found][:2] == ["0.5", "0.45 ± 0.071"]
    assert [row[3] for row in found][:2] == ["1", "2"]
    assert cli.main([*words, "--metric", "psnr"]) == 0
    assert "psnr (dB)" in capsys.readouterr().out


def test_records_that_are_not_committed_come_last(
    boards: Path, make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("pix2pix", values={"ssim": 0.9})
    Store(tmp_path / "now").write(run.record, run.rows)
    words = ["--leaderboards", str(boards), "--records", str(tmp_path / "now"), "--protocol", "synthetic.tiny"]
    assert cli.main(["history", "--method", "pix2pix", *words]) == 0
    last = rows(capsys.readouterr().out)[-1]
    assert last[1] == "not committed"
    assert last[4] == "0.9"


def test_the_picture_is_the_same_bytes_and_breaks_its_line_at_other_terms(boards: Path, tmp_path: Path) -> None:
    words = ["history", "--method", "pix2pix", "--leaderboards", str(boards), "--svg"]
    for name in ("a.svg", "b.svg"):
        assert cli.main([*words, str(tmp_path / name)]) == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    space = "{http://www.w3.org/2000/svg}"
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert len(root.findall(f"{space}circle")) == 3
    joined = [line for line in root.findall(f"{space}line") if line.get("stroke-width") == "2"]
    broken = [line for line in root.findall(f"{space}line") if line.get("stroke-dasharray")]
    assert (len(joined), len(broken)) == (1, 1)


def test_one_point_and_hostile_text_still_make_a_picture() -> None:
    from sarbench.bench.history import Point

    point = Point("<b>", '2025"', "& <script>", (0,), 1.0, None, "t", "r")
    ET.fromstring(picture([point], "<x>", "a & b"))


def test_what_has_no_history_says_so(boards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "--method", "cut", "--leaderboards", str(boards)]) == 1
    assert "cut has records on no track" in capsys.readouterr().err
    assert cli.main(["history", "--method", "pix2pix", "--metric", "lpipz", "--leaderboards", str(boards)]) == 1
    assert "ever measured lpipz" in capsys.readouterr().err


def test_a_broken_record_of_the_past_is_passed_over(boards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("{", "[]", '{"seed": 0}'):
        (boards / "results/synthetic.tiny/pix2pix/0.json").write_text(text)
        (boards / "results/synthetic.tiny/pix2pix/1.json").unlink(missing_ok=True)
        git(boards, "add", "-A")
        git(boards, "commit", "-q", "-m", "broken")
    assert cli.main(["history", "--method", "pix2pix", "--leaderboards", str(boards)]) == 0
    assert len(rows(capsys.readouterr().out)) == 3
