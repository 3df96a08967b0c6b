"""What a run leaves: the record's schema, and the store that keeps records under `leaderboards/results/`.

A record is one JSON file beside one CSV with a row a test image; the record's scores are recomputed from these rows
whenever it is read, so that a number on a board can be traced to images; scores by class are pooled over pixels, and have
no rows. Records may come from strangers: every field is checked and bounded, and a file that breaks the schema is refused,
never repaired.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sarbench.bench import match_scores
from sarbench.bench.errors import ContractError
from sarbench.bench.judged import MAX_BYTES as MAX_MATRICES_BYTES
from sarbench.bench.judged import Judgements, read_matrices, refuse_other_numbers
from sarbench.bench.markdown import line
from sarbench.bench.matched import COLUMNS as MATCHED_COLUMNS
from sarbench.bench.matched import Matched, refuse_wrong_columns
from sarbench.bench.protocols import asks_matching
from sarbench.bench.record_files import (
    MAX_RECORD_BYTES,
    MAX_ROWS_BYTES,
    read_bytes,
    read_rows,
    refuse_bad_json,
    refuse_bad_names,
    refuse_bad_text,
)
from sarbench.bench.scores import count_shifts
from sarbench.bench.storage import json_bytes, value_digest, write_bytes, write_together
from sarbench.bench.summary import Aggregate, Summary, summarise
from sarbench.bench.tracks import MAX_OPTION, MAX_SLUG

TOLERANCE = 1e-9  # between a recorded score and the one recomputed from the rows
SHIFT_COLUMNS = ("shift_y", "shift_x")  # px down and px to the right
JUDGED_SUFFIX = ".judged.csv"
LARGEST = 1e12  # of any score, row or cost: larger numbers are no measurement, and sums of them would overflow
MAX_JSON_CHARACTERS = 50_000  # of the terms, and of the config
REMEDY = "make each of these runs again, or delete its .json, .csv and .jpg"


# --- The schema ------------------------------------------------------------------------------------------------------


def _plain_json(value: Any) -> Any:
    """A JSON-like value with tuples as lists; ValueError for NaN, infinity, other types, or too much of it."""
    if isinstance(value, BaseModel):
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if len(text) > MAX_JSON_CHARACTERS:
        raise ValueError(f"{len(text)} characters of JSON, at most {MAX_JSON_CHARACTERS} are allowed")
    return json.loads(text)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=MAX_SLUG)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
AtLeastOne = Annotated[int, Field(ge=1, lt=1 << 63)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Line = Annotated[str, Field(max_length=MAX_OPTION)]
Shift = Annotated[str, Field(pattern=r"^-?[0-9]{1,2},-?[0-9]{1,2}$")]  # px down and px to the right
Json = Annotated[dict[str, Any], BeforeValidator(_plain_json)]
Options = Annotated[dict[Line, Line], Field(max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=2000)


class TermsSize(_Model):
    """What a reader needs of `protocols.Size`; its other fields are kept as they are."""

    model_config = ConfigDict(extra="allow")

    budget_images: AtLeastOne
    options: list[list[Line]]


class Terms(_Model):
    """The terms of a track, as `Track.terms()` gives them: the fields that a reader needs are typed, all are kept."""

    model_config = ConfigDict(extra="allow")

    name: Slug
    task: Line
    dataset: Name
    preset: Name
    metrics: Annotated[list[Name], Field(min_length=1, max_length=64)]
    main_metric: Name
    size: TermsSize
    options: Options

    @model_validator(mode="after")
    def _metrics_are_clear(self) -> Terms:
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("a metric is named twice")
        if self.main_metric not in self.metrics:
            raise ValueError(f"the main metric {self.main_metric!r} is not among the metrics")
        return self


class RecordedCard(_Model):
    """A method's card at the time of the run; made by `recorded_card`."""

    title: Line
    paper: Annotated[str, Field(max_length=2000)]
    year: Annotated[int, Field(ge=1900, le=2200)] | None  # None: nothing was published (honeypots)
    supervision: Literal["paired", "unpaired", "semi", "none"]
    channels: Literal["any", "same"]
    size_multiple: AtLeastOne = 1
    fixed_size: AtLeastOne | None = None
    stochastic: bool = False
    evaluations: Count = 1  # 0: a floor
    aux: Annotated[tuple[Line, ...], Field(max_length=64)] = ()
    pretrained: Annotated[tuple[Line, ...], Field(max_length=64)] = ()
    fidelity: Literal["paper", "adapted", "reconstruction"] = "paper"
    deviations: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    licence: Line = ""


def recorded_card(card: Mapping[str, Any]) -> RecordedCard:
    """A method's card, as a mapping, as a record keeps it; ContractError naming the fields that no record can keep."""
    try:
        recorded = RecordedCard(**{name: value for name, value in card.items() if name in RecordedCard.model_fields})
        refuse_bad_text(recorded.model_dump())
    except (ValidationError, ContractError) as error:
        words = in_words(error) if isinstance(error, ValidationError) else str(error)
        raise ContractError(f"the card of {card.get('title')!r} can't be recorded: {words}; correct it") from error
    return recorded


class RecordedDataset(_Model):
    """The data of a run: images counted after the track's limits."""

    name: Name
    title: Line
    content_hash: Hash
    n_train: Count
    n_test: AtLeastOne
    split_hash: Hash
    split: Literal["verified", "unverified", "leaking"]
    split_reasons: Annotated[tuple[Line, ...], Field(max_length=16)] = ()
    scenes_train: Count | None  # None: the grouping is not known
    scenes_test: Count | None
    options: Options


class Budget(_Model):
    """What training used: 0 images and steps for what does not learn by gradients."""

    images: Count
    steps: Count
    batch_size: Count


class Replicates(_Model):
    """A metric of sets on halves of the scenes: what its interval and its tests rest on."""

    drawn: Annotated[str, Field(pattern=r"^[a-z0-9;-]{1,100}$")]  # the rule and the hash of what was drawn from
    scenes: Annotated[int, Field(ge=4, lt=1 << 31)]  # from which halves were drawn
    # Halves spread further than the score itself, so their bound is wider; squares of them don't overflow.
    values: Annotated[
        tuple[Annotated[float, Field(ge=-(LARGEST**2), le=LARGEST**2)], ...], Field(min_length=2, max_length=1000)
    ]


class Score(_Model):
    """One metric of one run: the fields of `Summary`, and what the number means."""

    value: Number | None
    std: Amount | None
    n: Count  # 0: not measured
    undefined: Count
    infinite: Count
    reason: str  # why rows are undefined, or why nothing was measured
    signature: Annotated[str, Field(min_length=1, max_length=300)]
    unit: Annotated[str, Field(max_length=32)]
    higher_is_better: bool
    decimals: Annotated[int, Field(ge=0, le=10)]
    of_set: bool = False  # one value for the whole set of images, without rows
    aggregate: Aggregate = "mean"  # what makes the value of the rows
    ranked: bool = True  # False: shown apart, never ranked by
    ranked_from: AtLeastOne = 1  # images below which a board shows the value and does not rank by it
    replicates: Replicates | None = None  # of a set alone; None: not measured on halves, so that there is no interval

    @property
    def summary(self) -> Summary:
        """The aggregate alone."""
        return Summary(self.value, self.std, self.n, self.undefined, self.infinite)

    @model_validator(mode="after")
    def _nothing_is_left_unsaid(self) -> Score:
        if self.undefined + self.infinite > self.n:
            raise ValueError("more rows are undefined or infinite than there are")
        if (self.value is None) != bool(self.undefined or self.infinite or not self.n):
            raise ValueError("value must be null exactly where a row is undefined or infinite, or none was measured")
        if self.of_set and (self.undefined or self.infinite or self.std is not None):
            raise ValueError("a score of a set is one number")
        if self.replicates is not None and (not self.of_set or self.value is None):
            raise ValueError("replicates are of a score of a set that was measured")
        if (self.undefined or not self.n) and not self.reason.strip():
            raise ValueError("a score that is undefined or not measured needs a reason")
        return self


class RecordedClass(_Model):
    """One class of the ground, its pixels pooled over all test images."""

    pixels: AtLeastOne
    psnr: Number | None  # dB, of the pooled error; None: infinite, since there is no error
    ssim: Number | None  # None: no window of SSIM has its centre in this class


class Cost(_Model):
    """What a run used; None: not measured."""

    parameters: Count
    train_seconds: Amount | None
    seconds_per_step: Amount | None
    seconds_per_image: Amount | None
    peak_memory_bytes: Count | None
    flops_per_image: Count | None
    device: Line
    threads: AtLeastOne | None


class Submitted(_Model):
    """Who sent a record in with its images, and what was verified of it; a training elsewhere never is."""

    authors: Annotated[tuple[Line, ...], Field(min_length=1, max_length=64)]
    images_hash: Hash  # of the names and bytes of all images
    verified: bool = False  # was every image scored again, and agreed?


class Git(_Model):
    """The checkout that made the run; None where there was none."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] | None
    dirty: bool | None


def protocol_hash(terms: Mapping[str, Any], content_hash: str, signatures: Mapping[str, str]) -> str:
    """What two scores must share to be compared: a track's terms, the data's content, every metric's signature."""
    return value_digest({"terms": terms, "dataset": content_hash, "signatures": signatures})


def config_hash(config: Mapping[str, Any]) -> str:
    """The hash of a method's hyperparameters; ContractError for values that are no JSON."""
    try:
        return value_digest(config)
    except (TypeError, ValueError) as error:
        raise ContractError(f"a hyperparameter can't be recorded ({error}); use numbers, text, lists and None") from error


def label(method: str, variant: str) -> str:
    """A method under changed hyperparameters has a folder of its own, which no other method can be called."""
    return f"{method}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}" if variant else method


class Record(_Model):
    """One run: a method, a track and a seed."""

    schema_version: Literal[1] = 1
    method: Name
    variant: Line = ""  # hyperparameters that were changed, such as "cam=false msm=single"
    role: Literal["method", "floor", "honeypot", "ceiling"]
    seed: Count
    slug: Slug  # of the track: protocol[.data].preset[.budget]
    terms: Annotated[Terms, BeforeValidator(_plain_json)]
    protocol_hash: Hash
    card: RecordedCard
    config: Json
    config_hash: Hash
    preset: Name
    dataset: RecordedDataset
    budget: Budget
    scores: dict[Name, Score]
    by_class: Annotated[dict[Line, RecordedClass], Field(max_length=255)] | None = None  # None: the data has no labels
    shifts: dict[Shift, AtLeastOne] | None = None  # "dy,dx" -> test images that fit best there; None: not searched
    judged: Judgements | None = None  # by judge; None: the protocol has none, or the images were made from the targets
    matched: Matched | None = None  # where correlation found the translations; None: not asked
    cost: Cost
    code_hash: Hash  # of the method's sources
    versions: Annotated[dict[Line, Line], Field(max_length=64)]
    git: Git
    submitted: Submitted | None = None  # None: made by a run of this suite
    created: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]  # UTC
    rows_hash: Hash | None = None  # sha256 of the CSV beside it; set by `Store.write`
    judged_hash: Hash | None = None  # sha256 of <seed>.judged.csv beside it; None: no judge has said anything

    @property
    def label(self) -> str:
        """The name of its folder."""
        return label(self.method, self.variant)

    @property
    def of_matching(self) -> bool:
        """Is this the run of a matcher? Its rows then hold true and found offsets, from which all scores follow."""
        return self.terms.task == "matching"

    @property
    def track_parts(self) -> tuple[str | None, int | None]:
        """The data folder's name and the budget in images, each None where the slug does not name it."""
        name, preset, budget = re.escape(self.terms.name), re.escape(self.terms.preset), self.terms.size.budget_images
        found = re.fullmatch(rf"{name}(?:\.(?P<data>.+))?\.{preset}(?P<budget>\.{budget})?", self.slug)
        if found is None:
            raise ValueError(f"the slug {self.slug!r} does not follow from the terms")
        return found["data"], budget if found["budget"] else None

    @field_validator("created")
    @classmethod
    def _a_real_time(cls, created: str) -> str:
        datetime.fromisoformat(created)
        return created

    @model_validator(mode="after")
    def _one_truth(self) -> Record:
        _ = self.track_parts
        if set(self.scores) != set(self.terms.metrics):
            raise ValueError(f"the scores must be those of the protocol: {', '.join(self.terms.metrics)}")
        for metric, score in self.scores.items():
            if score.n not in (0, self.dataset.n_test):
                raise ValueError(f"{metric} was scored on {score.n} of {self.dataset.n_test} images; all or none")
        if not self.scores[self.terms.main_metric].ranked:
            raise ValueError(f"the main metric {self.terms.main_metric!r} is not one to rank by")
        if self.shifts is not None and sum(self.shifts.values()) != self.dataset.n_test:
            raise ValueError(f"the shifts are of {sum(self.shifts.values())} of {self.dataset.n_test} images; all or none")
        asked = (self.terms.model_extra or {}).get("judges", [])
        if unasked := sorted(name for name in self.judged or {} if not isinstance(asked, list) or name not in asked):
            raise ValueError(f"the protocol has no judge {unasked[0]!r}")
        if self.matched and not asks_matching(self.terms.task, bool((self.terms.model_extra or {}).get("paired"))):
            raise ValueError("the protocol does not ask where templates of translations are found")
        if self.role == "ceiling" and not isinstance(self.config.get("signature"), str):
            raise ValueError("a ceiling needs its signature, in the config: another ceiling gives other shares")
        if (self.preset, self.dataset.name, self.dataset.options) != (
            self.terms.preset,
            self.terms.dataset,
            self.terms.options,
        ):
            raise ValueError("preset, dataset name and dataset options must be those of the terms")
        if self.config_hash != config_hash(self.config):
            raise ValueError("config_hash is not the hash of the config")
        signatures = {metric: score.signature for metric, score in self.scores.items()}
        terms = self.terms.model_dump(mode="json")
        if self.protocol_hash != protocol_hash(terms, self.dataset.content_hash, signatures):
            raise ValueError("protocol_hash is not the hash of the terms, the dataset's content and the signatures")
        return self


# --- The store -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """A record that passed every check, and where it lies."""

    record: Record
    path: Path
    rows: pd.DataFrame = field(compare=False)  # sorted by id; the record holds their hash


class Store:
    """The records below a `leaderboards/` folder: `results/<slug>/<label>/<seed>.{json,csv,jpg}`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results"

    def write(self, record: Record, rows: pd.DataFrame, strip: bytes | None = None, judged: bytes | None = None) -> Path:
        """Keep a run; returns the path of its record.

        `rows` has the columns id, scene (None: not known), one a measured metric, shift_y and shift_x where the record has
        shifts, those of `matched.COLUMNS` where it has such scores, and those of `match_scores.OFFSET_COLUMNS` for a matcher;
        and one row a test image. `strip` is a JPEG of `strip.tiles`; `judged` the matrices behind what judges said
        (`judged.Verdicts.to_csv`). The record is written
        last: it never stands without its rows. ContractError where record and rows, or matrices, disagree.
        """
        rows = _in_order(record, rows)
        _refuse_wrong_rows(record, rows)
        refuse_bad_text(record.model_dump(mode="json"))
        path = self.results / record.slug / record.label / f"{record.seed}.json"
        data = rows.to_csv(index=False, na_rep="nan", lineterminator="\n").encode()
        hashes = {"rows_hash": hashlib.sha256(data).hexdigest()}
        beside = {} if strip is None else {path.with_suffix(".jpg"): strip}
        if _has_verdicts(record):
            judged = judged or b""
            _refuse_wrong_verdicts(record, rows, judged)
            beside[path.with_suffix(JUDGED_SUFFIX)] = judged
            hashes["judged_hash"] = hashlib.sha256(judged).hexdigest()
        kept = record.model_copy(update=hashes).model_dump(mode="json")
        write_together({path.with_suffix(".csv"): data, **beside, path: json_bytes(kept)})
        for suffix in {".jpg", JUDGED_SUFFIX} - {path.name.removeprefix(str(record.seed)) for path in beside}:
            path.with_suffix(suffix).unlink(missing_ok=True)
        return path

    def write_reference_tiles(self, slug: str, source: bytes, target: bytes) -> None:
        """Keep the tiles (JPEG, as `strip.tiles` makes them) of the source and target images of a track."""
        for path, data in zip(self.reference_tiles(slug), (source, target), strict=True):
            write_bytes(path, data)

    def reference_tiles(self, slug: str) -> tuple[Path, Path]:
        """Where a track's source and target tiles lie, if they were written; no method's name begins so."""
        return self.results / slug / "_source.jpg", self.results / slug / "_target.jpg"

    def slugs(self) -> list[str]:
        """The tracks that have a record, sorted."""
        return sorted({path.parent.parent.name for path in self.results.glob("*/*/*.json")})

    def read(self, slug: str) -> list[Loaded]:
        """All records of a track, by method and seed.

        One ContractError lists every file that breaks the schema, lies in a wrong place, or disagrees with its rows.
        """
        loaded, bad = [], []
        for path in sorted((self.results / slug).glob("*/*.json")):
            try:
                record, rows = _load(path)
                loaded.append(Loaded(record, path, rows))
            except ContractError as error:
                bad.append(f"  {line(str(path))}: {error}")
        if bad:
            raise ContractError("\n".join([f"{len(bad)} records of {slug} can't be used; {REMEDY}:", *bad]))
        return sorted(loaded, key=lambda item: (item.record.method, item.record.variant, item.record.seed))


def _load(path: Path) -> tuple[Record, pd.DataFrame]:
    """The record of one file and its rows, checked against its place and each other; ContractError says only the reason."""
    record, rows = load_record(path)
    slug, method, name = path.parts[-3:]
    if (slug, method, name) != (record.slug, record.label, f"{record.seed}.json"):
        raise ContractError(f"belongs at {record.slug}/{record.label}/{record.seed}.json")
    return record, rows


def load_record(path: Path) -> tuple[Record, pd.DataFrame]:
    """A record and its rows, wherever they lie, checked against each other; ContractError says only the reason.

    The rows, and what judges said, lie beside it: `X.json`, `X.csv`, `X.judged.csv`.
    """
    try:
        data = read_bytes(path, MAX_RECORD_BYTES)
        refuse_bad_json(data)
        record = Record.model_validate_json(data)
        data = read_bytes(path.with_suffix(".csv"), MAX_ROWS_BYTES)
        if hashlib.sha256(data).hexdigest() != record.rows_hash:
            raise ContractError(f"{path.with_suffix('.csv').name} beside it is not the one it was written with")
        rows = read_rows(data)
        _refuse_wrong_rows(record, rows)
        if _has_verdicts(record):
            judged = read_bytes(path.with_suffix(JUDGED_SUFFIX), MAX_MATRICES_BYTES)
            if hashlib.sha256(judged).hexdigest() != record.judged_hash:
                raise ContractError(f"{path.with_suffix(JUDGED_SUFFIX).name} beside it is not the one it was written with")
            _refuse_wrong_verdicts(record, rows, judged)
    except ValidationError as error:
        raise ContractError(in_words(error)) from error
    except (OSError, ValueError, OverflowError) as error:
        raise ContractError(f"can't be read with its rows ({error})") from error
    return record, rows


def _has_verdicts(record: Record) -> bool:
    """Has a judge said anything?"""
    return any(judged.images for judged in (record.judged or {}).values())


def _refuse_wrong_verdicts(record: Record, rows: pd.DataFrame, judged: bytes) -> None:
    """Raise ContractError unless what judges said follows from their matrices."""
    known = record.judged or {}
    refuse_other_numbers(known, read_matrices(judged, known, rows["id"].tolist()))


def _with_rows(record: Record) -> list[str]:
    """The metrics that have a value for each image."""
    scores = record.scores
    return [metric for metric in record.terms.metrics if scores[metric].n and not scores[metric].of_set]


def _columns(record: Record) -> list[str]:
    """The columns of the rows of a record."""
    beside = match_scores.OFFSET_COLUMNS if record.of_matching else () if record.shifts is None else SHIFT_COLUMNS
    return ["id", "scene", *_with_rows(record), *beside, *(MATCHED_COLUMNS if record.matched else ())]


def _in_order(record: Record, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are written: fixed columns, sorted by id, float64."""
    measured, wanted = _with_rows(record), _columns(record)
    if set(rows.columns) != set(wanted):
        raise ContractError(f"the rows of {record.method} have the columns {list(rows.columns)}; expected {wanted}")
    return (
        rows[wanted]
        .assign(id=rows["id"].astype(str), scene=rows["scene"].fillna(""))
        .astype(dict.fromkeys(measured, np.float64))
        .sort_values("id")
    )


def _refuse_wrong_rows(record: Record, rows: pd.DataFrame) -> None:
    """Raise ContractError unless the record's scores follow from its rows."""
    measured = _with_rows(record)
    if list(rows.columns) != _columns(record):
        raise ContractError(f"the rows have the columns {list(rows.columns)}; expected {', '.join(_columns(record))}")
    if len(rows) != record.dataset.n_test or rows["id"].nunique() != len(rows):
        raise ContractError(f"{len(rows)} rows, {rows['id'].nunique()} different ids; expected {record.dataset.n_test}")
    refuse_bad_names(rows["id"])
    for metric in measured:
        if (rows[metric].replace(math.inf, 0).abs() > LARGEST).any():
            raise ContractError(f"a row of {metric} is larger than {LARGEST:g}, which no metric gives")
        scored, found = record.scores[metric].summary, summarise(rows[metric], record.scores[metric].aggregate)
        if not all(_equal(a, b) for a, b in zip(scored, found, strict=True)):
            raise ContractError(f"{metric} is recorded as {_numbers(scored)}, but its rows give {_numbers(found)}")
    if record.of_matching:
        columns = {name: rows[name].to_numpy() for name in (*measured, *match_scores.OFFSET_COLUMNS)}
        match_scores.refuse_wrong_rows(columns, TOLERANCE)
    if record.matched is not None:
        refuse_wrong_columns(record.matched, {name: rows[name].to_numpy() for name in MATCHED_COLUMNS}, TOLERANCE)
    if record.shifts is not None:
        moves = rows[list(SHIFT_COLUMNS)].to_numpy(np.float64)
        whole = bool((np.abs(moves) < 100).all() and (moves == np.rint(moves)).all())
        if not whole or count_shifts(moves.astype(np.int64).tolist()) != record.shifts:
            raise ContractError("the shifts are recorded other than their rows give")


def _equal(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _numbers(summary: Summary) -> str:
    return ", ".join(f"{name} {value}" for name, value in summary._asdict().items())


def in_words(error: ValidationError) -> str:
    """The first few faults of a record: where, and what; never the input itself."""
    faults: Sequence[Any] = error.errors(include_url=False, include_input=False, include_context=False)
    words = [f"{'.'.join(map(str, fault['loc'])) or 'record'}: {fault['msg']}"[:300] for fault in faults[:5]]
    return "; ".join(words) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
