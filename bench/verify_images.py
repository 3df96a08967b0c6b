"""A record's rows against its images, and its images against its checkpoint: each sample and metric one cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarbench.bench import registry
from sarbench.bench.apply import trained
from sarbench.bench.cells import EXACT, Cell, Tolerance, fact, number, unchecked
from sarbench.bench.cost import device_name
from sarbench.bench.images import find_images, read_image
from sarbench.bench.match import true_offset
from sarbench.bench.records import Record
from sarbench.bench.rescore import Review, differing, is_of_sets
from sarbench.bench.translate import translate_split

if TYPE_CHECKING:
    import pandas as pd

    from sarbench.bench.scores import Scores

ONE_LEVEL = 1  # of 255: what rounding may move a pixel by, where float32 arithmetic is done in another order


def of_rows(
    record: Record,
    rows: pd.DataFrame,
    review: Review,
    images: Path,
    drawn: Sequence[str],
    whole: bool,
    tolerances: dict[str, Tolerance],
) -> Iterator[Cell]:
    """Every recorded value of the drawn samples; with the `whole` set, its aggregates, scores by class and of sets too."""
    measured = [metric for metric, score in record.scores.items() if score.n]
    same = [m for m in measured if record.scores[m].signature == review.signatures[m]]
    of_sets = [m for m in same if is_of_sets(m)]
    tolerances.update({metric: Tolerance.of(registry.load_metric(metric)) for metric in same})
    for metric in measured:
        if metric not in same:
            yield unchecked(metric, "its signature is another here")
        elif metric in of_sets and not whole:
            yield unchecked(metric, "a score of the whole set; --sample 100% computes it")
    chosen = [metric for metric in same if whole or metric not in of_sets]
    if not chosen:
        return
    scores = review.rescore(images, chosen, None if whole else drawn)
    for metric, reason in scores.unmeasured.items():
        yield unchecked(metric, reason)
    table = rows.set_index("id").loc[list(scores.ids)]
    for metric, found in scores.columns.items():
        for sample_id, a, b in zip(scores.ids, table[metric].tolist(), found.tolist(), strict=True):
            yield number(metric, sample_id, a, b, tolerances[metric])
    if record.shifts is not None and scores.shifts is not None:
        for sample_id, y, x, found in zip(scores.ids, table["shift_y"], table["shift_x"], scores.shifts.tolist(), strict=True):
            a, b = f"{y:g},{x:g}", f"{found[0]},{found[1]}"
            yield Cell("shift", sample_id, a, b, "agree" if a == b else "differ")
    if whole:
        yield from _of_the_whole(record, scores, tolerances)
    elif record.by_class:
        yield unchecked("scores by class", "pooled over all images; --sample 100% computes them")


def _of_the_whole(record: Record, scores: Scores, tolerances: Mapping[str, Tolerance]) -> Iterator[Cell]:
    for metric, summary in scores.summary().items():
        if metric not in scores.unmeasured:
            yield number(metric, "", record.scores[metric].value, summary.value, tolerances[metric])
    exact, found = Tolerance(EXACT, EXACT), scores.by_class()
    recorded = record.by_class or {}
    yield fact("classes", ", ".join(sorted(recorded)), ", ".join(sorted(found)))
    for name in sorted(set(recorded) & set(found)):
        yield fact(f"pixels of {name}", str(recorded[name].pixels), str(found[name].pixels))
        for metric in ("psnr", "ssim"):
            value = getattr(found[name], metric)
            known = value if np.isfinite(value) else None
            yield number(f"{metric} of {name}", "", getattr(recorded[name], metric), known, exact)


def of_offsets(rows: pd.DataFrame, drawn: Sequence[str], search_px: int) -> Iterator[Cell]:
    """Where the templates of the drawn samples truly lie, which follows from their names."""
    table = rows.set_index("id").loc[list(drawn)]
    for sample_id, top, left in zip(drawn, table["top"], table["left"], strict=True):
        recorded, true = f"{top:g},{left:g}", "{},{}".format(*true_offset(sample_id, search_px))
        yield Cell("true offset", sample_id, recorded, true, "agree" if recorded == true else "differ")


def of_checkpoint(record: Record, review: Review, images: Path, drawn: Sequence[str], run: Path) -> Iterator[Cell]:
    """The drawn samples translated again by the weights of a run, and compared with the images, pixel by pixel.

    Equal to the last bit on the machine that made them; one level of 255 is rounding on other hardware. More differs where
    the device is of the recorded kind, and can't be told where it is not.
    """
    described, method = trained(run, review.hardware)
    yield fact("method of the checkpoint", record.method, described["method"])
    config = json.loads(json.dumps(asdict(method.config)))
    yield fact("config of the checkpoint", ", ".join(differing(record.config, config)), "", "other than recorded")
    changed = "the method's code here is another than the recorded one"
    yield fact("code hash", record.code_hash, review.code_hash(described["method"]), changed, "cannot check")
    folder = review.runs / "from_checkpoint"
    translate_split(
        method,
        review.material.images,
        drawn,
        folder,
        seed=record.seed,
        translation_key="verify",
        crop_px=review.track.size.test_crop_px,
        hardware=review.hardware,
        quiet=True,
    )
    here, theirs = find_images(folder), find_images(images)
    same_device = device_name(review.hardware) == record.cost.device
    for sample_id in drawn:
        gap = np.abs(read_image(here[sample_id]).astype(np.int16) - read_image(theirs[sample_id]).astype(np.int16))
        levels, share = int(gap.max()), float((gap > 0).mean())
        why = f"{100 * share:.2g} % of its values differ, by {levels} levels at most" if levels else ""
        what = "image from the checkpoint"
        if levels <= ONE_LEVEL:
            yield Cell(what, sample_id, "the image", "the image", "agree", why)
        elif same_device:
            yield Cell(what, sample_id, "the image", f"up to {levels} levels off", "differ", why)
        else:
            yield unchecked(what, f"{why}; made on {record.cost.device}, here is {device_name(review.hardware)}", sample_id)
