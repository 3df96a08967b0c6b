"""What matching said of a run's translations, as a record keeps it: scores, and the offsets behind them in its rows.

Where the templates of translated images, of their sources and of the true images were found stands in columns beside the
metrics, so that every score can be made again, and is, whenever the record is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from jaxtyping import Int64
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarbench.bench import match_scores
from sarbench.bench.errors import ContractError
from sarbench.bench.summary import summarise

SIDES = ("translated", "source", "target")  # what a template is cut from: what is judged, its floor, its ceiling
TRUE = ("match_top", "match_left")  # columns of the rows: where each template was cut
COLUMNS = (*TRUE, *(f"{side}_{axis}" for side in SIDES for axis in ("top", "left")))

Value = Annotated[float, Field(ge=0.0, lt=1e9)]
Places = Int64[np.ndarray, "n 2"]


class Matched(BaseModel):
    """Where correlation found a run's translations, in scores by side."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=300)

    signature: Annotated[str, Field(min_length=1)]  # of the matcher, and of how templates are cut
    search_px: Annotated[int, Field(ge=1, lt=1 << 31)]
    scores: Annotated[dict[str, dict[str, Value]], Field(max_length=len(SIDES))]  # side -> score -> value

    @model_validator(mode="after")
    def _whole(self) -> Matched:
        if set(self.scores) != set(SIDES) or any(set(found) != set(match_scores.SCORES) for found in self.scores.values()):
            raise ValueError(f"matching needs {', '.join(match_scores.SCORES)} of each of {', '.join(SIDES)}")
        return self


def scores_of(true: Places, found: Mapping[str, Places]) -> dict[str, dict[str, float]]:
    """Every score of every side, by where its templates were found."""
    made: dict[str, dict[str, float]] = {}
    for side in SIDES:
        rows = match_scores.rows(found[side], true)
        summaries = {name: summarise(values, match_scores.SCORES[name].aggregate) for name, values in rows.items()}
        made[side] = {name: summary.value for name, summary in summaries.items() if summary.value is not None}
    return made


def columns_of(true: Places, found: Mapping[str, Places]) -> dict[str, Int64[np.ndarray, " n"]]:
    """The columns of the rows, in their order."""
    parts = [true, *(found[side] for side in SIDES)]
    return dict(zip(COLUMNS, np.concatenate(parts, axis=1).T, strict=True))


def refuse_wrong_columns(matched: Matched, columns: Mapping[str, np.ndarray], tolerance: float) -> None:
    """Raise ContractError unless the recorded scores follow from these columns."""
    offsets = np.stack([columns[name] for name in COLUMNS], axis=1).astype(np.float64)
    if not ((offsets >= 0) & (offsets < matched.search_px)).all() or (offsets != np.rint(offsets)).any():
        raise ContractError(f"the offsets of matching are no whole numbers of px from 0 to {matched.search_px - 1}")
    true, *parts = np.split(offsets.astype(np.int64), 1 + len(SIDES), axis=1)
    for side, made in scores_of(true, dict(zip(SIDES, parts, strict=True))).items():
        for name, value in made.items():
            if not np.isclose(matched.scores[side][name], value, rtol=tolerance, atol=tolerance):
                raise ContractError(
                    f"{name} of {side} is recorded as {matched.scores[side][name]}, but its offsets give {value}"
                )
