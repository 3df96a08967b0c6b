"""`pytest bench --against FOLDER`: the runs of a session compared with older records, which it can't overwrite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sarbench.bench import frozen, registry
from sarbench.bench.check import concluded, noise_from, read_side
from sarbench.bench.drift import Demand, compare
from sarbench.bench.options import Request
from sarbench.bench.outcomes import Outcome, Verdict
from sarbench.bench.records import Loaded, Store, label
from sarbench.bench.runs import ceilings_of, honeypots_of
from sarbench.bench.settings import variant_of


@dataclass
class Baseline:
    """Older records of the track that a session runs on, read before it starts."""

    folder: Path
    root: Path  # the leaderboards folder that they and their noise lie in
    old: Sequence[Loaded]
    asked: Request
    since: str  # when the session began, as records write it: what is older was not measured now
    text: str = field(default="", init=False)  # what was found

    @property
    def new_records(self) -> Path:
        """Where the session keeps its records: where it was told to, but never over the baseline."""
        told = self.asked.leaderboards
        return self.asked.runs / "against" if told.resolve() == self.root else told

    def conclude(self) -> Outcome:
        """Compare the records that the session made, and keep what was found in `text`."""
        lines: list[str] = []
        outcome = concluded(self._verdict, lines.append)
        self.text = "\n".join(lines)
        return outcome

    def _verdict(self) -> Verdict:
        slug = self.asked.track.slug
        new = [run for run in Store(self.new_records).read(slug) if run.record.created >= self.since]
        made = (*honeypots_of(self.asked.track), *ceilings_of(self.asked.track))
        trained = [label(name, variant_of(name, self.asked.settings)) for name in self.asked.methods]
        verdict = compare(new, self.old, noise_from(self.root), Demand([*made, *trained], self.asked.seeds))
        scored = {name for run in new for name, score in run.record.scores.items() if score.n}
        code = frozen.check(sorted(scored & set(registry.names("metrics")))) if scored else Verdict(())
        return code + verdict


def baseline(folder: Path, asked: Request) -> Baseline:
    """The records of a request's track in a folder; ContractError where there is no such folder, or one can't be read.

    Scores that earlier sessions kept are dropped: they would hide a metric whose code has changed.
    """
    root, runs = read_side(folder)
    old = [run for run in runs if run.record.slug == asked.track.slug]
    for kept in (asked.runs / asked.track.slug).glob("*/*/scores.json"):
        kept.unlink()
    return Baseline(folder, root, old, asked, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
