"""Data that is verified whole, kept small in memory without loss, and mapped from disk where code made it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench import material as module
from sarbench.bench.dataset import Dataset, DatasetCard, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.material import Images, Packed, is_known, load, write_mapped
from sarbench.bench.protocols import PROTOCOLS, Size
from sarbench.bench.tracks import Track, track

SMALL = {"size_px": "32", "n_train": "6", "n_test": "3"}
RNG = np.random.default_rng(0)
EIGHT_BITS = module.LEVELS[RNG.integers(0, 256, (3, 8, 6))]


@pytest.mark.parametrize(
    ("array", "dtype", "channels"),
    [
        (EIGHT_BITS, np.uint8, 3),
        (np.repeat(EIGHT_BITS[:1], 3, axis=0), np.uint8, 1),
        (RNG.uniform(-1, 1, (2, 8, 6)).astype(np.float32), np.float32, 2),
        (RNG.integers(0, 256, (1, 8, 6)), np.uint8, 1),
        (RNG.integers(-1, 5, (1, 8, 6)), np.int64, 1),
        (RNG.integers(0, 999, (1, 8, 6)), np.int64, 1),
    ],
)
def test_packing_loses_nothing_and_takes_a_byte_a_value_where_it_can(array: np.ndarray, dtype: type, channels: int) -> None:
    packed = Packed.of(array)
    assert packed.values.dtype == dtype
    assert len(packed.values) == channels
    assert packed.array().dtype == array.dtype
    assert np.array_equal(packed.array(), array)


def test_one_step_off_the_8_bit_levels_is_not_rounded_away() -> None:
    array = EIGHT_BITS.copy()
    array[0, 0, 0] = np.nextafter(array[0, 0, 0], np.float32(0.5))
    assert np.array_equal(Packed.of(array).array(), array)


def test_a_dataset_made_by_code_is_made_once_and_then_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = track("synthetic", "tiny", options=SMALL)
    assert not is_known(asked, tmp_path)
    first = load(asked, tmp_path)
    plain = Images(first.dataset)
    assert is_known(asked, tmp_path)

    again = load(asked, tmp_path)
    expected = {i: plain.parts(i, ("source", "target", "labels")) for i in again.train + again.test}
    monkeypatch.setattr(type(again.dataset), "read", lambda *_: pytest.fail("made again"))
    for sample_id, parts in expected.items():
        for name, array in again.images.parts(sample_id, tuple(parts)).items():
            assert np.array_equal(array, parts[name])
            assert array.dtype == parts[name].dtype
    copy = pickle.loads(pickle.dumps(again.images))
    assert np.array_equal(copy.source(again.train[0]), again.images.source(again.train[0]))
    assert again.identity == first.identity
    (file,) = tmp_path.glob("*.images")
    assert file.stat().st_size == 9 * 32 * 32 * (1 + 3 + 1)  # SAR once although it is repeated, colour, labels


def test_samples_of_several_sizes_are_not_mapped(tmp_path: Path) -> None:
    samples = [{"source": Packed.of(np.zeros((1, 4, n), np.float32))} for n in (4, 4, 5)]
    assert write_mapped(tmp_path / "a", list("abc"), samples) is None
    assert not list(tmp_path.iterdir())


def test_a_mapped_float_array_comes_back_whatever_its_offset(tmp_path: Path) -> None:
    odd = {"a": Packed.of(np.zeros((1, 1, 3), np.int64)), "b": Packed.of(RNG.uniform(-1, 1, (1, 2, 2)).astype(np.float32))}
    mapped = write_mapped(tmp_path / "x", ["one", "two"], [odd, odd])
    assert mapped is not None
    found = mapped.get("two", "b")
    assert found is not None
    assert np.array_equal(found.array(), odd["b"].array())
    assert mapped.get("two", "c") is None


def test_a_full_disk_while_images_are_mapped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Packed) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_mapped", lambda path, ids, samples: _fail_after_one(path, ids, samples))
    with pytest.raises(ContractError, match="the disk is full"):
        load(track("synthetic", "tiny", options=SMALL), tmp_path)
    assert not [f for f in tmp_path.iterdir() if f.is_file()]


def _fail_after_one(path: Path, ids: object, samples: object) -> None:
    from sarbench.bench.storage import atomic

    with atomic(path) as file:
        file.write(b"0" * 100)
        raise OSError(28, "No space left on device")


class Unpaired(Dataset):
    """Three sources and two targets a split, of other sizes."""

    card = DatasetCard(
        title="unpaired", source="s", target="t", task="style", group="id", licence="none", reference="", paired=False
    )
    source_channels, target_channels = 1, 3

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/A/{i}" for i in range(3))

    def target_ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/B/{i}" for i in range(2))

    def read(self, sample_id: str, parts: object = ()) -> Sample:
        value = np.float32(int(sample_id[-1]) / 10)
        if "/A/" in sample_id:
            return Sample(np.full((1, 8, 8), value, np.float32))
        return Sample(None, np.full((3, 6, 6), value, np.float32))

    def scene(self, sample_id: str) -> str:
        return sample_id


class UnpairedTrack(Track):
    def open_dataset(self) -> Dataset:
        return Unpaired()


def unpaired_track(**size: int) -> Track:
    protocol = replace(PROTOCOLS["synthetic"], paired=False)
    return UnpairedTrack(protocol, "tiny", Size(8, None, None, **size), None, ())  # type: ignore[arg-type]


def test_unpaired_domains_keep_their_own_ids_and_sizes(tmp_path: Path) -> None:
    found = load(unpaired_track(), tmp_path)
    assert (len(found.train), len(found.train_targets)) == (3, 2)
    assert found.images.source(found.test[0]).shape == (1, 8, 8)
    assert found.images.target(found.test_targets[0]).shape == (3, 6, 6)
    with pytest.raises(ContractError, match="has no target"):
        found.images.target(found.test[0])
    assert found.identity.verdict == "verified"


def test_a_limit_holds_for_each_domain(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="needs 3 train images of the target domain, the dataset has 2"):
        load(unpaired_track(n_train=3), tmp_path)


def test_pairs_are_not_taken_for_unpaired_domains_nor_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="needs unpaired domains, which Synthetic landscape"):
        load(
            replace(track("synthetic", "tiny", options=SMALL), protocol=replace(PROTOCOLS["synthetic"], paired=False)), tmp_path
        )


def test_the_first_test_images_are_the_first_in_order_where_a_paper_took_those(tmp_path: Path) -> None:
    asked = track("synthetic", "tiny", options={**SMALL, "n_test": "40"})
    first = load(replace(asked, size=replace(asked.size, n_test=5, first_test=True)), tmp_path)
    drawn = load(replace(asked, size=replace(asked.size, n_test=5)), tmp_path)
    assert first.test == tuple(f"test/{i:07d}" for i in range(5))
    assert drawn.test != first.test
