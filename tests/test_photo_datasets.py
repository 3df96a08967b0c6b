"""Side-by-side photos (maps, facades, sketch2anime) and unpaired ones (horse2zebra, summer2winter_yosemite)."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image
from sarbench.bench.registry import load_dataset
from sarbench.datasets.families import photo_sets

SIDE_BY_SIDE = ("maps", "facades", "sketch2anime")
UNPAIRED = ("horse2zebra", "summer2winter_yosemite")


@pytest.fixture
def own(fake_dataset, tmp_path):
    """A copy of a fake that a test may change."""
    return lambda name: shutil.copytree(fake_dataset(name), tmp_path / name)


def refused(*words, name, root, **options):
    with pytest.raises(ContractError) as error:
        load_dataset(name)(root, **options)
    for word in words:
        assert word in str(error.value), error.value


def two_levels(path, left, right):
    """A file whose halves are of one level each, so that JPEG keeps them."""
    Image.fromarray(np.repeat(np.uint8([left, right]), 32)[None, :, None].repeat(32, 0).repeat(3, 2)).save(path)


# --- Side by side ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "options", "source", "target"),
    [
        ("maps", "val/1.jpg", {}, 51, 204),
        ("maps", "val/1.jpg", {"direction": "BtoA"}, 204, 51),
        ("facades", "test/1.jpg", {}, 204, 51),
        ("facades", "test/1.jpg", {"direction": "AtoB"}, 51, 204),
        ("facades", "val/1.jpg", {"test_split": "val"}, 204, 51),
        ("sketch2anime", "data/val/6.png", {}, 204, 51),
        ("sketch2anime", "data/val/6.png", {"left": "sketch"}, 51, 204),
    ],
)
def test_each_half_is_the_side_that_the_options_say(own, name, file, options, source, target):
    root = own(name)
    two_levels(root / file, 51, 204)
    data = load_dataset(name)(root, **options)
    sample = data.read(f"test/{Path(file).stem}")
    assert sample.source.shape == sample.target.shape == (3, 32, 32)
    assert np.allclose(sample.source, source / 127.5 - 1, atol=1e-6)
    assert np.allclose(sample.target, target / 127.5 - 1, atol=1e-6)
    assert data.size(f"test/{Path(file).stem}") == (32, 32)
    assert data.files(f"test/{Path(file).stem}") == (root / file,)


def test_official_splits_are_kept_and_no_scene_is_claimed(fake_dataset):
    maps = load_dataset("maps")(fake_dataset("maps"))
    assert maps.ids("train") == ("train/1", "train/10", "train/2", "train/3")
    assert maps.ids("test") == ("test/1", "test/2")
    facades = load_dataset("facades")
    assert len(facades(fake_dataset("facades")).ids("test")) == 2
    assert len(facades(fake_dataset("facades"), test_split="val").ids("test")) == 1
    assert maps.scene("train/1") is None


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_both_halves_come_from_one_decoding(fake_dataset, name, monkeypatch):
    decoded = []
    monkeypatch.setattr("sarbench.bench.images.read_image", lambda path, **options: decoded.append(path) or read_image(path))
    monkeypatch.setattr(photo_sets, "_read", photo_sets.remembered(1))
    data = load_dataset(name)(fake_dataset(name))
    sample_id = data.ids("train")[0]
    assert data.read(sample_id, ["target"]).parts().keys() == {"target"}
    data.read(sample_id)
    assert decoded == [*data.files(sample_id)]


def test_the_root_of_sketch2anime_may_be_given_with_or_without_data(fake_dataset):
    root = fake_dataset("sketch2anime")
    assert load_dataset("sketch2anime")(root).ids("train") == load_dataset("sketch2anime")(root / "data").ids("train")


def test_an_odd_width_is_refused_by_name(own):
    root = own("maps")
    Image.fromarray(np.zeros((32, 63, 3), np.uint8)).save(root / "val" / "1.jpg")
    data = load_dataset("maps")(root)
    for read in (data.read, data.size):
        with pytest.raises(ContractError, match=r"val/1\.jpg is 63 px wide"):
            read("test/1")


# --- Unpaired --------------------------------------------------------------------------------------------------------


def test_ids_are_those_of_the_source_and_target_ids_those_of_the_target(fake_dataset):
    data = load_dataset("horse2zebra")(fake_dataset("horse2zebra"))
    assert not data.card.paired
    assert data.ids("test") == ("test/A/n02381460_1000", "test/A/n02381460_1010")
    assert data.target_ids("test") == tuple(f"test/B/n02391049_{i}" for i in (100, 1000, 1020))
    turned = load_dataset("horse2zebra")(fake_dataset("horse2zebra"), direction="BtoA")
    assert turned.ids("train") == data.target_ids("train") and turned.target_ids("train") == data.ids("train")


@pytest.mark.parametrize("name", UNPAIRED)
def test_an_unpaired_image_is_one_of_the_two_and_says_which(fake_dataset, name):
    data = load_dataset(name)(fake_dataset(name))
    source, target = data.read(data.ids("train")[0]), data.read(data.target_ids("train")[0])
    assert source.parts().keys() == {"source"} and target.parts().keys() == {"target"}
    assert source.source.shape == target.target.shape == (3, 32, 32)
    with pytest.raises(ContractError, match="belongs to the source domain"):
        _ = source.target


def test_a_grey_zebra_has_three_equal_bands(fake_dataset):
    image = load_dataset("horse2zebra")(fake_dataset("horse2zebra")).read("train/B/n02391049_10").target
    assert image.shape == (3, 32, 32) and np.ptp(image, axis=0).max() == 0 and np.ptp(image) > 0.5


def test_a_missing_domain_is_a_wrong_folder(own):
    root = own("horse2zebra")
    shutil.rmtree(root / "testB")
    refused("no folder testB", "found: testA/, trainA/, trainB/", "horse2zebra.zip", name="horse2zebra", root=root)


# --- All -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIDE_BY_SIDE + UNPAIRED)
def test_a_dataset_survives_pickling(fake_dataset, name):
    data = load_dataset(name)(fake_dataset(name))
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read(again.ids("test")[0]).source, data.read(data.ids("test")[0]).source)


@pytest.mark.parametrize("name", SIDE_BY_SIDE + UNPAIRED)
def test_a_wrong_folder_is_told_what_was_expected_and_found(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    refused("expected:", "found: pictures/", "http", name=name, root=tmp_path)


@pytest.mark.parametrize("name", SIDE_BY_SIDE + UNPAIRED)
def test_files_that_are_cut_or_of_another_kind_are_refused_by_name(own, name):
    data = load_dataset(name)(own(name))
    sample_id = data.ids("train")[0]
    (file,) = data.files(sample_id)
    whole = file.read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:-2], b""):
        file.write_bytes(cut)
        with pytest.raises(ContractError, match=file.name):
            data.read(sample_id)
    Image.fromarray(np.zeros((32, 64), np.uint16)).save(file, "PNG")
    with pytest.raises(ContractError, match=rf"{file.name} holds 1 bands of uint16"):
        data.read(sample_id)


@pytest.mark.parametrize("name", SIDE_BY_SIDE + UNPAIRED)
def test_listing_opens_no_image(own, name):
    root = own(name)
    for file in root.rglob("*.*g"):
        file.write_bytes(b"")
    assert load_dataset(name)(root).ids("train")
