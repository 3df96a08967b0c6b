"""Scores of matching: how far from the truth were templates found, and how many of them near enough. Pure functions.

An offset is (top, left) in whole px. A score has one row a sample and one value for a run, an aggregate of the rows that
`bench.summary` knows; every row follows from the true and the found offset alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from sarbench.bench.errors import ContractError
from sarbench.bench.summary import Aggregate

OFFSET_COLUMNS = ("top", "left", "found_top", "found_left")  # of the rows of a record


def distance_px(found: Int64[np.ndarray, "n 2"], true: Int64[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The Euclidean distance between the found and the true offset of each sample."""
    return np.sqrt(((found - true) ** 2).sum(1).astype(np.float64))


def correct(distances: Float[np.ndarray, " n"], within_px: float) -> Float[np.ndarray, " n"]:
    """100 for each distance of at most `within_px`, else 0: the mean is the correct matching rate (CMR) in percent."""
    return 100.0 * (distances <= within_px)


@dataclass(frozen=True)
class MatchScore:
    """One score of matching."""

    signature: str
    unit: str
    higher_is_better: bool
    rows: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]  # distances in px -> one value a sample
    decimals: int
    aggregate: Aggregate = "mean"


def _rate(within_px: int) -> MatchScore:
    signature = f"cmr;euclid<={within_px}px;first-maximum;v1"
    return MatchScore(signature, "%", True, lambda distances: correct(distances, within_px), 1)


SCORES: Mapping[str, MatchScore] = {
    "cmr_1": _rate(1),
    "cmr_2": _rate(2),
    "cmr_5": _rate(5),
    # S2M2-SAR's code calls this one RMSE
    "distance": MatchScore("distance;euclid;mean;first-maximum;v1", "px", False, lambda distances: distances, 2),
    "rmse_px": MatchScore("rmse;euclid;first-maximum;v1", "px", False, lambda distances: distances, 2, "root mean square"),
}


def rows(found: Int64[np.ndarray, "n 2"], true: Int64[np.ndarray, "n 2"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Every score's row of every sample."""
    distances = distance_px(found, true)
    return {name: score.rows(distances) for name, score in SCORES.items()}


def refuse_wrong_rows(columns: Mapping[str, np.ndarray], tolerance: float) -> None:
    """Raise ContractError unless the scores in these columns follow from the offsets beside them."""
    offsets = np.stack([columns[name] for name in OFFSET_COLUMNS], axis=1).astype(np.float64)
    if not (np.abs(offsets) < 1 << 31).all() or (offsets != np.rint(offsets)).any() or (offsets < 0).any():
        raise ContractError("the offsets are no whole numbers of px from 0 on")
    whole = offsets.astype(np.int64)
    expected = rows(whole[:, 2:], whole[:, :2])
    for name, values in columns.items():
        if name in OFFSET_COLUMNS:
            continue
        if name not in expected:
            raise ContractError(f"{name} is no score of matching; there are {', '.join(SCORES)}")
        if not np.allclose(values, expected[name], rtol=tolerance, atol=tolerance):
            raise ContractError(f"the rows of {name} are others than the offsets beside them give")
