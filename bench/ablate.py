"""`sarbench ablate`: a method under the settings of each row of an ablation table of its paper, on one track.

The board's page then shows the measured row beside the published one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, request

LEFT_OUT = ("--method", "--set")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench ablate`: those of `sarbench run`, for one method."""
    parser.add_argument("method", help="the method")
    parser.add_argument("--table", required=True, help="the table, figure or section of its paper, such as 2 or 'figure 9'")
    for flag, words in OPTIONS:
        if flag not in LEFT_OUT:
            parser.add_argument(flag, **words)


def command(args: argparse.Namespace) -> int:
    """Run every row and print the board; 1 if a row failed, the others still run."""
    from sarbench.bench.published import title_of
    from sarbench.bench.runs import run_all

    options: dict[str, Any] = {**vars(args), "method": [args.method], "set": []}
    failed = 0
    for row, settings in rows_of(args.method, args.table).items():
        print(f"{title_of(args.table)}, {row or 'the full method'}: {settings or 'as the preset has it'}", flush=True)
        failed |= run_all(request({**options, "set": [f"{key}={value}" for key, value in settings.items()]}))
    return failed


def rows_of(name: str, table: str) -> Mapping[str, Mapping[str, str]]:
    """The rows of a table and the settings that make them; ContractError for a method or a table that has none."""
    known = registry.load_learner(name).ablations
    if table not in known:
        raise ContractError(f"{name} knows no ablation {table!r}; it knows: {', '.join(known) or 'none'}")
    return known[table]
