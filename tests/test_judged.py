"""What judges said, as a record keeps it: made again from its matrices, bounded, and refused where it does not follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sarbench.bench.errors import ContractError
from sarbench.bench.judged import (
    MOST_POOLED,
    Judged,
    Subject,
    Verdicts,
    judged_images,
    read_matrices,
    refuse_other_numbers,
)

IDS = ("test/a", 'test/b, "quoted"')
CLASSES = ("no change", "change")
SUBJECT = Subject("fixed", "translated", "forward")
MATRICES = np.array([[[[90, 2], [3, 5]], [[100, 0], [0, 0]]], [[[91, 1], [4, 4]], [[99, 1], [0, 0]]]])  # seed, sample


def judged(**changes: Any) -> Judged:
    fields = {
        "signature": "change_detection;tiny;v1",
        "classes": CLASSES,
        "gsd_m": 3.0,
        "seeds": (0, 1),
        "images": (judged_images(SUBJECT, list(MATRICES), CLASSES),),
    }
    return Judged(**{**fields, **changes})  # type: ignore[arg-type]


def verdicts() -> Verdicts:
    return Verdicts({"change_detection": judged()}, IDS, {("change_detection", SUBJECT, s): MATRICES[s] for s in (0, 1)})


def test_the_file_of_matrices_gives_back_every_count() -> None:
    found = read_matrices(verdicts().to_csv(), {"change_detection": judged()}, IDS)
    for seed in (0, 1):
        assert np.array_equal(found["change_detection", SUBJECT, seed], MATRICES[seed])
    refuse_other_numbers({"change_detection": judged()}, found)


def test_samples_may_come_in_any_order() -> None:
    head, *lines = verdicts().to_csv().decode().splitlines()
    data = "\n".join([head, *reversed(lines)]).encode()
    found = read_matrices(data, {"change_detection": judged()}, IDS)
    assert np.array_equal(found["change_detection", SUBJECT, 1], MATRICES[1])


def test_an_undefined_number_is_null_for_its_seed_alone() -> None:
    numbers = judged().images[0].numbers
    assert numbers["f1[change,macro over samples]"][0] is None
    assert numbers["f1[change,macro over samples]"][1] is not None
    assert numbers["f1[change,pooled]"][0] == pytest.approx(10 / 15)


def test_the_pooled_matrix_is_the_sum_over_samples_and_seeds() -> None:
    assert judged().images[0].pooled == tuple(map(tuple, MATRICES.sum(axis=(0, 1)).tolist()))
    many = np.ones((1, 1, MOST_POOLED + 1, MOST_POOLED + 1), np.int64)
    assert judged_images(SUBJECT, list(many), tuple(map(str, range(MOST_POOLED + 1)))).pooled == ()


@pytest.mark.parametrize("number", ["f1[change,pooled]", "accuracy[macro over samples]"])
def test_a_number_that_does_not_follow_from_the_matrices_is_refused(number: str) -> None:
    images = judged().images[0]
    wrong = images.model_copy(update={"numbers": {**images.numbers, number: (0.5, 0.5)}})
    known = {"change_detection": judged(images=(wrong,))}
    with pytest.raises(ContractError, match=r"is recorded as 0\.5, but its matrices give"):
        refuse_other_numbers(known, read_matrices(verdicts().to_csv(), known, IDS))


def test_a_number_too_many_or_too_few_and_another_pooled_matrix_are_refused() -> None:
    images = judged().images[0]
    fewer = {name: values for name, values in images.numbers.items() if name != "accuracy[pooled]"}
    for changes, words in (
        ({"numbers": {**images.numbers, "beauty": (1.0, 1.0)}}, "others than those of its task"),
        ({"numbers": fewer}, "others than those of its task"),
        ({"pooled": ((0, 0), (0, 0))}, "another than that of its samples"),
    ):
        known = {"change_detection": judged(images=(images.model_copy(update=changes),))}
        with pytest.raises(ContractError, match=words):
            refuse_other_numbers(known, read_matrices(verdicts().to_csv(), known, IDS))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0>0:90", "0>0:-1", "no count"),
        ("0>0:90", "2>0:90", "out of bounds"),
        ("0>0:90", "0>0:0", "out of bounds"),
        ("0>0:90", "0>0:90 0>0:90", "there twice"),
        ("0>0:90", "0>0:9999999999999", "out of bounds"),
        ("0>0:90", "0>0:1e3", "no count"),
        ("test/a", "test/c", "not recorded, or one twice"),
        ("fixed", "own", "not recorded, or one twice"),
        ("judge,net", "net,judge", "needs the columns"),
        ("forward,0", "forward,zero", "can't be read"),
        ("forward,0,", "forward,", "can't be read"),
    ],
)
def test_a_file_of_matrices_that_was_tampered_with_is_refused(old: str, new: str, words: str) -> None:
    data = verdicts().to_csv().decode().replace(old, new, 1).encode()
    with pytest.raises(ContractError, match=words):
        read_matrices(data, {"change_detection": judged()}, IDS)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b'judge,net\n"', b"\x00" * 40])
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        read_matrices(data, {"change_detection": judged()}, IDS)


def test_a_line_that_is_missing_or_there_twice_is_refused() -> None:
    lines = verdicts().to_csv().decode().splitlines(keepends=True)
    for data, words in (("".join(lines[:-1]), "holds 3 of 4"), ("".join([*lines, lines[-1]]), "one twice")):
        with pytest.raises(ContractError, match=words):
            read_matrices(data.encode(), {"change_detection": judged()}, IDS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": ()}, "or there is a reason why not"),
        ({"reason": "no weights"}, "or there is a reason why not"),
        ({"seeds": (0, 0)}, "named twice"),
        ({"classes": ("change", "change")}, "named twice"),
        ({"seeds": (0,)}, "for each judge seed"),
        ({"classes": ("change",)}, "needs two classes"),
        ({"images": judged().images * 2}, "judged twice"),
        ({"gsd_m": 0.0}, "greater than 0"),
        ({"signature": ""}, "at least 1 character"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_judgement_that_breaks_the_schema_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        judged(**changes)


def test_a_number_lies_between_0_and_1() -> None:
    images = judged().images[0].model_dump()
    images["numbers"]["f1[change,pooled]"] = (1.5, 0.5)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        judged(images=(images,))


def test_a_judge_that_could_not_be_asked_says_why_and_leaves_no_matrices() -> None:
    silent = Judged(signature="s", reason="not measured: no vgg16 weights here")
    assert Verdicts({"segmentation": silent}).to_csv().decode().count("\n") == 1
    assert read_matrices(Verdicts({}).to_csv(), {"segmentation": silent}, IDS) == {}
