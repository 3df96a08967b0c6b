"""Ablation tables: declared by the method, run row by row, and shown beside what the paper prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sarbench.bench import ablate, board_page, cli, options, published, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.settings import config_of, variant_of

ROOT = Path(__file__).parent.parent

TABLES = {"2": {"": {}, "CAM": {"msm": "off"}, "MSM": {"cam": "false"}}}


def test_every_row_runs_with_its_own_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(registry, "load_learner", lambda name: SimpleNamespace(ablations=TABLES))
    monkeypatch.setattr(ablate, "request", lambda asked: asked)
    monkeypatch.setattr("sarbench.bench.runs.run_all", lambda asked: seen.append(asked) or int(len(seen) == 2))
    assert cli.main(["ablate", "m", "--table", "2", "--budget", "8"]) == 1  # the second row failed, the third still ran
    assert [asked["set"] for asked in seen] == [[], ["msm=off"], ["cam=false"]]
    assert all(asked["method"] == ["m"] and asked["budget"] == 8 for asked in seen)
    assert "Table 2, CAM" in capsys.readouterr().out


def test_a_table_that_the_method_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_learner", lambda name: SimpleNamespace(ablations=TABLES))
    with pytest.raises(ContractError, match="m knows no ablation '7'; it knows: 2"):
        ablate.rows_of("m", "7")


def test_tables_are_read_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abl.py").write_text(f"class M:\n    ablations = {TABLES!r}\n")
    monkeypatch.setattr(registry, "_added", {})
    registry.add_plugin(tmp_path / "abl.py")
    assert registry.ablations_of("abl") == TABLES
    assert registry.ablations_of("pix2pix") == registry.ablations_of("not_here") == {}


def test_a_board_shows_rows_beside_the_published_ones(make_run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ablations_of", lambda name: TABLES if name == "s3oil" else {})
    number = {"paper": "s3oil", "table": "2", "dataset": "sen12ms", "method": "s3oil", "metric": "ssim"}
    published = [
        SimpleNamespace(**number, variant="CAM", printed="0.1778"),
        SimpleNamespace(**number, variant="", printed="0.1862"),
        SimpleNamespace(**number, variant="lambda=3", printed="0.9"),
    ]
    records = [
        make_run("s3oil", values={"ssim": 0.31}).record,
        make_run("s3oil", values={"ssim": 0.21}, variant="msm=off", config={"msm": "off"}).record,
    ]
    page = board_page.render("synthetic.tiny", records, published=published)  # type: ignore[arg-type]
    section = page.partition("## Ablation: Table 2 of `s3oil`")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    head = lines[0]
    cells = {line[0]: dict(zip(head, line, strict=True)) for line in lines[2:]}
    assert cells["CAM"]["ssim"] == "0.2100"
    assert cells["CAM"]["ssim, published"] == "0.1778"
    assert cells["the full method"]["ssim, published"] == "0.1862"
    assert "psnr, published" not in head
    assert "Ablation" not in board_page.render("synthetic.tiny", records[:1], published=published)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in registry.names("methods") if registry.ablations_of(name)])
def test_every_row_of_a_method_is_a_config_that_builds(name: str) -> None:
    cls = registry.load_learner(name)
    assert registry.ablations_of(name) == cls.ablations, "write the tables as literals"
    channels = 3 if cls.card.channels == "same" else 1
    for rows in cls.ablations.values():
        assert len({variant_of(name, settings) for settings in rows.values()}) == len(rows)
        for settings in rows.values():
            for preset in cls.presets:
                config = config_of(name, preset, settings)
                assert all(hasattr(config, key) for key in settings)
            with torch.device("meta"):
                cls(config_of(name, "tiny", settings), channels, 3)


@pytest.mark.parametrize("name", ["s3oil", "cdiffset", "semst"])
def test_the_rows_of_a_printed_table_are_those_that_are_declared(name: str) -> None:
    declared, printed = registry.ablations_of(name), {}
    for row in published.read(ROOT / "leaderboards" / "published"):
        if (row.paper, row.method) == (name, name):
            printed.setdefault(row.table, set()).add(row.variant)
    for table, rows in declared.items():
        if table.isdigit():
            assert printed[table] <= set(rows)
            assert set(rows) - printed[table] <= {""}
    varied = {table for table, variants in printed.items() if table.isdigit() and variants != {""}}
    assert varied <= set(declared)


def test_it_takes_the_options_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["ablate", "--help"])
    shown = capsys.readouterr().out
    assert all(flag in shown for flag, _ in options.OPTIONS if flag not in ablate.LEFT_OUT)
