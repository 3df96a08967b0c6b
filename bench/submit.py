"""`sarbench submit`: a folder of translated images and a filled record in one .zip for review; and what a review keeps of it.

Either a run of this suite is sent (`--record`), or the images of a method that the suite does not have, such as one whose
code is closed (`--about`): then the images are scored here, and the record says what its authors say of it.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarbench.bench import ceiling, leaderboard, registry, strip
from sarbench.bench.errors import ContractError
from sarbench.bench.honeypots import HONEYPOTS
from sarbench.bench.images import find_images, read_image
from sarbench.bench.markdown import link
from sarbench.bench.options import pair
from sarbench.bench.pipeline import SHOWN
from sarbench.bench.record_files import MAX_RECORD_BYTES, read_bytes, refuse_bad_text
from sarbench.bench.records import (
    AtLeastOne,
    Count,
    Json,
    Line,
    Name,
    Record,
    Store,
    Submitted,
    in_words,
    load_record,
)
from sarbench.bench.rescore import Review, review_of, track_of
from sarbench.bench.storage import value_digest
from sarbench.bench.submission import images_hash, pack
from sarbench.bench.tracks import Track, track
from sarbench.bench.train import Hardware

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE = """\
name = "my_method"                       # lower case letters, digits, underscores
title = "My Method: what it is called in print"
link = "https://example.org/my-method"   # where it is described
authors = ["A. Author", "B. Author"]
year = 2026
supervision = "paired"                   # paired, unpaired, semi or none
parameters = 11_400_000                  # of what translates
training_images = 4_000                  # seen in training; at most the budget of the track
deviations = ["trained for fewer images than its paper says"]   # from where it is described; [] where in nothing known
"""


class About(BaseModel):
    """What authors say of a method that the suite does not have: a TOML or JSON file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=2000)

    name: Name
    title: Annotated[Line, Field(min_length=1)]
    link: Annotated[str, Field(min_length=1)]
    authors: Annotated[tuple[Line, ...], Field(min_length=1, max_length=64)]
    year: Annotated[int, Field(ge=1900, le=2200)]
    supervision: Literal["paired", "unpaired", "semi", "none"]
    parameters: Count
    training_images: Count
    deviations: Annotated[tuple[str, ...], Field(max_length=64)]  # from where it is described
    fidelity: Literal["paper", "adapted", "reconstruction"] = "paper"
    training_steps: Count = 0  # 0: not told
    batch_size: Count = 0
    seed: Count = 0
    evaluations: AtLeastOne = 1  # of its network for one image
    stochastic: bool = False
    aux: Annotated[tuple[Line, ...], Field(max_length=64)] = ()  # what else it reads
    pretrained: Annotated[tuple[Line, ...], Field(max_length=64)] = ()  # what it starts from
    licence: Line = ""
    config: Json = {}  # hyperparameters, as far as they are told


def read_about(path: Path) -> About:
    """What a file says of a method; ContractError naming the file and the first faults, with an example."""
    try:
        text = read_bytes(path, MAX_RECORD_BYTES).decode()
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        about = About.model_validate_json(json.dumps(value, allow_nan=False))
        refuse_bad_text(about.model_dump())
    except ValidationError as error:
        raise ContractError(f"{path}: {in_words(error)}; write for example:\n{EXAMPLE}") from error
    except (ContractError, OSError, ValueError, TypeError, RecursionError) as error:
        raise ContractError(f"{path} can't be used ({error}); write for example:\n{EXAMPLE}") from error
    if about.name in (*registry.names("methods"), *HONEYPOTS, ceiling.NAME, "reference") or about.name.endswith("_upper_bound"):
        raise ContractError(
            f"{path}: the suite has a {about.name!r} already; send a run of it by --record, or choose another name"
        )
    if link(about.link) is None:
        raise ContractError(f"{path}: link is neither a plain http address nor a DOI: {about.link}")
    return about


@dataclass(frozen=True)
class _Sent:
    """A record as it is sent, with its files."""

    record: Record
    rows: pd.DataFrame
    images: dict[str, Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench submit`."""
    parser.add_argument(
        "images", metavar="DIR", type=Path, help="the translated test images, each under the name of its source"
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--record", metavar="FILE", type=Path, help="the .json that `sarbench run` left of these images")
    kind.add_argument("--about", metavar="FILE", type=Path, help="TOML or JSON about a method that the suite does not have")
    parser.add_argument(
        "--author", metavar="NAME", action="append", default=[], help="with --record: who sends it; again for more"
    )
    parser.add_argument("--protocol", metavar="NAME", default="synthetic", help="with --about (default: synthetic)")
    parser.add_argument("--preset", choices=("tiny", "bench", "paper"), help="with --about: the track's preset")
    parser.add_argument(
        "--budget", metavar="IMAGES", type=int, help="with --about: the track's budget, where it is not the preset's"
    )
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="the data folder, for a protocol that needs one")
    parser.add_argument("--data-option", metavar="KEY=VALUE", action="append", default=[], help="an option of the dataset")
    parser.add_argument(
        "--runs", metavar="FOLDER", type=Path, default=Path("runs"), help="where runs keep their data (default: ./runs)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="the .zip to write (default: TRACK-METHOD-SEED.zip)")


def command(args: argparse.Namespace) -> int:
    """Pack a submission, and say how to look at it as a reviewer will."""
    if args.record and not args.author:
        raise ContractError("say who sends this record: --author NAME")
    if args.about and not args.preset:
        raise ContractError("say which preset of the protocol these images are of: --preset tiny, bench or paper")
    with TemporaryDirectory(prefix="sarbench-submit-") as work:
        sent = _of_run(args, Path(work)) if args.record else _of_others(args, Path(work))
        store = Store(Path(work) / "store")
        kept = store.write(sent.record, sent.rows)  # every check of a record that a board reads
        record = sent.record
        out = args.out or Path(f"{record.slug}-{record.label}-{record.seed}.zip")
        pack(out, kept.read_bytes(), kept.with_suffix(".csv").read_bytes(), sent.images)
    print(f"{out}: {len(sent.images)} images and the record of {record.method}, {out.stat().st_size / 1e6:.1f} MB")
    print(f"see what a reviewer will see: sarbench verify {out} --sample 100%")
    return 0


def _review(chosen: Track, args: argparse.Namespace, work: Path) -> Review:
    if chosen.protocol.task == "matching":
        raise ContractError("a matcher leaves no images to submit; send its run")
    return review_of(chosen, Hardware.choose("cpu"), work, args.runs / "cache", lambda words: None)


def _of_run(args: argparse.Namespace, work: Path) -> _Sent:
    """A run of this suite, as its record has it."""
    if not args.record.is_file():
        raise ContractError(f"{args.record} does not exist; name the .json that `sarbench run` left below leaderboards/results")
    try:
        record, rows = load_record(args.record)
    except ContractError as error:
        raise ContractError(f"{args.record}: {error}") from error
    if record.role != "method":
        raise ContractError(f"{record.method} is a {record.role}; only methods are sent in")
    review = _review(track_of(record.terms, args.data, dict(pair(text) for text in args.data_option)), args, work)
    images = review.refuse_bad_images(args.images)
    if rows["id"].tolist() != sorted(images):
        raise ContractError(f"{args.record} has rows of other images than those of {review.track.slug}")
    # what judges said rests on networks trained elsewhere, which no image can verify
    changes = {"submitted": _submitted(args.author, images), "judged": None, "judged_hash": None}
    return _Sent(record.model_copy(update=changes), rows, images)


def _of_others(args: argparse.Namespace, work: Path) -> _Sent:
    """The images of a method that the suite does not have, scored here."""
    about = read_about(args.about)
    options = dict(pair(text) for text in args.data_option)
    chosen = track(args.protocol, args.preset, budget=args.budget, data=args.data, options=options)
    if about.training_images > chosen.size.budget_images:
        raise ContractError(
            f"{args.about}: {about.training_images} training images, but {chosen.slug} allows {chosen.size.budget_images}; "
            "train on fewer, or choose another --preset or --budget"
        )
    review = _review(chosen, args, work)
    images = review.refuse_bad_images(args.images)
    scores = review.rescore(args.images, chosen.metrics)
    card = {name: value for name, value in about.model_dump().items() if name not in ("link", "config")}
    told = {"seconds": None, "seconds_per_step": None, "seconds_per_image": None, "flops_per_image": None, "threads": None}
    told |= {"images": about.training_images, "steps": about.training_steps, "parameters": about.parameters}
    record, rows = review.recorded(
        about.name,
        {**card, "paper": about.link, "channels": "any"},
        about.seed,
        scores,
        config={**about.config, "batch_size": about.batch_size},
        # nothing is known of its code: what stands for it is all that was told, except what differs between its seeds
        code=value_digest(about.model_dump(mode="json", exclude={"seed"})),
        cost=told,
    )
    cost = record.cost.model_copy(update={"device": "not told", "peak_memory_bytes": None})
    return _Sent(record.model_copy(update={"cost": cost, "submitted": _submitted(about.authors, images)}), rows, images)


def _submitted(authors: Any, images: dict[str, Path]) -> Submitted:
    try:
        submitted = Submitted(authors=tuple(authors), images_hash=images_hash(images))
    except ValidationError as error:
        raise ContractError(f"--author: {in_words(error)}") from error
    refuse_bad_text(submitted.model_dump())
    return submitted


def accept(record: Record, rows: pd.DataFrame, images: Path, leaderboards: Path) -> Path:
    """Keep a submission whose images all agreed among the records, and write the boards; returns the record's path.

    ContractError where a record of its place is there already.
    """
    store = Store(leaderboards)
    path = store.results / record.slug / record.label / f"{record.seed}.json"
    if path.exists():
        raise ContractError(f"{path} is there already; remove it, or ask for another seed or name")
    assert record.submitted is not None, "a submission says who sent it"
    files = list(find_images(images).values())
    shown = [files[i] for i in np.linspace(0, len(files) - 1, min(SHOWN, len(files))).round().astype(int)]
    verified = record.submitted.model_copy(update={"verified": True})
    picture = strip.tiles([read_image(file) for file in shown])
    kept = store.write(record.model_copy(update={"submitted": verified}), rows, picture)
    leaderboard.write_pages(leaderboards)
    return kept
