"""The page of speeds: what `pytest bench/test_speed_*.py --benchmark-json leaderboards/speed.json` measured, as ratios."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from sarbench.bench import markdown
from sarbench.bench.storage import read_json

JSON, PAGE = "speed.json", "speed.md"  # in the folder of boards
GENERATED = f"{markdown.GENERATED} {JSON}. Don't edit. -->"
HOW = (
    "How many times as fast as others this suite does the same work: the median of the rounds of one run, in which all take "
    "turns, and the lowest and highest of them. All begin at the same decoded images; networks run under random weights. Only "
    "ratios are given, since seconds say more about a machine than about a program."
)


def page(file: Path) -> str:
    """The markdown of a file of pytest-benchmark. ContractError for a file that is none."""
    told = read_json(file, "benchmarks", "machine_info")
    rows = [row for benchmark in told["benchmarks"] for row in _rows(benchmark)]
    table = markdown.table(rows, left=2) if rows else "Nothing was compared."
    return "\n\n".join([GENERATED, "# Speed", HOW, table, _machine(told["machine_info"])]) + "\n"


def _rows(benchmark: dict[str, Any]) -> list[dict[str, str]]:
    extra = benchmark["extra_info"]
    rows = []
    for peer, measured in extra.get("peers", {}).items():
        ratios = measured["ratios"]
        rows.append(
            {
                "work": markdown.text(benchmark["name"].removeprefix("test_").replace("_", " ")),
                "against": markdown.text(f"{peer} {measured['version']}".strip()),
                "images": str(extra["images"] or "–"),
                "times as fast": f"{median(ratios):.3g}",
                "lowest to highest": f"{min(ratios):.3g} to {max(ratios):.3g}" if len(ratios) > 1 else "one round",
            }
        )
    return rows


def _machine(info: dict[str, Any]) -> str:
    cpu = info.get("cpu", {})
    name = markdown.text(str(cpu.get("brand_raw", info.get("machine", "unknown"))))
    return f"{name}, {info['threads']} threads; Python {info['python_version']}, torch {info['torch']}."
