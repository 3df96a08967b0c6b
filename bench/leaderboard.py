"""`sarbench leaderboard`: the files of the boards, written from the records, or compared with them. Never edited by hand."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sarbench.bench import board_archive, board_files, markdown, methods_page, pareto, published_page, speed_page, strip
from sarbench.bench.board import board_of
from sarbench.bench.board_index import index
from sarbench.bench.board_page import compact, render
from sarbench.bench.certification import page as certificates
from sarbench.bench.errors import ContractError
from sarbench.bench.published import read as read_published
from sarbench.bench.records import Loaded, Store
from sarbench.bench.significance import rows_of
from sarbench.bench.storage import write_bytes, write_text

MARKED_BOARD = re.compile(r"^<!-- board:(?P<slug>\S+) -->\n(?P<body>.*?)^<!-- /board -->$", re.MULTILINE | re.DOTALL)
ABOUT = {
    board_archive.PAGE: "Runs under older terms, configs or code, which no board ranks",
    methods_page.PAGE: "What each method trains on, costs, and does differently from its paper",
    "published.md": "What the papers themselves print, and what of it does not add up",
    certificates.PAGE: "How exactly each metric keeps to its formula and to other packages",
    speed_page.PAGE: "How fast each metric is beside other packages",
}
SOURCES = {
    methods_page.PAGE: f"cards of the methods and {methods_page.JSON}",
    "published.md": "files in published/",
    certificates.PAGE: f"numbers in {certificates.JSON}",
    speed_page.PAGE: f"measurements in {speed_page.JSON}",
}
MADE_BY = markdown.GENERATED.removeprefix("<!-- ").removesuffix(" from")
ANY_MARK = re.compile(r"^<!-- (?:board:|/board)", re.MULTILINE)


def fill_between_markers(readme_text: str, page_table: Mapping[str, str]) -> str:
    """A README with the text of `page_table[SLUG]` between each `<!-- board:SLUG -->` and `<!-- /board -->`.

    Markers stand alone on their lines. A board without records says so. ContractError for a marker without its partner.
    """

    def fill(match: re.Match[str]) -> str:
        table = page_table.get(match["slug"], "No record of this board yet.\n")
        return f"<!-- board:{match['slug']} -->\n\n{table}\n<!-- /board -->"

    found = list(MARKED_BOARD.finditer(readme_text))
    if len(ANY_MARK.findall(readme_text)) != 2 * len(found) or any(ANY_MARK.search(match["body"]) for match in found):
        raise ContractError("a board marker in the README has no partner; write <!-- board:SLUG --> and <!-- /board -->")
    return MARKED_BOARD.sub(fill, readme_text)


@dataclass(frozen=True)
class _Wanted:
    """What a folder of boards should hold."""

    pages: dict[Path, str]  # and its text
    pictures: dict[Path, list[tuple[str, Path]]]  # and its rows: a label, and a file of tiles


def _pages_beside(root: Path) -> dict[str, str]:
    """The pages that are made of other files than records, by name; of those files that are there."""
    pages, published = {}, root / "published"
    if (root / methods_page.JSON).is_file():
        printed = read_published(published) if published.is_dir() else []
        pages[methods_page.PAGE] = methods_page.page(root / methods_page.JSON, printed)
    if published.is_dir():
        pages["published.md"] = published_page.page(published)
    if (root / certificates.JSON).is_file():
        pages[certificates.PAGE] = certificates.page(certificates.read(root / certificates.JSON))
    if (root / speed_page.JSON).is_file():
        pages[speed_page.PAGE] = speed_page.page(root / speed_page.JSON)
    return pages


def _wanted(root: Path) -> _Wanted:
    if not root.is_dir():
        raise ContractError(f"--leaderboards {root}: no such folder; run a method first, or name the folder of its records")
    store = Store(root)
    loaded = {slug: store.read(slug) for slug in store.slugs()}
    records = {slug: [item.record for item in items] for slug, items in loaded.items()}
    rows = {slug: _picture_rows(store, slug, items) for slug, items in loaded.items()}
    pictures = {root / f"{slug}.jpg": found for slug, found in rows.items() if found}
    beside = _pages_beside(root)
    if archived := board_archive.archive(loaded):
        beside = {board_archive.PAGE: archived, **beside}
    pages = {root / name: text for name, text in beside.items()}
    published, numbers = root / "published", root / certificates.JSON
    printed = read_published(published) if published.is_dir() else []
    certified = {row["metric"] for row in certificates.read(numbers)["rows"]} if numbers.is_file() else set()
    plots = {}
    for slug, found in records.items():
        board = board_of(slug, found, rows_of(loaded[slug]))
        plots[slug] = pareto.plot(board)
        told = {"picture": bool(rows[slug]), "plotted": bool(plots[slug])}
        pages[root / f"{slug}.md"] = render(slug, found, board.rows, **told, published=printed, certified=certified)
        pages[root / f"{slug}.csv"] = board_files.as_csv(board)
        pages[root / f"{slug}.tex"] = board_files.as_latex(board)
    drawn = {slug: svg for slug, svg in plots.items() if svg}
    pages |= {root / f"{slug}.svg": svg for slug, svg in drawn.items()}
    pages[root / "README.md"] = index(loaded, {name: ABOUT[name] for name in beside}, drawn)
    readme = root.resolve().parent / "README.md"
    text = readme.read_bytes().decode() if readme.is_file() else ""
    if ANY_MARK.search(text):
        folder = root.resolve().name
        tables = {slug: f"{compact(items)}\n[The whole board]({folder}/{slug}.md)\n" for slug, items in loaded.items()}
        pages[readme] = fill_between_markers(text, tables)
    return _Wanted(pages, pictures)


def _picture_rows(store: Store, slug: str, loaded: Sequence[Loaded]) -> list[tuple[str, Path]]:
    """Source, target, and the first seed of each ranked entry, where it has tiles; empty where nothing can be shown."""
    matching = bool(loaded) and loaded[0].record.of_matching
    names = ("template", "search image") if matching else ("source", "target")
    references = list(zip(names, store.reference_tiles(slug), strict=True))
    path_of = {(item.record.label, item.record.seed): item.path.with_suffix(".jpg") for item in loaded}
    firsts = [entry.records[0] for entry in board_of(slug, [item.record for item in loaded]).ranked]
    rows = [(f"{record.method} {record.variant}".rstrip(), path_of[record.label, record.seed]) for record in firsts]
    rows = [(label, path) for label, path in rows if path.is_file()]
    return references + rows if rows and all(path.is_file() for _, path in references) else []


def _is_generated(page: Path) -> bool:
    """Did we write it? CSV has no comments: ours are known by their first columns."""
    start = page.read_bytes()[:200].decode(errors="replace")
    return MADE_BY in start.partition("\n")[0] or start.startswith(",".join(board_files.FIRST))


def _extra(root: Path, wanted: _Wanted) -> list[Path]:
    """Pages that are not wanted, and other files of ours whose board is gone."""
    others = [path for kind in ("csv", "svg", "tex") for path in sorted(root.glob(f"*.{kind}")) if _is_generated(path)]
    return [path for path in (*sorted(root.glob("*.md")), *others) if path not in wanted.pages]


def refuse_bad_pages(root: Path) -> _Wanted:
    """What `write_pages` would write; ContractError for records that can't be read, and for pages that are not ours."""
    wanted = _wanted(root)
    for page in wanted.pages:
        if page.parent == root and page.is_file() and not _is_generated(page):
            raise ContractError(f"{page} was not generated by sarbench; move it away or delete it, then run this again")
    return wanted


def write_pages(root: Path) -> list[Path]:
    """Write every page and picture that the records below `root` give, and remove generated pages without records.

    Also fills the board markers of a README.md beside `root`. Returns the files written. ContractError where a page
    would replace a file that was not generated.
    """
    wanted = refuse_bad_pages(root)
    for page in _extra(root, wanted):
        if _is_generated(page):
            page.unlink()
            page.with_suffix(".jpg").unlink(missing_ok=True)
    for picture, rows in wanted.pictures.items():
        write_bytes(picture, strip.compose([(label, path.read_bytes()) for label, path in rows]))
    for page, text in wanted.pages.items():
        write_text(page, text)
    return [*wanted.pictures, *wanted.pages]


def check_pages(root: Path) -> list[str]:
    """What differs between the committed pages below `root` and what its records give, one line each; empty: nothing."""
    wanted = _wanted(root)
    problems = []
    for page, text in wanted.pages.items():
        if not page.is_file():
            problems.append(f"{page} is missing")
        elif page.read_bytes() != text.encode():
            source = SOURCES.get(page.name, "records") if page.parent == root else "records"
            problems.append(f"{page} differs from what the {source} give")
    for page in _extra(root, wanted):
        problems.append(f"{page} has no records" if _is_generated(page) else f"{page} is not a board; move it elsewhere")
    return problems + [f"{picture} is missing" for picture in wanted.pictures if not picture.is_file()]


# --- The command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sarbench leaderboard`."""
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"), metavar="DIR", help="folder of the boards")
    parser.add_argument(
        "--count-methods", action="store_true", help="count parameters and FLOPs of every method anew, which takes minutes"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs from its records")


def command(args: argparse.Namespace) -> int:
    """Write the boards, or with --check compare them: 0 if all is well, 1 if a page is stale."""
    if args.count_methods:
        methods_page.write_counts(args.leaderboards / methods_page.JSON)
    if not args.check:
        for path in write_pages(args.leaderboards):
            print(f"wrote {path}")
        return 0
    problems = check_pages(args.leaderboards)
    if not problems:
        return 0
    print("\n".join(problems))
    print(f"run: {shlex.join(['sarbench', 'leaderboard', '--leaderboards', str(args.leaderboards)])}")
    return 1
