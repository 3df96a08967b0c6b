"""How much a method's scores move when nothing but the seed does: measured by repeated runs, kept per hardware class.

Kept as `leaderboards/noise/<slug>/<label>/<hardware>.json`, beside the records: the mean of every metric for every seed. A
method whose runs are all the same to the last digit has no noise, and is compared to the last digit.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarbench.bench.equivalence import LEAST_RUNS
from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, Request, request
from sarbench.bench.records import MAX_RECORD_BYTES, Count, Git, Hash, Line, Loaded, Name, Record, Slug, Store, in_words, label
from sarbench.bench.storage import json_bytes, write_bytes

REPEATS = 5
AGAIN = "measure it again with `sarbench noise`, or delete the file"
LEFT_OUT = ("--method", "--seed")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=2000)


class SeedRun(_Strict):
    """One repeat: which numbers it gave."""

    seed: Count
    rows_hash: Hash
    values: dict[Name, float]  # mean of each metric that was measured and defined


class Noise(_Strict):
    """The repeated runs of one method on one track and one class of hardware."""

    schema_version: Literal[1] = 1
    method: Name
    variant: Line = ""
    slug: Slug
    hardware: Line  # as `hardware_class`
    protocol_hash: Hash
    config_hash: Hash
    code_hash: Hash
    versions: Annotated[dict[Line, Line], Field(max_length=64)]
    git: Git
    runs: Annotated[tuple[SeedRun, ...], Field(min_length=LEAST_RUNS, max_length=1000)]

    @model_validator(mode="after")
    def _every_run_counts_once(self) -> Noise:
        if len({run.seed for run in self.runs}) != len(self.runs):
            raise ValueError("a seed is there twice; a copy of a run is no repeat")
        if len({frozenset(run.values) for run in self.runs}) != 1:
            raise ValueError("the runs have different metrics")
        return self

    @property
    def label(self) -> str:
        """The name of its folder."""
        return label(self.method, self.variant)

    @property
    def exact(self) -> bool:
        """Did every run give the same rows, to the last bit?"""
        return len({run.rows_hash for run in self.runs}) == 1

    def is_of(self, record: Record) -> bool:
        """Are these runs of the very thing that a record is of: its code, or code that gave the same bits under a seed?"""
        same = (self.protocol_hash, self.config_hash, self.hardware, self.slug, self.label)
        if same != (record.protocol_hash, record.config_hash, hardware_class(record), record.slug, record.label):
            return False
        bits = any((run.seed, run.rows_hash) == (record.seed, record.rows_hash) for run in self.runs)
        return bits or self.code_hash == record.code_hash


def hardware_class(record: Record) -> str:
    """What noise is kept by: the name of the GPU, or the processor's kind."""
    return record.cost.device


def noise_of(runs: Iterable[Loaded]) -> Noise:
    """The noise that runs of one method show; ContractError where they are fewer than LEAST_RUNS, or not repeats."""
    records = sorted((item.record for item in runs), key=lambda record: record.seed)
    if len(records) < LEAST_RUNS:
        raise ContractError(f"{len(records)} runs; noise needs {LEAST_RUNS} or more, under as many seeds")
    first = records[0]
    for field in ("slug", "label", "protocol_hash", "config_hash", "code_hash", "versions"):
        if any(getattr(record, field) != getattr(first, field) for record in records):
            raise ContractError(f"runs of {first.label} that differ in {field} are no repeats; run all of them again")
    if len({hardware_class(record) for record in records}) > 1:
        raise ContractError(f"runs of {first.label} on different hardware are no repeats; run all of them on one machine")
    measured = [name for name in first.terms.metrics if all(record.scores[name].value is not None for record in records)]
    return Noise(
        method=first.method,
        variant=first.variant,
        slug=first.slug,
        hardware=hardware_class(first),
        protocol_hash=first.protocol_hash,
        config_hash=first.config_hash,
        code_hash=first.code_hash,
        versions=first.versions,
        git=first.git,
        runs=tuple(
            SeedRun(
                seed=record.seed,
                rows_hash=str(record.rows_hash),
                values={name: float(value) for name in measured if (value := record.scores[name].value) is not None},
            )
            for record in records
        ),
    )


# --- Files -----------------------------------------------------------------------------------------------------------


def path_of(root: Path, slug: str, folder: str, hardware: str) -> Path:
    """Where the noise of a method lies below a `leaderboards/` folder."""
    return root / "noise" / slug / folder / (re.sub(r"[^a-z0-9_]+", "-", hardware.lower()).strip("-") + ".json")


def write(root: Path, noise: Noise) -> Path:
    """Keep the noise of a method; returns its path."""
    path = path_of(root, noise.slug, noise.label, noise.hardware)
    write_bytes(path, json_bytes(noise.model_dump(mode="json")))
    return path


def read(root: Path, record: Record) -> Noise | None:
    """The noise of a record's method, track and hardware class; None where none was measured.

    ContractError for a file that breaks the schema, or lies in a wrong place.
    """
    path = path_of(root, record.slug, record.label, hardware_class(record))
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ContractError(f"{path}: larger than {MAX_RECORD_BYTES} bytes; {AGAIN}")
        noise = Noise.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ContractError(f"{path}: {in_words(error)}; {AGAIN}") from error
    except OSError as error:
        raise ContractError(f"{path} can't be read ({error}); {AGAIN}") from error
    if path_of(root, noise.slug, noise.label, noise.hardware) != path:
        raise ContractError(f"{path}: it is of {noise.slug}, {noise.label} on {noise.hardware}; {AGAIN}")
    return noise


# --- The command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench noise`: methods, and those of `sarbench run`."""
    parser.add_argument("method", nargs="+", metavar="METHOD", help="the methods to repeat")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, metavar="N", help=f"runs, under seeds 0 to N - 1 (default: {REPEATS})"
    )
    for flag, words in OPTIONS:
        if flag not in LEFT_OUT:
            parser.add_argument(flag, **words)


def command(args: argparse.Namespace) -> int:
    """Run every method under so many seeds, keep their noise, and say what it is; 0."""
    if args.repeats < LEAST_RUNS:
        raise ContractError(f"--repeats {args.repeats}: give {LEAST_RUNS} or more; fewer runs say nothing of their spread")
    asked = request({**vars(args), "seed": list(range(args.repeats))})
    for noise in measured(replace(asked, methods=tuple(dict.fromkeys(args.method))), args.repeats):
        path = write(asked.leaderboards, noise)
        print(f"{path}\n{told(noise)}")
    return 0


def measured(asked: Request, repeats: int) -> Iterator[Noise]:
    """The noise of every method of a request, one after the other; its records are kept beside the runs, on no board."""
    from sarbench.bench.runs import bench_of

    boards = asked.runs / "noise"
    bench = bench_of(replace(asked, leaderboards=boards), say=lambda line: print(line, file=sys.stderr, flush=True))
    bench.refuse_missing_assets(asked.methods, asked.seeds)
    for name in asked.methods:
        records = [record for seed in range(repeats) if (record := bench.run(name, seed)) is not None]
        if len(records) < repeats:
            raise ContractError("noise is measured by one process; run it without torchrun")
        made = {(record.label, record.seed) for record in records}
        yield noise_of(run for run in Store(boards).read(bench.track.slug) if (run.record.label, run.record.seed) in made)


def told(noise: Noise) -> str:
    """What the noise of a method is, in words."""
    place = f"{noise.label} on {noise.hardware}: {len(noise.runs)} runs"
    if noise.exact:
        return f"{place} gave the same rows to the last bit; it has no noise"
    lines = [place]
    for name in noise.runs[0].values:
        values = [run.values[name] for run in noise.runs]
        lines.append(f"  {name:<18} mean {np.mean(values):.5g}, standard deviation of a run {np.std(values, ddof=1):.2g}")
    return "\n".join(lines)
