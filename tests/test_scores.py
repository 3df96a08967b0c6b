import json
import math

import numpy as np
import pytest

from sarbench.bench.scores import Scores, count_shifts
from sarbench.bench.summary import Summary

IDS = ("a", "b", "c")


def scores(**given):
    return Scores(IDS, {}, {}, {}, {}, **given)


def tallies(*images):
    """Of each image: (class, squared error, similarity, pixels) of some of three classes."""
    made = np.zeros((len(images), 2, 2, 3))
    for tally, parts in zip(made, images, strict=True):
        for index, error, similarity, pixels in parts:
            tally[0, :, index] = error * pixels, pixels
            tally[1, :, index] = similarity * pixels, pixels
    return made


def test_a_mean_is_the_mean_of_the_rows():
    scores = Scores(("a", "b", "c"), {"psnr": np.array([20.0, 22, 27])}, {}, {"psnr": "s"}, {})
    summary = scores.summary()["psnr"]
    assert (summary.value, summary.n, scores.reasons()) == (23, 3, {})
    assert summary.std == pytest.approx(math.sqrt(13))


def test_undefined_and_infinite_samples_are_never_averaged_away():
    columns = {"psnr": np.array([20.0, math.inf, math.inf]), "total_variation": np.array([1.0, math.nan, 3])}
    scores = Scores(("a", "b", "c"), columns, {}, dict.fromkeys(columns, "s"), {})
    assert scores.summary()["psnr"] == Summary(None, None, 3, 0, 2)
    assert scores.summary()["total_variation"] == Summary(None, None, 3, 1, 0)
    assert scores.reasons() == {
        "psnr": "infinite: 2 of 3 pairs are identical",
        "total_variation": "undefined: 1 of 3 samples (the image is a single pixel)",
    }


def test_rows_go_to_a_frame_and_to_json_without_loss():
    columns = {"psnr": np.array([20.5, math.inf, math.nan])}
    scores = Scores(("a", "b", "c"), columns, {}, {"psnr": "s"}, {})
    frame = scores.to_frame()
    assert list(frame.columns) == ["id", "psnr"]
    np.testing.assert_array_equal(frame["psnr"], columns["psnr"])
    text = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert text["ids"] == ["a", "b", "c"]
    assert text["rows"]["psnr"] == [20.5, "inf", None]
    assert text["metrics"]["psnr"]["signature"] == "s"
    assert text["metrics"]["psnr"]["infinite"] == 1


def test_a_class_is_pooled_over_all_pixels_and_never_a_mean_of_images():
    found = scores(tallies=tallies([(0, 0.01, 0.5, 1)], [(0, 0.0001, 0.9, 99)], []), classes=("sea", "land", "ice")).by_class()
    assert list(found) == ["sea"]
    assert found["sea"].pixels == 100
    assert found["sea"].psnr == pytest.approx(-10 * math.log10((0.01 + 99 * 0.0001) / 100))
    assert found["sea"].ssim == pytest.approx((0.5 + 99 * 0.9) / 100)


def test_classes_without_a_name_are_called_by_their_number():
    assert list(scores(tallies=tallies([(2, 0.1, 0.5, 3)], [(0, 0.1, 0.5, 3)], [])).by_class()) == ["0", "2"]


def test_without_labels_there_are_no_scores_by_class():
    assert scores().by_class() == {}
    assert "by_class" not in scores().to_json()
    assert "class" not in scores().table()


def test_an_exact_class_is_infinite_and_one_without_a_window_has_no_similarity():
    made = tallies([(0, 0.0, 1.0, 4), (1, 0.1, 0.0, 5)], [], [])
    made[:, 1, 1, 1] = 0
    found = scores(tallies=made)
    assert found.to_json()["by_class"]["0"] == {"pixels": 4, "psnr": "inf", "ssim": 1}
    assert found.to_json()["by_class"]["1"]["ssim"] is None
    json.dumps(found.to_json(), allow_nan=False)
    lines = [line.split() for line in found.table().splitlines()]
    assert ["1", "55.6%", "10.00", "-"] in lines
    assert ["0", "44.4%", "inf", "1.0000"] in lines


def test_labels_without_a_labelled_pixel_say_so():
    assert "no pixel is labelled" in scores(tallies=tallies([], [], [])).table()


def test_shifts_are_counted_by_dy_and_dx():
    moves = [[0, 0], [-1, 2], [0, 0]]
    assert count_shifts(moves) == {"-1,2": 1, "0,0": 2}
    found = scores(shifts=np.array(moves))
    assert found.shift_counts() == found.to_json()["shifts"] == {"-1,2": 1, "0,0": 2}
    assert found.to_frame()[["shift_y", "shift_x"]].to_numpy().tolist() == moves
    assert scores().shift_counts() == {}


def test_what_is_kept_comes_back_to_the_last_digit():
    rng = np.random.default_rng(0)
    columns = {"psnr": np.array([1 / 3, math.inf, math.nan])}
    first = Scores(
        IDS, columns, {"fid": 0.1 + 0.2}, {"psnr": "s"}, {"lpips": "x"}, rng.random((3, 2, 2, 4)), ("a",), np.eye(3, 2)
    )
    again = Scores.from_kept(json.loads(json.dumps(first.to_kept(), allow_nan=False)))
    np.testing.assert_array_equal(again.columns["psnr"], columns["psnr"])
    np.testing.assert_array_equal(again.tallies, first.tallies)
    np.testing.assert_array_equal(again.shifts, first.shifts)
    assert (again.ids, again.sets, again.classes, again.unmeasured) == (IDS, first.sets, ("a",), first.unmeasured)
    assert Scores.from_kept(scores().to_kept()) == scores()
