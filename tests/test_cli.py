"""The command line: fast to start, clear when it refuses, never a traceback for a user's mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sarbench.bench import cli, registry


@pytest.fixture(autouse=True)
def _no_added_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = "import sys; from sarbench.bench import cli; cli.main(['--help']); print(len(sys.modules), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in cli.COMMANDS)
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: sarbench {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["--help", "list"])
def test_a_reader_that_has_seen_enough_is_no_error(words: str) -> None:
    command = f"{sys.executable} -m sarbench.bench.cli {words} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")


def test_list_shows_methods_datasets_metrics_and_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    for word in ("pix2pix", "cyclegan", "mean_color", "synthetic", "pairs", "ssim", "lpips", "psnr"):
        assert word in shown
    assert cli.main(["list", "metrics"]) == 0
    assert "pix2pix" not in capsys.readouterr().out


def test_an_unknown_command_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rank"]) == 2
    assert "unknown command 'rank'; choose from: list, run, ablate, score" in capsys.readouterr().err


def test_a_new_method_passes_its_test_as_generated(tmp_path: Path) -> None:
    assert cli.main(["new-method", "foo", "--into", str(tmp_path)]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_foo.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


@pytest.mark.parametrize("name", ["Foo", "1st", "a-b", "../up", "pix2pix"])
def test_a_name_that_can_not_be_a_method_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new-method", name, "--into", str(tmp_path)]) == 1
    assert "sarbench new-method:" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_new_method_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "test_foo.py").write_text("mine")
    assert cli.main(["new-method", "foo", "--into", str(tmp_path)]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["test_foo.py"]
    assert (tmp_path / "test_foo.py").read_text() == "mine"


def test_check_method_prints_a_line_for_each_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check-method", "mean_color"]) == 0
    shown = capsys.readouterr().out
    assert "FAIL" not in shown
    assert "ok    no target reaches translate" in shown


def test_check_method_fails_for_a_method_that_breaks_a_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sarbench.bench import scaffold

    text = scaffold.METHOD.format(title="shrinks", cls="Shrinks")
    text = text.replace("return self.G(source)", "return self.G(source)[:, :, 1:]")
    (tmp_path / "shrinks.py").write_text(text)
    assert cli.main(["check-method", "--plugin", str(tmp_path / "shrinks.py")]) == 1
    assert "FAIL  translation keeps the grid" in capsys.readouterr().out


def test_score_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
    words = ["score", str(tmp_path / "a"), str(tmp_path / "b"), "--metric", "psnr", "--metric", "ssim"]
    assert cli.main(words) == 0
    table = capsys.readouterr().out
    assert "psnr" in table
    assert "gauss11s1.5" in table
    import json

    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
