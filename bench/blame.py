"""`sarbench blame OLD NEW`: in what two records differ, and what each difference alone does to the scores.

What differs is named first. Then one factor at a time is taken from NEW while all else is OLD's, and the method is run again:
code from the recorded commit in a worktree of its own, hyperparameters, threads and seed by options. What can't be swapped on
one machine (versions of packages, hardware, data, terms) is said, and what the runs here do not explain is left to it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sarbench.bench import markdown
from sarbench.bench.check import read_side
from sarbench.bench.errors import ContractError
from sarbench.bench.exactly import same_images
from sarbench.bench.factors import UNRECORDED, Factor, factors
from sarbench.bench.records import Loaded, Record, Store
from sarbench.bench.statistics import sign_flip

CHEAP_SECONDS = 60.0  # of training, of all runs together: more needs --train
HERE = "OLD, run here"
START = """
import sys
sys.meta_path = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
sys.path[:] = [sys.argv.pop(1)] + [p for p in sys.path if not p.startswith("__editable__")]
from sarbench.bench.cli import main
sys.exit(main(sys.argv[1:]))
"""  # the sarbench of a folder, though another is installed


@dataclass(frozen=True)
class Side:
    """What one run takes: each factor that can be swapped from one of the two records."""

    code: Record
    config: Record
    seed: Record
    threads: Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench blame`."""
    parser.add_argument("old", metavar="OLD", type=Path, help="a record's .json, or a folder of records with --method")
    parser.add_argument("new", metavar="NEW", type=Path, help="what it is compared with, likewise")
    parser.add_argument("--method", metavar="NAME", help="the method, where folders are given")
    parser.add_argument("--protocol", metavar="SLUG", help="the track, where folders hold several, such as synthetic.tiny")
    parser.add_argument("--seed", type=int, metavar="N", help="the seed, where folders hold several")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data, for a protocol that needs some")
    parser.add_argument("--plugin", type=Path, metavar="FILE", help="the method's file, where it is none of sarbench's")
    parser.add_argument(
        "--repository", type=Path, metavar="FOLDER", help="the checkout with both commits (default: sarbench's own)"
    )
    parser.add_argument("--train", action="store_true", help=f"run even what trains for more than {CHEAP_SECONDS:.0f} s in all")


def command(args: argparse.Namespace) -> int:
    """Print the factors, the differences and what each swap did; 0."""
    old, new = (_one(read_side(path)[1], path, args) for path in (args.old, args.new))
    found = factors(old.record, new.record)
    print(_told(found))
    print(_differences(old, new))
    if not any(factor.differs for factor in found):
        return 0
    swaps = [factor for factor in found if factor.differs and factor.swappable]
    for factor in found:
        if factor.differs and not factor.swappable:
            print(f"not swapped: {factor.name}: {factor.why_not}")
    runs = 2 + len(swaps) if len(swaps) > 1 else 1 + len(swaps)
    seconds = runs * max((run.record.cost.train_seconds or 0.0) for run in (old, new))
    if not swaps:
        print("nothing that differs can be swapped here")
    elif seconds > CHEAP_SECONDS and not args.train:
        names = ", ".join(factor.name for factor in swaps)
        print(f"not run: {runs} runs that swap {names} train for about {seconds:.0f} s; say --train to run them")
    else:
        print(_attributed(old, new, swaps, args))
    return 0


def _one(runs: Sequence[Loaded], path: Path, args: argparse.Namespace) -> Loaded:
    if path.is_file() and len(runs) == 1:
        return runs[0]
    wanted = {"label": args.method, "slug": args.protocol, "seed": args.seed}
    left = [run for run in runs if all(value is None or getattr(run.record, name) == value for name, value in wanted.items())]
    if len(left) != 1:
        names = ", ".join(sorted({f"{run.record.slug}/{run.record.label}/{run.record.seed}" for run in left})[:6]) or "none"
        raise ContractError(f"{path}: name one record by --method, --protocol and --seed; that leaves: {names}")
    return left[0]


# --- What differs ----------------------------------------------------------------------------------------------------


def _told(found: Sequence[Factor]) -> str:
    rows = [
        {"factor": factor.name, "OLD": markdown.line(factor.old), "NEW": markdown.line(factor.new)}
        for factor in found
        if factor.differs
    ]
    same = [factor.name for factor in found if not factor.differs]
    lines = [markdown.table(rows, 3)] if rows else ["nothing that the records hold differs"]
    return "\n".join(
        [*lines, f"the same on both sides: {', '.join(same) or 'nothing'}", f"not recorded: {', '.join(UNRECORDED)}", ""]
    )


def _differences(old: Loaded, new: Loaded) -> str:
    """The scores of both, and how sure their difference is over scenes, where the same samples were scored."""
    rows = []
    known = old.rows["id"].tolist() == new.rows["id"].tolist()
    for name, score in old.record.scores.items():
        other = new.record.scores.get(name)
        if other is None or score.value is None or other.value is None:
            continue
        p = ""
        if known and name in old.rows and name in new.rows:
            scenes = old.rows["scene"].where(old.rows["scene"] != "", old.rows["id"])
            by_scene = (new.rows[name] - old.rows[name]).groupby(scenes).sum().to_numpy()
            p = f"{float(sign_flip(by_scene[None])[0]):.2g}"
        rows.append({"metric": name, "OLD": f"{score.value:.5g}", "NEW": f"{other.value:.5g}", "p over scenes": p})
    lines = [markdown.table(rows, 1) if rows else "no metric was measured on both sides"]
    if old.record.rows_hash == new.record.rows_hash:
        lines.append("the rows are the same to the last bit")
    elif old.record.seed == new.record.seed and same_images(new, old):
        lines.append("the same images were scored: what differs is the scoring")
    return "\n".join([*lines, ""])


# --- What each difference does ---------------------------------------------------------------------------------------


def _attributed(old: Loaded, new: Loaded, swaps: Sequence[Factor], args: argparse.Namespace) -> str:
    """A table: OLD as it runs here, with each factor swapped alone, with all of them, and what that leaves unexplained."""
    everything = Side(*[old.record] * 4)
    plans = {HERE: everything}
    plans |= {f"{factor.name} of NEW": _with(everything, [factor.name], new.record) for factor in swaps}
    if len(swaps) > 1:
        plans["all of these"] = _with(everything, [factor.name for factor in swaps], new.record)
    scores: dict[str, dict[str, float]] = {}
    notes = []
    for title, side in plans.items():
        print(f"running: {title}", file=sys.stderr, flush=True)
        try:
            scores[title] = _values(_run(side, args))
        except ContractError as error:
            notes.append(f"could not be run: {title}: {error}")
    base = scores.get(HERE)
    if base is None:
        return "\n".join([*notes, "OLD does not run here, so nothing can be swapped into it"])
    recorded = [_values(run.record) for run in (old, new)]
    metrics = [name for name in base if name in recorded[0] and name in recorded[1]]
    rows = [_row("recorded: NEW - OLD", metrics, recorded[1], recorded[0])]
    rows += [
        _row(f"swapped: {title}", metrics, scores[title], base)
        for title in plans
        if title in scores and title != "OLD, run here"
    ]
    rows.append(_row("OLD run here - OLD recorded", metrics, base, recorded[0]))
    last = "all of these" if len(swaps) > 1 else f"{swaps[0].name} of NEW"
    if last in scores:
        rows.append(_row("not explained: NEW recorded - all swapped", metrics, recorded[1], scores[last]))
    return "\n".join([markdown.table(rows, 1), *notes])


def _with(side: Side, names: Sequence[str], record: Record) -> Side:
    return Side(*(record if name in names else getattr(side, name) for name in ("code", "config", "seed", "threads")))


def _row(title: str, metrics: Sequence[str], a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, str]:
    return {"difference": title} | {name: f"{a[name] - b[name]:+.4g}" for name in metrics}


def _values(record: Record) -> dict[str, float]:
    return {name: float(score.value) for name, score in record.scores.items() if score.value is not None}


def _run(side: Side, args: argparse.Namespace) -> Record:
    """Run a method under such a side in a process of its own; ContractError with its last words where that fails."""
    with tempfile.TemporaryDirectory() as folder, _checkout(side.code, args.repository, Path(folder)) as code:
        words = [sys.executable, "-c", START, str(code), "run", *_options(side, args), "--runs", f"{folder}/runs"]
        words += ["--leaderboards", f"{folder}/boards"]
        threads = {"OMP_NUM_THREADS": str(side.threads.cost.threads)} if side.threads.cost.threads else {}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **threads}, cwd=folder)
        made = Store(Path(folder) / "boards").read(side.seed.slug)
        runs = [run for run in made if run.record.method == side.code.method]
        if done.returncode or len(runs) != 1:
            raise ContractError(" ".join((done.stderr or done.stdout).strip().splitlines()[-1:]) or "it left no record")
        if runs[0].record.code_hash != side.code.code_hash:
            raise ContractError(f"the code of {side.code.git.commit} is not the one that the record names")
        return runs[0].record


def _options(side: Side, args: argparse.Namespace) -> Iterator[str]:
    """The options of `sarbench run` that make a record of this side."""
    record, terms = side.seed, side.seed.terms
    yield from ("--method", record.method, "--protocol", terms.name, "--preset", terms.preset, "--seed", str(record.seed))
    yield from ("--budget", str(terms.size.budget_images))
    yield from ("--device", "cpu" if record.cost.device.startswith("CPU") else "cuda")
    for name, value in sorted(record.dataset.options.items()):
        yield from ("--data-option", f"{name}={value}")
    for name, value in sorted(_set(side).items()):
        yield from ("--set", f"{name}={value}")
    for flag, path in (("--data", args.data), ("--plugin", args.plugin)):
        if path is not None:
            yield from (flag, str(path.resolve()))


def _set(side: Side) -> dict[str, str]:
    """The settings that give this side's code this side's hyperparameters: its own variant, and what is not its own."""
    settings = dict(word.split("=", 1) for word in side.code.variant.split())
    own, wanted = side.code.config, side.config.config
    other = {name: value for name, value in wanted.items() if name not in own or own[name] != value}
    return settings | {name: _as_text(value) for name, value in other.items()}


def _as_text(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@contextmanager
def _checkout(record: Record, repository: Path | None, folder: Path) -> Iterator[Path]:
    """A folder from which the code of a record is imported as `sarbench`; ContractError where that code is not to be had."""
    from sarbench.bench.registry import ROOT

    repository, tree = (repository or ROOT).resolve(), folder / "code"
    if record.git.commit is None or record.git.dirty:
        raise ContractError(f"the record of seed {record.seed} was made of uncommitted code, which no commit can bring back")
    add = ["git", "-C", str(repository), "worktree", "add", "--quiet", "--detach", str(tree), record.git.commit]
    done = subprocess.run(add, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContractError(f"commit {record.git.commit} is not in {repository}: {done.stderr.strip()}")
    try:
        (folder / "path" / "sarbench").mkdir(parents=True)
        for part in ("bench", "methods", "datasets"):
            (folder / "path" / "sarbench" / part).symlink_to(tree / part)
        yield folder / "path"
    finally:
        remove = ["git", "-C", str(repository), "worktree", "remove", "--force", str(tree)]
        subprocess.run(remove, capture_output=True, check=False)
