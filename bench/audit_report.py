"""What an audit found, as JSON values and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sarbench.bench.audit_shift import shift
from sarbench.bench.leaks import KINDS, Leak

if TYPE_CHECKING:
    from sarbench.bench.audit import Audit
    from sarbench.bench.audit_pass import Split

FAR_PX = 2.0  # a pair that is shifted further is counted
LISTED = 1000  # rows of one list in the JSON; the count beside it is of all
SHOWN = 10  # broken files in the table


# --- JSON ------------------------------------------------------------------------------------------------------------


def report(found: Audit) -> dict[str, Any]:
    """Everything as JSON values; shares and px are rounded, so that machines agree."""
    train, test = found.train.ids, found.test.ids
    footprints = [{**asdict(o), "train": train[o.train], "test": test[o.test]} for o in found.overlaps or ()]
    return {
        "title": found.dataset.card.title,
        "limit": found.limit,
        "verdict": {"split": found.verdict.split, "reasons": list(found.verdict.reasons)},
        "found_in_both_splits": _found(found.leaks, train, test),
        "footprints": {
            "measured": found.overlaps is not None,
            "reason": found.why_no_overlaps,
            "images": {name: sum(place is not None for place in split.footprints) for name, split in found.splits.items()},
            **_listed(footprints),
        },
        "splits": {name: _split(found, split) for name, split in found.splits.items()},
    }


def _split(found: Audit, split: Split) -> dict[str, Any]:
    scenes = [found.dataset.scene(sample_id) for sample_id in split.ids]
    parts = [part for part, count in split.images.items() if count]
    return {
        "images": len(split.ids),
        "broken": _listed([{"id": sample_id, "problem": problem} for sample_id, problem in split.broken]),
        "scenes": len(set(scenes) - {None}),
        "without_scene": scenes.count(None),
        "sizes": {f"{height}x{width}": count for (height, width), count in sorted(split.sizes.items())},
        "channels": {part: len(split.limits[part]) for part in parts},
        "values": {part: [_rounded(row) for row in split.values(part)] for part in parts},
        "blank": {part: _listed(split.blank[part]) for part in parts},
        "without_key_points": {part: split.smooth[part] for part in parts},
        "saturated": {part: _saturated(split, part) for part in parts},
        "no_data": _no_data(split),
        "found_within": _found(found.within[split.name], split.ids, split.ids),
        "misregistration": _misregistration(split) if found.dataset.card.paired else None,
    }


def _listed(rows: Sequence[Any]) -> dict[str, Any]:
    return {"count": len(rows), "rows": list(rows[:LISTED])}


def _rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in row.items()}


def _found(leaks: Sequence[Leak], train: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Pairs of samples by the worst that was found of them, and a row for every pair of images."""
    worst = {(leak.train, leak.test): leak.kind for leak in reversed(leaks)}  # sorted by kind: the worst comes last
    rows = [{**asdict(leak), "train": train[leak.train], "test": test[leak.test]} for leak in leaks]
    return {"samples": {kind: list(worst.values()).count(kind) for kind in KINDS}, **_listed(rows)}


def _saturated(split: Split, part: str) -> dict[str, Any]:
    rows = [{"id": sample_id, "share": round(share, 4)} for sample_id, share in split.saturated[part]]
    return {"share": round(split.saturated_share[part] / split.images[part], 4), **_listed(rows)}


def _no_data(split: Split) -> dict[str, float] | None:
    """Where the dataset says which pixels are valid: how many are not."""
    if not split.invalid:
        return None
    share = np.array(split.invalid)
    return {"share": round(float(share.mean()), 4), "images": int((share > 0).sum()), "empty": int((share == 1).sum())}


def _misregistration(split: Split) -> dict[str, Any]:
    """Shifts of a split's pairs in px; "common" is the one shift at which all pairs together fit best."""
    found = [(sample_id, s) for sample_id, s in zip(split.ids, split.shifts, strict=True) if s is not None]
    common = shift(split.surfaces.mean())
    told: dict[str, Any] = {
        "pairs": len(split.ids),
        "measurable": len(found),
        "common": None if common is None else {name: round(value, 2) for name, value in asdict(common).items()},
        "median": None,
        "away_from_median_px": None,
        "share_beyond_2_px": None,
        "shifts": {
            "id": [sample_id for sample_id, _ in found],
            "dx_px": [round(s.dx_px, 2) for _, s in found],
            "dy_px": [round(s.dy_px, 2) for _, s in found],
            "confidence": [round(s.confidence, 1) for _, s in found],
        },
    }
    if found:
        steps = np.array([(s.dx_px, s.dy_px) for _, s in found])
        middle = np.median(steps, 0)
        away = np.hypot(*(steps - middle).T)
        told["median"] = {"dx_px": round(float(middle[0]), 2), "dy_px": round(float(middle[1]), 2)}
        told["away_from_median_px"] = {
            "half_within": round(float(np.median(away)), 2),
            "nine_of_ten_within": round(float(np.quantile(away, 0.9)), 2),
        }
        told["share_beyond_2_px"] = round(float(np.mean(np.hypot(*steps.T) > FAR_PX)), 3)
    return told


# --- Text ------------------------------------------------------------------------------------------------------------


def table(told: dict[str, Any]) -> str:
    """A report as text: the verdict with its reasons, what each split shows, its values, and what can't be read."""
    from tabulate import tabulate

    splits: dict[str, Any] = told["splits"]
    columns = {name: _column(split) for name, split in splits.items()}
    labels = dict.fromkeys(label for column in columns.values() for label in column)
    rows = [[label, *(column.get(label, "-") for column in columns.values())] for label in labels]
    values = [
        [name, part, channel, *(f"{row[at]:.3f}" for at in ("min", "p1", "median", "p99", "max"))]
        for name, split in splits.items()
        for part, channels in split["values"].items()
        for channel, row in enumerate(channels, 1)
    ]
    lines = [f"{told['title']}: {told['verdict']['split']} split", *(f"  - {why}" for why in told["verdict"]["reasons"])]
    if not told["footprints"]["measured"]:
        lines.append(f"  - footprints: not measurable: {told['footprints']['reason']}")
    lines += ["", tabulate(rows, headers=["", *splits], disable_numparse=True), ""]
    if values:
        heads = ["split", "image", "channel", "min", "1 %", "median", "99 %", "max"]
        lines.append(tabulate(values, headers=heads, disable_numparse=True, colalign=("left", "left", *["right"] * 6)))
    for name, split in splits.items():
        broken = split["broken"]
        lines += [f"{name}: can't be used: {row['problem']}" for row in broken["rows"][:SHOWN]]
        lines += [f"{name}: ... and {broken['count'] - SHOWN} more"] * (broken["count"] > SHOWN)
    return "\n".join(lines)


def _column(split: dict[str, Any]) -> dict[str, str]:
    """One split of the table: label -> text."""
    unknown = f", {split['without_scene']} images have none" if split["without_scene"] else ""
    sizes = [f"{size} ({count})" for size, count in split["sizes"].items()]
    within = split["found_within"]["samples"]
    column = {
        "images": str(split["images"]),
        "can't be used": str(split["broken"]["count"]),
        "scenes": f"{split['scenes']}{unknown}",
        "sizes": ", ".join(sizes[:3]) + ", ..." * (len(sizes) > 3),
    }
    for part in split["channels"]:
        saturated = split["saturated"][part]
        column[f"blank {part} images"] = str(split["blank"][part]["count"])
        column[f"{part} values at -1 or 1"] = f"{saturated['share']:.1%}; over 10 % in {saturated['count']} images"
    if split["no_data"]:
        column["pixels without data"] = f"{split['no_data']['share']:.1%}, in {split['no_data']['images']} images"
    column["found again in the split"] = f"{within['equal']} equal, {within['copy']} copies, {within['overlap']} overlaps"
    shifts = split["misregistration"]
    if shifts is None:
        return {**column, "shift": "not applicable: unpaired"}
    column["shift measurable"] = f"{shifts['measurable']} of {shifts['pairs']} pairs"
    column["shift in common"] = _vector(shifts["common"])
    if shifts["median"]:
        away = shifts["away_from_median_px"]
        column["median shift"] = _vector(shifts["median"])
        column["away from it"] = f"half within {away['half_within']} px, 9 of 10 within {away['nine_of_ten_within']} px"
        column[f"over {FAR_PX:g} px off"] = f"{shifts['share_beyond_2_px']:.0%} of the measurable"
    return column


def _vector(step: dict[str, float] | None) -> str:
    if step is None:
        return "not measurable"
    across, down = step["dx_px"], step["dy_px"]
    return f"{abs(across):.2f} px {'right' if across >= 0 else 'left'}, {abs(down):.2f} px {'down' if down >= 0 else 'up'}"
