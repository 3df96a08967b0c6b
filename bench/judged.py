"""What judges said of a run, as a record keeps it: numbers by judge seed, and beside them one confusion matrix a sample.

The matrices stand in a CSV beside the record's rows, one line a judge, set of images, judge seed and sample; its cells are
"true>predicted:pixels" where a pixel is, so that every number can be made again, and is, whenever the record is read. Like
records these files may come from strangers: everything is bounded, and what does not fit is refused.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarbench.bench.errors import ContractError
from sarbench.bench.judges._confusion import CHANGE_CLASSES, MOST_CLASSES, Number, change_numbers, class_numbers
from sarbench.bench.tracks import MAX_OPTION

if TYPE_CHECKING:
    import pandas as pd

    from sarbench.bench.match_judge import MatchJudgement

TOLERANCE = 1e-9  # between a recorded number and the one made from the matrices
MAX_BYTES = 64 << 20  # of the file of matrices
MOST_SEEDS = 16
MOST_POOLED = 40  # classes, up to which a record holds the pooled matrix too
MOST_PIXELS = 1 << 40  # of one sample
COLUMNS = ("judge", "net", "images", "direction", "seed", "id", "counts")
CELL = re.compile(r"([0-9]{1,3})>([0-9]{1,3}):([0-9]{1,13})")

Net = Literal["fixed", "own"]
Kind = Literal["translated", "source", "ceiling", "erased", "checkerboard", "noise"]
Direction = Literal["forward", "back"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Line = Annotated[str, Field(max_length=MAX_OPTION)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Pixels = Annotated[int, Field(ge=0, lt=1 << 63)]
Verdict = Annotated[float, Field(ge=0.0, le=1.0)] | None


class Subject(NamedTuple):
    """What was judged, and by which network."""

    net: Net  # "fixed": one for all methods, trained on real images; "own": trained on these very images of the training split
    images: Kind  # "source" is the floor; "erased": the target in place of a translation; the last two are planted artefacts
    direction: Direction  # "back": target images made to look like sources


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=2000)


class JudgedImages(_Model):
    """What the judges said of one set of images: each number by judge seed; None: undefined."""

    net: Net
    images: Kind
    direction: Direction = "forward"
    numbers: Annotated[dict[Line, tuple[Verdict, ...]], Field(max_length=2 * MOST_CLASSES)]
    # pixels by true class (row) and predicted class, over all samples and judge seeds; empty for more than MOST_POOLED classes
    pooled: Annotated[tuple[Annotated[tuple[Pixels, ...], Field(max_length=MOST_POOLED)], ...], Field(max_length=MOST_POOLED)]

    @property
    def subject(self) -> Subject:
        """What it is of."""
        return Subject(self.net, self.images, self.direction)


class Judged(_Model):
    """What one judge said of a run; or why nothing."""

    signature: Annotated[str, Field(min_length=1, max_length=1000)]  # task, network, training, and a version
    classes: Annotated[tuple[Line, ...], Field(max_length=MOST_CLASSES)] = ()
    gsd_m: Annotated[float, Field(gt=0)] | None = None  # ground sample distance; None: not known
    seeds: Annotated[tuple[Seed, ...], Field(max_length=MOST_SEEDS)] = ()
    images: Annotated[tuple[JudgedImages, ...], Field(max_length=32)] = ()
    reason: Line = ""  # why nothing was judged

    @model_validator(mode="after")
    def _whole(self) -> Judged:
        if bool(self.reason.strip()) == bool(self.images):
            raise ValueError("a judge has said something, or there is a reason why not")
        if len(set(self.classes)) != len(self.classes) or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a class or a seed is named twice")
        if self.images and (len(self.classes) < 2 or not self.seeds):
            raise ValueError("what was judged needs two classes and a judge seed, at least")
        if len({images.subject for images in self.images}) != len(self.images):
            raise ValueError("a set of images was judged twice")
        for images in self.images:
            if any(len(values) != len(self.seeds) for values in images.numbers.values()):
                raise ValueError("every number needs a value, or null, for each judge seed")
        return self

    def of(self, net: Net, images: Kind, direction: Direction = "forward") -> JudgedImages | None:
        """What was said of a set of images; None where it was not judged."""
        return next((found for found in self.images if found.subject == Subject(net, images, direction)), None)


Judgements = Annotated[dict[Name, Judged], Field(max_length=8)]
Matrices = Mapping[tuple[str, Subject, int], Int64[np.ndarray, "n classes classes"]]  # (judge, subject, seed) -> by sample


@dataclass(frozen=True)
class Verdicts:
    """What judges said of one run: for its record, and the matrices behind it."""

    judged: Mapping[str, Judged]
    ids: tuple[str, ...] = ()
    matrices: Matrices | None = None
    matching: MatchJudgement | None = None  # None: not asked

    def beside(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A record's rows with what matching found in further columns."""
        if self.matching is None:
            return rows
        import pandas as pd

        found = pd.DataFrame({"id": list(self.matching.ids), **self.matching.columns})
        return rows.merge(found, on="id", validate="one_to_one")

    def to_csv(self) -> bytes:
        """The file beside the record."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (judge, subject, seed), matrices in (self.matrices or {}).items():
            for sample_id, matrix in zip(self.ids, matrices, strict=True):
                cells = " ".join(f"{i}>{j}:{matrix[i, j]}" for i, j in np.argwhere(matrix).tolist())
                writer.writerow([judge, *subject, seed, sample_id, cells])
        return text.getvalue().encode()


def numbers_of(matrices: Int64[np.ndarray, "n classes classes"], classes: Sequence[str]) -> dict[str, Number]:
    """Every number that is said of these matrices."""
    return change_numbers(matrices) if tuple(classes) == CHANGE_CLASSES else class_numbers(matrices, classes)


def judged_images(
    subject: Subject, by_seed: Sequence[Int64[np.ndarray, "n classes classes"]], classes: Sequence[str]
) -> JudgedImages:
    """What is recorded of one set of images."""
    found = [numbers_of(matrices, classes) for matrices in by_seed]
    numbers = {name: tuple(numbers[name].value for numbers in found) for name in found[0]}
    pooled = _pooled(by_seed)
    return JudgedImages(net=subject.net, images=subject.images, direction=subject.direction, numbers=numbers, pooled=pooled)


def _pooled(by_seed: Sequence[Int64[np.ndarray, "n classes classes"]]) -> tuple[tuple[int, ...], ...]:
    whole = np.sum([matrices.sum(axis=0) for matrices in by_seed], axis=0)
    return tuple(map(tuple, whole.tolist())) if len(whole) <= MOST_POOLED else ()


def read_matrices(data: bytes, judged: Mapping[str, Judged], ids: Sequence[str]) -> dict[tuple[str, Subject, int], np.ndarray]:
    """The matrices of a file, by judge, subject and seed, in the order of the ids.

    ContractError unless there is exactly one for everything that is recorded as judged.
    """
    if len(data) > MAX_BYTES:
        raise ContractError(f"the file of matrices is larger than {MAX_BYTES} bytes")
    place = {sample_id: i for i, sample_id in enumerate(ids)}
    sizes = {
        (name, images.subject, seed): len(record.classes)
        for name, record in judged.items()
        for images in record.images
        for seed in record.seeds
    }
    found = {known: np.zeros((len(ids), classes, classes), np.int64) for known, classes in sizes.items()}
    seen: set[tuple[object, str]] = set()
    try:
        lines = csv.reader(io.StringIO(data.decode()), strict=True)
        if tuple(next(lines, ())) != COLUMNS:
            raise ContractError(f"the file of matrices needs the columns {', '.join(COLUMNS)}")
        for line in lines:
            judge, net, images, direction, seed, sample_id, cells = line
            known = (judge, Subject(net, images, direction), int(seed))  # type: ignore[arg-type]
            if known not in found or sample_id not in place or (known, sample_id) in seen:
                raise ContractError("the file of matrices holds one that is not recorded, or one twice")
            seen.add((known, sample_id))
            _fill(found[known][place[sample_id]], cells)
    except (ValueError, csv.Error) as error:
        raise ContractError("the file of matrices has a line that can't be read") from error
    if len(seen) != len(sizes) * len(ids):
        raise ContractError(f"the file of matrices holds {len(seen)} of {len(sizes) * len(ids)}")
    return found


def _fill(matrix: np.ndarray, cells: str) -> None:
    for cell in cells.split():
        match = CELL.fullmatch(cell)
        if match is None:
            raise ContractError(f"a cell of the file of matrices is no count: {cell[:40]!r}")
        true, predicted, pixels = (int(part) for part in match.groups())
        if max(true, predicted) >= len(matrix) or matrix[true, predicted] or not 0 < pixels <= MOST_PIXELS:
            raise ContractError(f"a cell of the file of matrices is out of bounds, or there twice: {cell[:40]!r}")
        matrix[true, predicted] = pixels


def refuse_other_numbers(judged: Mapping[str, Judged], matrices: Mapping[tuple[str, Subject, int], np.ndarray]) -> None:
    """Raise ContractError unless every recorded number follows from the matrices."""
    for name, record in judged.items():
        for images in record.images:
            if images.pooled != _pooled([matrices[name, images.subject, seed] for seed in record.seeds]):
                raise ContractError(f"judge {name}: the pooled matrix is another than that of its samples")
            for i, seed in enumerate(record.seeds):
                made = numbers_of(matrices[name, images.subject, seed], record.classes)
                if made.keys() != images.numbers.keys():
                    raise ContractError(f"judge {name}: the numbers are others than those of its task")
                for number, values in images.numbers.items():
                    if not _equal(values[i], made[number].value):
                        raise ContractError(
                            f"judge {name}, seed {seed}: {number} is recorded as {values[i]}, "
                            f"but its matrices give {made[number].value}"
                        )


def _equal(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
