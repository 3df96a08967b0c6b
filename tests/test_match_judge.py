"""Matching as a judge: a translation is found where its source is not, and the numbers follow from the offsets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image, write_image
from sarbench.bench.judges._artefacts import SpectralNoise, checkerboard
from sarbench.bench.match_judge import judge_folder
from sarbench.bench.matched import SIDES

N = 6


def texture(seed: int, side: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (side // 4, side // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def write(root: Path, side: int = 64, blend: float = 1.0) -> dict[str, Path]:
    """Sources that show other ground than their targets; translations that show the target at a share of `blend`."""
    for i in range(N):
        target, source = texture(i, side), texture(100 + i, side)
        mixed = np.rint(blend * target + (1 - blend) * source).astype(np.uint8)
        for name, image in (("target", target), ("source", source[:, :, :1]), ("translated", mixed)):
            write_image(root / name / f"{i}.png", np.ascontiguousarray(image))
    return {name: root / name for name in SIDES}


def test_a_perfect_translation_is_found_everywhere_and_is_the_ceiling(tmp_path: Path) -> None:
    judged = judge_folder(**write(tmp_path))
    assert judged.search_px == 64
    assert (judged.found["translated"] == judged.true).all()
    assert (judged.found["target"] == judged.true).all()
    scores = judged.recorded.scores
    assert scores["translated"] == scores["target"] == {"cmr_1": 100, "cmr_2": 100, "cmr_5": 100, "distance": 0, "rmse_px": 0}
    assert scores["source"]["cmr_2"] < 100


def test_a_copy_of_the_source_gains_nothing(tmp_path: Path) -> None:
    folders = write(tmp_path)
    for file in folders["source"].iterdir():
        write_image(folders["translated"] / file.name, read_image(file).repeat(3, axis=2))
    judged = judge_folder(**folders)
    assert (judged.found["translated"] == judged.found["source"]).all()
    assert judged.recorded.scores["translated"] == judged.recorded.scores["source"]


def test_a_translation_that_shows_some_of_the_target_is_found_better_than_its_source(tmp_path: Path) -> None:
    scores = judge_folder(**write(tmp_path, blend=0.7)).recorded.scores
    assert all(scores["translated"][name] > scores["source"][name] for name in ("cmr_1", "cmr_2", "cmr_5"))
    assert all(scores["translated"][name] < scores["source"][name] for name in ("distance", "rmse_px"))


@pytest.mark.parametrize("plant", ["checkerboard", "noise"])
def test_planted_artefacts_do_not_help_a_source_to_be_found(tmp_path: Path, plant: str) -> None:
    folders = write(tmp_path)
    targets = [read_image(file) for file in sorted(folders["target"].iterdir())]
    planted = {"checkerboard": checkerboard, "noise": SpectralNoise.of(targets)}[plant]
    for file in folders["source"].iterdir():
        write_image(folders["translated"] / file.name, planted(read_image(file), file.stem).repeat(3, axis=2))
    scores = judge_folder(**folders).recorded.scores
    assert scores["translated"]["cmr_2"] <= scores["source"]["cmr_2"]


def test_templates_lie_where_the_name_of_an_image_says(tmp_path: Path) -> None:
    whole = judge_folder(**write(tmp_path))
    for folder in write(tmp_path / "few").values():
        (folder / "0.png").unlink()
    few = judge_folder(**{side: tmp_path / "few" / side for side in SIDES})
    assert few.ids == whole.ids[1:]
    assert (few.true == whole.true[1:]).all()
    assert len({tuple(place) for place in whole.true.tolist()}) > 1


def test_images_without_a_partner_of_their_size_are_refused(tmp_path: Path) -> None:
    folders = write(tmp_path)
    write_image(folders["source"] / "3.png", texture(3, 32)[:, :, :1].copy())
    with pytest.raises(ContractError, match=r"3\.png"):
        judge_folder(**folders)
    (folders["source"] / "3.png").unlink()
    with pytest.raises(ContractError, match=r"1 missing in .*source: 3"):
        judge_folder(**folders)


def test_images_too_small_to_cut_a_template_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="of 16 px at least, the smallest side has 8"):
        judge_folder(**write(tmp_path, side=8))
