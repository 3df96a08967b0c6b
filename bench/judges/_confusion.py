"""Confusion matrices, and every number derived from them. Numpy only.

A judge leaves one matrix a sample, row = true class, column = predicted class, in pixels; nothing else is kept. A number's name
says what it is of and how it was averaged: `f1[change,pooled]` is computed once from the summed matrices of all samples,
`f1[change,macro over samples]` is the mean of the samples' own F1s. The two can differ widely, and tables that do not say
which they hold can't be compared. Pixels that are not labelled (255) take no part.

A number that is undefined says why, and is never averaged away: where a sample has none, the mean over samples has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Integer

from sarbench.bench.errors import ContractError

UNLABELLED = 255
MOST_CLASSES = 255  # what 8-bit labels can tell apart, besides "not labelled"
CHANGE_CLASSES = ("no change", "change")

Matrix = Int64[np.ndarray, "classes classes"]
Matrices = Int64[np.ndarray, "samples classes classes"]


@dataclass(frozen=True)
class Number:
    """A score, or the reason why there is none."""

    value: float | None
    reason: str = ""  # empty exactly where there is a value

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason) or not math.isfinite(self.value or 0.0):
            raise ValueError(f"a number is finite, or has a reason; got {self.value} and {self.reason!r}")


def _ratio(part: float, whole: float, reason: str) -> Number:
    return Number(part / whole) if whole else Number(None, reason)


# --- From maps to matrices -------------------------------------------------------------------------------------------


def confusion(true: Integer[np.ndarray, "H W"], predicted: Integer[np.ndarray, "H W"], classes: int) -> Matrix:
    """The pixels of one sample by true class (row) and predicted class (column); those labelled 255 are left out.

    ContractError for maps of two sizes, and for a label or a prediction that is no class.
    """
    if true.shape != predicted.shape:
        raise ContractError(f"a judge needs labels on the grid of the image, got {true.shape} and {predicted.shape}")
    known = true != UNLABELLED
    rows, columns = true[known].astype(np.int64), predicted[known].astype(np.int64)
    for values, what in ((rows, "labels"), (columns, "predictions")):
        wrong = np.unique(values[(values < 0) | (values >= classes)])
        if wrong.size:
            shown = ", ".join(map(str, wrong[:5]))
            raise ContractError(f"{what} {shown} are no class: there are {classes}, and 255 for what is not labelled")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def checked(matrices: Integer[np.ndarray, "samples classes classes"], classes: Sequence[str]) -> Matrices:
    """Matrices as int64; ContractError where they are no counts of these classes."""
    found = np.asarray(matrices)
    if found.ndim != 3 or found.shape[1:] != (len(classes),) * 2 or found.dtype.kind not in "iu" or not len(classes):
        raise ContractError(f"{len(classes)} classes need matrices of (samples, {len(classes)}, {len(classes)}) counts")
    if (found < 0).any():
        raise ContractError("a confusion matrix holds a negative count")
    if len(set(classes)) != len(classes):
        raise ContractError("two classes have one name")
    return found.astype(np.int64)


# --- Numbers of one matrix -------------------------------------------------------------------------------------------


def accuracy(matrix: Matrix) -> Number:
    """The share of labelled pixels that are given their class; also called pixel accuracy."""
    return _ratio(float(np.trace(matrix)), float(matrix.sum()), "no pixel is labelled")


def recall(matrix: Matrix, k: int) -> Number:
    """Of the pixels of class k, the share that is found."""
    return _ratio(float(matrix[k, k]), float(matrix[k].sum()), "no pixel is of this class")


def precision(matrix: Matrix, k: int) -> Number:
    """Of the pixels called class k, the share that is."""
    return _ratio(float(matrix[k, k]), float(matrix[:, k].sum()), "no pixel is called this class")


def f1(matrix: Matrix, k: int) -> Number:
    """2 TP / (2 TP + FP + FN): the harmonic mean of precision and recall where both exist, 0 where nothing is found."""
    whole = float(matrix[k].sum() + matrix[:, k].sum())
    return _ratio(2.0 * float(matrix[k, k]), whole, "no pixel is of this class or called it")


def iou(matrix: Matrix, k: int) -> Number:
    """TP / (TP + FP + FN)."""
    whole = float(matrix[k].sum() + matrix[:, k].sum() - matrix[k, k])
    return _ratio(float(matrix[k, k]), whole, "no pixel is of this class or called it")


def class_accuracy(matrix: Matrix) -> Number:
    """The mean recall over the classes that have a pixel; a class without one is no part of the task."""
    found = [number.value for k in range(len(matrix)) if (number := recall(matrix, k)).value is not None]
    return Number(math.fsum(found) / len(found)) if found else Number(None, "no pixel is labelled")


def mean_iou(matrix: Matrix) -> Number:
    """The mean IoU over the classes that have a pixel or are predicted, as in pix2pix's code, scikit-learn and torchmetrics."""
    found = [number.value for k in range(len(matrix)) if (number := iou(matrix, k)).value is not None]
    return Number(math.fsum(found) / len(found)) if found else Number(None, "no pixel is labelled")


# --- Numbers of all samples ------------------------------------------------------------------------------------------


def over_samples(numbers: Sequence[Number]) -> Number:
    """The mean of the samples' own numbers; undefined as soon as one is, with how many are and why."""
    undefined = [number.reason for number in numbers if number.value is None]
    if undefined:
        reasons = "; ".join(sorted(set(undefined)))
        return Number(None, f"undefined on {len(undefined)} of {len(numbers)} samples: {reasons}")
    if not numbers:
        return Number(None, "there are no samples")
    return Number(math.fsum(number.value or 0.0 for number in numbers) / len(numbers))


def change_numbers(matrices: Matrices) -> dict[str, Number]:
    """Everything that is said of change maps (0: no change, 1: change), by a name that says the averaging."""
    matrices = checked(matrices, CHANGE_CLASSES)
    whole = matrices.sum(axis=0)
    return {
        "accuracy[pooled]": accuracy(whole),
        "mean_iou[pooled]": mean_iou(whole),
        "precision[change,pooled]": precision(whole, 1),
        "recall[change,pooled]": recall(whole, 1),
        "f1[change,pooled]": f1(whole, 1),
        "iou[change,pooled]": iou(whole, 1),
        "iou[no change,pooled]": iou(whole, 0),
        "f1[change,macro over samples]": over_samples([f1(matrix, 1) for matrix in matrices]),
        "accuracy[macro over samples]": over_samples([accuracy(matrix) for matrix in matrices]),
    }


def class_numbers(matrices: Matrices, classes: Sequence[str]) -> dict[str, Number]:
    """Everything that is said of class maps, by a name that says the averaging."""
    matrices = checked(matrices, classes)
    whole = matrices.sum(axis=0)
    return {
        "accuracy[pooled]": accuracy(whole),
        "class_accuracy[pooled]": class_accuracy(whole),
        "mean_iou[pooled]": mean_iou(whole),
        "mean_iou[macro over samples]": over_samples([mean_iou(matrix) for matrix in matrices]),
        **{f"iou[{name},pooled]": iou(whole, k) for k, name in enumerate(classes)},
    }


# --- Flips: which class became which ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flips:
    """What a class lost and gained, pooled over all samples."""

    pixels: int  # of the class
    omitted: int  # of these, seen as another class
    hallucinated: int  # of other classes, seen as this one
    becomes: tuple[str, int]  # the class that most of the omitted turned into, and how many
    replaces: tuple[str, int]  # the class that most of the hallucinated came from, and how many


def square_metres_per_km2(pixels: int, labelled: int, gsd_m: float | None) -> Number:
    """An area of `pixels`, in m2 for each km2 of `labelled` pixels of ground.

    The size of a pixel cancels out; without a known ground sample distance there is no ground to speak of.
    """
    if gsd_m is None:
        return Number(None, "the ground sample distance is not known")
    return _ratio(1e6 * pixels, float(labelled), "no pixel is labelled")


def flips(matrices: Matrices, classes: Sequence[str]) -> dict[str, Flips]:
    """What each class lost (omission) and gained (hallucination), by name; classes that neither exist nor are seen left out."""
    whole = checked(matrices, classes).sum(axis=0)
    wrong = whole - np.diag(np.diag(whole))
    found = {}
    for k, name in enumerate(classes):
        if whole[k].sum() or whole[:, k].sum():
            to, came = int(wrong[k].argmax()), int(wrong[:, k].argmax())
            found[name] = Flips(
                int(whole[k].sum()),
                int(wrong[k].sum()),
                int(wrong[:, k].sum()),
                (classes[to], int(wrong[k, to])),
                (classes[came], int(wrong[came, k])),
            )
    return found


def flip_shares(matrices: Matrices, classes: Sequence[str]) -> Float[np.ndarray, "classes classes"]:
    """The class-flip matrix: of the pixels of a true class (row), the share seen as each class; NaN in a row without any."""
    whole = checked(matrices, classes).sum(axis=0).astype(np.float64)
    sums = whole.sum(axis=1, keepdims=True)
    return np.divide(whole, sums, out=np.full_like(whole, np.nan), where=sums > 0)
