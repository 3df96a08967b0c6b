"""`sarbench list`: what there is, read from names and source text without importing any of it."""

from __future__ import annotations

import argparse

from sarbench.bench import registry
from sarbench.bench.protocols import PROTOCOLS, Protocol
from sarbench.bench.tracks import find_data, how_to_get, not_yet

KINDS = ("methods", "datasets", "metrics", "judges", "protocols")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench list`."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="only these (default: all)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file that holds one more method")


def command(args: argparse.Namespace) -> int:
    """Print one line for each plugin and protocol; for protocols alone, also what each needs and how to get it."""
    for plugin in args.plugin:
        registry.add_plugin(plugin)
    for kind in (args.kind,) if args.kind else KINDS:
        rows = _protocol_rows() if kind == "protocols" else [_row(kind, name) for name in registry.names(kind)]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        print(kind)
        for name, tag, about in rows:
            print(f"  {name:<{widths[0]}}  {tag:<{widths[1]}}  {about}".rstrip())
    if args.kind == "protocols":
        print(_needs())
    return 0


def _row(kind: str, name: str) -> tuple[str, str, str]:
    card = registry.card_of(kind, name)
    if kind == "methods":
        tag = "floor" if card.get("role") == "floor" else str(card.get("supervision", ""))
        matcher = "matcher, " * (card.get("task") == "matching")
        year = "" if tag == "floor" else f" ({card['year']})" if "year" in card else ""
        return name, matcher + tag, f"{card.get('title', '')}{year}  {card.get('paper', '')}"
    if kind == "datasets":
        return name, str(card.get("task", "")), str(card.get("title", ""))
    return name, "", registry.docstring_of(kind, name).partition("\n")[0]


def _protocol_rows() -> list[tuple[str, str, str]]:
    return [(protocol.name, _where(protocol), protocol.about) for protocol in PROTOCOLS.values()]


def _where(protocol: Protocol) -> str:
    """Is the data here?"""
    if not protocol.needs_data:
        return "made by code"
    return "data here" if find_data(protocol) else "needs --data" if protocol.any_folder else "data missing"


def _needs() -> str:
    """For each dataset that is missing, how to get it; and what protocols ask for that this version does not have."""
    missing = {p.datasets: p for p in PROTOCOLS.values() if p.needs_data and not p.any_folder and find_data(p) is None}
    lines = [f"  {' and '.join(names)}: {how_to_get(protocol)}" for names, protocol in missing.items()]
    lacking = sorted({thing for protocol in PROTOCOLS.values() for thing in not_yet(protocol)})
    return "\n".join(
        [""] * bool(lines or lacking)
        + ["missing data"] * bool(lines)
        + lines
        + [f"asked for by protocols, not in this version: {', '.join(lacking)}"] * bool(lacking)
    )
