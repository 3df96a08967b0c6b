"""The page of methods: what each trains on, costs, and does differently from its paper; from the cards and `methods.json`.

`sarbench leaderboard --count-methods` writes that file: it builds the paper preset of every method, under random weights, and
translates one image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sarbench.bench import markdown, registry
from sarbench.bench.published import Published, title_of
from sarbench.bench.storage import read_json, write_text

JSON, PAGE = "methods.json", "methods.md"  # in the folder of boards
SIDE_PX, CHANNELS = 256, 3
TEMPLATE_PX = 192  # that a matcher searches in an image of SIDE_PX
FEW = (2, 3)  # evaluations that a sampler of more is counted at: each further one costs as much
GENERATED = f"{markdown.GENERATED} the cards of the methods and {JSON}. Don't edit. -->"
INTRODUCTION = f"""\
Every method that this version has, as its `paper` preset is. *Trained on* is what this code trains on, not what a paper's table
says. Parameters are those of all networks, discriminators and frozen ones included, and those that a translation uses. GFLOPs
are of one image of {SIDE_PX}x{SIDE_PX} px and {CHANNELS} channels, all evaluations together; a multiply-add counts two. For a
matcher, they are of one template of {TEMPLATE_PX}x{TEMPLATE_PX} px searched in such an image, without the Fourier transforms.

- **paper**: all that decides a score is in the paper, or in its authors' code. **adapted**: made for something else, or with a
  part that can't be had. **reconstruction**: what is public does not fix the method; the guesses are listed below."""


def page(file: Path, published: Sequence[Published]) -> str:
    """The markdown. ContractError for a file that `--count-methods` did not write."""
    counted = read_json(file, "methods")["methods"]
    cards = {name: registry.card_of("methods", name) for name in registry.names("methods")}
    cards = {name: card for name, card in cards.items() if card.get("role") != "floor"}
    order = sorted(cards, key=lambda name: (cards[name]["year"], name))
    table = markdown.table([_row(name, cards[name], counted.get(name, {}), published) for name in order], left=5)
    parts = [GENERATED, "# Methods", INTRODUCTION, table, "## What differs from the papers"]
    for name in order:
        deviations = cards[name].get("deviations", ())
        told = "\n".join(f"- {markdown.text(sentence)}" for sentence in deviations) or "- None known."
        parts += [f"### {markdown.text(cards[name]['title'])}", told]
    return "\n\n".join(parts) + "\n"


def _row(name: str, card: Mapping[str, Any], counted: Mapping[str, int], published: Sequence[Published]) -> dict[str, str]:
    title, link = markdown.text(card["title"]), markdown.link(card["paper"])
    return {
        "method": f"`{name}`",
        "paper": f"[{title}]({link}), {card['year']}" if link else f"{title}, {card['year']}",
        "trained on": card["supervision"],
        "fidelity": card.get("fidelity", "paper"),
        "published": _published(name, published),
        "parameters": _millions(counted.get("parameters")),
        "of a translation": _millions(counted.get("translating")),
        "GFLOPs": f"{counted['flops'] / 1e9:,.1f}" if "flops" in counted else "–",
        "evaluations": str(card.get("evaluations", 1)),
        "needs": ", ".join([*card.get("pretrained", ()), *card.get("aux", ())]) or "–",
        "licence of its code": markdown.text(card.get("licence", "") or "–"),
    }


def _millions(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:.2f} M"


def _published(name: str, rows: Sequence[Published]) -> str:
    """The papers that print numbers of it, each with its tables."""
    tables: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.method == name:
            tables.setdefault(row.paper, {})[row.table] = None
    return "; ".join(f"[{paper}](published.md#{paper}) {_tables(list(found))}" for paper, found in tables.items()) or "–"


def _tables(names: Sequence[str]) -> str:
    return ", ".join(title_of(name).lower() for name in names)


# --- Counting --------------------------------------------------------------------------------------------------------


def write_counts(file: Path) -> None:
    """Count every method that is no floor, and write the file. Takes minutes, and several GiB of memory."""
    names = [name for name in registry.names("methods") if registry.card_of("methods", name).get("role") != "floor"]
    counted = {name: {"parameters": parameters(name), **counts(name)} for name in names}
    write_text(file, json.dumps({"methods": counted}, indent=1) + "\n")


def parameters(name: str) -> int:
    """Of all networks of a method's paper preset, those of its discriminators included."""
    import torch

    with torch.device("meta"):
        method = _built(name)
    return sum(parameter.numel() for parameter in method.parameters())


def _built(name: str, **changes: Any) -> Any:
    from dataclasses import replace

    cls = registry.load_learner(name)
    return cls(replace(cls.presets["paper"], **changes), CHANNELS, CHANNELS)


def counts(name: str) -> dict[str, int]:
    """Parameters that a translation, or a match, uses, and its FLOPs."""
    if registry.task_of(name) != "matching":
        return _translation(name)
    import torch

    from sarbench.bench.cost import matching_cost

    with torch.device("meta"):
        template = torch.empty(1, CHANNELS, TEMPLATE_PX, TEMPLATE_PX)
        search = torch.empty(1, CHANNELS, SIDE_PX, SIDE_PX)
        used, flops = matching_cost(_built(name), template, search)
    return {"translating": used, "flops": flops}


def _translation(name: str) -> dict[str, int]:
    """Parameters that a translation uses, and its FLOPs."""
    import torch

    from sarbench.bench.cost import translation_cost
    from sarbench.bench.interface import Pairs
    from sarbench.bench.train import Hardware

    blank = torch.zeros(1, CHANNELS, SIDE_PX, SIDE_PX)

    def cost(**changes: Any) -> tuple[int, int]:
        method = _built(name, **changes)
        method.fit([Pairs(blank, blank, torch.zeros(1, dtype=torch.int64), ("blank",), ("blank",))])
        return translation_cost(method, blank, Hardware())

    whole = registry.load_method(name).presets["paper"]
    with torch.device("meta"):
        evaluations = _built(name).evaluations
    if not hasattr(whole, "steps") or evaluations <= max(FEW):
        used, flops = cost()
        return {"translating": used, "flops": flops}
    without = whole.steps - evaluations  # steps that a start nearer the end leaves out
    (used, first), (_, second) = (cost(steps=without + few) for few in FEW)
    return {"translating": used, "flops": first + (second - first) * (evaluations - FEW[0])}
