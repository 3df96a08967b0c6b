"""`sarbench verify`: scores a record's images again, and says cell by cell: agree, differ, or cannot check.

What a record claims is compared with this machine's protocol, data and metrics first; then a sample of its rows, drawn now,
is computed again from the images; with a checkpoint, these images are translated again. References come from this machine's
own data, never from the sender. Exit codes: 0 all agree, 1 something differs, 2 nothing differs but something can't be checked.
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

    from sarbench.bench.cells import Cell, Tolerance
    from sarbench.bench.records import Record
    from sarbench.bench.rescore import Review

SHARE, AT_LEAST = 5.0, 16  # of the rows, in percent; rows of a sample that nobody chose the size of
WORDS = {
    "agree": "AGREE: everything that this record says of its images comes out again",
    "differ": "DIFFER: do not trust this record",
    "cannot check": "CANNOT CHECK: nothing differs, but not everything could be checked",
}


@dataclass(frozen=True)
class Given:
    """What is to be verified."""

    record: Record
    rows: pd.DataFrame
    images: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench verify`."""
    parser.add_argument(
        "record", metavar="RECORD", type=Path, help="a record's .json, its .csv beside it; or a submission's .zip"
    )
    parser.add_argument(
        "--images", metavar="FOLDER", type=Path, help="its translated images (default: those in --checkpoint, or below --runs)"
    )
    parser.add_argument("--checkpoint", metavar="RUN", type=Path, help="the folder of its run: the images are translated again")
    parser.add_argument(
        "--sample",
        metavar="PERCENT",
        type=_percent,
        help=f"share of the rows to score again, such as 5%% or 100%% (default: {SHARE:g}%%, and {AT_LEAST} rows at least)",
    )
    parser.add_argument(
        "--sample-seed", metavar="N", type=int, help="draw this sample again (default: a new one, which is told)"
    )
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="your own copy of the data, for a protocol that needs one")
    parser.add_argument("--data-option", metavar="KEY=VALUE", action="append", default=[], help="an option of the dataset")
    parser.add_argument("--runs", metavar="FOLDER", type=Path, default=Path("runs"), help="your own runs (default: ./runs)")
    parser.add_argument("--device", metavar="NAME", help="for --checkpoint: cpu, cuda or cuda:N")
    parser.add_argument("--plugin", metavar="FILE", action="append", default=[], help="a file that holds the method")
    parser.add_argument("--json", action="store_true", help="print every cell as JSON")
    parser.add_argument(
        "--accept", metavar="LEADERBOARDS", type=Path, help="keep a submission whose images all agree among these records"
    )


def command(args: argparse.Namespace) -> int:
    """Verify, print what was found, and return 0 (agree), 1 (differ) or 2 (cannot check)."""
    from sarbench.bench import registry
    from sarbench.bench.cells import CODES, Cell, overall

    for plugin in args.plugin:
        registry.add_plugin(plugin)
    if args.accept and (args.sample, args.record.suffix) != (100.0, ".zip"):
        raise ContractError("--accept keeps a submission whose images all agree; give its .zip and --sample 100%")
    seed = secrets.randbits(32) if args.sample_seed is None else args.sample_seed
    with TemporaryDirectory(prefix="sarbench-verify-") as work:
        report = Report(seed)
        try:
            given = _given(args, Path(work))
        except _NoImages as error:
            report.cells.append(Cell("images", "", None, None, "cannot check", str(error)))
        except ContractError as error:
            report.cells.append(Cell("record", "", None, None, "differ", f"refused: {error}"))
        else:
            _verify(given, args, Path(work), report)
        outcome = overall(report.cells)
        print(json.dumps(report.to_json(outcome), indent=1, allow_nan=False) if args.json else report.text(outcome))
        if args.accept and outcome == "agree":
            from sarbench.bench.submit import accept

            print(f"kept {accept(given.record, given.rows, given.images, args.accept)}", file=sys.stderr)
    return CODES[outcome]


class Report:
    """What was found so far."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.cells: list[Cell] = []
        self.tolerances: dict[str, Tolerance] = {}
        self.sampled = ""  # what was drawn, and what a sample of this size would miss

    def text(self, outcome: str) -> str:
        """Everything, for people."""
        from sarbench.bench.cells import facts_table, metrics_table, rows_table

        parts = [facts_table(self.cells), self.sampled, metrics_table(self.cells, self.tolerances), rows_table(self.cells)]
        named = list(dict.fromkeys(cell.what for cell in self.cells if cell.outcome == outcome))
        why = "" if outcome == "agree" else f": {', '.join(named)}"
        return "\n\n".join([part for part in parts if part] + [WORDS[outcome] + why])

    def to_json(self, outcome: str) -> dict[str, Any]:
        """Everything, for machines."""
        from sarbench.bench.cells import to_json

        return {"outcome": outcome, "sample_seed": self.seed, "sample": self.sampled, "cells": to_json(self.cells)}


class _NoImages(ContractError):
    """There is a record, and no image of it here."""


def _given(args: argparse.Namespace, work: Path) -> Given:
    """The record, its rows and its images; ContractError where the record or the submission is refused."""
    from sarbench.bench.records import load_record
    from sarbench.bench.submission import unpack

    if not args.record.is_file():
        raise _NoImages(f"{args.record} is no file; name a record's .json, or a submission's .zip")
    if args.record.suffix == ".zip":
        record, rows = unpack(args.record, work / "submission")
        return Given(record, rows, work / "submission" / "images")
    record, rows = load_record(args.record)
    own = args.runs / record.slug / record.label / str(record.seed) if args.checkpoint is None else args.checkpoint
    images = own / "translated" if args.images is None else args.images
    if not images.is_dir() and not record.of_matching:
        raise _NoImages(f"{images} is no folder; name the folder of its translated images by --images")
    return Given(record, rows, images)


def _verify(given: Given, args: argparse.Namespace, work: Path, report: Report) -> None:
    """Fill the report; what this machine can't do is a cell that can't be checked."""
    from sarbench.bench import verify_claims
    from sarbench.bench.cells import unchecked
    from sarbench.bench.material import shuffled
    from sarbench.bench.options import pair
    from sarbench.bench.rescore import review_of, track_of
    from sarbench.bench.train import Hardware

    record, cells = given.record, report.cells
    try:
        cells += verify_claims.of_itself(record)
        options = dict(pair(text) for text in args.data_option)
        track = track_of(record.terms, args.data, options)
        review = review_of(track, Hardware.choose(args.device), work / "runs", args.runs / "cache", _say)
        comparable = True
        for cell in verify_claims.of_track(record, given.rows, review):
            cells.append(cell)
            comparable = comparable and not (cell.what in verify_claims.NEEDED and cell.outcome != "agree")
        if not comparable:
            cells.append(unchecked("scores", "they are of other terms, data or images than this machine has"))
            return
        drawn = shuffled(review.data.test, "verify", report.seed)[: _rows(args.sample, len(review.data.test))]
        report.sampled = _sampled(len(drawn), len(review.data.test), report.seed)
        cells += _images(given, review, sorted(drawn), report, args.checkpoint)
    except ContractError as error:
        cells.append(unchecked("the rest", str(error)))


def _images(given: Given, review: Review, drawn: list[str], report: Report, checkpoint: Path | None) -> Iterator[Cell]:
    """The cells of the images: those of the record's rows, and of the images themselves."""
    from sarbench.bench import verify_images
    from sarbench.bench.cells import Cell, unchecked
    from sarbench.bench.rescore import MatchReview

    record = given.record
    if record.of_matching:
        yield from verify_images.of_offsets(given.rows, drawn, cast(MatchReview, review).search_px)
        yield unchecked("found offsets", "a matcher leaves no image; run it again with sarbench run, and compare the rows")
        return
    try:
        review.refuse_bad_images(given.images)
    except ContractError as error:
        yield Cell("images", "", None, None, "differ", str(error))
        return
    yield Cell("images", "", None, None, "agree")
    whole = len(drawn) == len(review.data.test)
    yield from verify_images.of_rows(record, given.rows, review, given.images, drawn, whole, report.tolerances)
    for judge, judged in (record.judged or {}).items():
        if judged.images:
            yield unchecked(
                f"judge {judge}", "its networks are trained, not kept with a record; its numbers follow from its matrices"
            )
    if checkpoint is not None:
        yield from verify_images.of_checkpoint(record, review, given.images, drawn, checkpoint)


def _percent(text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = math.nan
    if not 0 < share <= 100:
        raise argparse.ArgumentTypeError(f"{text}: write a share of the rows in percent, such as 5% or 100%")
    return share


def _rows(share: float | None, n: int) -> int:
    """How many rows a sample has; at least one."""
    return min(n, max(math.ceil(SHARE / 100 * n), AT_LEAST)) if share is None else math.ceil(share / 100 * n)


def _sampled(drawn: int, n: int, seed: int) -> str:
    """What was drawn, and what such a sample overlooks."""
    if drawn == n:
        return f"all {n} rows are scored again"
    altered = max(1, round(0.1 * n))
    missed = math.comb(n - altered, drawn) / math.comb(n, drawn)
    return (
        f"{drawn} of {n} rows are scored again, drawn with the seed {seed}; --sample-seed {seed} draws them again. Had one row "
        f"in ten been altered, all of these would be missed with a probability of {100 * missed:.2g} %"
    )


def _say(words: str) -> None:
    print(words, file=sys.stderr)
