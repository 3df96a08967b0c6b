"""The three outcomes of a comparison: equivalent, drifted, not measured. Where nothing was compared, nothing is equivalent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """What was found; the number is the exit code."""

    EQUIVALENT = 0
    DRIFTED = 1
    NOT_MEASURED = 3  # 2 is a wrong command line

    @property
    def word(self) -> str:
        """For a reader."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Finding:
    """What was found of one metric of one subject, or of all of a subject."""

    outcome: Outcome
    subject: str  # such as "synthetic.tiny pix2pix"
    metric: str  # "": all of it
    why: str


@dataclass(frozen=True)
class Verdict:
    """All findings of a comparison."""

    findings: tuple[Finding, ...]
    unsaid: tuple[str, ...] = ()  # metrics that neither side measured, of which nothing is said

    @property
    def outcome(self) -> Outcome:
        """Drifted if anything has; else not measured if anything was not, or there is nothing; else equivalent."""
        found = {finding.outcome for finding in self.findings}
        if Outcome.DRIFTED in found:
            return Outcome.DRIFTED
        return Outcome.EQUIVALENT if found == {Outcome.EQUIVALENT} else Outcome.NOT_MEASURED

    def of(self, outcome: Outcome) -> list[Finding]:
        """The findings of one outcome."""
        return [finding for finding in self.findings if finding.outcome == outcome]

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict((*self.findings, *other.findings), tuple(dict.fromkeys((*self.unsaid, *other.unsaid))))

    def __str__(self) -> str:
        """The findings, worst first, and the outcome in the last line, which begins with its word."""
        lines: list[str] = []
        for outcome in (Outcome.DRIFTED, Outcome.NOT_MEASURED):
            lines += [f"{outcome.word}: {_place(finding)}: {finding.why}" for finding in self.of(outcome)]
        lines += [f"equivalent: {line}" for line in _gathered(self.of(Outcome.EQUIVALENT))]
        if self.unsaid:
            lines.append(f"measured on neither side, so nothing is said of: {', '.join(self.unsaid)}")
        counts = ", ".join(f"{len(self.of(outcome))} {outcome.word}" for outcome in Outcome)
        return "\n".join([*lines, f"{self.outcome.word} ({counts}; exit code {int(self.outcome)})"])


def _place(finding: Finding) -> str:
    return f"{finding.subject}, {finding.metric}" if finding.metric else finding.subject


def _gathered(findings: Iterable[Finding]) -> list[str]:
    """One line for all metrics of a subject of which the same is said."""
    metrics: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        metrics.setdefault((finding.subject, finding.why), []).append(finding.metric)
    return [f"{subject}, {', '.join(names)}: {why}" for (subject, why), names in metrics.items()]
