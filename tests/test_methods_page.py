"""The page of methods: cards, counts, and where papers print numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sarbench.bench import methods_page, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.published import read

BOARDS = Path(__file__).parents[1] / "leaderboards"
METHODS = [name for name in registry.names("methods") if registry.card_of("methods", name).get("role") != "floor"]


def written(folder: Path, counted: dict[str, dict[str, int]]) -> Path:
    (folder / methods_page.JSON).write_text(json.dumps({"methods": counted}))
    return folder / methods_page.JSON


def test_every_method_has_a_row_and_its_deviations(tmp_path):
    text = methods_page.page(written(tmp_path, {}), [])
    for name in METHODS:
        card = registry.card_of("methods", name)
        assert f"`{name}`" in text
        assert f"### {card['title'].replace('*', chr(92) + '*')}" in text
    assert "`mean_color`" not in text  # a floor


def test_counts_are_shown_in_millions_and_billions(tmp_path):
    counted = {"pix2pix": {"parameters": 57_182_660, "translating": 54_413_955, "flops": 36_312_000_000}}
    [row] = [line for line in methods_page.page(written(tmp_path, counted), []).splitlines() if line.startswith("| `pix2pix`")]
    cells = [cell.strip() for cell in row.split("|")]
    assert {"57.18 M", "54.41 M", "36.3"} <= set(cells)


def test_what_was_not_counted_is_a_dash(tmp_path):
    [row] = [line for line in methods_page.page(written(tmp_path, {}), []).splitlines() if line.startswith("| `pix2pix`")]
    assert [cell.strip() for cell in row.split("|")].count("–") >= 3


def test_the_papers_that_print_numbers_of_a_method_are_named_with_their_tables(tmp_path):
    text = methods_page.page(written(tmp_path, {}), read(BOARDS / "published"))
    [row] = [line for line in text.splitlines() if line.startswith("| `pix2pix`")]
    assert "[s3oil](published.md#s3oil) table 1" in row
    assert "[cdiffset](published.md#cdiffset)" in row


def test_another_file_is_refused(tmp_path):
    (tmp_path / methods_page.JSON).write_text("{}")
    with pytest.raises(ContractError, match=r"methods\.json"):
        methods_page.page(tmp_path / methods_page.JSON, [])


def test_a_paper_preset_is_counted_without_memory():
    assert methods_page.parameters("pix2pix") == 54_413_955 + 2_768_705  # the golden counts of U-Net and PatchGAN


def test_a_sampler_costs_its_steps(monkeypatch):
    from dataclasses import replace

    cls = registry.load_method("cdiffset")
    small = replace(cls.presets["tiny"], unet_widths=(8, 16), vae_widths=(8, 8))
    costs = {}
    for steps in (2, 3, 5, 9):
        monkeypatch.setattr(cls, "presets", {"paper": replace(small, steps=steps)})
        costs[steps] = methods_page._translation("cdiffset")
    assert costs[9]["flops"] - costs[5]["flops"] == 4 * (costs[3]["flops"] - costs[2]["flops"]) > 0
    assert costs[9]["translating"] == costs[2]["translating"]


def test_the_committed_counts_are_of_these_methods():
    counted = json.loads((BOARDS / methods_page.JSON).read_text())["methods"]
    assert sorted(counted) == sorted(METHODS)
    for name in METHODS:
        assert counted[name]["parameters"] == methods_page.parameters(name), f"{name}: run sarbench leaderboard --count-methods"
        assert 0 < counted[name]["translating"] <= counted[name]["parameters"]
        assert counted[name]["flops"] > 0
