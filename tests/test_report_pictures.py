"""The pictures of a report: those that were scored, no others, compressed as little as fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.images import write_image
from sarbench.bench.report.pictures import RUNGS, album, brightened, compressed, error_top

Make = Callable[..., Any]
RNG = np.random.default_rng(0)


def noise(side_px: int, bands: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (side_px, side_px, bands), np.uint8)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def scored(make_run: Make, tmp_path: Path) -> tuple[Any, Any]:
    """A record and rows whose PSNR is that of the pictures below tmp_path."""
    run = make_run()
    rows = run.rows.copy()
    for i, sample_id in enumerate(rows["id"]):
        target, image = noise(16), noise(16)
        write_image(tmp_path / "reference" / "target" / f"{sample_id}.png", target)
        write_image(tmp_path / run.record.label / "0" / "translated" / f"{sample_id}.png", image)
        error = np.mean((target.astype(float) - image) ** 2)
        rows.loc[i, "psnr"] = 10 * np.log10(255**2 / error)
    psnr = run.record.scores["psnr"].model_copy(update={"signature": "psnr;rgb-mse;range255;v1"})
    scores = {**run.record.scores, "psnr": psnr}
    return run.record.model_copy(update={"scores": scores, "rows_hash": "a" * 64}), rows


def test_the_pictures_that_were_scored_are_shown(scored: tuple[Any, Any], tmp_path: Path) -> None:
    record, rows = scored
    found = album(tmp_path, [record], {"a" * 64: rows}, rows["id"].tolist())
    assert found.missing == ()
    assert all(shot.translated[0] is not None and shot.errors[0] is not None for shot in found.shots)


def test_a_picture_that_is_not_the_one_that_was_scored_is_left_out_and_named(scored: tuple[Any, Any], tmp_path: Path) -> None:
    record, rows = scored
    sample_id = rows["id"].iloc[2]
    write_image(tmp_path / record.label / "0" / "translated" / f"{sample_id}.png", noise(16))
    found = album(tmp_path, [record], {"a" * 64: rows}, rows["id"].tolist())
    assert all(shot.translated == (None,) for shot in found.shots)
    assert f"{sample_id} has a PSNR of" in found.missing[0]
    assert "make this run again" in found.missing[0]


def test_an_id_that_leaves_the_folder_opens_nothing(scored: tuple[Any, Any], tmp_path: Path) -> None:
    record, rows = scored
    write_image(tmp_path / "secret.png", noise(16))
    escaping = rows.assign(id=["../../../secret", *rows["id"].iloc[1:]])
    found = album(tmp_path, [record], {"a" * 64: escaping}, escaping["id"].tolist())
    assert found.shots[0].translated == (None,)
    assert found.shots[0].target is None


def test_an_error_map_is_the_mean_difference_over_the_bands(scored: tuple[Any, Any], tmp_path: Path) -> None:
    record, rows = scored
    shot = album(tmp_path, [record], {"a" * 64: rows}, rows["id"].tolist()).shots[0]
    assert shot.target is not None
    assert shot.translated[0] is not None
    expected = np.abs(shot.target.astype(float) - shot.translated[0]).mean(axis=2)
    assert np.abs(shot.errors[0][:, :, 0] - expected).max() <= 0.5


def test_the_scale_of_the_errors_holds_99_percent_of_them_and_its_top_is_white() -> None:
    from sarbench.bench.report.pictures import Shot

    error = np.full((10, 10, 1), 40, np.uint8)
    error[0, 0] = 200
    assert error_top([Shot(None, None, (None,), (error,))]) == 48
    assert brightened(np.array([[[0], [24], [48], [200]]], np.uint8), 48).ravel().tolist() == [0, 128, 255, 255]


def test_pictures_that_fit_are_compressed_least_and_keep_their_size() -> None:
    (data,), rung = compressed([cv2.GaussianBlur(noise(64), (0, 0), 3)], 10_000)
    assert rung == RUNGS[0]
    assert decoded(data).shape == (64, 64, 3)


def test_all_pictures_go_down_together_until_they_fit() -> None:
    pictures = [noise(256), noise(100, 1), np.zeros((256, 128, 3), np.uint8)]
    done, rung = compressed(pictures, 22_000)
    assert sum(map(len, done)) <= 22_000
    assert rung != RUNGS[0]
    assert [max(decoded(data).shape) for data in done] == [min(rung.side_px, side) for side in (256, 100, 256)]


def test_pictures_that_never_fit_are_refused() -> None:
    with pytest.raises(ContractError, match="ask for fewer --samples"):
        compressed([noise(64)] * 3, 500)


def test_the_same_pictures_give_the_same_bytes() -> None:
    picture = noise(32)
    assert compressed([picture], 9_000) == compressed([picture], 9_000)
