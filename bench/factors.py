"""In what two records differ, factor by factor: everything that they hold and a score may depend on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sarbench.bench.drift import differing
from sarbench.bench.records import Record

UNRECORDED = ("the processor's model", "drivers", "weights by their hash")


@dataclass(frozen=True)
class Factor:
    """One thing that scores may depend on."""

    name: str
    old: str
    new: str
    why_not: str = ""  # why it can't be swapped alone on one machine; empty: it can

    @property
    def differs(self) -> bool:
        """Is it another thing on the two sides?"""
        return self.old != self.new

    @property
    def swappable(self) -> bool:
        """Can a run take it from one record, and all else from the other?"""
        return not self.why_not


def factors(old: Record, new: Record) -> list[Factor]:
    """Every factor of two records, those that differ first."""
    return sorted(_factors(old, new), key=lambda factor: not factor.differs)


def _factors(old: Record, new: Record) -> Iterator[Factor]:
    yield Factor("code", *(_code(record) for record in (old, new)))
    fields = differing(old.config, new.config)
    yield Factor("config", *(", ".join(f"{name}={r.config.get(name, '-')}" for name in fields) for r in (old, new)))
    yield Factor("seed", str(old.seed), str(new.seed))
    yield Factor("threads", str(old.cost.threads), str(new.cost.threads))
    yield Factor("hardware", old.cost.device, new.cost.device, "run both on one machine")
    for name in sorted(old.versions.keys() | new.versions.keys()):
        a, b = old.versions.get(name, "none"), new.versions.get(name, "none")
        yield Factor(name, a, b, f"it takes an environment of its own: pip install '{name}=={a}', and run OLD's code in there")
    data = "lay both copies side by side: sarbench data audit"
    yield Factor("data", old.dataset.content_hash[:12], new.dataset.content_hash[:12], data)
    yield Factor("split", old.dataset.split_hash[:12], new.dataset.split_hash[:12], data)
    terms, others = (record.terms.model_dump(mode="json") for record in (old, new))
    for name in differing(terms, others) or ["terms"]:
        a, b = (str(side.get(name, "-" if name == "terms" else "none")) for side in (terms, others))
        yield Factor(f"protocol ({name})", a, b, "scores under different terms say nothing of each other")
    signatures = [{name: score.signature for name, score in record.scores.items()} for record in (old, new)]
    for name in differing(*signatures):
        a, b = (side.get(name, "none") for side in signatures)
        yield Factor(f"definition of {name}", a, b, "it is part of the code, and other definitions give other scores")
    a, b = (", ".join(record.card.pretrained) or "none" for record in (old, new))
    yield Factor("weights", a, b, "they come with the code and the config")


def _code(record: Record) -> str:
    commit = (record.git.commit or "no commit")[:12]
    return f"{record.code_hash[:8]} at {commit}{' with uncommitted changes' if record.git.dirty else ''}"
