"""The page of the certificates, made from certificates.json alone: the same file gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sarbench.bench import markdown
from sarbench.bench.storage import read_json

JSON, PAGE = "certificates.json", "certificates.md"
GENERATED = f"{markdown.GENERATED} {JSON}. Don't edit. -->"
INTRODUCTION = """\
`sarbench certify` runs every metric, in every convention, against a float64 NumPy version of its own formula, and against
every independent implementation that is installed, on images and features made by code that are hard for fast arithmetic.

- A deviation is relative to the reference's value, or to 0.01 where that is smaller; of vectors, to their largest element.
  Less than 1e-12 is written as 0.
- Tolerances: 1e-5 from the float64 self, 1e-6 for a Fréchet distance, 1e-4 from a package of the same convention.
- *random weights: network code only*: the official weights were not at hand, so that both sides ran under one seeded
  random state dict. That certifies the code of the network; no such number is a score."""

Row = Mapping[str, Any]


def read(path: Path) -> dict[str, Any]:
    """The certificates of a file; ContractError where it is broken."""
    return read_json(path, "corpus", "order", "rows", "versions")


def page(found: Mapping[str, Any]) -> str:
    """The page in markdown."""
    rows: list[Row] = found["rows"]
    done = [row for row in rows if row["status"] == "compared"]
    promises = [row for row in rows if row["kind"] != "difference" and (row["status"] == "compared" or row["fails"])]
    broken = [row for row in rows if row["fails"]]
    verdict = f"**{len(promises) - len(broken)} of {len(promises)} comparisons are within their tolerance.**"
    parts = [GENERATED, "# Parity certificates", INTRODUCTION, verdict]
    parts += ["\n".join(f"- {markdown.text(told(row))}" for row in broken)] if broken else []
    parts += ["## Float64 selves", _table([row for row in done if row["kind"] == "self"], package=False)]
    parts += ["## Packages of the same convention", _table([row for row in done if row["kind"] == "library"], package=True)]
    others = [row for row in done if row["kind"] == "difference"]
    if others:
        why = (
            "How far the plain metric is from what a package gives under its own convention, on the corpus: the same name, "
            "another number. Where a convention of ours reproduces it, the table above says how exactly."
        )
        parts += ["## Packages that define it otherwise", why, _differences(others)]
    left = [row for row in rows if row["status"] != "compared"]
    if left:
        parts += ["## Not compared", _left(left)]
    alone = sorted({row["metric"] for row in rows} - {row["metric"] for row in rows if row["kind"] != "self"})
    if alone:
        listed = ", ".join(f"`{name}`" for name in alone)
        parts += [
            "## Without another implementation",
            f"None of the packages has these, so they stand on their self: {listed}.",
        ]
    parts += ["## Versions", ", ".join(f"{name} {v or 'not installed'}" for name, v in sorted(found["versions"].items())) + "."]
    parts += ["## Corpus", "Each case with the first digits of its sha256.", *_corpus(found)]
    return "\n\n".join(parts) + "\n"


def told(row: Row) -> str:
    """A broken promise in one line."""
    if row["status"] != "compared":
        return f"{row['metric']}: {row['status']}"
    by = f"{row['reference']} {row['version']} {row['call']}".strip()
    if not row["cases"]:
        return f"{row['metric']} gave no value at all to compare with {by}"
    where = f"first on {row['first']!r}, most on {row['worst']!r}"
    undefined = f", one side undefined on {'; '.join(row['undefined_on'])}" if row["undefined_on"] else ""
    size = f"{row['relative']:.2e} relative, {row['absolute']:.2e} absolute"
    return f"{row['metric']} deviates from {by} by {size}: {where}{undefined}; allowed are {row['tolerance']:.0e}"


def _number(value: float) -> str:
    return f"{value:.2e}" if value else "0"


def _reference(row: Row) -> dict[str, str]:
    return {"package": f"{row['reference']} {row['version']}".rstrip(), "what is called": markdown.text(row["call"])}


def _table(rows: Sequence[Row], package: bool) -> str:
    lines = []
    for row in rows:
        lines.append(
            {
                "metric": f"`{row['metric']}`",
                **(_reference(row) if package else {}),
                "what of it": row["part"] or "the whole",
                "on": row["worst"] or "–",
                "cases": str(row["cases"]),
                "absolute": _number(row["absolute"]),
                "relative": _number(row["relative"]),
                "allowed": f"{row['tolerance']:.0e}",
                "within": "**NO**" if row["fails"] else "yes",
            }
        )
    return markdown.table(lines, left=5 if package else 3) if lines else "None."


def _differences(rows: Iterable[Row]) -> str:
    lines = []
    for row in rows:
        undefined = f"; one side alone is a finite number on {'; '.join(row['undefined_on'])}" if row["undefined_on"] else ""
        lines.append(
            {
                "metric": f"`{row['metric']}`",
                **_reference(row),
                "why": markdown.text(row["why"]) + undefined,
                "differs first on": row["first"] or "nowhere",
                "most on": row["worst"] or "–",
                "absolute": _number(row["absolute"]),
                "relative": _number(row["relative"]),
            }
        )
    return markdown.table(lines, left=6)


def _left(rows: Iterable[Row]) -> str:
    lines = [{"metric": f"`{row['metric']}`", **_reference(row), "why not": markdown.text(row["status"])} for row in rows]
    return markdown.table(lines, left=4)


def _corpus(found: Mapping[str, Any]) -> list[str]:
    parts = []
    for title, cases in found["order"].items():
        parts.append(f"{title[0].upper()}{title[1:]}: " + "; ".join(f"{n} `{found['corpus'][title][n]}`" for n in cases) + ".")
    return parts
