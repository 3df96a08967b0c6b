"""`sarbench list`: what there is, read from names and source text without importing any of it."""

from __future__ import annotations

import argparse

from sarbench.bench import registry
from sarbench.bench.protocols import PROTOCOLS

KINDS = ("methods", "datasets", "metrics", "protocols")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench list`."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="only these (default: all)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file that holds one more method")


def command(args: argparse.Namespace) -> int:
    """Print one line for each plugin and protocol."""
    for plugin in args.plugin:
        registry.add_plugin(plugin)
    for kind in (args.kind,) if args.kind else KINDS:
        rows = _protocol_rows() if kind == "protocols" else [_row(kind, name) for name in registry.names(kind)]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        print(kind)
        for name, tag, about in rows:
            print(f"  {name:<{widths[0]}}  {tag:<{widths[1]}}  {about}".rstrip())
    return 0


def _row(kind: str, name: str) -> tuple[str, str, str]:
    card = registry.card_of(kind, name)
    if kind == "methods":
        tag = "floor" if card.get("role") == "floor" else str(card.get("supervision", ""))
        year = "" if tag == "floor" else f" ({card['year']})" if "year" in card else ""
        return name, tag, f"{card.get('title', '')}{year}  {card.get('paper', '')}"
    return name, "", str(card.get("title") or registry.docstring_of(kind, name).partition("\n")[0])


def _protocol_rows() -> list[tuple[str, str, str]]:
    return [(p.name, p.task, p.about + (" (needs --data)" if p.needs_data else "")) for p in PROTOCOLS.values()]
