"""What scoring a folder found: rows, values of sets, tallies by class and shifts; as a table, as JSON, and kept for later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sarbench.bench import registry
from sarbench.bench.summary import Summary, of_set, summarise, why_no_value

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float, Int64

    from sarbench.bench.per_class import ClassScore
    from sarbench.bench.replicates import Replicated

KEPT = ("ids", "columns", "sets", "signatures", "unmeasured", "tallies", "classes", "shifts", "halved")  # what `to_kept` holds


@dataclass(frozen=True)
class Scores:
    """What `score_folders` found: one value a sample and metric, and what could not be measured."""

    ids: tuple[str, ...]
    columns: Mapping[str, Float[np.ndarray, " n"]]  # by metric of single images, in the order of `ids`; NaN: undefined
    sets: Mapping[str, float]  # by metric of sets
    signatures: Mapping[str, str]  # by metric, the unmeasured too
    unmeasured: Mapping[str, str]  # by metric: why there is no column
    tallies: Float[np.ndarray, "n 2 2 classes"] | None = None  # of `per_class.tallies_of`; None: there were no labels
    classes: tuple[str, ...] = ()  # the names of the classes; empty: they are numbers
    shifts: Int64[np.ndarray, "n 2"] | None = None  # (dy, dx) at which each image fits best; None: psnr_shift was not measured
    halved: Mapping[str, Replicated] = field(default_factory=dict)  # by metric of sets: on halves of the scenes

    def summary(self) -> dict[str, Summary]:
        """The mean of every metric over the samples, or its value on the set; no undefined sample is averaged away."""
        n = len(self.ids)
        return {
            name: of_set(self.sets[name], n) if name in self.sets else summarise(self.columns.get(name, ()))
            for name in self.signatures
        }

    def reasons(self) -> dict[str, str]:
        """Why a metric has no mean, for those that have none."""
        told = {
            name: self.unmeasured.get(name) or why_no_value(summary, registry.load_metric(name).undefined)
            for name, summary in self.summary().items()
        }
        return {name: reason for name, reason in told.items() if reason}

    def by_class(self) -> dict[str, ClassScore]:
        """The scores of every class that has a pixel, pooled over all samples; empty without labels."""
        from sarbench.bench.per_class import pooled

        return {} if self.tallies is None else pooled(self.tallies, self.classes)

    def shift_counts(self) -> dict[str, int]:
        """How many samples fit best at each shift, by "dy,dx"; empty where shifts were not measured."""
        return count_shifts([] if self.shifts is None else self.shifts.tolist())

    # --- For people and for machines ---

    def to_frame(self) -> pd.DataFrame:
        """One row a sample: the column `id`, one column a measured metric, and shift_y and shift_x where there are shifts."""
        import pandas as pd

        shifts = {} if self.shifts is None else {"shift_y": self.shifts[:, 0], "shift_x": self.shifts[:, 1]}
        return pd.DataFrame({"id": list(self.ids), **self.columns, **shifts})

    def to_json(self) -> dict[str, Any]:
        """Summaries and rows as JSON values: an undefined value is null, an infinite one the string "inf" or "-inf"."""
        reasons = self.reasons()
        found: dict[str, Any] = {
            "metrics": {
                name: {"signature": self.signatures[name], **summary._asdict(), "reason": reasons.get(name, "")}
                for name, summary in self.summary().items()
            },
            "ids": list(self.ids),
            "rows": {name: [_json_number(value) for value in column.tolist()] for name, column in self.columns.items()},
        }
        if self.shifts is not None:
            found["shifts"] = self.shift_counts()
        if self.tallies is not None:
            found["by_class"] = {
                name: {"pixels": score.pixels, "psnr": _json_number(score.psnr), "ssim": _json_number(score.ssim)}
                for name, score in self.by_class().items()
            }
        return found

    def table(self) -> str:
        """The summaries as text: metric and direction, mean, standard deviation, n, signature; what is missing; the classes."""
        rows = []
        for name, summary in self.summary().items():
            metric = registry.load_metric(name)
            mean, std = ("-" if value is None else f"{value:.{metric.decimals}f}" for value in (summary.value, summary.std))
            title = f"{name} {'↑' if metric.higher_is_better else '↓'}"
            rows.append([f"{title} {metric.unit}".rstrip(), mean, std, summary.n, self.signatures[name]])
        text = aligned(["metric", "mean", "std", "n", "signature"], rows, "lrrrl")
        text = "\n".join([text, *(f"{name}: {reason}" for name, reason in self.reasons().items())])
        return text if self.tallies is None else f"{text}\n\n{self._class_table()}"

    def _class_table(self) -> str:
        found = self.by_class()
        if not found:
            return "no pixel is labelled, so there are no scores by class"
        total = sum(score.pixels for score in found.values())
        rows = []
        for name, score in sorted(found.items(), key=lambda item: -item[1].pixels):
            ssim = "-" if score.ssim != score.ssim else f"{score.ssim:.4f}"
            rows.append([name, f"{score.pixels / total:.1%}", f"{score.psnr:.2f}", ssim])
        return aligned(["class", "pixels", "psnr ↑ dB", "ssim ↑"], rows, "lrrr")

    # --- Kept for later ---

    def to_kept(self) -> dict[str, Any]:
        """Everything as JSON values, to the last digit; `from_kept` reads it back."""
        return {
            "ids": list(self.ids),
            "columns": {name: [repr(float(v)) for v in column] for name, column in self.columns.items()},
            "sets": dict(self.sets),
            "signatures": dict(self.signatures),
            "unmeasured": dict(self.unmeasured),
            "tallies": None if self.tallies is None else self.tallies.tolist(),
            "classes": list(self.classes),
            "shifts": None if self.shifts is None else self.shifts.tolist(),
            "halved": {name: asdict(found) for name, found in self.halved.items()},
        }

    @staticmethod
    def from_kept(kept: Mapping[str, Any]) -> Scores:
        """What `to_kept` gave."""
        import numpy as np

        from sarbench.bench.replicates import Replicated

        halved = {n: Replicated(f["drawn"], f["scenes"], tuple(f["values"])) for n, f in kept["halved"].items()}
        return Scores(
            tuple(kept["ids"]),
            {name: np.array([float(v) for v in column]) for name, column in kept["columns"].items()},
            kept["sets"],
            kept["signatures"],
            kept["unmeasured"],
            None if kept["tallies"] is None else np.array(kept["tallies"]),
            tuple(kept["classes"]),
            None if kept["shifts"] is None else np.array(kept["shifts"]),
            halved,
        )


def count_shifts(shifts: list[list[int]]) -> dict[str, int]:
    """How often each shift (dy, dx) occurs, by "dy,dx"."""
    return dict(sorted(Counter(f"{dy},{dx}" for dy, dx in shifts).items()))


def aligned(heads: list[str], rows: list[list[Any]], sides: str) -> str:
    """A table as text; `sides`: l or r for each column."""
    from tabulate import tabulate

    align = tuple({"l": "left", "r": "right"}[side] for side in sides)
    return tabulate(rows, headers=heads, colalign=align, disable_numparse=True)


def _json_number(value: float) -> float | str | None:
    if value != value:
        return None
    return str(value) if value in (float("inf"), float("-inf")) else value
