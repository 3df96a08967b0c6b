"""The cost block of a board: parameters, FLOPs, speed, memory and training time of the newest run of each entry."""

from __future__ import annotations

from collections.abc import Sequence

from sarbench.bench import markdown
from sarbench.bench.board import Entry, name_of

WHY = (
    "Of the newest run of each; – was not measured. Parameters and FLOPs are those that one translation uses (a multiply-add "
    "counts two), the same on every machine; all else is of the device named."
)


def costs(entries: Sequence[Entry]) -> str:
    """The table, in the order of the entries."""
    return markdown.table([_row(entry) for entry in entries], left=2)


def _row(entry: Entry) -> dict[str, str]:
    record, cost = entry.newest, entry.newest.cost
    threads = "" if cost.threads is None else f", {cost.threads} thread{'s' * (cost.threads != 1)}"
    rate = None if not cost.seconds_per_image else 1 / cost.seconds_per_image
    return {
        "method": name_of(record),
        "device": markdown.text(cost.device) + threads,
        "parameters": f"{cost.parameters / 1e6:.2f} M",
        "FLOPs a template" if record.of_matching else "FLOPs an image": figure(cost.flops_per_image, "G", 1e9),
        "templates/s" if record.of_matching else "images/s": figure(rate),
        "training": duration(cost.train_seconds),
        "training step": figure(cost.seconds_per_step, "s"),
        "peak memory": figure(cost.peak_memory_bytes, "GiB", 2**30),
    }


def figure(value: float | None, unit: str = "", scale: float = 1.0) -> str:
    """Three digits and a unit, never an exponent for what people measure; a dash for None."""
    if value is None:
        return "–"
    scaled = value / scale
    text = f"{scaled:.0f}" if 1000 <= scaled < 1e6 else f"{scaled:.3g}"
    return f"{text} {unit}".rstrip()


def duration(seconds: float | None) -> str:
    """A time in the unit that reads best: seconds, minutes or hours."""
    if seconds is None:
        return "–"
    for unit, scale in (("h", 3600), ("min", 60)):
        if seconds >= 2 * scale:
            return figure(seconds, unit, scale)
    return figure(seconds, "s")
