"""Running a matcher: held to its contract, the same whatever the batch, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sarbench.bench import match as subject
from sarbench.bench.errors import ContractError
from sarbench.bench.match import best_places, cut_template, match, match_split, template_and_search, true_offset
from sarbench.bench.match_picture import FOUND, TRUE, framed, places_shown
from sarbench.bench.train import Hardware
from sarbench.methods.ncc import NCC

CPU = Hardware()
IDS = [f"test/{i}" for i in range(6)]
SIDE = 32


def ncc() -> NCC:
    return NCC(NCC.presets["tiny"], 1, 1)


class Random:
    """Images by id, source and target alike."""

    def parts(self, sample_id: str, names: Any) -> dict[str, np.ndarray]:
        image = np.random.default_rng(int(sample_id[-1])).uniform(-1, 1, (1, SIDE + 4, SIDE)).astype(np.float32)
        return dict.fromkeys(names, image)


def run(folder: Path, ids: list[str] = IDS, run_key: str = "k") -> subject.Found:
    return match_split(ncc(), Random(), ids, folder, run_key=run_key, search_px=SIDE, hardware=CPU, quiet=True)  # type: ignore[arg-type]


def test_the_largest_element_is_the_answer_and_of_equal_ones_the_first() -> None:
    surface = torch.zeros(3, 4, 5)
    surface[1, 2, 3] = 1
    surface[2, 3, 1] = surface[2, 1, 4] = 7
    assert best_places(surface).tolist() == [[0, 0], [2, 3], [1, 4]]


def test_every_template_of_equal_images_is_found(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert list(found.offsets) == IDS
    assert found.offsets == {sample_id: true_offset(sample_id, SIDE) for sample_id in IDS}
    assert found.images == len(IDS)


def test_a_template_is_cut_from_the_centre_crop_at_the_offset_of_its_name() -> None:
    template, search = template_and_search(Random(), IDS[1], SIDE)  # type: ignore[arg-type]
    whole = Random().parts(IDS[1], ("target",))["target"]
    assert np.array_equal(search, whole[:, 2 : SIDE + 2])
    assert np.array_equal(template, cut_template(search, true_offset(IDS[1], SIDE)))
    assert template.shape == (1, 24, 24)


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path, IDS[:5])
    seen: list[str] = []
    monkeypatch.setattr(
        subject, "template_and_search", lambda images, i, px: (seen.append(i), template_and_search(images, i, px))[1]
    )
    second = run(tmp_path)
    assert set(seen) == {IDS[5]}
    assert second.images == 1
    assert {i: second.offsets[i] for i in IDS[:5]} == first.offsets
    assert run(tmp_path).images == 0


def test_what_another_run_has_found_is_looked_for_again(tmp_path: Path) -> None:
    run(tmp_path)
    file = tmp_path / "rank0.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "found": {key: [0, 0] for key in kept["found"]}}))
    assert set(run(tmp_path).offsets.values()) == {(0, 0)}
    assert run(tmp_path, run_key="other").images == len(IDS)


BAD = {
    "a surface of another size": (lambda s: s[:, 1:], "expected a tensor of the shape"),
    "a NaN": (lambda s: s * float("nan"), "NaN or infinite"),
    "no tensor": (lambda s: [s], "match gave list"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_surface_that_breaks_the_contract_is_refused(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, message = BAD[fault]
    honest = NCC.match
    monkeypatch.setattr(NCC, "match", lambda self, template, search: spoil(honest(self, template, search)))
    with pytest.raises(ContractError, match=message):
        match(ncc(), torch.rand(1, 1, 24, 24), torch.rand(1, 1, 32, 32), CPU)


def test_a_picture_shows_the_true_place_in_white_and_the_found_one_in_red() -> None:
    search = np.zeros((3, 64, 64), np.float32)
    shown = places_shown(search, (0, 0), (16, 16))
    assert tuple(shown[0, 20]) == TRUE
    assert tuple(shown[16, 30]) == tuple(shown[63, 63]) == FOUND
    assert (places_shown(search, (3, 5), (3, 5)) == TRUE).all(2).sum() == 0
    assert framed(np.zeros((1, 48, 48), np.float32), 64).shape == (64, 64, 3)
