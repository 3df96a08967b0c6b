"""A track's data: verified whole, identified by content, and given out by step."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Card, Method
from sarbench.bench.loader import Steps, all_pairs, step_batches
from sarbench.bench.material import Images, centre_crop, load
from sarbench.bench.protocols import DIHEDRAL, FLIP
from sarbench.bench.tracks import Track, track


class Any3(Method):
    card = Card(title="any", paper="this test", year=2026, supervision="paired", channels="any", role="floor")

    def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return source


def method(**card: Any) -> Method:
    cls = type("Made", (Any3,), {"card": replace(Any3.card, **card)})
    return cls(None, 3, 3)


def write_pairs(root: Path, n_train: int = 12, n_test: int = 4, size: tuple[int, int] = (24, 20)) -> Path:
    """Pairs whose target is the source plus 40, and whose pixel (0, 0) tells the pair's number."""
    for split, n, first in (("train", n_train, 0), ("test", n_test, 100)):
        for i in range(n):
            pixels = np.random.default_rng(first + i).integers(0, 200, (*size, 3), dtype=np.uint8)
            for domain, image in (("source", pixels), ("target", pixels + 40)):
                file = root / split / domain / f"scene{i // 2 + first}_{i:02d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), image)
    return root


def pairs_track(root: Path, **options: str) -> Track:
    return track("pairs", "tiny", data=root, options={"scene": r"(scene\d+)_", **options})


def steps(root: Path, made: Method | None = None, **changes: Any) -> Steps:
    options: dict[str, Any] = {"batch_size": 4, "crop_px": 16, "augment": FLIP, "n_paired": 3, "seed": 0}
    return Steps(load(pairs_track(root), root / "cache"), made or method(), **{**options, **changes})


def test_the_content_hash_is_that_of_the_pixels_not_of_the_files(tmp_path: Path) -> None:
    first = load(pairs_track(write_pairs(tmp_path / "a")), tmp_path / "cache").identity
    again = load(pairs_track(write_pairs(tmp_path / "b")), tmp_path / "cache").identity
    for file in (tmp_path / "b").rglob("*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    repacked = load(pairs_track(tmp_path / "b"), tmp_path / "cache2").identity
    assert first.content_hash == again.content_hash == repacked.content_hash

    file = next((tmp_path / "b/train/target").iterdir())
    pixels = cv2.imread(str(file))
    pixels[5, 5, 0] ^= 1
    cv2.imwrite(str(file), pixels)
    assert load(pairs_track(tmp_path / "b"), tmp_path / "cache").identity.content_hash != first.content_hash


def test_scenes_make_a_split_verified_and_their_absence_unverified(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    known = load(pairs_track(tmp_path), tmp_path / "cache").identity
    assert (known.verdict, known.scenes_train, known.scenes_test) == ("verified", 6, 2)
    unknown = load(track("pairs", "tiny", data=tmp_path), tmp_path / "cache").identity
    assert (unknown.verdict, unknown.scenes_train) == ("unverified", None)


def test_one_error_lists_every_bad_file(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    bad = sorted((tmp_path / "train/source").iterdir())[:3]
    bad[0].write_bytes(bad[0].read_bytes()[:200])
    bad[1].write_bytes(b"")
    cv2.imwrite(str(bad[2]), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ContractError, match="3 unusable images") as raised:
        load(pairs_track(tmp_path), tmp_path / "cache")
    assert all(file.stem in str(raised.value) for file in bad)


def test_a_second_load_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(pairs_track(write_pairs(tmp_path)), tmp_path / "cache")

    def refuse(self: Images, sample_id: str, parts: object = ()) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(type(first.dataset), "read", refuse)
    assert load(pairs_track(tmp_path), tmp_path / "cache").identity == first.identity


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    first = load(pairs_track(write_pairs(tmp_path)), tmp_path / "cache").identity
    file = next((tmp_path / "test/target").iterdir())
    cv2.imwrite(str(file), np.full((24, 20, 3), 7, np.uint8))
    assert load(pairs_track(tmp_path), tmp_path / "cache").identity != first


def test_a_batch_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    one, two, other = steps(tmp_path), steps(tmp_path), steps(tmp_path, seed=1)
    assert one[5].paired.source_ids == two[5].paired.source_ids
    assert torch.equal(one[5].paired.source, two[5].paired.source)
    assert not torch.equal(one[5].paired.source, other[5].paired.source)
    assert not torch.equal(one[5].paired.seeds, one[6].paired.seeds)


def test_every_pass_sees_every_pair_once_in_another_order(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path))
    passes = [[i for step in range(3 * e, 3 * e + 3) for i in made[step].paired.source_ids] for e in range(3)]
    assert all(sorted(seen) == sorted(passes[0]) and len(set(seen)) == 12 for seen in passes)
    assert passes[0] != passes[1] != passes[2]


def test_pairs_stay_registered_under_crop_and_flip(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path))
    corners = set()
    for step in range(12):
        paired = made[step].paired
        assert paired.source_ids == paired.target_ids
        torch.testing.assert_close(paired.target - paired.source, torch.full_like(paired.source, 80 / 255))
        corners |= {float(v) for v in paired.source[:, 0, 0, 0]}
    assert len(corners) > 20  # crops move


def test_unpaired_batches_break_the_pairing(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path), method(supervision="unpaired"))
    unpaired = [made[step].unpaired for step in range(30)]
    same = [s == t for pairs in unpaired for s, t in zip(pairs.source_ids, pairs.target_ids, strict=True)]
    assert np.mean(same) < 0.25  # 1/12 by chance
    assert {i for pairs in unpaired for i in pairs.source_ids} == {i for pairs in unpaired for i in pairs.target_ids}
    with pytest.raises(ContractError, match="no pairs"):
        _ = made[0].paired


def test_semi_supervision_shows_pairs_of_a_share_and_the_rest_unpaired(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path), method(supervision="semi"))
    batches = [made[step] for step in range(30)]
    paired = {i for batch in batches for i in batch.paired.source_ids}
    unpaired = {i for batch in batches for i in batch.unpaired.source_ids + batch.unpaired.target_ids}
    assert len(paired) == 3
    assert len(unpaired) == 9
    assert not paired & unpaired


def test_ranks_that_do_not_divide_the_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="a batch of 4 can't be shared by 3 ranks"):
        steps(write_pairs(tmp_path), ranks=3)


def test_a_method_of_one_size_sets_the_crop(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path), method(fixed_size=12), crop_px=16)
    assert made[0].paired.source.shape[2:] == (12, 12)


@pytest.mark.parametrize(
    ("changes", "card", "message"),
    [
        ({"crop_px": 32}, {}, "the training crop is 32x32 px, but 12 training images are smaller"),
        ({"crop_px": 18}, {"size_multiple": 4}, "multiples of 4 px; the track's crop is 18x18"),
        ({"crop_px": None}, {"size_multiple": 64}, "multiples of 64 px"),
    ],
)
def test_a_crop_that_can_not_be_is_refused(tmp_path: Path, changes: dict[str, Any], card: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        steps(write_pairs(tmp_path), method(**card), **changes)


def test_without_a_crop_images_are_cut_to_what_the_method_can_take(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path), method(size_multiple=8), crop_px=None)
    assert made[0].paired.source.shape == (4, 3, 24, 16)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_a_worker_finds_damaged_is_the_same_error_as_without_workers(workers: int) -> None:
    class Damaged:
        def __getitem__(self, step: int) -> None:
            raise ContractError("a.png can't be read; replace the file")

    with pytest.raises(ContractError, match=r"^a\.png can't be read; replace the file$"):
        next(step_batches(Damaged(), 0, 2, workers))  # type: ignore[arg-type]


def test_spawned_workers_give_the_same_batches(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path))
    copy = pickle.loads(pickle.dumps(made))
    assert not copy.images.kept
    assert torch.equal(copy[2].paired.source, made[2].paired.source)
    there = [batch.paired.source for batch in step_batches(made, 1, 4, workers=2)]
    assert all(torch.equal(a, made[i].paired.source) for i, a in enumerate(there, 1))


def test_beyond_its_limit_the_memory_reads_again(tmp_path: Path) -> None:
    material = load(pairs_track(write_pairs(tmp_path)), tmp_path / "cache")
    small = Images(material.dataset, limit_bytes=3 * 24 * 20 * 3)  # three images of 8 bits
    for sample_id in material.train:
        assert np.array_equal(small.source(sample_id), material.images.source(sample_id))
    assert len(small.kept) == 3


def test_fit_sees_every_pair_once_and_broken_pairs_keep_both_domains(tmp_path: Path) -> None:
    material = load(pairs_track(write_pairs(tmp_path)), tmp_path / "cache")
    seen = list(all_pairs(material, broken=False, crop_px=16))
    assert [i for pairs in seen for i in pairs.source_ids] == list(material.train)
    assert all(pairs.source_ids == pairs.target_ids and pairs.source.shape[2:] == (16, 16) for pairs in seen)
    broken = list(all_pairs(material, broken=True, crop_px=None))
    assert sorted(i for pairs in broken for i in pairs.target_ids) == sorted(material.train)
    assert [i for pairs in broken for i in pairs.target_ids] != list(material.train)


def test_a_centre_crop_takes_the_centre() -> None:
    image = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    assert centre_crop(image, 2).tolist() == [[[14, 15], [20, 21]]]
    assert centre_crop(image, None) is image


def test_a_track_asks_for_no_more_images_than_there_are(tmp_path: Path) -> None:
    made = pairs_track(write_pairs(tmp_path))
    with pytest.raises(ContractError, match="needs 500 train images, the dataset has 12"):
        load(replace(made, size=replace(made.size, n_train=500)), tmp_path / "cache")
    chosen = load(replace(made, size=replace(made.size, n_train=5)), tmp_path / "cache")
    assert len(chosen.train) == 5
    assert list(chosen.train) == sorted(chosen.train)


def test_flips_and_quarter_turns_show_all_eight_ways_and_keep_pairs_registered(tmp_path: Path) -> None:
    made = steps(write_pairs(tmp_path, n_train=1, size=(16, 16)), batch_size=1, augment=DIHEDRAL)
    seen = {made[step].paired.source.numpy().tobytes() for step in range(100)}
    assert len(seen) == 8
    for step in range(20):
        paired = made[step].paired
        torch.testing.assert_close(paired.target - paired.source, torch.full_like(paired.source, 80 / 255))


def test_a_method_that_needs_what_the_dataset_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="needs nir beside the images, which Your own pairs has not"):
        steps(write_pairs(tmp_path), method(aux=("nir",)))
