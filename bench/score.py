"""Scores of a folder of translated images: one pass over the files, every metric, one row a sample."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench import assets, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.summary import Summary, summarise, why_no_value

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import pandas as pd
    from jaxtyping import Float

    from sarbench.bench.images import Header
    from sarbench.bench.interface import ImageBatch, Metric

PEAKS = {"uint8": 255, "uint16": 65535}
DECODERS = 4  # threads; decoding releases the interpreter lock
BATCHES_AHEAD = 2  # decoded or being decoded while one is scored: with the batch size, what bounds the memory
NAMES_SHOWN = 10


@dataclass(frozen=True)
class Scores:
    """What `score_folders` found: one value a sample and metric, and what could not be measured."""

    ids: tuple[str, ...]
    columns: Mapping[str, Float[np.ndarray, " n"]]  # by metric, in the order of `ids`; NaN: undefined
    signatures: Mapping[str, str]  # by metric, the unmeasured too
    unmeasured: Mapping[str, str]  # by metric: why there is no column

    def summary(self) -> dict[str, Summary]:
        """The mean of every metric over the samples; a sample without a finite value is never averaged away."""
        return {name: summarise(self.columns.get(name, ())) for name in self.signatures}

    def reasons(self) -> dict[str, str]:
        """Why a metric has no mean, for those that have none."""
        told = {
            name: self.unmeasured.get(name) or why_no_value(summary, registry.load_metric(name).undefined)
            for name, summary in self.summary().items()
        }
        return {name: reason for name, reason in told.items() if reason}

    def to_frame(self) -> pd.DataFrame:
        """One row a sample: the column `id`, then one column a measured metric."""
        import pandas as pd

        return pd.DataFrame({"id": list(self.ids), **self.columns})

    def to_json(self) -> dict[str, Any]:
        """Summaries and rows as JSON values: an undefined value is null, an infinite one the string "inf" or "-inf"."""
        reasons = self.reasons()
        return {
            "metrics": {
                name: {"signature": self.signatures[name], **summary._asdict(), "reason": reasons.get(name, "")}
                for name, summary in self.summary().items()
            },
            "ids": list(self.ids),
            "rows": {name: [_json_number(value) for value in column.tolist()] for name, column in self.columns.items()},
        }

    def table(self) -> str:
        """The summaries as text: metric and direction, mean, standard deviation, n, signature; then what is missing."""
        from tabulate import tabulate

        rows = []
        for name, summary in self.summary().items():
            metric = registry.load_metric(name)
            mean, std = ("-" if value is None else f"{value:.{metric.decimals}f}" for value in (summary.value, summary.std))
            title = f"{name} {'↑' if metric.higher_is_better else '↓'}"
            rows.append([f"{title} {metric.unit}".rstrip(), mean, std, summary.n, self.signatures[name]])
        align = ("left", "right", "right", "right", "left")
        text = tabulate(rows, headers=["metric", "mean", "std", "n", "signature"], colalign=align, disable_numparse=True)
        return "\n".join([text, *(f"{name}: {reason}" for name, reason in self.reasons().items())])


def score_folders(
    translated: Path,
    reference: Path | None,
    metrics: Sequence[str],
    *,
    batch_size: int = 8,
    ids: Sequence[str] | None = None,
    progress: bool = True,
) -> Scores:
    """Score the images of a folder against those of the same relative path without suffix in another.

    `reference` may be None where no chosen metric reads it. `ids` chooses samples and their order; None: all, sorted.
    Images may be of several sizes; all must have the channels and the depth, 8 or 16 bits, of each other. Every image is
    decoded once; memory does not grow with their number, and values do not depend on `batch_size`.
    Raises ContractError naming all files at once that have no partner, or do not fit their partner or the rest. A metric
    whose weights are absent is left unmeasured, with the reason.
    """
    import numpy as np

    from sarbench.bench.progress import Progress

    chosen = {name: registry.load_metric(name) for name in metrics}
    _refuse_bad_request(chosen, reference, batch_size)
    folders = {"translated": translated} if reference is None else {"translated": translated, "reference": reference}
    names, files = _match(folders, ids)
    headers = _read_headers(files)
    first = headers[0]
    peak = PEAKS[first.dtype]
    unmeasured = {name: reason for name, metric in chosen.items() if (reason := why_unmeasured(metric))}
    measured = {name: metric for name, metric in chosen.items() if name not in unmeasured}
    columns = {name: np.full(len(names), np.nan) for name in measured}
    plan = _batches(headers, batch_size) if measured else []
    with Progress("score", len(names), unit="images", quiet=not (progress and measured)) as bar:
        for rows, images in _decoded(files, plan, peak):
            for name, metric in measured.items():
                if metric.rows is None:
                    continue
                try:
                    columns[name][rows] = metric.rows(*(images[side] for side in metric.reads))
                except ContractError as error:
                    raise ContractError(f"{_some([str(files['translated'][i]) for i in rows])}: {error}") from error
            bar.advance(len(rows))
    signatures = {name: signature(metric, first.channels, peak) for name, metric in chosen.items()}
    return Scores(tuple(names), columns, signatures, unmeasured)


def _refuse_bad_request(chosen: Mapping[str, Metric], reference: Path | None, batch_size: int) -> None:
    if not chosen:
        raise ContractError(f"no metric chosen; choose from: {', '.join(registry.names('metrics'))}")
    if batch_size < 1:
        raise ContractError(f"a batch size of {batch_size} scores nothing; give at least 1")
    sourced = [name for name, metric in chosen.items() if "source" in metric.reads]
    if sourced:
        raise ContractError(f"{', '.join(sourced)} need the source images, which no folder given here holds; leave these out")
    needy = [name for name, metric in chosen.items() if "reference" in metric.reads]
    if reference is None and needy:
        raise ContractError(f"{', '.join(needy)} need the folder of reference images; give it, or leave these metrics out")


def why_unmeasured(metric: Metric) -> str:
    """Why a metric can't be measured on this machine; empty where it can."""
    missing = []
    for name in metric.assets:
        try:
            assets.find(name)
        except assets.AssetMissing as error:
            missing.append(str(error))
    return f"not measured: {'; '.join(missing)}" if missing else ""


def signature(metric: Metric, channels: int, peak: int) -> str:
    """A metric's signature on these images: it is written for 8-bit RGB, and other bands or depths are other scores."""
    bands = {1: "grey", 3: "rgb"}.get(channels, f"bands{channels}")
    return metric.signature.replace("rgb", bands).replace("range255", f"range{peak}")


def _match(folders: Mapping[str, Path], ids: Sequence[str] | None) -> tuple[list[str], dict[str, list[Path]]]:
    """The sample names in order, and the files of each side in that order."""
    from sarbench.bench.images import SUFFIXES, find_images

    found = {side: find_images(folder) for side, folder in folders.items()}
    names = sorted(set().union(*found.values())) if ids is None else list(ids)
    if not names:
        where = " and ".join(str(folder) for folder in folders.values())
        raise ContractError(f"nothing to score: no image ({', '.join(SUFFIXES)}) in {where}")
    if len(set(names)) != len(names):
        raise ContractError("the ids to score hold one name twice")
    missing = {side: [name for name in names if name not in known] for side, known in found.items()}
    lines = [f"{len(lost)} missing in {folders[side]}: {_some(lost)}" for side, lost in missing.items() if lost]
    if lines:
        raise ContractError(
            "every image needs its partner, a file of the same relative path without suffix\n" + "\n".join(lines)
        )
    return names, {side: [known[name] for name in names] for side, known in found.items()}


def _read_headers(files: Mapping[str, list[Path]]) -> list[Header]:
    """The header that both sides of each sample share; one ContractError for all files that do not fit."""
    from sarbench.bench.images import read_header

    headers: list[Header] = []
    bad: list[str] = []
    for paths in zip(*files.values(), strict=True):
        try:
            sides = [replace(read_header(path), nodata=None) for path in paths]
        except ContractError as error:
            bad.append(str(error))
            continue
        unknown = [f"{p} holds {h.dtype}" for p, h in zip(paths, sides, strict=True) if h.dtype not in PEAKS]
        if unknown:
            bad += [f"{text}, whose range is unknown; save it as 8 or 16 bits" for text in unknown]
        elif len(set(sides)) > 1:
            bad.append(" but ".join(f"{p} is {_words(h)}" for p, h in zip(paths, sides, strict=True)))
        elif headers and (sides[0].channels, sides[0].dtype) != (headers[0].channels, headers[0].dtype):
            bad.append(f"{paths[0]} is {_words(sides[0])}, other than the first image, {_words(headers[0])}")
        else:
            headers.append(sides[0])
    if bad:
        remedy = "bring all to the same bands and depth, and each pair to one size"
        raise ContractError("\n".join([f"{len(bad)} images can't be scored; {remedy}:", *bad]))
    return headers


def _words(header: Header) -> str:
    return f"{header.height}x{header.width}x{header.channels} {header.dtype}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _batches(headers: Sequence[Header], batch_size: int) -> list[list[int]]:
    """Row numbers, batch by batch; the images of a batch have one size."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for i, header in enumerate(headers):
        sizes.setdefault((header.height, header.width), []).append(i)
    return [rows[start : start + batch_size] for rows in sizes.values() for start in range(0, len(rows), batch_size)]


def _decoded(
    files: Mapping[str, list[Path]], plan: Sequence[list[int]], peak: int
) -> Iterator[tuple[list[int], dict[str, ImageBatch]]]:
    """The batches of a plan, decoded in threads while the caller works on an earlier one."""
    import numpy as np

    from sarbench.bench.images import read_image
    from sarbench.bench.interface import ImageBatch

    pool = ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1))

    def submit(rows: list[int]) -> tuple[list[int], dict[str, list[Future[np.ndarray]]]]:
        return rows, {side: [pool.submit(read_image, paths[i]) for i in rows] for side, paths in files.items()}

    waiting = iter(plan)
    running = deque(submit(rows) for rows in islice(waiting, BATCHES_AHEAD))
    try:
        while running:
            rows, futures = running.popleft()
            running.extend(submit(later) for later in islice(waiting, 1))
            yield rows, {side: ImageBatch(np.stack([f.result() for f in parts]), peak) for side, parts in futures.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def _json_number(value: float) -> float | str | None:
    if value != value:
        return None
    return str(value) if value in (float("inf"), float("-inf")) else value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench score`."""
    parser.add_argument("translated", metavar="TRANSLATED_DIR", type=Path, help="folder of images to score")
    parser.add_argument(
        "reference",
        metavar="REFERENCE_DIR",
        type=Path,
        nargs="?",
        help="folder of the true images, of the same names; without it only metrics of single images are taken",
    )
    parser.add_argument("--metric", metavar="NAME", action="append", help="a metric, may be repeated; default: all")
    parser.add_argument("--json", action="store_true", help="print means and the row of every image as JSON")


def command(args: argparse.Namespace) -> int:
    """Run `sarbench score`: the table or the JSON on stdout. Returns 0, or 1 where no metric could be measured."""
    given = {"translated", "reference"} if args.reference is not None else {"translated"}
    names = args.metric or [name for name in registry.names("metrics") if given.issuperset(registry.load_metric(name).reads)]
    scores = score_folders(args.translated, args.reference, names)
    print(json.dumps(scores.to_json(), indent=1, allow_nan=False) if args.json else scores.table())
    if not scores.columns:
        print(f"sarbench score: nothing was measured: {'; '.join(scores.reasons().values())}", file=sys.stderr)
    return 0 if scores.columns else 1
