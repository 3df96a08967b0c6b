"""The page of the published numbers: every table of the papers, how its numbers were made, and what does not add up.

Generated from the folder `published/` alone; the same files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sarbench.bench import markdown
from sarbench.bench.errors import ContractError
from sarbench.bench.published import (
    METRICS,
    Note,
    Paper,
    Published,
    by_result,
    protocol_of,
    read,
    read_claims,
    read_notes,
    read_papers,
    title_of,
)
from sarbench.bench.published_findings import Finding, broken, findings

GENERATED = f"{markdown.GENERATED} the numbers in published/. Don't edit. -->"
SEES_THE_TARGET = ("vae_upper_bound",)  # shown, never best
UNNAMED = {"variant": "full method", "setting": "–"}  # what an empty cell means
WIDE = 8  # more metrics than this become the lines of a table
INTRODUCTION = """\
What the papers print, with the digits they print, carried over as data. Nothing on this page was measured by sarbench, and
no number here ranks on a board: the papers differ in splits, value ranges and libraries, and mostly do not say which.

- Arrows point to the better side; **bold** is the best of a metric as printed, ties included.
- A protocol named beside a table is the one of sarbench that asks the same question.
- What does not add up is recomputed from the numbers whenever this page is made. A printed number stands for all that
  round to it, so nothing is listed that rounding could explain. Claims are sentences of the text about a table; a tie is not
  better. What only a reader can find is marked *(read)*.
- In the data, `value` has one unit for each metric (shares go from 0 to 1) and `printed` has the digits of the paper, in
  `unit`; `setting` is how all methods of a comparison ran, `variant` what differs from the full method."""


def page(folder: Path) -> str:
    """The page in markdown; ContractError for files that can't be used."""
    rows, claims, notes = read(folder), read_claims(folder), read_notes(folder)
    _refuse_notes_on_nothing(rows, notes)
    found = findings(rows, claims)
    overview, parts = [], []
    for paper in read_papers(folder):
        own = [row for row in rows if row.paper == paper.paper]
        faults = [finding for finding in found if finding.paper == paper.paper]
        told = [note for note in notes if note.paper == paper.paper]
        said = [claim for claim in claims if claim.paper == paper.paper]
        hold = sum(broken(claim, rows) is None for claim in said)
        overview.append(
            {
                "paper": f"[{paper.paper}](#{paper.paper})",
                "title": markdown.text(paper.title),
                "numbers": str(len(own)),
                "claims that hold": f"{hold} of {len(said)}" if said else "–",
                "contradictions computed": str(len(faults)),
                "read": str(sum(note.kind == "finding" for note in told)),
            }
        )
        parts += [f"## {paper.paper}", _about(paper), *_conventions(told), *_faults(own, faults, told), *_tables(own)]
    return "\n\n".join([GENERATED, "# Published numbers", INTRODUCTION, markdown.table(overview, left=2), *parts]) + "\n"


def _refuse_notes_on_nothing(rows: Sequence[Published], notes: Sequence[Note]) -> None:
    places = {(row.paper, row.table) for row in rows} | {(row.paper, "") for row in rows}
    for note in notes:
        if (note.paper, note.table) not in places:
            raise ContractError(
                f"notes.csv: {_place(note)}{note.paper} has no numbers there; correct the note {note.note[:40]!r}"
            )


def _about(paper: Paper) -> str:
    where = f"{markdown.text(paper.venue)}, {paper.year}, <{paper.link}>"
    return f"**{markdown.text(paper.title)}**. {markdown.text(paper.authors)}. {where}. [Data](published/{paper.paper}.csv)"


def _place(note: Note | Finding) -> str:
    return f"{title_of(note.table)}: " if note.table else ""


def _conventions(notes: Sequence[Note]) -> list[str]:
    lines = [f"- {_place(note)}{markdown.text(note.note)}" for note in notes if note.kind == "convention"]
    return ["How the numbers were made:", "\n".join(lines)] if lines else []


def _faults(rows: Sequence[Published], faults: Sequence[Finding], notes: Sequence[Note]) -> list[str]:
    """What does not add up, by table; first what concerns the whole paper."""
    order = {table: i for i, table in enumerate(("", *dict.fromkeys(row.table for row in rows)))}
    lines = [(order[finding.table], f"- {_place(finding)}{markdown.text(finding.text)}") for finding in faults]
    read_by_eye = [note for note in notes if note.kind == "finding"]
    lines += [(order[note.table], f"- {_place(note)}{markdown.text(note.note)} *(read)*") for note in read_by_eye]
    listed = "\n".join(line for _, line in sorted(lines, key=lambda item: item[0]))
    return ["What does not add up:", listed] if lines else ["What does not add up: nothing was found."]


# --- Tables ----------------------------------------------------------------------------------------------------------


def _tables(rows: Sequence[Published]) -> list[str]:
    parts = []
    for table, dataset in dict.fromkeys((row.table, row.dataset) for row in rows):
        own = [row for row in rows if (row.table, row.dataset) == (table, dataset)]
        protocol = protocol_of(own[0])
        settings = {row.setting for row in own} - {""} if len({row.setting for row in own}) == 1 else set()
        facts = ([f"protocol `{protocol}`"] if protocol else []) + [markdown.text(setting) for setting in settings]
        parts.append(f"### {title_of(table)}, {markdown.text(dataset)}")
        said = "; ".join(facts)
        parts += ([f"{said[0].upper()}{said[1:]}."] if said else []) + [_table(own)]
    return parts


def _table(rows: Sequence[Published]) -> str:
    """The numbers of one table and data set: a line a method, or a line a metric where there are many."""
    results = list(by_result(rows).values())
    firsts = [next(iter(result.values())) for result in results]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    best = {metric: _best([result[metric] for result in results if metric in result]) for metric in metrics}
    heads = {metric: _head(next(row for row in rows if row.metric == metric)) for metric in metrics}

    def cell(result: Mapping[str, Published], metric: str) -> str:
        row = result.get(metric)
        return "–" if row is None else f"**{row.printed}**" if row in best[metric] else row.printed

    if len(metrics) > WIDE:
        columns = [f"`{row.method}`" + (f" ({markdown.text(row.variant)})" if row.variant else "") for row in firsts]
        lines = [
            {"": heads[metric], **{name: cell(result, metric) for name, result in zip(columns, results, strict=True)}}
            for metric in metrics
        ]
        return markdown.table(lines, left=1)
    named = ["variant"] if any(row.variant for row in firsts) else []
    named += ["setting"] if len({row.setting for row in firsts}) > 1 else []
    lines = []
    for first, result in zip(firsts, results, strict=True):
        labels = {name: markdown.text(getattr(first, name)) or UNNAMED[name] for name in named}
        lines.append({"method": f"`{first.method}`", **labels, **{heads[metric]: cell(result, metric) for metric in metrics}})
    return markdown.table(lines, left=1 + len(named))


def _head(row: Published) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[METRICS[row.metric].higher_is_better]
    return markdown.text(row.metric) + (f" ({row.unit})" if row.unit else "") + arrow


def _best(rows: Sequence[Published]) -> list[Published]:
    """The rows with the best value; none where one stands alone, or no side is better."""
    better = METRICS[rows[0].metric].higher_is_better
    ranked = [row for row in rows if row.method not in SEES_THE_TARGET]
    if better is None or len(ranked) < 2:
        return []
    top = (max if better else min)(row.exact for row in ranked)
    return [row for row in ranked if row.exact == top]
