"""`sarbench data audit`: does the split leak, do the pairs fit, and are the images what the dataset claims?

A table on the terminal, `audit.json` and the picture `audit.jpg`. The JSON is a function of the data alone: the same
images give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.storage import json_bytes, refuse_unwritable, write_together

if TYPE_CHECKING:
    from sarbench.bench.audit_pass import Split
    from sarbench.bench.dataset import Dataset
    from sarbench.bench.leaks import Leak, Overlap, Verdict

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Audit:
    """What was found; positions in `leaks`, `overlaps` and `within` are positions in the splits' `ids`."""

    dataset: Dataset
    train: Split
    test: Split
    leaks: Sequence[Leak]
    overlaps: Sequence[Overlap] | None  # None: no image says where it lies
    why_no_overlaps: str
    within: dict[str, Sequence[Leak]]  # pairs of images of one split, each once
    verdict: Verdict
    limit: int | None

    @property
    def splits(self) -> dict[str, Split]:
        """Both splits by name."""
        return {"train": self.train, "test": self.test}


def audit(dataset: Dataset, *, limit: int | None = None, quiet: bool = True) -> Audit:
    """Read every image of both splits once, and compare what must not be alike; `limit`: so many images a split.

    Scenes and footprints are cheap; the search for copies takes 80 s for 100,000 against 10,000 images of one part, and
    grows with the product. Images are read again only for the picture.
    """
    from sarbench.bench.audit_pass import read_split
    from sarbench.bench.leaks import cross_split_leaks, footprint_overlaps, verdict

    every = {name: _ids(dataset, name) for name in SPLITS}
    chosen = {name: _chosen(ids, limit) for name, ids in every.items()}
    train, test = (read_split(dataset, name, chosen[name], quiet) for name in SPLITS)
    leaks = cross_split_leaks(train.fingerprints, test.fingerprints)
    within: dict[str, Sequence[Leak]] = {
        split.name: [leak for leak in cross_split_leaks(split.fingerprints, split.fingerprints) if leak.train < leak.test]
        for split in (train, test)
    }
    overlaps, why = None, "no image says where it lies"
    if any(train.footprints) and any(test.footprints):
        try:
            overlaps, why = footprint_overlaps(train.footprints, test.footprints), ""
        except ContractError as error:
            why = str(error)
    found = verdict(
        [dataset.scene(sample_id) for sample_id in every["train"]],
        [dataset.scene(sample_id) for sample_id in every["test"]],
        leaks,
        overlaps,
        unseen=sum(map(len, every.values())) - len(train.ids) - len(test.ids),
    )
    return Audit(dataset, train, test, leaks, overlaps, why, within, found, limit)


def _ids(dataset: Dataset, split: str) -> list[str]:
    """Every sample of a split once; the two domains of an unpaired dataset one after the other."""
    return list(dict.fromkeys((*dataset.ids(split), *dataset.target_ids(split))))


def _chosen(ids: Sequence[str], limit: int | None) -> list[str]:
    """So many ids, drawn by what each is called, in their order."""
    from sarbench.bench.keys import key

    if limit is None or len(ids) <= limit:
        return list(ids)
    drawn = set(sorted(ids, key=lambda sample_id: key("audit", sample_id))[:limit])
    return [sample_id for sample_id in ids if sample_id in drawn]


# --- The command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench data audit`."""
    what = parser.add_subparsers(dest="what", required=True, metavar="audit")
    one = what.add_parser(
        "audit",
        help="leaks between the splits, misregistered pairs, bad images",
        description="Looks for what is in both splits (scenes, footprints, copies, shared ground), for misregistered pairs "
        "and bad images; writes audit.json and audit.jpg.",
        epilog="The exit code is 0 for a verified or unverified split, and 1 for a leaking one or a clear error.",
    )
    one.add_argument("name", metavar="NAME", help="the dataset, such as pairs; sarbench list datasets shows them")
    one.add_argument("--data", metavar="FOLDER", type=Path, help="its folder; none for a dataset made by code")
    one.add_argument("--data-option", metavar="KEY=VALUE", action="append", default=[], help="an option of the dataset")
    one.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: ./audits/NAME)")
    one.add_argument("--limit", metavar="N", type=int, help="read so many images of each split; nothing is then verified")
    one.add_argument("--json", action="store_true", help="print the JSON in place of the table")


def command(args: argparse.Namespace) -> int:
    """Run `sarbench data audit`: the table or the JSON on stdout, the files below --out. Returns 1 for a leaking split."""
    from sarbench.bench.options import pair

    if args.limit is not None and args.limit < 1:
        raise ContractError(f"--limit {args.limit}: give the number of images of a split, at least 1")
    out = args.out or Path("audits") / args.name
    options = dict(pair(text) for text in args.data_option)
    dataset = registry.load_dataset(args.name)(args.data, **options)
    refuse_unwritable(out)
    found = audit(dataset, limit=args.limit, quiet=args.json)

    from sarbench.bench.audit_picture import picture
    from sarbench.bench.audit_report import report, table

    told = {"dataset": args.name, "options": options, **report(found)}
    write_together({out / "audit.jpg": picture(found), out / "audit.json": json_bytes(told)})
    if args.json:
        print(json_bytes(told).decode(), end="")
    else:
        print(f"{table(told)}\n\nwritten: {out / 'audit.json'}, {out / 'audit.jpg'}")
    return 1 if found.verdict.split == "leaking" else 0
