"""Scores of a folder of translated images: one pass over the files, every metric, one row a sample."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sarbench.bench import assets, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.scores import Scores

if TYPE_CHECKING:
    import argparse

    import numpy as np

    from sarbench.bench.metric import Features, Metric
    from sarbench.bench.one_pass import Pass


def score_folders(
    translated: Path,
    reference: Path | None,
    metrics: Sequence[str],
    *,
    source: Path | None = None,
    paired: bool = True,
    batch_size: int = 8,
    ids: Sequence[str] | None = None,
    progress: bool = True,
    cache: Path | None = None,
    shared: bool = False,
    labels: Path | None = None,
    classes: Sequence[str] = (),
    scene: Callable[[str], str | None] | None = None,
) -> Scores:
    """Score the images of a folder against those of the same relative path without suffix in another.

    `reference` and `source` may be None where no chosen metric reads them; `paired=False`: the references are a set of its
    own, of other names and any number, for metrics of sets alone. `ids` chooses samples and their order; None: all, sorted.
    Images may be of several sizes; all must have the channels and the depth, 8 or 16 bits, of each other. Every image is
    decoded once, and every network sees it once; values do not depend on `batch_size`. With `cache`, what networks say of
    the images is kept there by content, and a killed call goes on where it was; with `shared`, all processes of `torchrun`
    make this call and share the work. `labels`: a folder of class maps, 8-bit images of one band, 255 for not labelled, for
    scores by class; `classes`: what 0, 1, ... are called, and that there are no others. `scene`: of which scene a sample is
    (None: unknown); with it, metrics of sets are measured on halves of the scenes too, for intervals and tests.
    Raises ContractError naming all files at once that have no partner, or do not fit their partner or the rest. A metric
    whose weights are absent is left unmeasured, with the reason.
    """
    from sarbench.bench import one_pass, score_files
    from sarbench.bench.progress import Progress

    chosen = {name: registry.load_metric(name) for name in metrics}
    _refuse_bad_request(chosen, reference, source, paired, batch_size, labels)
    given = {"translated": translated, "reference": reference, "source": source, "labels": labels}
    folders = {side: folder for side, folder in given.items() if folder is not None and (paired or side != "reference")}
    names, files = score_files.match(folders, ids)
    headers = score_files.read_headers({side: paths for side, paths in files.items() if side != "labels"})
    if labels is not None:
        score_files.refuse_bad_labels(files, headers["translated"])
    first = headers["translated"][0]
    peak = score_files.PEAKS[first.dtype]
    unmeasured = {name: reason for name, metric in chosen.items() if (reason := why_unmeasured(metric, first.channels))}
    measured = {name: metric for name, metric in chosen.items() if name not in unmeasured}
    rows = {name: metric for name, metric in measured.items() if metric.rows is not None}
    networks = {m.features.name: m.features for m in measured.values() if m.features is not None}
    references: dict[str, Path] = {}
    if networks and not paired and reference is not None:
        from sarbench.bench.images import find_images

        references = find_images(reference)
    elif networks:
        references = dict(zip(names, files["reference"], strict=True))
    preparing = {name: metric for name, metric in rows.items() if metric.prepared is not None} if cache is not None else {}
    digests: list[str] = []  # of the references
    of_side: dict[str, list[str]] = {}
    known: dict[tuple[str, str], np.ndarray] = {}
    if cache is not None and (networks or preparing):
        from sarbench.bench.references import contents, kept_features

        digests = contents(list(references.values()) or files["reference"])
        of_side = {"reference": digests, "translated": contents(files["translated"])} if networks else {}
        found = {(side, n): kept_features(cache, f, own) for side, own in of_side.items() for n, f in networks.items()}
        known = {key: values for key, values in found.items() if values is not None}
    new = [(side, f) for side in ("translated", "reference") for n, f in networks.items() if (side, n) not in known]

    beside = _computed_beside(rows, labels, classes)
    read = {side for metric in (*rows.values(), *beside.values()) for side in metric.reads}
    both = [(side, features) for side, features in new if paired or side == "translated"]
    read |= {side for side, _ in both}
    work = one_pass.Pass(
        {side: files[side] for side in files if side in read}, headers["translated"], peak, {**rows, **beside}, both, batch_size
    )
    alone = [features for side, features in new if side == "reference" and not paired]
    apart = _references_alone(references, alone, batch_size) if alone else None
    total = (work.length if read else 0) + (apart.length if apart else 0)
    with ExitStack() as stack:
        if cache is not None and preparing:
            from sarbench.bench.references import Kept

            kept = {name: stack.enter_context(Kept(metric, cache / "prepared", digests)) for name, metric in preparing.items()}
            work = replace(work, kept=kept)
        bar = stack.enter_context(Progress("score", total, unit="images", quiet=not (progress and measured)))
        arrays = _run(work, cache, [*rows.values(), *beside.values()], shared, bar.advance) if read else {}
        if apart is not None:
            arrays |= _run(apart, cache, [], shared, bar.advance)
    for side, features in new:
        known[side, features.name] = arrays[one_pass.feature_key(side, features)]
        if cache is not None:
            from sarbench.bench.references import keep_features

            keep_features(cache, features, of_side[side], known[side, features.name])
    of_sets = {
        name: (metric.statistic, known["translated", metric.features.name], known["reference", metric.features.name])
        for name, metric in measured.items()
        if metric.statistic is not None and metric.features is not None
    }
    values_of_sets = {name: float(statistic(*sides)) for name, (statistic, *sides) in of_sets.items()}
    for name in [name for name, value in values_of_sets.items() if value != value]:
        unmeasured[name] = f"not measured: {measured[name].undefined or 'undefined on these images'}"
    sets = {name: value for name, value in values_of_sets.items() if name not in unmeasured}
    halved = {}
    if scene is not None and sets:
        from sarbench.bench.replicates import halves, replicated

        drawn = halves(names, scene, None if paired else list(references))
        found_of = {name: replicated(*of_sets[name], drawn) for name in sets} if drawn else {}
        halved = {name: found for name, found in found_of.items() if found is not None}
    signatures = {name: signature(metric, first.channels, peak) for name, metric in chosen.items()}
    columns = {name: arrays[name] for name in rows}
    tallies, shifts = arrays.get("by class"), arrays.get("shift")
    return Scores(tuple(names), columns, sets, signatures, unmeasured, tallies, tuple(classes), shifts, halved)


def _computed_beside(rows: Mapping[str, Metric], labels: Path | None, classes: Sequence[str]) -> dict[str, Metric]:
    """What the pass computes beside the metrics: tallies by class where there are labels, shifts where they are searched."""
    beside = {}
    if labels is not None:
        from sarbench.bench.per_class import MOST_CLASSES, by_class

        beside["by class"] = by_class(len(classes) or MOST_CLASSES)
    if "psnr_shift" in rows:
        from sarbench.bench.metrics._shifts import SHIFT

        beside["shift"] = SHIFT
    return beside


def _run(
    asked: Pass, cache: Path | None, metrics: Sequence[Metric], shared: bool, advance: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """One pass, kept in the cache while it is under way, and shared by the processes of `torchrun` where they all call it."""
    import shutil

    from sarbench.bench import one_pass
    from sarbench.bench.storage import value_digest

    folder = None
    if cache is not None:
        stats = {
            side: [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
            for side, files in asked.files.items()
        }
        signatures = [metric.signature for metric in metrics] + [[side, f.signature] for side, f in asked.features]
        folder = cache / "passes" / value_digest([stats, signatures, asked.names(), asked.peak, one_pass.CHUNK])
    if not shared:
        arrays = one_pass.run(asked, folder, advance=advance)
    else:
        from sarbench.bench import ranks

        ranks.start("cpu")
        arrays = one_pass.run(asked, folder, rank=ranks.rank(), ranks=ranks.count(), barrier=ranks.barrier, advance=advance)
        ranks.barrier()
        folder = folder if ranks.rank() == 0 else None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return arrays


def _references_alone(references: Mapping[str, Path], features: Sequence[Features], batch_size: int) -> Pass:
    """The pass over references that no translated image belongs to."""
    from sarbench.bench import one_pass, score_files

    files = {"reference": list(references.values())}
    headers = score_files.read_headers(files)["reference"]
    peak = score_files.PEAKS[headers[0].dtype]
    return one_pass.Pass(files, headers, peak, {}, [("reference", f) for f in features], batch_size)


def _refuse_bad_request(
    chosen: Mapping[str, Metric],
    reference: Path | None,
    source: Path | None,
    paired: bool,
    batch_size: int,
    labels: Path | None,
) -> None:
    if not chosen:
        raise ContractError(f"no metric chosen; choose from: {', '.join(registry.names('metrics'))}")
    if batch_size < 1:
        raise ContractError(f"a batch size of {batch_size} scores nothing; give at least 1")
    pairwise = [name for name, metric in chosen.items() if metric.rows is not None and "reference" in metric.reads]
    needy = pairwise + [name for name, metric in chosen.items() if metric.statistic is not None]
    if reference is None and needy:
        raise ContractError(f"{', '.join(needy)} need the folder of reference images; give it, or leave these metrics out")
    if not paired and pairwise:
        raise ContractError(f"{', '.join(pairwise)} compare an image with its own reference; leave them out for unpaired sets")
    of_source = [name for name, metric in chosen.items() if "source" in metric.reads]
    if source is None and of_source:
        raise ContractError(f"{', '.join(of_source)} need the folder of source images; give it by --source, or leave them out")
    if labels is not None and (reference is None or not paired):
        raise ContractError("scores by class compare an image with its own reference; give that folder, or leave --labels out")


def why_unmeasured(metric: Metric, channels: int | None = None) -> str:
    """Why a metric can't be measured on this machine, or on images of so many bands; empty where it can."""
    if channels is not None and channels < metric.least_bands:
        return f"not measured: it needs images of {metric.least_bands} bands or more, these have {channels}"
    missing = missing_weights(metric)
    return f"not measured: {'; '.join(missing.values())}" if missing else ""


def missing_weights(metric: Metric) -> dict[str, str]:
    """The weights that a metric needs and this machine lacks, and how to get each."""
    missing = {}
    for name in dict.fromkeys((*metric.assets, *(metric.features.assets if metric.features else ()))):
        try:
            assets.find(name)
        except assets.AssetMissing as error:
            missing[name] = str(error)
    return missing


def signature(metric: Metric, channels: int, peak: int) -> str:
    """A metric's signature on these images: it is written for 8-bit RGB, and other bands or depths are other scores."""
    bands = {1: "grey", 3: "rgb"}.get(channels, f"bands{channels}")
    return metric.signature.replace("rgb", bands).replace("range255", f"range{peak}")


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
    parser.add_argument("--source", metavar="FOLDER", type=Path, help="the source images, for metrics that read them")
    parser.add_argument(
        "--labels", metavar="FOLDER", type=Path, help="class maps (8 bits, one band, 255: not labelled), for scores by class"
    )
    parser.add_argument("--unpaired", action="store_true", help="the references are a set of its own: only metrics of sets")
    parser.add_argument(
        "--cache", metavar="FOLDER", type=Path, help="keep features of the references, and the work of a call that is killed"
    )
    parser.add_argument("--metric", metavar="NAME", action="append", help="a metric, may be repeated; default: all")
    parser.add_argument("--json", action="store_true", help="print means and the row of every image as JSON")


def command(args: argparse.Namespace) -> int:
    """Run `sarbench score`: the table or the JSON on stdout. Returns 0, or 1 where no metric could be measured."""
    names = args.metric or [name for name in registry.names("metrics") if _possible(registry.load_metric(name), args)]
    scores = score_folders(
        args.translated,
        args.reference,
        names,
        source=args.source,
        paired=not args.unpaired,
        cache=args.cache,
        shared="WORLD_SIZE" in os.environ,
        labels=args.labels,
    )
    print(json.dumps(scores.to_json(), indent=1, allow_nan=False) if args.json else scores.table())
    measured = scores.columns or scores.sets
    if not measured:
        print(f"sarbench score: nothing was measured: {'; '.join(scores.reasons().values())}", file=sys.stderr)
    return 0 if measured else 1


def _possible(metric: Metric, args: argparse.Namespace) -> bool:
    """Can a metric be measured with the folders that were given?"""
    if metric.statistic is not None:
        return args.reference is not None
    reads_reference = "reference" in metric.reads
    if reads_reference and (args.reference is None or args.unpaired):
        return False
    return args.source is not None or "source" not in metric.reads
