"""`sarbench history`: a method's scores commit by commit, from the git history of its records, as a table and a picture."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarbench.bench import markdown
from sarbench.bench.errors import ContractError
from sarbench.bench.history_picture import picture
from sarbench.bench.records import MAX_RECORD_BYTES
from sarbench.bench.storage import write_text

SHORT = 10  # digits of a commit that are shown
NOW = "not committed"


@dataclass(frozen=True)
class Point:
    """The records of one method on one track, as they stood after one commit."""

    commit: str  # that committed them; NOW: they lie in a folder
    when: str  # ISO 8601
    code: str  # the commits that their code was at
    seeds: tuple[int, ...]
    value: float  # mean over seeds
    spread: float | None  # standard deviation of a seed; None: of one seed
    terms: str  # protocol hashes: points of other terms are not comparable
    rows: str  # what tells whether anything was measured anew


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench history`."""
    parser.add_argument("--method", required=True, metavar="NAME", help="as the folder of its records is called")
    parser.add_argument("--protocol", metavar="SLUG", help="the track, such as synthetic.tiny (default: the only one it has)")
    parser.add_argument("--metric", metavar="NAME", help="default: the main metric of the protocol")
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"), metavar="DIR", help="in a git checkout")
    parser.add_argument("--records", type=Path, metavar="DIR", help="another leaderboards folder, whose records come last")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture there")


def command(args: argparse.Namespace) -> int:
    """Print the table, and write the picture where one is asked for; 0."""
    slug = args.protocol or _only_slug(args.leaderboards, args.records, args.method)
    versions = list(_versions(args.leaderboards, slug, args.method))
    if args.records is not None:
        versions.append(_in_folder(args.records, slug, args.method))
    metric = args.metric or next((str(r["terms"]["main_metric"]) for _, _, found in reversed(versions) for r in found), "")
    points = [p for commit, when, found in versions if (p := _point(commit, when, found, metric)) is not None]
    points = [p for i, p in enumerate(points) if i == 0 or p.rows != points[i - 1].rows]
    if not points:
        raise ContractError(f"no record of {args.method} on {slug} ever measured {metric or 'anything'}")
    score = next(r["scores"][metric] for _, _, found in reversed(versions) for r in found if metric in r["scores"])
    unit = str(score.get("unit", ""))
    print(table(points, metric, unit))
    if args.svg is not None:
        write_text(args.svg, picture(points, f"{args.method} on {slug}", f"{metric} ({unit})" if unit else metric))
        print(f"\nwrote {args.svg}")
    return 0


# --- Records of the past ---------------------------------------------------------------------------------------------

Version = tuple[str, str, list[dict[str, Any]]]  # commit, date, its records


def _only_slug(leaderboards: Path, records: Path | None, method: str) -> str:
    folders = [folder for folder in (leaderboards, records) if folder is not None]
    slugs = sorted({path.parent.name for folder in folders for path in (folder / "results").glob(f"*/{method}")})
    if len(slugs) != 1:
        raise ContractError(f"{method} has records on {', '.join(slugs) or 'no track'}; name one by --protocol")
    return slugs[0]


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ContractError("there is no git here; give a folder of records by --records") from error
    if done.returncode:
        raise ContractError(f"git says of {folder}: {done.stderr.strip().splitlines()[-1:] or ['nothing']}; name a checkout")
    return done.stdout


def _versions(leaderboards: Path, slug: str, method: str) -> Iterator[Version]:
    """The records after every commit that touched one, oldest first; none where the folder is no checkout's."""
    if not leaderboards.is_dir():
        return
    place = f"results/{slug}/{method}"
    if not (log := _git(leaderboards, "log", "--format=%H %cI", "--reverse", "--", place).split("\n")):
        return
    for line in filter(None, log):
        commit, _, when = line.partition(" ")
        names = _git(leaderboards, "ls-tree", "--name-only", commit, f"./{place}/").splitlines()
        texts = [_git(leaderboards, "show", f"{commit}:./{name}") for name in names if name.endswith(".json")]
        yield commit, when, [record for text in texts if (record := _record(text)) is not None]


def _in_folder(folder: Path, slug: str, method: str) -> Version:
    files = sorted((folder / "results" / slug / method).glob("*.json"))
    found = [record for file in files if (record := _record(file.read_text(errors="replace"))) is not None]
    return NOW, max((str(record["created"]) for record in found), default=""), found


def _record(text: str) -> dict[str, Any] | None:
    """The parts of a record that are shown, of any schema that had them; None for anything else."""
    try:
        record: dict[str, Any] = json.loads(text) if len(text) <= MAX_RECORD_BYTES else {}
        int(record["seed"])
        whole = all(isinstance(record[k], str) for k in ("protocol_hash", "created")) and isinstance(record["scores"], dict)
        return record if whole and isinstance(record["terms"]["main_metric"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _point(commit: str, when: str, records: Sequence[Mapping[str, Any]], metric: str) -> Point | None:
    """The point of some records; None where none has a finite value of the metric."""
    values, kept = [], []
    for record in records:
        score = record["scores"].get(metric)
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            values.append(float(value))
            kept.append(record)
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    codes = sorted({str((record.get("git") or {}).get("commit") or "unknown")[:SHORT] for record in kept})
    terms = " ".join(sorted({str(record["protocol_hash"]) for record in kept}))
    rows = " ".join(sorted(f"{record.get('rows_hash')} {record['protocol_hash']} {record['created']}" for record in kept))
    return Point(commit, when, " ".join(codes), tuple(sorted(int(r["seed"]) for r in kept)), mean, spread, terms, rows)


def table(points: Sequence[Point], metric: str, unit: str) -> str:
    """A row for each time that something was measured anew; a change of terms breaks the line, and is said."""
    rows = []
    for i, point in enumerate(points):
        before = points[i - 1] if i else None
        change = "" if before is None else f"{point.value - before.value:+.4g}"
        if before is not None and before.terms != point.terms:
            change = "other terms"
        spread = "" if point.spread is None else f" ± {point.spread:.2g}"
        rows.append(
            {
                "committed": markdown.line(point.when[:10]),
                "in": markdown.line(point.commit[:SHORT] if point.commit != NOW else NOW),
                "code at": markdown.text(point.code),
                "seeds": str(len(point.seeds)),
                f"{markdown.text(metric)} {markdown.text(f'({unit})') if unit else ''}".strip(): f"{point.value:.6g}{spread}",
                "change": change,
            }
        )
    notes = "± is the standard deviation of a seed; where terms change (protocol, data, definitions), values don't compare"
    return f"{markdown.table(rows, 3)}\n\n{notes}"
