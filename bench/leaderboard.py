"""Boards: records to markdown pages. Generated, never edited by hand; the same records give the same bytes.

A board ranks the records of one protocol hash. What has another hash, or an older config or code of a method, is named
on the page and not ranked. All marks (bold, †, gameable) are judged on the numbers as they are shown.
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from sarbench.bench import markdown, published_page, registry, strip
from sarbench.bench.certification import page as certificates
from sarbench.bench.errors import ContractError
from sarbench.bench.published import Published
from sarbench.bench.published import read as read_published
from sarbench.bench.records import Loaded, Record, Score, Store
from sarbench.bench.storage import write_bytes, write_text

GENERATED = f"{markdown.GENERATED} the records in results/. Don't edit. -->"
MARKED_BOARD = re.compile(r"^<!-- board:(?P<slug>\S+) -->\n(?P<body>.*?)^<!-- /board -->$", re.MULTILINE | re.DOTALL)
ANY_MARK = re.compile(r"^<!-- (?:board:|/board)", re.MULTILINE)


def _name(record: Record) -> str:
    """The method's name, linked to its paper, with what must be known of it before its numbers are read."""
    link = markdown.link(record.card.paper)
    name = f"`{record.method}`" if link is None else f"[`{record.method}`]({link})"
    if record.role == "floor":
        return f"{name} (floor)"
    if record.variant:
        name += f" {markdown.text(record.variant)}"
    return name if record.card.fidelity == "paper" else f"{name} ({record.card.fidelity})"


# --- What is compared ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One row: the records of one method, all of one config and code, by seed."""

    records: tuple[Record, ...]

    @property
    def newest(self) -> Record:
        return max(self.records, key=_age)

    def mean(self, metric: str) -> float | None:
        """The mean over the seeds; inf where one is infinite; None where one has no value."""
        values = [_value(record.scores[metric]) for record in self.records]
        known = [value for value in values if value is not None]
        return (math.inf if math.inf in known else fmean(known)) if len(known) == len(values) else None

    def std(self, metric: str) -> float | None:
        """The standard deviation over seeds, with n - 1; None for fewer than two, or an infinite mean."""
        known = [v for record in self.records if (v := _value(record.scores[metric])) is not None]
        return stdev(known) if len(known) > 1 and math.inf not in known else None


@dataclass(frozen=True)
class _Board:
    """The records of one protocol hash, by rank, and what was left out."""

    slug: str
    newest: Record  # speaks for the track: terms, dataset, what a metric means
    methods: tuple[_Entry, ...]
    floors: tuple[_Entry, ...]
    honeypots: tuple[_Entry, ...]
    replaced: tuple[Record, ...]  # of the same protocol hash, but an older config or code of their method
    older: tuple[Record, ...]  # of other protocol hashes

    @property
    def metrics(self) -> list[str]:
        return self.newest.terms.metrics

    @property
    def ranked(self) -> tuple[_Entry, ...]:
        return self.methods + self.floors

    def shown(self, entry: _Entry, metric: str) -> float | None:
        """The mean as the page shows it, as a number that marks are judged on."""
        mean = entry.mean(metric)
        return None if mean is None else float(_number(mean, self.newest.scores[metric].decimals, infinity="inf"))

    def beats(self, metric: str, a: float, b: float) -> bool:
        return a > b if self.newest.scores[metric].higher_is_better else a < b

    def best(self, metric: str) -> float | None:
        """The best value among methods; None where no method has one."""
        values = [value for entry in self.methods if (value := self.shown(entry, metric)) is not None]
        return (max if self.newest.scores[metric].higher_is_better else min)(values, default=None)

    def ranks_by(self, metric: str) -> bool:
        """Are there images enough for this metric to rank by?"""
        return self.newest.dataset.n_test >= self.newest.scores[metric].ranked_from

    def below_a_floor(self, entry: _Entry, metric: str) -> bool:
        """Does a method fail to beat every floor that has a value?"""
        value = self.shown(entry, metric) if self.ranks_by(metric) else None
        floors = [floor for other in self.floors if (floor := self.shown(other, metric)) is not None]
        return value is not None and not all(self.beats(metric, value, floor) for floor in floors)

    def fooled_by(self, metric: str) -> list[str]:
        """The honeypots that this metric ranks above every method."""
        best = self.best(metric)
        if best is None or not self.ranks_by(metric):
            return []
        values = {entry.newest.method: self.shown(entry, metric) for entry in self.honeypots}
        return [name for name, value in values.items() if value is not None and self.beats(metric, value, best)]


def _age(record: Record) -> tuple[str, str, int, str]:
    """Sorts records from old to new, the same way on every machine."""
    return record.created, record.method, record.seed, record.protocol_hash


def _value(score: Score) -> float | None:
    return math.inf if score.infinite and not score.undefined else score.value


def _board(slug: str, records: Iterable[Record]) -> _Board:
    known = sorted(records, key=_age)
    if not known:
        raise ContractError(f"no record of {slug} to make a board of; run a method first")
    newest = known[-1]
    same = [record for record in known if record.protocol_hash == newest.protocol_hash]
    for metric in newest.terms.metrics:
        if len({(record.scores[metric].unit, record.scores[metric].higher_is_better) for record in same}) > 1:
            raise ContractError(f"the records of {slug} disagree on the unit or direction of {metric}; remove the wrong ones")
    entries: list[_Entry] = []
    replaced: list[Record] = []
    for method in sorted({record.label for record in same}):
        own = [record for record in same if record.label == method]
        current = [record for record in own if _version(record) == _version(own[-1])]
        replaced += [record for record in own if _version(record) != _version(own[-1])]
        entries.append(_Entry(tuple(sorted(current, key=lambda record: record.seed))))

    def rank(entry: _Entry) -> tuple[bool, float]:
        mean = entry.mean(newest.terms.main_metric)
        sign = -1.0 if newest.scores[newest.terms.main_metric].higher_is_better else 1.0
        return (mean is None, 0.0 if mean is None else sign * mean)

    entries.sort(key=rank)  # stable: equal ones stay by name

    def of(role: str) -> tuple[_Entry, ...]:
        return tuple(entry for entry in entries if entry.newest.role == role)

    older = tuple(record for record in known if record.protocol_hash != newest.protocol_hash)
    return _Board(slug, newest, of("method"), of("floor"), of("honeypot"), tuple(replaced), older)


def _version(record: Record) -> tuple[str, str, str]:
    return record.role, record.config_hash, record.code_hash


# --- Tables ----------------------------------------------------------------------------------------------------------


@dataclass
class _Notes:
    """Footnotes of one page, numbered in order of appearance; equal texts share a number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        return [f"[{i}] {text}" for i, text in enumerate(self.texts, start=1)]


def _number(value: float, decimals: int, infinity: str = "∞") -> str:
    if math.isinf(value):
        return infinity
    if abs(value) >= 1e9:
        return f"{value:.6e}"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no minus zero


def _note_of(metric: str, seed: int | None, score: Score) -> str | None:
    """What must be said about a score that does not average every image; `seed` where other seeds differ."""
    where = f"`{metric}`" if seed is None else f"`{metric}`, seed {seed}"
    reason = markdown.text(score.reason)
    if not score.n:
        return f"{where}: {reason if reason.startswith('not measured') else 'not measured: ' + reason}"
    said = []
    if score.undefined:
        said.append(f"undefined on {score.undefined} of {score.n} images: {reason}")
    if score.infinite:
        said.append(f"infinite on {score.infinite} of {score.n} images, so the mean is infinite")
    return f"{where}: {'; '.join(said)}" if said else None


def _cell(board: _Board, entry: _Entry, metric: str, notes: _Notes) -> str:
    found = {_note_of(metric, None, record.scores[metric]) for record in entry.records}
    if len(found) == 1:
        said = found
    else:
        said = {_note_of(metric, record.seed, record.scores[metric]) for record in entry.records}
    marks = [notes.mark(text) for text in sorted(text for text in said if text)]
    decimals = board.newest.scores[metric].decimals
    mean, std = entry.mean(metric), entry.std(metric)
    text = "–" if mean is None else _number(mean, decimals)
    if std is not None:
        text += f" ± {_number(std, decimals)}"
    if entry.newest.role == "method":
        if mean is not None and board.ranks_by(metric) and board.shown(entry, metric) == board.best(metric):
            text = f"**{text}**"
        if board.below_a_floor(entry, metric):
            text += "†"
    return text + "".join(marks)


def _scores(board: _Board, entries: Sequence[_Entry], notes: _Notes) -> str:
    """The score table of some entries."""
    heads = {}
    for metric in board.metrics:
        score = board.newest.scores[metric]
        unit = f" ({markdown.text(score.unit)})" if score.unit.strip() else ""
        gameable = " gameable" if board.fooled_by(metric) else ""
        few = "" if board.ranks_by(metric) else " ‡"
        heads[metric] = f"{markdown.text(metric)}{unit} {'↑' if score.higher_is_better else '↓'}{gameable}{few}"
    rows = []
    for entry in entries:
        row = {"method": _name(entry.newest), "trained on": _trained_on(entry.newest)}
        row["seeds"] = str(len(entry.records))
        row.update({heads[metric]: _cell(board, entry, metric, notes) for metric in board.metrics})
        rows.append(row)
    return markdown.table(rows, left=2)


def _trained_on(record: Record) -> str:
    if record.role == "honeypot":
        return "the answer"
    words = {"paired": "pairs", "unpaired": "unpaired images", "semi": "few pairs, unpaired images", "none": "nothing"}
    return words[record.card.supervision]


def _legend(board: _Board, notes: _Notes) -> list[str]:
    """What the marks of the score tables mean; only those that occur."""
    lines = ["Arrows point to the better side; **bold** is the best method of a column, ties included."]
    if any(len(entry.records) > 1 for entry in board.ranked + board.honeypots):
        lines.append("± is the standard deviation over seeds.")
    if any(board.below_a_floor(entry, metric) for entry in board.methods for metric in board.metrics):
        lines.append("† does not beat every floor in this metric; a tie does not beat.")
    fooled = [
        f"`{metric}` ranks {', '.join(f'`{name}`' for name in names)} above every method"
        for metric in board.metrics
        if (names := board.fooled_by(metric))
    ]
    if fooled:
        lines.append(f"gameable: {'; '.join(fooled)}.")
    few = [metric for metric in board.metrics if not board.ranks_by(metric)]
    if few:
        needs = ", ".join(f"`{metric}` from {board.newest.scores[metric].ranked_from:,}" for metric in few)
        lines.append(f"‡ too few images to rank by, so nothing is bold: {needs} on; here {board.newest.dataset.n_test:,}.")
    fidelities = {entry.newest.card.fidelity for entry in board.methods}
    if "adapted" in fidelities:
        lines.append("(adapted): differs from its paper in ways that the board's page lists.")
    if "reconstruction" in fidelities:
        lines.append("(reconstruction): its paper leaves parts open; the board's page lists how they were filled.")
    return lines + notes.lines()


def _ablations(board: _Board, published: Sequence[Published]) -> list[str]:
    """Each ablation table of a paper of which rows were run here: measured beside published, row by row."""
    parts = []
    for method in sorted({entry.newest.method for entry in board.methods if entry.newest.variant}):
        by_variant = {entry.newest.variant: entry for entry in board.methods if entry.newest.method == method}
        for table, named in registry.ablations_of(method).items():
            variants = {row: " ".join(f"{k}={v}" for k, v in sorted(settings.items())) for row, settings in named.items()}
            entries = {row: by_variant[variant] for row, variant in variants.items() if variant in by_variant}
            if len(entries) < 2:
                continue
            printed = [row for row in published if (row.method, row.table) == (method, table)]
            rows = []
            for row, entry in entries.items():
                cells = {"row": markdown.text(row or "the full method")}
                for metric in board.metrics:
                    mean, decimals = entry.mean(metric), board.newest.scores[metric].decimals
                    cells[markdown.text(metric)] = "–" if mean is None else _number(mean, decimals)
                    there = [number.printed for number in printed if (number.variant, number.metric) == (row, metric)]
                    if any(number.metric == metric for number in printed):
                        cells[f"{markdown.text(metric)}, published"] = there[0] if there else "–"
                rows.append(cells)
            why = (
                "The published numbers are of other data, budgets and metric codes: compare the order of rows, not the numbers."
            )
            parts += [f"## Ablation: table {markdown.text(table)} of `{method}`", why, markdown.table(rows, left=1)]
    return parts


def _costs(entries: Sequence[_Entry]) -> str:
    def figure(value: float | None, unit: str, scale: float = 1.0) -> str:
        return "–" if value is None else f"{value / scale:.3g} {unit}"

    rows = []
    for entry in entries:
        cost = entry.newest.cost
        threads = "" if cost.threads is None else f", {cost.threads} threads"
        rows.append(
            {
                "method": _name(entry.newest),
                "device": markdown.text(cost.device) + threads,
                "parameters": f"{cost.parameters / 1e6:.2f} M",
                "training step": figure(cost.seconds_per_step, "s"),
                "translated image": figure(cost.seconds_per_image, "s"),
                "peak memory": figure(cost.peak_memory_bytes, "GiB", 2**30),
            }
        )
    return markdown.table(rows, left=2)


# --- Pages -----------------------------------------------------------------------------------------------------------


def _compared(board: _Board) -> str:
    """One line: on which data, and with which budget."""
    data, terms = board.newest.dataset, board.newest.terms
    scenes = "" if data.scenes_test is None else f" from {data.scenes_test:,} scenes"
    seeds = sorted({record.seed for entry in board.ranked for record in entry.records})
    return (
        f"{markdown.text(data.title)}: {data.n_train:,} training and {data.n_test:,} test images{scenes}, "
        f"**{data.split} split**; budget {terms.size.budget_images:,} images, preset `{terms.preset}`, "
        f"seeds {', '.join(map(str, seeds)) or 'none'}."
    )


def _about(entry: _Entry) -> list[str]:
    """A method's list item: what it is, and what differs from its paper."""
    record, card = entry.newest, entry.newest.card
    changed = f" with {markdown.text(record.variant)}" if record.variant else ""
    facts = [f"`{record.method}`{changed}: {markdown.text(card.title)}"]
    if record.role != "method":
        return [f"- {facts[0]}. {markdown.text(card.paper)}"]
    facts += [] if markdown.link(card.paper) else [markdown.text(card.paper)]
    facts += [] if card.year is None else [str(card.year)]
    facts += ["its output depends on a seed"] if card.stochastic else []
    facts += [f"{card.evaluations} network evaluations an image with the paper's settings"] if card.evaluations > 1 else []
    if not card.deviations:
        return [f"- {', '.join(facts)}. Differs from the paper in nothing known."]
    return [
        f"- {', '.join(facts)}. Differs from the paper:",
        *[f"  - {markdown.text(deviation)}" for deviation in card.deviations],
    ]


def _command(board: _Board) -> str:
    """How the first row was made."""
    first = (board.ranked or board.honeypots)[0]
    record, seeds = first.newest, [run.seed for run in first.records]
    data, budget = record.track_parts
    words = ["pytest", "bench", "--method", record.method, "--protocol", record.terms.name, "--preset", record.terms.preset]
    words += [word for setting in record.variant.split() for word in ("--set", setting)]
    words += [] if data is None else ["--data", data]
    words += [] if budget is None else ["--budget", str(budget)]
    words += [] if seeds == [0] else [word for seed in seeds for word in ("--seed", str(seed))]
    usual = {option[0]: option[1] for option in record.terms.size.options if len(option) == 2}
    for name, value in sorted(record.terms.options.items()):
        words += [] if usual.get(name) == value else ["--data-option", f"{name}={value}"]
    return markdown.line(shlex.join(words)).replace("`", "'")


def _left_out(title: str, why: str, groups: Mapping[str, Sequence[Record]]) -> list[str]:
    """A section that names records which are not ranked."""
    if not groups:
        return []
    lines = [f"- {group}: {', '.join(f'`{r.method}` seed {r.seed}' for r in found)}" for group, found in groups.items()]
    return [f"## {title}", why, "\n".join(lines)]


def render(slug: str, records: Sequence[Record], *, picture: bool = False, published: Sequence[Published] = ()) -> str:
    """The page of one track, in markdown; the same text for the same records in any order.

    `picture`: does `<slug>.jpg` lie beside the page? ContractError where there is no record, or two records of one
    protocol hash disagree on what a metric means.
    """
    board, notes = _board(slug, records), _Notes()
    parts = [GENERATED, f"# {slug}", _compared(board)]
    none = "None has been run yet."
    parts += ["## Methods", _scores(board, board.methods, notes) if board.methods else none]
    why_floors = "What needs no learning. A method that does not beat these has not learned to translate."
    parts += ["## Floors", why_floors, _scores(board, board.floors, notes) if board.floors else none]
    why_pots = "Made from the target images; never ranked; they show what a metric can be fooled by."
    parts += ["## Honeypots", why_pots, _scores(board, board.honeypots, notes) if board.honeypots else none]
    parts += ["## Notes", "\n".join(f"- {line}" for line in _legend(board, notes))]
    parts += _ablations(board, published)
    if picture:
        parts += ["## Pictures", f"![source, target and translations of the first test images]({slug}.jpg)"]
    if board.ranked:
        parts += ["## Cost", "Of the newest run of each; – was not measured.", _costs(board.ranked)]
    signatures = [f"- `{metric}`: {markdown.code(board.newest.scores[metric].signature)}" for metric in board.metrics]
    parts += ["## Metric signatures", "Scores of different signatures are never compared.", "\n".join(signatures)]
    about = [line for entry in board.ranked + board.honeypots for line in _about(entry)]
    parts += ["## What was run", "\n".join(about)]
    parts += ["## Reproduce", f"```\n{_command(board)}\n```", "For another row put its name behind `--method`."]
    parts.append(f"Protocol hash `{board.newest.protocol_hash[:16]}`, data hash `{board.newest.dataset.content_hash[:16]}`.")
    older = {
        f"`{h[:16]}`": [r for r in sorted(board.older, key=lambda r: (r.method, r.seed)) if r.protocol_hash == h]
        for h in sorted({record.protocol_hash for record in board.older})
    }
    why_older = "Other terms, data or metric signatures: not comparable with the tables above, and not ranked."
    parts += _left_out("Older protocol versions", why_older, older)
    replaced = {"not ranked": board.replaced} if board.replaced else {}
    why_replaced = "Runs of an older config or code of their method; the tables hold the newest, and seeds are never mixed."
    parts += _left_out("Older configs and code", why_replaced, replaced)
    return "\n\n".join(parts) + "\n"


def compact(loaded: Sequence[Loaded]) -> str:
    """The table of methods and floors of one track with its notes, in markdown: for a README or a terminal."""
    slug = loaded[0].record.slug if loaded else "this track"
    board, notes = _board(slug, [item.record for item in loaded]), _Notes()
    if not board.ranked:
        return f"{_compared(board)} No method has been run yet.\n"
    table = _scores(board, board.ranked, notes)
    return "\n\n".join([_compared(board), table, "\n".join(f"- {line}" for line in _legend(board, notes))]) + "\n"


def _index(records_by_slug: Mapping[str, Sequence[Record]], *, published: bool, certified: bool) -> str:
    """The page that lists all boards; `published`, `certified`: does that page lie beside it?"""
    rows = []
    for slug, records in records_by_slug.items():
        board = _board(slug, records)
        data, metric = board.newest.dataset, board.newest.terms.main_metric
        leads = [e for e in board.methods if board.best(metric) is not None and board.shown(e, metric) == board.best(metric)]
        rows.append(
            {
                "board": f"[{slug}]({slug}.md)",
                "data": markdown.text(data.title),
                "split": data.split,
                "methods": str(len(board.methods)),
                "main metric": f"`{metric}`",
                "leads": ", ".join(_name(entry.newest) for entry in leads) or "–",
            }
        )
    parts = [GENERATED, "# Boards", markdown.table(rows, left=6) if rows else "No board yet: run a method."]
    parts += (
        ["What the papers themselves print, and what of it does not add up: [published.md](published.md)."] if published else []
    )
    parts += [
        f"How exactly each metric keeps to its formula and to other packages: [{certificates.PAGE}]({certificates.PAGE})."
    ] * certified
    return "\n\n".join(parts) + "\n"


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


# --- Files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """What a folder of boards should hold."""

    pages: dict[Path, str]  # and its text
    pictures: dict[Path, list[tuple[str, Path]]]  # and its rows: a label, and a file of tiles


def _wanted(root: Path) -> _Wanted:
    if not root.is_dir():
        raise ContractError(f"--leaderboards {root}: no such folder; run a method first, or name the folder of its records")
    store = Store(root)
    loaded = {slug: store.read(slug) for slug in store.slugs()}
    records = {slug: [item.record for item in items] for slug, items in loaded.items()}
    rows = {slug: _picture_rows(store, slug, items) for slug, items in loaded.items()}
    pictures = {root / f"{slug}.jpg": found for slug, found in rows.items() if found}
    published = root / "published"
    certified = root / certificates.JSON
    pages = {root / "README.md": _index(records, published=published.is_dir(), certified=certified.is_file())}
    printed = read_published(published) if published.is_dir() else []
    for slug, found in records.items():
        pages[root / f"{slug}.md"] = render(slug, found, picture=bool(rows[slug]), published=printed)
    if published.is_dir():
        pages[root / "published.md"] = published_page.page(published)
    if certified.is_file():
        pages[root / certificates.PAGE] = certificates.page(certificates.read(certified))
    readme = root.resolve().parent / "README.md"
    text = readme.read_bytes().decode() if readme.is_file() else ""
    if ANY_MARK.search(text):
        folder = root.resolve().name
        tables = {slug: f"{compact(items)}\n[The whole board]({folder}/{slug}.md)\n" for slug, items in loaded.items()}
        pages[readme] = fill_between_markers(text, tables)
    return _Wanted(pages, pictures)


def _picture_rows(store: Store, slug: str, loaded: Sequence[Loaded]) -> list[tuple[str, Path]]:
    """Source, target, and the first seed of each ranked entry, where it has tiles; empty where nothing can be shown."""
    references = list(zip(("source", "target"), store.reference_tiles(slug), strict=True))
    path_of = {(item.record.label, item.record.seed): item.path.with_suffix(".jpg") for item in loaded}
    firsts = [entry.records[0] for entry in _board(slug, [item.record for item in loaded]).ranked]
    rows = [(f"{record.method} {record.variant}".rstrip(), path_of[record.label, record.seed]) for record in firsts]
    rows = [(label, path) for label, path in rows if path.is_file()]
    return references + rows if rows and all(path.is_file() for _, path in references) else []


def _is_generated(page: Path) -> bool:
    return page.read_bytes().startswith(markdown.GENERATED.encode())


def _extra(root: Path, wanted: _Wanted) -> list[Path]:
    return [page for page in sorted(root.glob("*.md")) if page not in wanted.pages]


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
            sources = {"published.md": "files in published/", certificates.PAGE: f"numbers in {certificates.JSON}"}
            source = sources.get(page.name, "records") if page.parent == root else "records"
            problems.append(f"{page} differs from what the {source} give")
    for page in _extra(root, wanted):
        problems.append(f"{page} has no records" if _is_generated(page) else f"{page} is not a board; move it elsewhere")
    return problems + [f"{picture} is missing" for picture in wanted.pictures if not picture.is_file()]


# --- The command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sarbench leaderboard`."""
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"), metavar="DIR", help="folder of the boards")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs from its records")


def command(args: argparse.Namespace) -> int:
    """Write the boards, or with --check compare them: 0 if all is well, 1 if a page is stale."""
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
