"""The archive page: runs that no board ranks any more, each set of terms in a table of its own, never mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sarbench.bench import markdown
from sarbench.bench.board import Board, board_of
from sarbench.bench.board_tables import Notes, legend, score_table
from sarbench.bench.records import Loaded, Record
from sarbench.bench.significance import Rows, rows_of

PAGE = "archive.md"
GENERATED = f"{markdown.GENERATED} the records in results/. Don't edit. -->"
WHY = (
    "Runs under older terms, data or metric signatures, and runs of an older config or code of their method. Nothing here is "
    "compared with the boards, and no table holds runs of two protocol hashes."
)


def archive(loaded_by_slug: Mapping[str, Sequence[Loaded]]) -> str:
    """The page in markdown; empty where every record stands on a board."""
    parts = []
    for slug, loaded in loaded_by_slug.items():
        records = [item.record for item in loaded]
        board = board_of(slug, records)
        rows = rows_of(loaded)
        for older in _versions(slug, board.older, rows):
            parts += _table(f"{slug}: protocol hash {older.newest.protocol_hash[:16]}", older)
        for replaced in _versions(slug, board.replaced, rows):
            parts += _table(f"{slug}: older config or code", replaced)
    return "\n\n".join([GENERATED, "# Archive", WHY, *parts]) + "\n" if parts else ""


def _versions(slug: str, records: Sequence[Record], rows: Rows) -> list[Board]:
    """Boards that hold each of these records once: one a protocol hash, and as many as there were configs or codes."""
    boards, waiting = [], list(records)
    while waiting:
        board = board_of(slug, waiting, rows)
        boards.append(board)
        waiting = [*board.replaced, *board.older]
    return boards


def _table(title: str, board: Board) -> list[str]:
    notes, data, terms = Notes(), board.newest.dataset, board.newest.terms
    about = (
        f"{markdown.text(data.title)}: {data.n_train:,} training and {data.n_test:,} test images, budget "
        f"{terms.size.budget_images:,} images, preset `{terms.preset}`; protocol hash `{board.newest.protocol_hash[:16]}`, "
        f"data hash `{data.content_hash[:16]}`; newest run of {board.newest.created[:10]}."
    )
    table = score_table(board, board.ranked + board.made, notes)
    lines = "\n".join(f"- {line}" for line in legend(board, notes, board.metrics))
    return [f"## {title}", about, table, lines]
