"""The page that lists all boards: who leads where, quality against cost as a picture, and the pages beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sarbench.bench import markdown
from sarbench.bench.board import Board, board_of, name_of
from sarbench.bench.records import Loaded
from sarbench.bench.significance import rows_of

GENERATED = f"{markdown.GENERATED} the records in results/. Don't edit. -->"
MOST_LEADS = 4  # named; of more, none leads
WHY_PLOTS = (
    "Filled: on the Pareto front, where no other method is both cheaper and at least as good, by the numbers shown; whiskers "
    "are 95 % intervals, so that a front may be chance. FLOPs are the same on every machine, times are not."
)


def index(loaded_by_slug: Mapping[str, Sequence[Loaded]], beside: Mapping[str, str], plotted: Collection[str] = ()) -> str:
    """The page in markdown. `beside`: other pages, the name of each and what it says; `plotted`: boards with a `<slug>.svg`."""
    rows, plots = [], []
    for slug, loaded in loaded_by_slug.items():
        board = board_of(slug, [item.record for item in loaded], rows_of(loaded))
        data, terms = board.newest.dataset, board.newest.terms
        rows.append(
            {
                "board": f"[{slug}]({slug}.md)",
                "data": markdown.text(data.title),
                "split": data.split,
                "test images": f"{data.n_test:,}",
                "scenes": "unknown" if data.scenes_test is None else f"{data.scenes_test:,}",
                "budget": f"{terms.size.budget_images:,}",
                "methods": str(len(board.methods)),
                "main metric": f"`{terms.main_metric}`",
                "leads": _leads(board, terms.main_metric),
                "as": f"[CSV]({slug}.csv), [LaTeX]({slug}.tex)",
            }
        )
        if slug in plotted:
            plots += [f"### [{slug}]({slug}.md)", f"![{terms.main_metric} against cost]({slug}.svg)"]
    parts = [GENERATED, "# Boards", markdown.table(rows, left=10) if rows else "No board yet: run a method."]
    parts += (
        ["Budget: images seen in training. Boards of different data, presets or budgets are never compared."] if rows else []
    )
    parts += [f"{about}: [{name}]({name})." for name, about in beside.items()]
    parts += ["## Quality against cost", WHY_PLOTS, *plots] if plots else []
    return "\n\n".join(parts) + "\n"


def _leads(board: Board, metric: str) -> str:
    """The top group; where it is large, how large."""
    leads = [entry for entry in board.methods if board.in_top_group(entry, metric)]
    if len(leads) > MOST_LEADS:
        some = "the" if len(leads) == len(board.methods) else f"{len(leads)} of"
        return f"nobody: no test tells {some} {len(board.methods)} methods apart"
    return ", ".join(name_of(entry.newest) for entry in leads) or "–"
