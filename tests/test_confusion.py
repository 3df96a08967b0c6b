"""Confusion matrices: numbers worked by hand, and scikit-learn's and torchmetrics' on the same maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.judges._confusion import (
    CHANGE_CLASSES,
    Number,
    change_numbers,
    class_numbers,
    confusion,
    flip_shares,
    flips,
    square_metres_per_km2,
)

CLASSES = ("water", "soil", "forest")
# 2 samples. Change: 90 and 10 pixels; the second sample is found worse.
CHANGE = np.array([[[80, 2], [3, 15]], [[90, 5], [4, 1]]])


def maps(seed: int, classes: int = 5, side: int = 32, unlabelled: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Labels, some of them 255, and predictions that are right on about two thirds of the pixels."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=(side, side))
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.integers(classes, size=true.shape))
    return np.where(rng.random(true.shape) < unlabelled, 255, true), predicted


def value(number: Number) -> float:
    assert number.value is not None, number.reason
    return number.value


def test_rows_are_true_classes_and_columns_are_predicted_ones() -> None:
    found = confusion(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]), 2)
    assert found.tolist() == [[1, 1], [0, 1]]


def test_pixels_that_are_not_labelled_take_no_part() -> None:
    true, predicted = maps(0)
    assert confusion(true, predicted, 5).sum() == (true != 255).sum() < true.size


@pytest.mark.parametrize(
    ("true", "predicted", "words"),
    [
        ([[0, 3]], [[0, 1]], "labels 3 are no class"),
        ([[0, 1]], [[0, 7]], "predictions 7 are no class"),
        ([[0, -1]], [[0, 0]], "labels -1 are no class"),
        ([[0, 1]], [[0], [1]], "on the grid"),
    ],
)
def test_maps_that_do_not_fit_are_refused(true: list, predicted: list, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        confusion(np.array(true), np.array(predicted), 3)


def test_pooled_f1_is_that_of_the_summed_matrices_worked_by_hand() -> None:
    numbers = change_numbers(CHANGE)
    tp, fp, fn, tn = 16, 7, 7, 170
    assert value(numbers["precision[change,pooled]"]) == pytest.approx(tp / (tp + fp))
    assert value(numbers["recall[change,pooled]"]) == pytest.approx(tp / (tp + fn))
    assert value(numbers["f1[change,pooled]"]) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert value(numbers["accuracy[pooled]"]) == pytest.approx((tp + tn) / 200)
    assert value(numbers["mean_iou[pooled]"]) == pytest.approx((tp / (tp + fp + fn) + tn / (tn + fp + fn)) / 2)


def test_macro_f1_is_the_mean_of_the_samples_own_and_another_number() -> None:
    numbers = change_numbers(CHANGE)
    first, second = 2 * 15 / (2 * 15 + 2 + 3), 2 * 1 / (2 * 1 + 5 + 4)
    assert value(numbers["f1[change,macro over samples]"]) == pytest.approx((first + second) / 2)
    assert abs(value(numbers["f1[change,macro over samples]"]) - value(numbers["f1[change,pooled]"])) > 0.1


def test_published_f1_follows_from_published_precision_and_recall() -> None:
    # SRUIT, table 2, the row of SRUIT: P .926, R .833, F1 .877
    matrix = np.array([[[100_000, 667], [1_670, 8_330]]])
    numbers = change_numbers(matrix)
    assert value(numbers["precision[change,pooled]"]) == pytest.approx(0.926, abs=5e-4)
    assert value(numbers["f1[change,pooled]"]) == pytest.approx(0.877, abs=5e-4)


def test_a_sample_without_change_leaves_the_macro_mean_undefined_and_says_so() -> None:
    numbers = change_numbers(np.concatenate([CHANGE, [[[100, 0], [0, 0]]]]))
    undefined = numbers["f1[change,macro over samples]"]
    assert undefined.value is None
    assert undefined.reason == "undefined on 1 of 3 samples: no pixel is of this class or called it"
    assert numbers["f1[change,pooled]"].value is not None


def test_a_judge_that_calls_nothing_change_has_no_precision_and_an_f1_of_0() -> None:
    numbers = change_numbers(np.array([[[90, 0], [10, 0]]]))
    assert numbers["precision[change,pooled]"] == Number(None, "no pixel is called this class")
    assert (value(numbers["recall[change,pooled]"]), value(numbers["f1[change,pooled]"])) == (0.0, 0.0)


def test_no_labelled_pixel_is_a_reason_and_no_division_by_zero() -> None:
    numbers = class_numbers(np.zeros((2, 3, 3), np.int64), CLASSES)
    assert all(number.value is None and number.reason for number in numbers.values())


def test_an_absent_class_is_no_part_of_the_means_unless_it_is_predicted() -> None:
    numbers = class_numbers(np.array([[[8, 2, 0], [0, 10, 0], [0, 0, 0]]]), CLASSES)
    assert value(numbers["class_accuracy[pooled]"]) == pytest.approx((0.8 + 1.0) / 2)
    assert value(numbers["mean_iou[pooled]"]) == pytest.approx((8 / 10 + 10 / 12) / 2)
    predicted = class_numbers(np.array([[[8, 1, 1], [0, 10, 0], [0, 0, 0]]]), CLASSES)
    assert value(predicted["mean_iou[pooled]"]) == pytest.approx((8 / 10 + 10 / 11 + 0) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    true, predicted = maps(seed)
    known = true != 255
    t, p = true[known], predicted[known]
    matrix = confusion(true, predicted, 5)
    assert np.array_equal(matrix, metrics.confusion_matrix(t, p))
    names = tuple("abcde")
    numbers = class_numbers(matrix[None], names)
    assert value(numbers["accuracy[pooled]"]) == pytest.approx(metrics.accuracy_score(t, p), abs=1e-12)
    assert value(numbers["class_accuracy[pooled]"]) == pytest.approx(metrics.balanced_accuracy_score(t, p), abs=1e-12)
    assert value(numbers["mean_iou[pooled]"]) == pytest.approx(metrics.jaccard_score(t, p, average="macro"), abs=1e-12)
    own = [value(numbers[f"iou[{name},pooled]"]) for name in names]
    assert own == pytest.approx(metrics.jaccard_score(t, p, average=None), abs=1e-12)
    # Change: two classes.
    t, p = (t == 1).astype(int), (p == 1).astype(int)
    change = change_numbers(metrics.confusion_matrix(t, p)[None])
    theirs: dict[str, Callable[..., float]] = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
        "iou": metrics.jaccard_score,
    }
    for name, score in theirs.items():
        assert value(change[f"{name}[change,pooled]"]) == pytest.approx(score(t, p), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_torchmetrics(seed: int) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    true, predicted = maps(seed)
    t, p = torch.from_numpy(true), torch.from_numpy(predicted)
    numbers = class_numbers(confusion(true, predicted, 5)[None], tuple("abcde"))
    given = {"num_classes": 5, "ignore_index": 255}
    macro = float(metrics.multiclass_jaccard_index(p, t, average="macro", **given))
    micro = float(metrics.multiclass_accuracy(p, t, average="micro", **given))
    by_class = float(metrics.multiclass_accuracy(p, t, average="macro", **given))
    assert value(numbers["mean_iou[pooled]"]) == pytest.approx(macro, abs=1e-6)
    assert value(numbers["accuracy[pooled]"]) == pytest.approx(micro, abs=1e-6)
    assert value(numbers["class_accuracy[pooled]"]) == pytest.approx(by_class, abs=1e-6)
    assert np.array_equal(metrics.multiclass_confusion_matrix(p, t, **given).numpy(), confusion(true, predicted, 5))


def test_what_a_class_loses_is_omission_and_what_it_gains_is_hallucination() -> None:
    matrices = np.array([[[10, 0, 5], [1, 20, 0], [0, 2, 0]]])
    found = flips(matrices, CLASSES)
    assert (found["water"].pixels, found["water"].omitted, found["water"].hallucinated) == (15, 5, 1)
    assert found["water"].becomes == ("forest", 5)
    assert found["forest"].replaces == ("water", 5)
    assert sum(flip.omitted for flip in found.values()) == sum(flip.hallucinated for flip in found.values())


def test_the_flip_matrix_has_rows_that_sum_to_one_and_nan_for_a_class_without_pixels() -> None:
    shares = flip_shares(np.array([[[3, 1, 0], [0, 0, 0], [0, 0, 2]]]), CLASSES)
    assert shares[0].tolist() == [0.75, 0.25, 0.0]
    assert np.isnan(shares[1]).all()


def test_an_area_needs_a_known_ground_sample_distance() -> None:
    assert square_metres_per_km2(25, 1_000, 3.0).value == 25_000
    assert square_metres_per_km2(25, 1_000, None) == Number(None, "the ground sample distance is not known")


@pytest.mark.parametrize(
    "matrices", [np.zeros((2, 2)), np.zeros((1, 2, 3), int), np.full((1, 2, 2), -1), np.zeros((1, 2, 2), float)]
)
def test_what_is_no_matrix_of_counts_is_refused(matrices: np.ndarray) -> None:
    with pytest.raises(ContractError):
        change_numbers(matrices)


def test_a_number_without_a_value_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="has a reason"):
        Number(None)
    with pytest.raises(ValueError, match="is finite"):
        Number(float("nan"))
    assert CHANGE_CLASSES[1] == "change"
