"""The page of one track, and the short table for a README: records to markdown.

The same records give the same bytes, in any order.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from sarbench.bench import markdown, registry
from sarbench.bench.board import Board, Entry, board_of, number
from sarbench.bench.board_adaptation import adapted
from sarbench.bench.board_archive import PAGE as ARCHIVE
from sarbench.bench.board_cost import WHY as WHY_COSTS
from sarbench.bench.board_cost import costs
from sarbench.bench.board_judges import judged
from sarbench.bench.board_matching import matching as matched
from sarbench.bench.board_published import beside_published
from sarbench.bench.board_sections import audit, by_land_cover, misregistration, shares
from sarbench.bench.board_tables import Notes, legend, score_table
from sarbench.bench.published import Published, title_of
from sarbench.bench.records import Loaded, Record
from sarbench.bench.significance import Rows, rows_of

GENERATED = f"{markdown.GENERATED} the records in results/. Don't edit. -->"


def _compared(board: Board) -> str:
    """One line: on which data, and with which budget."""
    data, terms = board.newest.dataset, board.newest.terms
    scenes = "" if data.scenes_test is None else f" from {data.scenes_test:,} scenes"
    seeds = sorted({record.seed for entry in board.ranked for record in entry.records})
    return (
        f"{markdown.text(data.title)}: {data.n_train:,} training and {data.n_test:,} test images{scenes}, "
        f"**{data.split} split**; budget {terms.size.budget_images:,} images, preset `{terms.preset}`, "
        f"seeds {', '.join(map(str, seeds)) or 'none'}."
    )


def _about(entry: Entry) -> list[str]:
    """A method's list item: what it is, and what differs from its paper."""
    record, card = entry.newest, entry.newest.card
    changed = f" with {markdown.text(record.variant)}" if record.variant else ""
    facts = [f"`{record.method}`{changed}: {markdown.text(card.title)}"]
    if record.role != "method":
        return [f"- {facts[0]}. {markdown.text(card.paper)}"]
    facts += [] if markdown.link(card.paper) else [markdown.text(card.paper)]
    facts += [] if card.year is None else [str(card.year)]
    facts += [] if record.submitted is None else [f"submitted by {markdown.text(', '.join(record.submitted.authors))}"]
    facts += ["its output depends on a seed"] if card.stochastic else []
    facts += [f"{card.evaluations} network evaluations an image with the paper's settings"] if card.evaluations > 1 else []
    if not card.deviations:
        return [f"- {', '.join(facts)}. Differs from the paper in nothing known."]
    return [
        f"- {', '.join(facts)}. Differs from the paper:",
        *[f"  - {markdown.text(deviation)}" for deviation in card.deviations],
    ]


def _command(board: Board) -> str:
    """How the first row was made."""
    own = [entry for entry in board.ranked + board.made if entry.newest.submitted is None]
    if not own:
        return "every row was submitted"
    first = own[0]
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


def _signatures(board: Board, certified: Collection[str]) -> list[str]:
    """The signature of each metric, and where it says how exactly they are computed."""
    metrics = board.newest.terms.metrics
    lines = [f"- `{metric}`: {markdown.code(board.newest.scores[metric].signature)}" for metric in metrics]
    parts = ["Scores of different signatures are never compared.", "\n".join(lines)]
    if any(metric in certified for metric in metrics):
        without = [f"`{metric}`" for metric in metrics if metric not in certified]
        but = f", without {', '.join(without)}" if without else ""
        parts.append(f"How exactly each keeps to its formula and to other packages: [certificates](certificates.md){but}.")
    return parts


def _left_out(title: str, why: str, groups: Mapping[str, Sequence[Record]]) -> list[str]:
    """A section that names records which are not ranked."""
    if not groups:
        return []
    lines = [f"- {group}: {', '.join(f'`{r.method}` seed {r.seed}' for r in found)}" for group, found in groups.items()]
    return [f"## {title}", f"{why} Their numbers: [{ARCHIVE}]({ARCHIVE}).", "\n".join(lines)]


def render(
    slug: str,
    records: Sequence[Record],
    rows: Rows | None = None,
    *,
    picture: bool = False,
    plotted: bool = False,
    published: Sequence[Published] = (),
    certified: Collection[str] = (),
) -> str:
    """The page of one track, in markdown; the same text for the same records in any order.

    `rows`: those of the records, by their hash; without them nothing is tested. `picture`, `plotted`: do `<slug>.jpg` and
    `<slug>.svg` lie beside the page? `certified`: the metrics that the page of certificates has.
    ContractError where there is no record, or two records of one protocol hash disagree on what a metric means.
    """
    board, notes = board_of(slug, records, rows), Notes()
    parts = [GENERATED, f"# {slug}", _compared(board)]
    none = "None has been run yet."
    parts += ["## Methods", score_table(board, board.methods, notes) if board.methods else none]
    matching = board.newest.of_matching
    why_floors = (
        f"What needs no learning. A method that does not beat these has not learned to {'match' if matching else 'translate'}."
    )
    parts += ["## Floors", why_floors, score_table(board, board.floors, notes) if board.floors else none]
    why_pots = "Made from the target images; never ranked; they show what a metric can be fooled by."
    paired = (board.newest.terms.model_extra or {}).get("paired", True)
    unpaired = "None: of unpaired domains no target belongs to a source, so that there is nothing to make one from."
    pots = score_table(board, board.honeypots, notes) if board.honeypots else (none if paired else unpaired)
    parts += [] if matching else ["## Honeypots", why_pots, pots]
    why_ceilings = (
        "Made from the target images; never ranked; they show what a right answer scores, and what a method can reach."
    )
    if board.ceilings:
        parts += ["## Ceilings", why_ceilings, score_table(board, board.ceilings, notes)]
    sections = [*shares(board), *by_land_cover(board), *audit(board, notes), *misregistration(board)]
    parts += ["## Notes", "\n".join(f"- {line}" for line in legend(board, notes, board.metrics)), *sections]
    parts += [*judged(board, published), *adapted(board, published), *matched(board)]
    parts += _ablations(board, published)
    parts += beside_published(board, published)
    if picture:
        shown = "source, target and translations of the first test images"
        if matching:
            shown = "templates, search images, and where each method found the template (red) and where it lies (white)"
        parts += ["## Pictures", f"![{shown}]({slug}.jpg)"]
    if board.ranked:
        parts += ["## Cost", WHY_COSTS, costs(board.ranked)]
        parts += [f"![quality against cost]({slug}.svg)"] if plotted else []
    parts += ["## Metric signatures", *_signatures(board, certified)]
    about = [line for entry in board.ranked + board.made for line in _about(entry)]
    parts += ["## What was run", "\n".join(about)]
    parts += ["## Reproduce", f"```\n{_command(board)}\n```", "For another row put its name behind `--method`."]
    parts.append(f"The tables above as [CSV]({slug}.csv) and [LaTeX]({slug}.tex).")
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
    """The table of methods and floors of one track with its notes, in markdown: for a README or a terminal.

    A metric that no run measured has no column here; the board's page says why.
    """
    slug = loaded[0].record.slug if loaded else "this track"
    board, notes = board_of(slug, [item.record for item in loaded], rows_of(loaded)), Notes()
    if not board.ranked:
        return f"{_compared(board)} No method has been run yet.\n"
    measured = [m for m in board.metrics if any(entry.mean(m) is not None for entry in board.ranked)]
    absent = [f"`{metric}`" for metric in board.metrics if metric not in measured]
    table = score_table(board, board.ranked, notes, measured)
    lines = legend(board, notes, measured) + [f"Not measured here: {', '.join(absent)}."] * bool(absent)
    return "\n\n".join([_compared(board), table, "\n".join(f"- {line}" for line in lines)]) + "\n"


def _ablations(board: Board, published: Sequence[Published]) -> list[str]:
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
                    same = row and "" in entries and _as_good(board, entry, entries[""], metric)
                    cells[markdown.text(metric)] = "–" if mean is None else number(mean, decimals) + " =" * bool(same)
                    there = [number.printed for number in printed if (number.variant, number.metric) == (row, metric)]
                    if any(number.metric == metric for number in printed):
                        cells[f"{markdown.text(metric)}, published"] = there[0] if there else "–"
                rows.append(cells)
            why = (
                "The published numbers are of other data, budgets and metric codes: compare the order of rows, not the numbers."
            )
            if any(cell.endswith(" =") for cells in rows for cell in cells.values()):
                why += " =: the tests can't tell this row from the full method."
            parts += [f"## Ablation: {markdown.text(title_of(table))} of `{method}`", why, markdown.table(rows, left=1)]
    return parts


def _as_good(board: Board, entry: Entry, full: Entry, metric: str) -> bool:
    """Were two entries tested in a metric, and can the tests not tell them apart?"""
    verdict, labels = board.verdicts.get(metric), (entry.newest.label, full.newest.label)
    if verdict is None or not set(labels) <= set(verdict.labels):
        return False
    return not verdict.beats(*labels) and not verdict.beats(*labels[::-1])
