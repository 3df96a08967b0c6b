"""Cityscapes, GTA5 and SYNTHIA: one kind, labels to photo and back, in the classes of Cityscapes."""

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise
from sarbench.bench.registry import load_dataset
from sarbench.datasets.families.street_scenes import CITYSCAPES_TABLE, CLASSES, COLOURS, LABEL_IDS, coloured

SETS = ("cityscapes", "gta5", "synthia")


@pytest.fixture
def own(fake_dataset, tmp_path):
    """A copy of a fake that a test may change."""
    return lambda name: shutil.copytree(fake_dataset(name), tmp_path / name)


def refused(*words, name, root, **options):
    with pytest.raises(ContractError) as error:
        load_dataset(name)(root, **options)
    for word in words:
        assert word in str(error.value), error.value
    return str(error.value)


# --- The table -------------------------------------------------------------------------------------------------------


def test_label_ids_become_train_ids_as_cityscapes_says():
    assert [CITYSCAPES_TABLE[i] for i in (7, 8, 11, 17, 21, 26, 28, 31, 33)] == [0, 1, 2, 5, 8, 13, 15, 16, 18]
    assert [CITYSCAPES_TABLE[i] for i in (0, 1, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34)] == [255] * 12
    assert len(CLASSES) == len(LABEL_IDS) == 19
    assert (CLASSES[0], CLASSES[13], CLASSES[18]) == ("road", "car", "bicycle")


def test_every_class_has_a_colour_of_its_own_and_the_rest_is_black():
    image = quantise(coloured(np.array([[0, 13, 18, 255]], np.uint8)))
    assert image[:, 0].T.tolist() == [[128, 64, 128], [0, 0, 142], [119, 11, 32], [0, 0, 0]]
    assert len(set(COLOURS.values()) | {(0, 0, 0)}) == 20


# --- Both directions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_the_two_directions_are_the_same_pair_turned_round(fake_dataset, name):
    forth = load_dataset(name)(fake_dataset(name), direction="labels2image")
    back = load_dataset(name)(fake_dataset(name), direction="image2labels")
    assert forth.ids("train") == back.ids("train")
    for sample_id in forth.ids("test")[:2]:
        one, two = (data.read(sample_id, ("source", "target", "labels")) for data in (forth, back))
        assert np.array_equal(one.source, two.target) and np.array_equal(one.target, two.source)
        assert np.array_equal(one.aux["labels"], two.aux["labels"])
        assert np.array_equal(one.source, coloured(one.aux["labels"][0].astype(np.uint8)))
        assert forth.size(sample_id) == back.size(sample_id) == one.target.shape[1:]


@pytest.mark.parametrize("name", SETS)
def test_a_dataset_survives_pickling(fake_dataset, name):
    data = load_dataset(name)(fake_dataset(name))
    again = pickle.loads(pickle.dumps(data))
    sample_id = data.ids("test")[0]
    assert np.array_equal(again.read(sample_id).source, data.read(sample_id).source)
    assert again.classes == CLASSES


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_folder_is_told_what_was_expected_and_found(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    refused("expected:", "found: pictures/", "https://", name=name, root=tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_every_file_without_a_partner_is_in_one_error(own, name):
    root = own(name)
    photos, maps = (
        sorted(file for file in root.rglob("*.png") if word in str(file.relative_to(root)) and "test" not in file.parts)
        for word in {"cityscapes": ("leftImg8bit", "labelIds"), "gta5": ("images", "labels"), "synthia": ("RGB", "LABELS")}[
            name
        ]
    )
    photos[0].unlink()
    maps[-1].unlink()
    refused("2 files have no partner", f"{maps[0]} has no", f"{photos[-1]} has no label map", name=name, root=root)


@pytest.mark.parametrize("name", SETS)
def test_a_truncated_file_is_named(own, name):
    root = own(name)
    data = load_dataset(name)(root)
    sample_id = data.ids("train")[0]
    for file in data.files(sample_id):
        whole = file.read_bytes()
        for cut in (whole[:-30], whole[:-12], b""):
            file.write_bytes(cut)
            with pytest.raises(ContractError, match=str(file)):
                data.read(sample_id)
        file.write_bytes(whole)


def test_a_photo_of_16_bits_is_refused_by_name(own):
    root = own("gta5")
    file = root / "images" / "00001.png"
    cv2.imwrite(str(file), np.zeros((30, 52, 3), np.uint16))
    data = load_dataset("gta5")(root)
    with pytest.raises(ContractError, match=r"00001\.png holds 3 bands of uint16, expected .* 8 bits"):
        data.read("train/00001", ["source"])


def test_only_what_is_asked_for_is_decoded(own):
    root = own("cityscapes")
    data = load_dataset("cityscapes")(root)
    sample_id = data.ids("test")[0]
    (root / "leftImg8bit" / "val" / f"{sample_id.removeprefix('test/')}_leftImg8bit.png").write_bytes(b"")
    assert data.read(sample_id, ["source"]).parts().keys() == {"source"}
    assert data.read(sample_id, ["labels"]).aux["labels"].dtype == np.int64


# --- Cityscapes ------------------------------------------------------------------------------------------------------


def test_cityscapes_tests_on_the_cities_of_val_and_reads_labels_and_photo(own):
    root = own("cityscapes")
    stem = "aachen_000000_000000"
    ids = np.full((32, 64), 7, np.uint8)
    ids[0, :3] = 26, 4, 33
    Image.fromarray(ids).save(root / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_labelIds.png")
    photo = np.zeros((32, 64, 3), np.uint8)
    photo[0, 0] = 255, 51, 0
    Image.fromarray(photo).save(root / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    data = load_dataset("cityscapes")(root)
    assert data.ids("train")[0] == f"train/aachen/{stem}"
    assert data.ids("test") == tuple(f"test/frankfurt/frankfurt_000000_{i:06d}" for i in range(2))
    assert {data.scene(i) for i in data.ids("train")} == {"aachen", "bochum"}
    sample = data.read(f"train/aachen/{stem}", ("source", "target", "labels"))
    assert sample.aux["labels"][0, 0, :4].tolist() == [13, 255, 18, 0]
    assert np.allclose(sample.target[:, 0, 0], [1.0, -0.6, -1.0])
    assert np.allclose(sample.source[:, 0, 0], [-1.0, -1.0, 142 / 127.5 - 1.0])
    assert np.array_equal(sample.source[:, 0, 1], [-1.0] * 3)


def test_train_ids_in_place_of_label_ids_are_refused(own):
    root = own("cityscapes")
    file = next((root / "gtFine" / "val").rglob("*labelIds.png"))
    Image.fromarray(np.full((32, 64), 255, np.uint8)).save(file)
    data = load_dataset("cityscapes")(root)
    with pytest.raises(ContractError, match=rf"{file.name} holds the label id 255; expected 0 to 34"):
        data.read(data.ids("test")[0] if "000000_000000" in file.name else data.ids("test")[1])


def test_cityscapes_without_its_labels_is_a_wrong_folder(own):
    root = own("cityscapes")
    shutil.rmtree(root / "gtFine" / "val")
    refused("no folder gtFine/val", "gtFine_trainvaltest", name="cityscapes", root=root)


# --- GTA5 ------------------------------------------------------------------------------------------------------------


def test_gta5_is_split_by_its_own_file_and_may_lack_frames_of_it(fake_dataset):
    data = load_dataset("gta5")(fake_dataset("gta5"))
    assert data.ids("train") == tuple(f"train/0000{i}" for i in (1, 2, 3, 4))
    assert data.ids("test") == ("test/00005", "test/00006")
    assert load_dataset("gta5")(fake_dataset("gta5"), test_split="test").ids("test") == ("test/00007", "test/00008")
    assert data.scene("train/00001") is None


def test_the_palette_of_gta5_does_not_touch_its_label_ids(own):
    root = own("gta5")
    labels = Image.fromarray(np.array([[7, 8, 34, 0]] * 4, np.uint8))
    labels.putpalette([255 - i // 3 for i in range(768)])
    labels.save(root / "labels" / "00002.png")
    found = load_dataset("gta5")(root).read("train/00002", ["labels"]).aux["labels"]
    assert found[0, 0].tolist() == [0, 1, 255, 255]


def test_gta5_without_its_split_says_where_it_is(own):
    root = own("gta5")
    (root / "split.mat").write_bytes(b"MATLAB 5.0 but no more")
    refused("split.mat can't be read", "read_mapping.zip", name="gta5", root=root)
    (root / "split.mat").unlink()
    refused("split.mat is missing", "read_mapping.zip", name="gta5", root=root)


def test_a_frame_that_the_split_does_not_know_is_refused(own):
    root = own("gta5")
    for folder in ("images", "labels"):
        shutil.copy(root / folder / "00001.png", root / folder / "90001.png")
    refused("1 frames are not in", "90001.png", name="gta5", root=root)


def test_a_frame_and_a_label_map_of_two_sizes_are_named(own):
    root = own("gta5")
    Image.fromarray(np.zeros((31, 52), np.uint8)).save(root / "labels" / "00003.png")
    data = load_dataset("gta5")(root)
    with pytest.raises(ContractError, match=r"images/00003.png has 30x52 px, .*labels/00003.png has 31x52 px"):
        data.read("train/00003")


# --- SYNTHIA ---------------------------------------------------------------------------------------------------------


def test_synthia_reads_the_class_from_the_first_of_16_bit_channels(own):
    root = own("synthia")
    ids = np.array([[1, 2, 3, 10, 21, 0, 13, 22]] * 4, np.uint16)
    channels = np.stack([np.zeros_like(ids), ids + 900, ids], axis=2)
    cv2.imwrite(str(root / "RAND_CITYSCAPES" / "GT" / "LABELS" / "0000007.png"), channels)
    found = load_dataset("synthia")(root).read("train/0000007", ["labels"]).aux["labels"]
    assert found[0, 0].tolist() == [10, 2, 0, 11, 3, 255, 255, 255]


def test_a_label_map_that_was_saved_with_8_bits_is_refused(own):
    root = own("synthia")
    Image.fromarray(np.zeros((38, 64, 3), np.uint8)).save(root / "RAND_CITYSCAPES" / "GT" / "LABELS" / "0000007.png")
    with pytest.raises(ContractError, match=r"LABELS/0000007.png holds uint8 values, expected the 16-bit label map"):
        load_dataset("synthia")(root).read("train/0000007", ["labels"])


def test_synthia_is_split_by_blocks_of_fifty_and_root_may_be_either_folder(fake_dataset):
    root = fake_dataset("synthia")
    data = load_dataset("synthia")(root)
    blocks = {split: {int(i.rpartition("/")[2]) // 50 for i in data.ids(split)} for split in ("train", "test")}
    assert blocks == {"train": {0, 2, 3}, "test": {1, 30, 61}}
    assert load_dataset("synthia")(root / "RAND_CITYSCAPES").ids("test") == data.ids("test")


def test_a_synthia_name_that_is_no_number_is_a_wrong_folder(own):
    root = own("synthia")
    for file in list(Path(root).rglob("0000007.png")):
        file.rename(file.with_name("one.png"))
    refused("one.png is not a number", name="synthia", root=root)
