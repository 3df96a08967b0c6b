"""`sarbench check`: records against older ones, and metrics against their frozen values. Three outcomes, three exit codes.

0: equivalent. 1: drifted. 3: not measured, which is also what a record that can't be read or a failure of the check itself
gives: only a whole comparison can end in 0 or 1. (2 is a wrong command line.)
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from sarbench.bench import noise
from sarbench.bench.drift import Demand, compare
from sarbench.bench.errors import ContractError
from sarbench.bench.outcomes import Outcome, Verdict
from sarbench.bench.records import Loaded, Record, Store


def read_side(path: Path) -> tuple[Path, list[Loaded]]:
    """The records of a `leaderboards/` folder, of its `results/`, of one track in there, or of one record's file.

    Returns the `leaderboards/` folder and the records. ContractError for anything else, and for a record that can't be used.
    """
    path = path.resolve()
    if path.is_file() and path.suffix == ".json" and path.parents[2].name == "results":
        root = path.parents[3]
        return root, [run for run in Store(root).read(path.parents[1].name) if run.path == path]
    if path.is_dir() and path.parent.name == "results":
        return path.parents[1], Store(path.parents[1]).read(path.name)
    root = path.parent if path.name == "results" else path
    if not (root / "results").is_dir():
        raise ContractError(f"{path}: no records there; name a leaderboards folder, its results, or a record's .json in it")
    return root, [run for slug in Store(root).slugs() for run in Store(root).read(slug)]


def noise_from(root: Path) -> Callable[[Record], noise.Noise | None]:
    """What gives the noise of a record, from the files of a `leaderboards/` folder."""
    return lambda record: noise.read(root, record)


def check(new: Path, old: Path, demand: Demand = Demand(), noise_root: Path | None = None) -> Verdict:
    """What became of the records at `old` in those at `new`; noise: of the leaderboards folder given, or that of `old`."""
    root, before = read_side(old)
    _, after = read_side(new)
    return compare(after, before, noise_from(noise_root or root), demand)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench check`."""
    parser.epilog = "Exit codes: 0 equivalent, 1 drifted, 3 not measured (2: wrong command line)."
    parser.add_argument("new", metavar="NEW", nargs="?", type=Path, help="a leaderboards folder, one track in it, or a record")
    parser.add_argument("old", metavar="OLD", nargs="?", type=Path, help="what it is compared with, likewise")
    parser.add_argument("--metrics", action="store_true", help="compare the code of metrics with its frozen values")
    parser.add_argument("--freeze", action="store_true", help="write the frozen values anew; a new value needs a new signature")
    parser.add_argument("--method", action="append", default=[], metavar="NAME", help="only this method; may be repeated")
    parser.add_argument(
        "--seed", action="append", default=[], type=int, metavar="N", help="seeds of NEW (default: those of OLD)"
    )
    parser.add_argument("--metric", action="append", default=[], metavar="NAME", help="must be measured; may be repeated")
    parser.add_argument(
        "--margin",
        action="append",
        default=[],
        metavar="METRIC=X",
        help="a drift of X must not go unseen (default: 2.8 standard deviations of a run, the limit of repeatability)",
    )
    parser.add_argument("--noise", type=Path, metavar="FOLDER", help="the leaderboards folder with the noise (default: OLD's)")


def command(args: argparse.Namespace) -> int:
    """Compare and print what was found; the exit code is the outcome."""
    wants_records = args.new is not None or not (args.metrics or args.freeze)
    if wants_records and (args.new is None or args.old is None):
        print("sarbench check: name NEW and OLD, or say --metrics", file=sys.stderr)
        return 2
    try:
        demand = Demand(args.method, args.seed, args.metric, margins(args.margin))
    except ContractError as error:
        print(f"sarbench check: {error}", file=sys.stderr)
        return 2
    return int(concluded(lambda: _verdict(args, demand, wants_records)))


def concluded(compared: Callable[[], Verdict], say: Callable[[str], object] = print) -> Outcome:
    """Tell a verdict and give its outcome; whatever keeps a comparison from its end means: not measured."""
    code = f"(exit code {int(Outcome.NOT_MEASURED)})"
    try:
        verdict = compared()
    except (ContractError, OSError) as error:
        say(f"{Outcome.NOT_MEASURED.word}: {error}\n{Outcome.NOT_MEASURED.word} {code}")
    except Exception:  # an uncaught one would exit with 1, which says "drifted"
        say(f"{traceback.format_exc()}\n{Outcome.NOT_MEASURED.word}: the comparison itself failed {code}")
    else:
        say(str(verdict))
        return verdict.outcome
    return Outcome.NOT_MEASURED


def _verdict(args: argparse.Namespace, demand: Demand, wants_records: bool) -> Verdict:
    verdict = Verdict(())
    if args.metrics or args.freeze:
        from sarbench.bench import frozen

        if args.freeze:
            print(frozen.freeze())
        verdict += frozen.check(args.metric)
    if wants_records:
        verdict += check(args.new, args.old, demand, args.noise)
    return verdict


def margins(texts: Sequence[str]) -> dict[str, float]:
    """METRIC=X as numbers; ContractError for anything else."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = 0.0
        if not (name and 0 < found[name] < float("inf")):
            raise ContractError(f"--margin {text}: write METRIC=X with a number above 0, such as psnr=0.3")
    return found
