"""LEVIR-CD, OSCD and CDD: two dates of one place, and a map of what changed."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.images import Window, read_image, scale, write_image
from sarbench.bench.registry import load_dataset
from tests.conftest import dataset_maker

SETS = ("levir_cd", "oscd", "cdd")
SCENES = {"layout": "scenes", "season": "summer_winter", "tile_px": "32"}
PARTS = ("source", "target", "change")
OSCD = "Onera Satellite Change Detection dataset - "

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
needs_real_data = pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no real files")


@pytest.fixture
def own(fake_dataset, tmp_path):
    """A copy of a fake that a test may change."""
    return lambda name: shutil.copytree(fake_dataset(name), tmp_path / name)


@pytest.fixture
def levir_cuts(tmp_path):
    dataset_maker("levir_cd").make_cuts(tmp_path)
    return tmp_path


def refused(*words, name, root, **options):
    with pytest.raises(ContractError) as error:
        load_dataset(name)(root, **options)
    for word in words:
        assert word in str(error.value), error.value


def write_band(path, values):
    height, width = values.shape
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype) as file:
        file.write(values, 1)


# --- All -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in SETS), ("cdd", SCENES)])
def test_a_sample_is_two_dates_and_a_map_on_one_grid(fake_dataset, name, options):
    data = load_dataset(name)(fake_dataset(name), **options)
    again = pickle.loads(pickle.dumps(data))
    sample_id = data.ids("test")[-1]
    sample = data.read(sample_id, PARTS)
    assert sample.source.dtype == sample.target.dtype == np.float32
    assert sample.source.shape == sample.target.shape == (3, *data.size(sample_id))
    assert sample.aux["change"].shape == (1, *data.size(sample_id))
    assert set(np.unique(sample.aux["change"])) <= {0, 1}
    assert np.array_equal(again.read(sample_id).target, sample.target)


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_folder_is_told_what_was_expected_and_found(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    refused("expected:", "found: pictures/", "https://", name=name, root=tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_a_file_that_is_cut_is_refused_by_name_and_only_where_it_is_asked_for(own, name):
    data = load_dataset(name)(own(name))
    sample_id = data.ids("train")[0]
    change = data.files(sample_id)[-1]
    for file in (change, data.files(sample_id)[0]):
        whole = file.read_bytes()
        for cut in (whole[: len(whole) // 2], b""):
            file.write_bytes(cut)
            with pytest.raises(ContractError, match=file.name):
                data.read(sample_id, PARTS)
        if file == change:
            assert data.read(sample_id).parts().keys() == {"source", "target"}
        file.write_bytes(whole)


@pytest.mark.parametrize("name", ["levir_cd", "cdd"])
def test_listing_opens_no_image(own, name):
    root = own(name)
    for file in (*root.rglob("*.png"), *root.rglob("*.jpg")):
        file.write_bytes(b"")
    assert load_dataset(name)(root).ids("train")


# --- LEVIR-CD --------------------------------------------------------------------------------------------------------


def test_levir_reads_both_dates_and_its_mask(own):
    root = own("levir_cd")
    for folder, level in (("A", 0), ("B", 51)):
        write_image(root / "test" / folder / "test_2.png", np.full((32, 32, 3), level, np.uint8))
    mask = np.zeros((32, 32, 1), np.uint8)
    mask[3, 5] = 255
    write_image(root / "test" / "label" / "test_2.png", mask)
    data = load_dataset("levir_cd")(root)
    sample = data.read("test/test_2", PARTS)
    assert (sample.source == -1.0).all() and np.allclose(sample.target, -0.6)
    assert np.argwhere(sample.aux["change"]).tolist() == [[0, 3, 5]]


def test_levir_is_split_as_its_folders_say_and_each_image_is_a_scene(fake_dataset):
    data = load_dataset("levir_cd")(fake_dataset("levir_cd"))
    assert data.ids("train") == ("train/train_1", "train/train_2", "train/train_3")
    assert data.ids("test") == ("test/test_1", "test/test_2")
    assert load_dataset("levir_cd")(fake_dataset("levir_cd"), test_split="val").ids("test") == ("test/val_1",)
    assert len({data.scene(i) for i in data.ids("train")}) == 3


def test_images_of_one_number_in_two_splits_are_two_scenes(own):
    root = own("levir_cd")
    for split in ("train", "test"):
        for folder in ("A", "B", "label"):
            (root / split / folder / f"{split}_1.png").rename(root / split / folder / "00.png")
    data = load_dataset("levir_cd")(root)
    assert data.scene("train/00") != data.scene("test/00")


def test_cuts_are_split_by_lists_and_those_of_one_image_are_one_scene(levir_cuts):
    data = load_dataset("levir_cd")(levir_cuts)
    assert (len(data.ids("train")), len(data.ids("test"))) == (12, 8)
    assert data.scene("train/train_2_0032_0000") == data.scene("train/train_2_0000_0032") == "train_2"
    (levir_cuts / "list" / "test.txt").write_text("test_1_0000_0000.png\ntrain_2_0032_0000.png\n")
    refused("1 scenes are in train and in test", "train_2", name="levir_cd", root=levir_cuts)


def test_a_list_that_names_what_is_not_there_is_refused(levir_cuts):
    (levir_cuts / "A" / "train_1_0000_0000.png").unlink()
    refused("1 files have no partner", "train_1_0000_0000.png has no source", name="levir_cd", root=levir_cuts)
    for folder in ("B", "label"):
        (levir_cuts / folder / "train_1_0000_0000.png").unlink()
    refused("train.txt names 1 images that are not there", "train_1_0000_0000", name="levir_cd", root=levir_cuts)
    (levir_cuts / "list" / "train.txt").unlink()
    refused("train.txt can't be read as a list", name="levir_cd", root=levir_cuts)


def test_one_folder_without_lists_is_split_by_names(levir_cuts):
    shutil.rmtree(levir_cuts / "list")
    assert len(load_dataset("levir_cd")(levir_cuts).ids("test")) == 8
    for folder in ("A", "B", "label"):
        (levir_cuts / folder / "test_1_0000_0000.png").rename(levir_cuts / folder / "else.png")
    refused("no folder list, and 1 names that begin with no split", "else", name="levir_cd", root=levir_cuts)


def test_a_mask_of_other_values_is_refused_by_name(own):
    root = own("levir_cd")
    write_image(root / "train" / "label" / "train_1.png", np.ones((32, 32, 1), np.uint8))
    with pytest.raises(ContractError, match=r"label/train_1\.png holds the value 1; expected 0 .* and 255"):
        load_dataset("levir_cd")(root).read("train/train_1", ["change"])


@needs_real_data
def test_real_pairs_are_read_and_their_cuts_share_scenes():
    data = load_dataset("levir_cd")(Path(os.environ["SARBENCH_DATA"]) / "cd_real")
    assert (len(data.ids("train")), len(data.ids("test"))) == (26, 15)
    assert data.scene("test/levir_test_2_0000_0512") == data.scene("test/levir_test_2_0000_0000") == "levir_test_2"
    assert data.scene("train/paris277_150_153") == "paris277"
    changed = [data.read(i, PARTS).aux["change"].mean() for i in data.ids("test")]
    assert sum(share > 0 for share in changed) == 12 and max(changed) < 0.5


@needs_real_data
def test_the_fixture_of_torchgeo_has_levirs_layout_but_not_its_masks():
    data = load_dataset("levir_cd")(Path(os.environ["SARBENCH_DATA"]) / "geotiff" / "fixtures_torchgeo" / "levircd")
    assert data.ids("train") == ("train/train_0", "train/train_1")
    assert data.read("test/test_1").target.shape == (3, 32, 32)
    with pytest.raises(ContractError, match=r"test_1\.png holds the value 29"):
        data.read("test/test_1", ["change"])


# --- OSCD ------------------------------------------------------------------------------------------------------------


def test_oscd_is_cut_into_windows_and_split_by_city(fake_dataset):
    data = load_dataset("oscd")(fake_dataset("oscd"))
    assert data.ids("train") == ("train/abudhabi/0000_0000", "train/bercy/0000_0000", "train/bercy/0000_0256")
    assert data.ids("test") == ("test/dubai/0000_0000",)
    assert {data.scene(i) for i in data.ids("train")} == {"abudhabi", "bercy"}
    small = load_dataset("oscd")(fake_dataset("oscd"), tile_px="64")
    assert len(small.ids("test")) == 4 * 4  # 256x300 px: 44 columns at the right border are dropped
    assert small.size("test/dubai/0192_0192") == (64, 64)


def test_oscd_scales_reflectance_and_takes_red_first(own):
    root = own("oscd")
    images = root / f"{OSCD}Images" / "dubai"
    for band, value in (("B04", 0), ("B03", 750), ("B02", 65535), ("B08", 1500)):
        write_band(images / "imgs_2_rect" / f"{band}.tif", np.full((256, 300), value, np.uint16))
    sample = load_dataset("oscd")(root).read("test/dubai/0000_0000", ("target", "nir"))
    assert sample.target[:, 0, 0].tolist() == [-1.0, -0.5, 1.0]
    assert sample.aux["nir"].shape == (1, 256, 256) and sample.aux["nir"].max() == 0.0
    wide = load_dataset("oscd")(root, value_range="0,1500").read("test/dubai/0000_0000", ["target"])
    assert wide.target[1].max() == 0.0


def test_a_window_of_oscd_lies_where_its_id_says(fake_dataset):
    root = fake_dataset("oscd")
    data = load_dataset("oscd")(root, tile_px="64")
    band = read_image(root / f"{OSCD}Images" / "bercy" / "imgs_1_rect" / "B03.tif")[64:128, 448:512, 0]
    assert np.array_equal(data.read("train/bercy/0064_0448").source[1], scale(band, 0, 3000))


def test_the_change_map_of_oscd_is_the_tiff_of_1_and_2_or_the_png_of_0_and_255(own):
    root = own("oscd")
    labels = root / f"{OSCD}Test Labels" / "dubai" / "cm"
    first = load_dataset("oscd")(root).read("test/dubai/0000_0000", ["change"]).aux["change"]
    values = read_image(labels / "dubai-cm.tif")[:256, :256, 0]
    assert np.array_equal(first[0], values == 2) and 0 < first.mean() < 1
    (labels / "dubai-cm.tif").unlink()
    with pytest.raises(ContractError, match=r"cm\.png has an alpha channel"):
        load_dataset("oscd")(root).read("test/dubai/0000_0000", ["change"])
    Image.open(labels / "cm.png").convert("L").save(labels / "cm.png")
    assert np.array_equal(load_dataset("oscd")(root).read("test/dubai/0000_0000", ["change"]).aux["change"], first)


def test_missing_bands_and_maps_are_one_error(own):
    root = own("oscd")
    (root / f"{OSCD}Images" / "bercy" / "imgs_1_rect" / "B03.tif").unlink()
    shutil.rmtree(root / f"{OSCD}Test Labels" / "dubai")
    refused("2 files are missing", "imgs_1_rect/B03.tif", "a change map of", "dubai", name="oscd", root=root)


def test_a_band_of_another_type_is_refused_by_name(own):
    root = own("oscd")
    file = root / f"{OSCD}Images" / "dubai" / "imgs_1_rect" / "B02.tif"
    write_band(file, np.zeros((256, 300), np.float32))
    with pytest.raises(ContractError, match=r"B02\.tif holds 1 bands of float32, expected 1 of uint16"):
        load_dataset("oscd")(root).read("test/dubai/0000_0000")


def test_a_city_that_is_smaller_than_a_window_says_so(fake_dataset):
    refused("has 260x256 px, less than a window of 300 px", "tile_px", name="oscd", root=fake_dataset("oscd"), tile_px="300")
    refused("give a number of pixels", name="oscd", root=fake_dataset("oscd"), tile_px="-5")


@needs_real_data
def test_the_fixture_of_torchgeo_has_oscds_bands_but_not_its_maps():
    root = Path(os.environ["SARBENCH_DATA"]) / "geotiff" / "fixtures_torchgeo" / "oscd"
    data = load_dataset("oscd")(root, tile_px="32")
    assert (len(data.ids("train")), len(data.ids("test"))) == (4, 4)
    assert data.read("test/test/0032_0000", ("source", "nir")).aux["nir"].shape == (1, 32, 32)
    with pytest.raises(ContractError, match=r"cm\.png holds the value 1; expected 0"):
        data.read("test/test/0032_0000", ["change"])


# --- CDD -------------------------------------------------------------------------------------------------------------


def test_tiles_of_cdd_are_found_from_any_level_of_the_root(fake_dataset):
    root = fake_dataset("cdd")
    data = load_dataset("cdd")(root)
    assert data.ids("train") == tuple(f"train/{i:05d}" for i in range(4))
    assert len(data.ids("test")) == 3 and data.scene("train/00000") is None
    for below in ("ChangeDetectionDataset", "ChangeDetectionDataset/Real", "ChangeDetectionDataset/Real/subset"):
        assert load_dataset("cdd")(root / below).ids("test") == data.ids("test")
    assert len(load_dataset("cdd")(root, test_split="val").ids("test")) == 2


def test_the_map_of_cdd_is_cut_at_128_since_jpeg_blurs_it(own):
    root = own("cdd")
    file = root / "ChangeDetectionDataset" / "Real" / "subset" / "test" / "OUT" / "00001.jpg"
    Image.fromarray(np.repeat(np.uint8([0, 127, 128, 255]), 8)[None].repeat(32, 0)).save(file, quality=100)
    assert set(np.unique(read_image(file))) == {0, 127, 128, 255}
    change = load_dataset("cdd")(root).read("test/00001", ["change"]).aux["change"]
    assert change[0, 0].tolist() == [0] * 16 + [1] * 16 and change.dtype == np.int64


def test_a_tile_without_its_partner_is_refused(own):
    root = own("cdd")
    (root / "ChangeDetectionDataset" / "Real" / "subset" / "test" / "B" / "00002.jpg").unlink()
    refused("1 files have no partner", "A/00002.jpg has no target", "A/00002.jpg has no target", name="cdd", root=root)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """One pair of scenes at the size that SRUIT uses, flat so that it is small."""
    root = tmp_path_factory.mktemp("large")
    for folder in ("A", "B"):
        write_image(root / folder / "7.tif", np.zeros((2700, 4725, 3), np.uint8))
    return root


def test_a_scene_of_4725_x_2700_px_has_36_x_21_windows(large):
    data = load_dataset("cdd")(large, layout="scenes", split="paper")
    assert len(data.ids("train")) == len(data.ids("test")) == 756
    corners = {tuple(map(int, i.rpartition("/")[2].split("_"))) for i in data.ids("test")}
    assert sorted({left for _, left in corners}) == [*range(0, 4353, 128), 4469]
    assert sorted({top for top, _ in corners}) == [*range(0, 2433, 128), 2444]
    assert data.aux == ()


def test_blocks_of_columns_share_no_pixel(large):
    data = load_dataset("cdd")(large, layout="scenes")
    # of 36 columns, 21 end before px 2835, 6 begin after px 3780; between, 5 are val and 4 cross a border
    assert (len(data.ids("train")), len(data.ids("test"))) == (21 * 21, 6 * 21)
    assert len(load_dataset("cdd")(large, layout="scenes", test_split="val").ids("test")) == 5 * 21
    lefts = {split: [int(i.rpartition("_")[2]) for i in data.ids(split)] for split in ("train", "test")}
    assert max(lefts["train"]) + 256 <= 2835 and min(lefts["test"]) >= 3780
    assert not {data.scene(i) for i in data.ids("train")} & {data.scene(i) for i in data.ids("test")}


def test_the_protocol_of_the_paper_is_said_to_leak(fake_dataset):
    paper = load_dataset("cdd")(fake_dataset("cdd"), **SCENES, split="paper")
    assert paper.keeps_official_leaks and not load_dataset("cdd")(fake_dataset("cdd"), **SCENES).keeps_official_leaks
    assert not set(paper.ids("train")) & set(paper.ids("test"))
    assert {paper.scene(i) for i in paper.ids("train")} == {paper.scene(i) for i in paper.ids("test")}


def test_a_window_of_a_scene_lies_where_its_id_says(fake_dataset):
    root = fake_dataset("cdd")
    data = load_dataset("cdd")(root, **SCENES)
    assert data.scene("test/2/0038_0293") == "2, columns 80 to 100 %"
    sample = data.read("test/2/0038_0293", PARTS)
    whole = read_image(root / "summer_winter" / "B" / "2.jpg")
    assert np.array_equal(sample.target, scale(whole[38:70, 293:325], 0, 255).transpose(2, 0, 1))
    mask = read_image(root / "summer_winter" / "OUT" / "2.jpg", window=Window(38, 293, 32, 32))
    assert np.array_equal(sample.aux["change"][0], mask[:, :, 0] >= 128)


def test_scenes_of_two_sizes_are_refused_by_name(own):
    root = own("cdd")
    write_image(root / "summer_winter" / "B" / "1.png", np.zeros((96, 300, 3), np.uint8))
    data = load_dataset("cdd")(root, **SCENES)
    with pytest.raises(ContractError, match=r"B/1\.png has 96x300 px; the window .* leaves it"):
        data.read("test/1/0000_0288")


def test_options_of_scenes_are_refused_for_tiles(fake_dataset):
    root = fake_dataset("cdd")
    for name, value in (("season", "summer_winter"), ("split", "paper"), ("tile_px", "64")):
        refused(f"{name}=", "layout=scenes alone", name="cdd", root=root, **{name: value})
    refused("no folder", "autumn/A", name="cdd", root=root, layout="scenes", season="autumn")
    refused("has 96x320 px, less than a window of 256 px", name="cdd", root=root, layout="scenes", season="summer_winter")
