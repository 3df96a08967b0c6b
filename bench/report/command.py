"""`sarbench report`: a board as one HTML file, with the pictures of its runs; opens anywhere and loads nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from sarbench.bench.errors import ContractError

SAMPLES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sarbench report`."""
    parser.add_argument(
        "boards", nargs="*", metavar="BOARD", help="such as synthetic.tiny; default: every board that has records"
    )
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"), metavar="DIR", help="folder of the records")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs, for pictures and curves"
    )
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="where BOARD.html is written")
    parser.add_argument("--samples", type=int, default=SAMPLES, metavar="N", help=f"test images to show; default: {SAMPLES}")


def command(args: argparse.Namespace) -> int:
    """Write a page for each board; 0."""
    from sarbench.bench.records import Store
    from sarbench.bench.report.page import render
    from sarbench.bench.storage import write_text

    if args.samples < 1:
        raise ContractError(f"--samples {args.samples}: show at least 1")
    store = Store(args.leaderboards)
    known = store.slugs()
    if not known:
        raise ContractError(f"--leaderboards {args.leaderboards} holds no records; run a method first, or name their folder")
    for slug in args.boards or known:
        if slug not in known:
            raise ContractError(f"no board {slug!r}; choose from: {', '.join(known)}")
        path = args.out / f"{slug}.html"
        text = render(slug, store.read(slug), args.runs, args.samples)
        write_text(path, text)
        print(f"wrote {path} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0
