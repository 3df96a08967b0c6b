"""The page of one board: one HTML file that holds all it needs, and is allowed to load nothing.

Its policy names the hash of its one style sheet and its one script; whatever a record says is text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sarbench.bench import markdown
from sarbench.bench.board import board_of
from sarbench.bench.errors import ContractError
from sarbench.bench.records import Loaded
from sarbench.bench.report import breakdown, costs, curves, samples, table, verdicts
from sarbench.bench.significance import rows_of

HERE = Path(__file__).parent
MAX_BYTES = 15_000_000  # of a page
TEXT_SHARE = 8_000  # bytes of text, about, that a method's rows, plots and curves take
RESERVE = 600_000  # bytes for the rest of the text
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # in JSON inside HTML


def render(slug: str, loaded: Sequence[Loaded], runs: Path, count: int) -> str:
    """The page of a track's records, with `count` samples at most from the folder `runs`; the same bytes for the same input.

    ContractError where there is no record, or the page does not fit into MAX_BYTES.
    """
    board = board_of(slug, [item.record for item in loaded], rows_of(loaded))
    metrics = table.measured(board, board.metrics)
    audits = table.measured(board, board.audits)
    text_bytes = RESERVE + TEXT_SHARE * len(table.entries_of(board))
    shown = samples.browser(board, runs, count, max(0, MAX_BYTES - text_bytes) * 3 // 4)
    style, script = ((HERE / name).read_text("utf-8") for name in ("style.css", "script.js"))
    page = (
        _environment()
        .get_template("page.html")
        .render(
            policy=_policy(style, script),
            style=Markup(style),
            script=Markup(script),
            data=_json(shown.data),
            board=board,
            title=board.newest.dataset.title,
            seeds=", ".join(str(seed) for seed in sorted({r.seed for entry in board.ranked for r in entry.records})),
            columns=table.columns(board, metrics),
            groups=table.groups(board, metrics),
            audit_columns=table.columns(board, audits),
            audit_groups=table.groups(board, audits) if audits else [],
            notes=table.how_to_read(board, metrics),
            main=board.newest.terms.main_metric,
            samples=shown,
            entry_data=_json([{"name": table.title_of(e.newest), "role": e.newest.role} for e in table.entries_of(board)]),
            cost_titles=costs.titles(),
            cost_rows=costs.rows(board),
            cost_plots=costs.plots(board),
            class_tables=breakdown.by_class(board),
            scenes=breakdown.by_scene(board),
            trainings=curves.trainings(board, runs),
            judges=verdicts.judges(board),
        )
    )
    size = len(page.encode())
    if size > MAX_BYTES:
        raise ContractError(f"the report of {slug} has {size:,} bytes, more than {MAX_BYTES:,}; ask for fewer --samples")
    return page


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return environment


def _printable(value: Any) -> Any:
    """Text of one line without control, direction or format characters; what is markup already stays as it is."""
    return markdown.line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _policy(style: str, script: str) -> str:
    """Nothing is loaded but what stands in the page."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    allowed = f"img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _json(data: Any) -> Markup:
    """JSON that can stand in a script element: no character in it ends the element or opens another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    return Markup(text.translate(UNSAFE))
