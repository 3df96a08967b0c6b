"""`sarbench certify`: every metric against a float64 version of its formula, and against every other implementation here.

What was compared stands in `certificates.json`, from which the page is made: no number in it depends on when it ran.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sarbench.bench import assets, registry
from sarbench.bench.certification import corpus, network_oracles, oracles, set_oracles
from sarbench.bench.certification import page as certificate
from sarbench.bench.certification.corpus import Pair, Sets
from sarbench.bench.certification.packages import PACKAGES, Oracle, installed
from sarbench.bench.certification.rows import LIBRARY, NO_SELF, Row, Values, compared
from sarbench.bench.certification.selves import OF_PAIRS, OF_SETS
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.storage import write_json, write_text
from sarbench.bench.tracks import DATA_HOME

SELF, FID_SELF = 1e-5, 1e-6  # largest relative deviations
OURS = ("numpy", "opencv-python-headless", "sarbench", "scipy", "torch")
REAL = "sar2opt_real"  # the folder of real pairs that is looked for
EXAMPLES = {"lpips": {"p0": 0.721881, "p1": 0.137566}, "lpips_squeeze": {"p0": 0.711048, "p1": 0.147902}}
EXAMPLE_FILES = "lpips_imgs"  # beside the weights


# --- What is compared ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Subject:
    """A metric, or its network, with all that it is compared with."""

    metric: str
    part: str
    cases: Mapping[str, Any]
    ours: Callable[[Any], Any]
    itself: Callable[[Any], Any] | None
    tolerance: float
    oracles: Sequence[Oracle]


def names(chosen: Sequence[str] = ()) -> list[str]:
    """Every metric and convention, or those chosen: a metric brings its conventions. ContractError for an unknown name."""
    for name in chosen:
        registry.load_metric(name)
    every = [name for plain in registry.names("metrics") for name in (plain, *_conventions(plain))]
    return [name for name in every if not chosen or name in chosen or name.partition("@")[0] in chosen]


def _conventions(name: str) -> list[str]:
    return sorted(f"{name}@{other}" for other in registry.conventions(name))


def subjects(name: str, images: Mapping[str, Pair], sets: Mapping[str, Sets]) -> Iterator[Subject]:
    """A metric by itself, or its statistic and its network apart."""
    metric = registry.load_metric(name)
    if metric.statistic is not None:
        statistic, known = metric.statistic, [o for o in set_oracles.OF_SETS if o.metric == name]
        tolerance = FID_SELF if name.startswith("fid") else SELF
        itself = (lambda case: OF_SETS[name](case.translated, case.reference)) if name in OF_SETS else None
        what = "of synthetic features"
        # a hundred subsets a set take long
        taken = {n: case for n, case in sets.items() if n in corpus.FOR_SUBSETS} if name.startswith("kid@") else sets
        yield Subject(name, what, taken, lambda case: statistic(case.translated, case.reference), itself, tolerance, known)
    if name in network_oracles.names():
        net = network_oracles.network(name)
        small = dict(list(corpus.small_images().items())[: 2 if net.slow else None])
        part = f"Inception features; {net.weights}" if metric.statistic else net.weights
        yield Subject(name, part, small, net.ours, net.itself, SELF, net.oracles)
    elif metric.rows is not None:
        itself = _self_of_pairs(name, metric) if name in OF_PAIRS else None
        known = [o for o in oracles.OF_PAIRS if o.metric == name]
        rows = metric.rows
        yield Subject(name, "", images, lambda pair: rows(*pair.of(metric.reads))[0], itself, SELF, known)


def _self_of_pairs(name: str, metric: Metric) -> Callable[[Pair], float]:
    def itself(pair: Pair) -> float:
        return OF_PAIRS[name](*(side.pixels[0].astype(np.float64) for side in pair.of(metric.reads)), pair.peak)

    return itself


def rows_of(subject: Subject, plain: Callable[[str], Values]) -> Iterator[Row]:
    """Every row of a subject; `plain` gives the values of a metric without its convention on the same cases."""
    found = _values(subject.ours, subject.cases, refusals=True)
    row = Row(subject.metric, subject.part, "self", "float64 self", "", "", tolerance=subject.tolerance)
    if subject.itself is None:
        yield Row(**{**asdict(row), "status": NO_SELF})
    else:
        yield compared(row, found, _values(subject.itself, {case: subject.cases[case] for case in found}))
    for oracle in subject.oracles:
        known = installed(oracle.package)
        row = Row(subject.metric, subject.part, "library", oracle.package, known, oracle.call, tolerance=LIBRARY)
        other = Row(
            subject.metric.partition("@")[0] if oracle.follows else subject.metric,
            subject.part,
            "difference",
            oracle.package,
            known,
            oracle.call,
            why=oracle.why,
        )
        wanted = ([row] if oracle.follows else []) + ([other] if oracle.why else [])
        try:
            if not known:
                raise ModuleNotFoundError("not installed")
            taken = {case: value for case, value in subject.cases.items() if case in found and oracle.takes(value)}
            expected = _values(oracle.of, taken)
        except Exception as error:  # another package's code: whatever it raises is told, and stops nothing
            status = "not installed" if not known else f"can't run: {type(error).__name__}: {error}".splitlines()[0]
            yield from (Row(**{**asdict(kind), "status": status}) for kind in wanted)
            continue
        for kind in wanted:
            yield compared(kind, found if kind.metric == subject.metric else plain(kind.metric), expected)


def _values(of: Callable[[Any], Any], cases: Mapping[str, Any], refusals: bool = False) -> dict[str, Any]:
    """The value of each case; `refusals`: leave out what a metric refuses by ContractError."""
    found = {}
    for name, case in cases.items():
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found[name] = of(case)
        except ContractError:
            if not refusals:
                raise
    return found


def examples(name: str) -> Row:
    """LPIPS of its authors' example images, against what their package gives on the official weights."""
    known = EXAMPLES[name]
    call = ", ".join(f"{value:.4f}" for value in known.values())
    row = Row(name, "official weights", "library", "authors' example images", "", call, tolerance=LIBRARY)
    folder = next((f / EXAMPLE_FILES for f in assets.folders() if (f / EXAMPLE_FILES).is_dir()), None)
    metric = registry.load_metric(name)
    try:
        for asset in metric.assets:
            assets.find(asset)
    except assets.AssetMissing:
        folder = None
    if folder is None or metric.rows is None:
        return Row(**{**asdict(row), "status": f"not at hand: the weights, and a folder {EXAMPLE_FILES} beside them"})
    reference, *images = (ImageBatch(read_image(folder / f"ex_{image}.png")[None]) for image in ("ref", *known))
    found = {f"example {image}": metric.rows(x, reference)[0] for image, x in zip(known, images, strict=True)}
    return compared(row, found, {f"example {image}": value for image, value in known.items()})


def certificates(chosen: Sequence[str] = (), data: Path | None = None, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """All comparisons as they stand in the JSON file. ContractError for an unknown metric, and for data that can't be read."""
    images = corpus.images() | (corpus.real_images(data) if data else {})
    sets = corpus.feature_sets()
    rows: list[Row] = []
    for name in names(chosen):
        own: list[Row] = []
        for subject in subjects(name, images, sets):

            @cache
            def plain(other: str, like: Subject = subject) -> Values:
                return next(_values(s.ours, like.cases, refusals=True) for s in subjects(other, images, sets))

            own += rows_of(subject, plain)
        own += [examples(name)] if name in EXAMPLES else []
        tell(f"{name}: {_said(own)}")
        rows += own
    order = {"self": 0, "library": 1, "difference": 2}
    rows.sort(key=lambda row: (row.metric, order[row.kind], row.part, row.reference, row.call))
    corpora = {"images": images, "small images, for networks": corpus.small_images(), "sets of features": sets}
    return {
        "corpus": {title: {n: corpus.digest(case) for n, case in found.items()} for title, found in corpora.items()},
        "order": {title: list(found) for title, found in corpora.items()},
        "rows": [{**asdict(row), "undefined_on": list(row.undefined_on), "fails": row.fails} for row in rows],
        "versions": {name: version(name) for name in OURS} | {name: installed(name) for name in PACKAGES},
    }


def _said(rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.status == "compared" and row.kind != "difference"]
    broken = [f"{row.reference} {row.call}".rstrip() for row in rows if row.fails]
    worst = max((row.relative for row in done), default=0.0)
    return f"{len(done)} comparisons, largest relative deviation {worst:.1e}" + (
        f"; FAILS: {', '.join(broken)}" if broken else ""
    )


# --- The command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sarbench certify`."""
    parser.add_argument("--metric", action="append", default=[], help="this one and its conventions; again for more")
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"), metavar="DIR", help="where the page goes")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help=f"real pairs; default: {REAL} in ${DATA_HOME}, if there")


def command(args: argparse.Namespace) -> int:
    """Compare, and write certificates.json and .md: 0, or 1 where a deviation is beyond its tolerance.

    With --metric nothing is written, so that the page always holds a whole run of one set of versions.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that float32 sums do not depend on the machine; and two threads would gain nothing
    try:
        found = certificates(args.metric, args.data or _real(), tell=lambda line: print(line, file=sys.stderr))
    finally:
        torch.set_num_threads(threads)
    if args.metric:
        print(certificate.page(found))
    else:
        write_json(args.leaderboards / certificate.JSON, found)
        write_text(args.leaderboards / certificate.PAGE, certificate.page(found))
        print(f"wrote {args.leaderboards / certificate.PAGE}")
    broken = [certificate.told(row) for row in found["rows"] if row["fails"]]
    print("\n".join(broken) if broken else "every comparison is within its tolerance")
    return 1 if broken else 0


def _real() -> Path | None:
    home = os.environ.get(DATA_HOME)
    return Path(home) / REAL if home and (Path(home) / REAL).is_dir() else None
