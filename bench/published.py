"""The published numbers: what the source papers print in their tables, carried over as data and never mixed with records.

`leaderboards/published/` holds papers.csv, one <paper>.csv of numbers a paper, notes.csv (how numbers were made, and what
no arithmetic can find) and claims.csv (what the texts say of their tables). A file that breaks the schema is refused with
the numbers of its lines, never repaired.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sarbench.bench.errors import ContractError
from sarbench.bench.records import in_words

NOT_NUMBERS = ("papers", "notes", "claims")  # the files of the folder that are not a paper's numbers


# --- What a metric's name means --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """A metric of the papers: the unit of `value`, the values that are possible, and which side is better."""

    unit: str
    low: float
    high: float
    higher_is_better: bool | None  # None: neither


SHARE = Meaning("", 0, 1, higher_is_better=True)
# The 19 classes of Cityscapes, in the order of its training ids.
CLASSES: tuple[str, ...] = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "light", "sign", "vegetation", "terrain"),
    *("sky", "person", "rider", "car", "truck", "bus", "train", "motorbike", "bike"),
)
METRICS = {
    "psnr": Meaning("dB", 0, math.inf, higher_is_better=True),
    "ssim": Meaning("", -1, 1, higher_is_better=True),
    "scc": Meaning("", -1, 1, higher_is_better=True),
    "lpips": Meaning("", 0, math.inf, higher_is_better=False),
    "dists": Meaning("", 0, 1, higher_is_better=False),
    "fid": Meaning("", 0, math.inf, higher_is_better=False),
    "total_variation": Meaning("", 0, math.inf, higher_is_better=False),  # SRUIT names neither norm nor unit
    "dbcnn": Meaning("", 0, 100, higher_is_better=True),
    "nima": Meaning("", 1, 10, higher_is_better=True),
    "rmse": Meaning("grey levels", 0, 255, higher_is_better=False),
    "accuracy_delta5": SHARE,  # pixels whose worst band is off by less than 5 grey levels
    "accuracy_delta10": SHARE,
    "accuracy": SHARE,
    "precision": SHARE,
    "recall": SHARE,
    "f1": SHARE,
    "miou": SHARE,
    "pixel_accuracy": SHARE,
    "class_accuracy": SHARE,
    **{f"iou_{name}": SHARE for name in CLASSES},
    "davies_bouldin": Meaning("", 0, math.inf, higher_is_better=None),
    "parameters_million": Meaning("", 0, math.inf, higher_is_better=False),
    "hours": Meaning("", 0, math.inf, higher_is_better=False),
    "seconds_per_image": Meaning("", 0, math.inf, higher_is_better=False),
}


# --- The schema ------------------------------------------------------------------------------------------------------

PaperKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$")]
Table = Annotated[str, Field(pattern=r"^([0-9]+|figure [0-9]+|section [0-9A-Z.-]+|model zoo)$")]
Domain = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]  # a data set of sarbench, or two joined by _to_
MethodName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}(\+[a-z][a-z0-9_]{0,63})?$")]  # or one + another
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
Some = Annotated[Line, Field(min_length=1)]


class _Row(BaseModel):
    """A line of a file; its fields are the file's columns."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @property
    def key(self) -> tuple[str, ...]:
        """What no two lines of a file may share."""
        return tuple(str(value) for value in self.model_dump().values())


class Published(_Row):
    """One printed number."""

    paper: PaperKey
    table: Table
    dataset: Domain
    setting: Line  # on what, and how, all methods of a comparison ran; empty: the table's one
    variant: Line  # what differs from the full method; empty: nothing
    method: MethodName
    metric: str
    value: float  # in the unit of METRICS
    printed: Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,12})?$")]  # as printed: its digits are its precision
    unit: Literal["", "%", "dB", "grey levels"]  # of `printed`

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; choose from: {', '.join(METRICS)}")
        return metric

    @model_validator(mode="after")
    def _possible(self) -> Published:
        meaning = METRICS[self.metric]
        if self.unit != meaning.unit and not (self.unit == "%" and meaning is SHARE):
            raise ValueError(f"{self.metric} is printed in {meaning.unit or 'no unit'}, not in {self.unit or 'no unit'}")
        if self.value != float(self.exact):
            raise ValueError(f"value {self.value:g} is not what {self.printed} {self.unit}".rstrip() + " says")
        if not meaning.low <= self.value <= meaning.high:
            raise ValueError(f"{self.value:g} is no possible {self.metric}: {meaning.low:g} to {meaning.high:g}")
        return self

    @property
    def key(self) -> tuple[str, ...]:
        """A table has one number of a metric for each method, setting and variant."""
        return *self.result, self.metric

    @property
    def result(self) -> tuple[str, ...]:
        """What the numbers of one row of a printed table share."""
        return self.paper, self.table, self.dataset, self.setting, self.variant, self.method

    @property
    def exact(self) -> Fraction:
        """`value` without the rounding of floats."""
        return Fraction(self.printed) * self._scale

    @property
    def half_digit(self) -> Fraction:
        """Half a unit of the last printed digit: how far the number before rounding can be from `exact`."""
        return Fraction(1, 2 * 10**self.decimals) * self._scale

    @property
    def decimals(self) -> int:
        """Printed digits behind the point."""
        return len(self.printed.partition(".")[2])

    @property
    def _scale(self) -> Fraction:
        return Fraction(1, 100) if self.unit == "%" else Fraction(1)


class Paper(_Row):
    """A source of numbers."""

    paper: PaperKey
    title: Some
    authors: Some
    venue: Some
    year: Annotated[int, Field(ge=1900, le=2200)]
    link: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9./_-]+$")]

    @property
    def key(self) -> tuple[str, ...]:
        """A paper stands once."""
        return (self.paper,)


class Note(_Row):
    """What must be known of a paper's numbers: a convention under which they were made, or a contradiction in its words."""

    paper: PaperKey
    table: Table | Literal[""]  # empty: the whole paper
    kind: Literal["convention", "finding"]
    note: Some


class Claim(_Row):
    """What a text says of a table: `method` (`variant`) is better in each of `metrics` than each of `over`."""

    paper: PaperKey
    table: Table
    dataset: Domain
    method: MethodName
    variant: Line
    metrics: Annotated[str, Field(pattern=r"^[a-z0-9_]+( [a-z0-9_]+)*$")]
    over: Annotated[str, Field(pattern=r"^(\*|[^*]+)$")]  # * = all others, or "[TABLE:]METHOD[ (VARIANT)]; ..."
    where: Some  # in the text
    says: Some  # in our words, to follow "says that"

    @field_validator("metrics")
    @classmethod
    def _ranked(cls, metrics: str) -> str:
        for metric in metrics.split():
            if metric not in METRICS or METRICS[metric].higher_is_better is None:
                raise ValueError(f"{metric!r} is no metric with a better side")
        return metrics


# --- Files -----------------------------------------------------------------------------------------------------------

_Line = TypeVar("_Line", bound=_Row)


def read(folder: Path) -> list[Published]:
    """All published numbers of a folder, paper by paper in the order of papers.csv, each as printed.

    ContractError names the file and the lines that break the schema or stand twice, and files of numbers without a paper.
    """
    papers = [paper.paper for paper in read_papers(folder)]
    unknown = sorted({path.stem for path in folder.glob("*.csv")} - {*papers, *NOT_NUMBERS})
    if unknown:
        raise ContractError(f"{folder / unknown[0]}.csv: no paper {unknown[0]!r} in papers.csv; add it there, or move the file")
    rows = []
    for paper in papers:
        path = folder / f"{paper}.csv"
        rows += (found := _load(path, Published))
        if strangers := {row.paper for row in found} - {paper}:
            raise ContractError(
                f"{path}: holds numbers of {', '.join(sorted(strangers))}; a paper's numbers stand in its own file"
            )
    return rows


def read_papers(folder: Path) -> list[Paper]:
    """The papers of a folder, in the order of their pages; ContractError as for `read`."""
    return _load(folder / "papers.csv", Paper)


def read_notes(folder: Path) -> list[Note]:
    """The notes of a folder; ContractError as for `read`."""
    return _load(folder / "notes.csv", Note)


def read_claims(folder: Path) -> list[Claim]:
    """The claims of a folder; ContractError as for `read`."""
    return _load(folder / "claims.csv", Claim)


def _load(path: Path, kind: type[_Line]) -> list[_Line]:
    """The lines of a CSV file; one ContractError lists all that are bad."""
    columns = list(kind.model_fields)
    rows: list[_Line] = []
    bad: list[str] = []
    line_of: dict[tuple[str, ...], int] = {}
    try:
        reader = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        if (head := next(reader, [])) != columns:
            raise ContractError(f"{path}, line 1: the columns are {','.join(head)}; write {','.join(columns)}")
        for cells in reader:
            here = f"  line {reader.line_num}:"
            if len(cells) != len(columns):
                bad.append(f"{here} {len(cells)} cells, not {len(columns)}")
                continue
            try:
                row = kind.model_validate(dict(zip(columns, cells, strict=True)))
            except ValidationError as error:
                bad.append(f"{here} {in_words(error)}")
                continue
            if row.key in line_of:
                bad.append(f"{here} stands in line {line_of[row.key]} already")
            line_of.setdefault(row.key, reader.line_num)
            rows.append(row)
    except FileNotFoundError as error:
        raise ContractError(f"{path} is missing; bring it back, or drop its paper from papers.csv") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path} can't be read as UTF-8 text ({error}); bring it back from the repository") from error
    except csv.Error as error:
        raise ContractError(f"{path}, line {reader.line_num}: no CSV ({error}); correct it") from error
    if bad:
        raise ContractError("\n".join([f"{path}: {len(bad)} lines can't be used; correct them:", *bad]))
    return rows


# --- Which protocol a table belongs to -------------------------------------------------------------------------------

_PROTOCOLS = {
    ("s3oil", "1", "sen12ms"): "s3oil-1-sen12ms",
    ("s3oil", "1", "sen12"): "s3oil-1-sen12",
    ("s3oil", "2", "sen12ms"): "s3oil-2",
    ("s3oil", "3", "sen12ms"): "s3oil-3",
    ("s3oil", "4", "sketch2anime"): "s3oil-4",
    ("s3oil", "5", "sen12ms"): "s3oil-5",
    ("s3oil", "6", "sen12ms"): "s3oil-6",
    ("s3oil", "figure 9", "sen12ms"): "s3oil-fig9",
    ("cdiffset", "1", "sar2opt"): "cdiffset-1-sar2opt",
    ("cdiffset", "1", "spacenet6"): "cdiffset-1-spacenet6",
    ("cdiffset", "2", "qxs_saropt"): "cdiffset-2",
    ("cdiffset", "3", "sar2opt"): "cdiffset-3",
    ("cdiffset", "4", "spacenet6"): "cdiffset-4",
    ("cdiffset", "figure 9", "spacenet6"): "cdiffset-fig9",
    ("sruit", "1", "cdd"): "sruit-1",
    ("sruit", "2", "cdd"): "sruit-2",
    ("sruit", "3", "cdd"): "sruit-3",
    ("semst", "1", "gta5_to_cityscapes"): "semst-1-gta5",
    ("semst", "1", "cityscapes"): "semst-1-cityscapes",
    ("semst", "1", "maps"): "semst-1-maps",
    ("semst", "2", "gta5_to_cityscapes"): "semst-2-gta5",
    ("semst", "2", "synthia_to_cityscapes"): "semst-2-synthia",
    ("semst", "3", "gta5_to_cityscapes"): "semst-3",
}


def protocol_of(row: Published) -> str | None:
    """The name of the sarbench protocol that asks what the row's table asks; None where there is none."""
    return _PROTOCOLS.get((row.paper, row.table, row.dataset))


def rows_for(protocol: str, rows: Iterable[Published]) -> list[Published]:
    """The published numbers to show beside those measured under a protocol; empty where no paper has any."""
    return [row for row in rows if protocol_of(row) == protocol]


def title_of(table: str) -> str:
    """How a sentence names a table, figure or section."""
    return f"Table {table}" if re.fullmatch("[0-9]+", table) else table[0].upper() + table[1:]


def by_result(rows: Sequence[Published]) -> dict[tuple[str, ...], dict[str, Published]]:
    """The rows of the printed tables: what they share, and their numbers by metric, in printed order."""
    results: dict[tuple[str, ...], dict[str, Published]] = {}
    for row in rows:
        results.setdefault(row.result, {})[row.metric] = row
    return results
