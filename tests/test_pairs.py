import multiprocessing
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from sarbench.bench.dataset import Georeference
from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise, write_image
from sarbench.bench.registry import load_dataset
from sarbench.datasets.pairs import FOLDERS, PairsFolder

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
PLACE = Georeference(rasterio.crs.CRS.from_epsg(32733).to_wkt(), (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_200_000.0))


def problems_of(data, ids):
    """What is wrong with these samples, one message a bad sample."""
    messages = []
    for sample_id in ids:
        try:
            data.read(sample_id)
        except ContractError as error:
            messages.append(str(error))
    return messages


def pixels(channels, seed=0, height=12, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def fill(folder, names, channels, suffix=".png", **size):
    for seed, name in enumerate(names):
        write_image(folder / (name + suffix), pixels(channels, seed, **size))


def two_folders(root, source="sar", target="opt", train=("a", "b", "c"), test=("d",)):
    for split, names in (("train", train), ("test", test)):
        fill(root / split / source, names, 1)
        fill(root / split / target, names, 3)
    return root


def float_tiff(path, values, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = values.shape
    shape = {"height": height, "width": width, "count": count, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(values.transpose(2, 0, 1))


def refused(*words, root, **options):
    with pytest.raises(ContractError) as error:
        PairsFolder(root, **options)
    for word in words:
        assert word in str(error.value), error.value
    return str(error.value)


# --- Layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), FOLDERS)
def test_two_folders_of_equal_names_are_found_by_their_known_names(tmp_path, source, target):
    data = PairsFolder(two_folders(tmp_path, source, target))
    assert data.ids("train") == ("train/a", "train/b", "train/c")
    assert data.ids("test") == ("test/d",)
    assert (data.source_channels, data.target_channels) == (1, 3)
    assert data.files("test/d") == (tmp_path / "test" / source / "d.png", tmp_path / "test" / target / "d.png")


def test_what_is_read_is_what_the_files_hold(tmp_path):
    data = PairsFolder(two_folders(tmp_path))
    sample = data.read("train/b")
    assert sample.source.dtype == sample.target.dtype == np.float32
    assert sample.source.flags.c_contiguous and sample.target.flags.c_contiguous
    assert np.array_equal(quantise(sample.source), pixels(1, 1).transpose(2, 0, 1))
    assert np.array_equal(quantise(sample.target), pixels(3, 1).transpose(2, 0, 1))
    assert data.size("train/b") == sample.source.shape[1:] == (12, 16)
    assert data.scene("train/b") is None
    assert data.georeference("train/b") is None


def test_all_256_levels_map_linearly_from_minus_one_to_one(tmp_path):
    for split in ("train", "test"):
        for side in ("A", "B"):
            write_image(tmp_path / split / side / "a.png", np.arange(256, dtype=np.uint8).reshape(16, 16, 1))
    image = PairsFolder(tmp_path).read("test/a").source.ravel()
    assert image[0] == -1.0 and image[255] == 1.0
    assert np.allclose(np.diff(image), 2 / 255, atol=1e-7)
    assert np.array_equal(quantise(image), np.arange(256))


def test_other_folder_names_are_given_by_options(tmp_path):
    two_folders(tmp_path, "radar", "colour")
    assert "train/radar/" in refused("source=NAME target=NAME", root=tmp_path)
    assert PairsFolder(tmp_path, source="radar", target="colour").source_channels == 1
    assert PairsFolder(tmp_path, source="colour", target="radar").source_channels == 3
    refused("both options", root=tmp_path, source="radar")


def test_names_may_lie_in_sub_folders_and_differ_in_suffix(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split / "sar", ["x/1", "y/1"], 1, ".tif")
        fill(tmp_path / split / "opt", ["x/1", "y/1"], 3, ".png")
    assert PairsFolder(tmp_path).ids("train") == ("train/x/1", "train/y/1")


def test_two_fitting_pairs_of_folders_need_a_choice(tmp_path):
    two_folders(two_folders(tmp_path, "sar", "opt"), "sar", "optical")
    refused("more than one pair", "source=NAME", root=tmp_path)
    assert PairsFolder(tmp_path, source="sar", target="optical").ids("test")


@pytest.mark.parametrize("nested", [True, False])
def test_a_to_b_can_be_turned_round(tmp_path, nested):
    for split in ("train", "test"):
        fill(tmp_path / split / "A" if nested else tmp_path / f"{split}A", "pq", 1)
        fill(tmp_path / split / "B" if nested else tmp_path / f"{split}B", "pq", 3)
    assert PairsFolder(tmp_path).source_channels == PairsFolder(tmp_path, direction="AtoB").source_channels == 1
    turned = PairsFolder(tmp_path, direction="BtoA")
    assert (turned.source_channels, turned.target_channels) == (3, 1)
    assert turned.read("test/p").source.shape == (3, 12, 16)


def test_side_by_side_images_are_cut_in_the_middle(tmp_path):
    both = pixels(3, width=32)
    for split in ("train", "test"):
        write_image(tmp_path / split / "1.png", both)
    refused("layout=ab", "train/1.png", root=tmp_path)
    data = PairsFolder(tmp_path, layout="ab")
    sample = data.read("test/1")
    assert np.array_equal(quantise(sample.source).transpose(1, 2, 0), both[:, :16])
    assert np.array_equal(quantise(sample.target).transpose(1, 2, 0), both[:, 16:])
    assert data.size("test/1") == (12, 16)
    assert data.files("test/1") == (tmp_path / "test" / "1.png",)
    turned = PairsFolder(tmp_path, layout="ab", direction="BtoA").read("test/1")
    assert np.array_equal(turned.source, sample.target) and np.array_equal(turned.target, sample.source)


def test_a_side_by_side_image_of_odd_width_is_refused_by_name(tmp_path):
    fill(tmp_path / "train", "a", 3, width=31)
    fill(tmp_path / "test", "b", 3, width=32)
    data = PairsFolder(tmp_path, layout="ab")
    with pytest.raises(ContractError, match=r"a\.png is 31 px wide"):
        data.read("train/a")
    with pytest.raises(ContractError, match=r"a\.png is 31 px wide"):
        data.size("train/a")


def test_a_folder_that_fits_no_layout_is_told_what_was_expected_and_found(tmp_path):
    (tmp_path / "images").mkdir()
    refused("Expected one of", "sar+opt", "trainA", "layout=ab", "pairs.csv", "Found: images/", root=tmp_path)
    (tmp_path / "images").rmdir()
    refused("Found: nothing", root=tmp_path)
    refused("--data FOLDER", root=None)
    refused("--data FOLDER", root=tmp_path / "none")
    (tmp_path / "train").mkdir()
    refused("train alone", root=tmp_path)


def test_images_without_a_partner_are_one_error_that_lists_them_all(tmp_path):
    two_folders(tmp_path, train=("a", "b"))
    fill(tmp_path / "train" / "sar", ["only_sar"], 1)
    fill(tmp_path / "test" / "opt", [f"only_opt_{i:02d}" for i in range(25)], 3)
    text = refused("26 images have no partner", "... and 6 more", root=tmp_path)
    assert text.count("has no partner in") == 20
    for path in (tmp_path / "test" / "opt").glob("only_opt_0[1-9]*"):
        path.unlink()
    refused("only_sar.png has no partner", "only_opt_24.png has no partner", root=tmp_path)


def test_a_split_without_pairs_is_refused(tmp_path):
    two_folders(tmp_path, test=())
    (tmp_path / "test" / "sar").mkdir(parents=True)
    (tmp_path / "test" / "opt").mkdir()
    refused("no test pairs", root=tmp_path)


# --- The manifest ----------------------------------------------------------------------------------------------------


def manifest(root, *lines, header="source,target,split,scene", encoding="utf-8"):
    fill(root / "s", "abcd", 1)
    fill(root / "t", "abcd", 3)
    (root / "pairs.csv").write_text("\n".join((header, *lines)) + "\n", encoding=encoding)
    return root


def test_a_manifest_gives_pairs_splits_and_scenes(tmp_path):
    data = PairsFolder(
        manifest(tmp_path, "s/a.png,t/b.png,train,north", "s/b.png,t/b.png,train,", "s/c.png,t/a.png,test,south")
    )
    assert data.ids("train") == ("train/s/a", "train/s/b")
    assert data.files("train/s/a") == (tmp_path / "s" / "a.png", tmp_path / "t" / "b.png")
    assert [data.scene(i) for i in ("train/s/a", "train/s/b", "test/s/c")] == ["north", None, "south"]


def test_a_manifest_may_lack_the_scenes_and_bear_a_byte_order_mark(tmp_path):
    lines = ("s/a.png,t/a.png,train", " s/b.png , t/b.png , test ", "")
    data = PairsFolder(manifest(tmp_path, *lines, header="source,target,split", encoding="utf-8-sig"))
    assert data.ids("test") == ("test/s/b",)
    assert data.scene("test/s/b") is None
    assert PairsFolder(tmp_path, scene=r"s/(\w)").scene("test/s/b") == "b"


@pytest.mark.parametrize("place", ["../x.png", "s/../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, place):
    text = refused("line 2", "leaves the folder", root=manifest(tmp_path, f"{place},t/a.png,train,", "s/b.png,t/b.png,test,"))
    assert place in text
    refused("leaves the folder", root=manifest(tmp_path, f"s/a.png,{place},train,", "s/b.png,t/b.png,test,"))


def test_every_bad_line_of_a_manifest_is_listed_in_one_error(tmp_path):
    refused(
        "8 bad lines",
        "line 3: split 'val'",
        "line 4: s/z.png does not exist",
        "line 5: no target",
        "line 6: s/a.png stands in train and in test",
        "line 7: t/a.png stands in train and in test",
        "line 8: s/a.png stands there twice",
        "line 9: s/note.txt is not a",
        "line 10: s/c.png is its own target",
        root=manifest(
            tmp_path,
            "s/a.png,t/a.png,train,",
            "s/b.png,t/b.png,val,",
            "s/z.png,t/a.png,train,",
            "s/c.png,,train",
            "s/a.png,t/c.png,test,",
            "s/d.png,t/a.png,test,",
            "s/a.png,t/d.png,train,",
            "s/note.txt,t/d.png,train,",
            "s/c.png,s/c.png,train,",
        ),
    )


def test_a_manifest_without_its_columns_or_not_in_utf_8_is_refused(tmp_path):
    refused("expected the columns source,target,split,scene", "a;b", root=manifest(tmp_path, header="a;b"))
    (tmp_path / "pairs.csv").write_bytes(b"source,target,split\n\xff\xfe,b,train\n")
    refused("can't be read as CSV", root=tmp_path)
    (tmp_path / "pairs.csv").write_bytes(b"")
    refused("expected the columns", root=tmp_path)


# --- Scenes and splits -----------------------------------------------------------------------------------------------


def test_a_scene_in_train_and_test_is_refused_by_name(tmp_path):
    two_folders(tmp_path, train=("rome_1", "oslo_1"), test=("rome_2", "bonn_1"))
    refused("1 scenes are in train and in test", "\n  rome\n", root=tmp_path, scene=r"(\w+)_\d")
    manifest(tmp_path / "csv", "s/a.png,t/a.png,train,x", "s/b.png,t/b.png,test,x")
    refused("1 scenes are in train and in test", "\n  x\n", root=tmp_path / "csv")


def test_a_scene_rule_sees_the_name_alone_so_that_the_split_can_not_hide_a_leak(tmp_path):
    two_folders(tmp_path, train=("rome_1",), test=("rome_2",))
    refused("rome", root=tmp_path, scene=r"^(.*)_")


def test_a_scene_rule_that_misses_names_or_is_no_rule_is_refused(tmp_path):
    two_folders(tmp_path, train=("x_1", "b"), test=("y_1",))
    refused("finds no scene in 1 names", "\n  b", root=tmp_path, scene=r"(\w)_")
    refused("not a regular expression", root=tmp_path, scene="(")
    refused("needs one group", root=tmp_path, scene=r"\w")
    manifest(tmp_path / "csv", "s/a.png,t/a.png,train,x", "s/b.png,t/b.png,test,y")
    refused("both name scenes", root=tmp_path / "csv", scene="(.)")


def unsplit(root, names):
    fill(root / "sar", names, 1)
    fill(root / "opt", names, 3)
    return root


def test_a_folder_without_a_split_asks_for_a_manifest_or_a_share(tmp_path):
    refused("pairs.csv", "test_share=0.2", root=unsplit(tmp_path, "abc"))


def test_a_share_is_drawn_from_whole_scenes_by_their_names_alone(tmp_path):
    names = [f"scene{i}_{j}" for i in range(10) for j in range(3)]
    data = PairsFolder(unsplit(tmp_path, names), test_share="0.2", scene=r"(scene\d)")
    tested = {data.scene(i) for i in data.ids("test")}
    assert len(tested) == 2
    assert len(data.ids("test")) == 6 and len(data.ids("train")) == 24
    assert not tested & {data.scene(i) for i in data.ids("train")}
    for file in (tmp_path / "sar").iterdir():
        write_image(file, pixels(1, 99))
    assert PairsFolder(tmp_path, test_share="0.2", scene=r"(scene\d)").ids("test") == data.ids("test")


def test_a_share_without_scenes_is_drawn_from_the_names(tmp_path):
    data = PairsFolder(unsplit(tmp_path, [f"{i:02d}" for i in range(20)]), test_share="0.25")
    assert len(data.ids("test")) == 5
    assert data.ids("test") != tuple(f"test/{i:02d}" for i in range(5))
    assert data.scene(data.ids("test")[0]) is None


@pytest.mark.parametrize("share", ["0", "1", "20", "-0.1", "nan", "x"])
def test_a_share_that_is_no_share_is_refused(tmp_path, share):
    refused("between 0 and 1", root=unsplit(tmp_path, "abc"), test_share=share)


def test_a_share_of_a_folder_with_a_split_is_refused(tmp_path):
    refused("test_share=0.2 has no meaning", root=two_folders(tmp_path), test_share="0.2")


# --- Ranges, bands, channels -----------------------------------------------------------------------------------------


def db_pairs(root, source=None, **profile):
    source = np.linspace(-40.0, 10.0, 192, dtype=np.float32).reshape(12, 16, 1) if source is None else source
    for split in ("train", "test"):
        float_tiff(root / split / "s1" / "a.tif", source, **profile)
        write_image(root / split / "s2" / "a.png", pixels(3))
    return root


def test_values_that_are_not_8_bit_need_a_range_and_the_error_shows_the_option(tmp_path):
    db_pairs(tmp_path)
    refused("a.tif holds float32", "source_range=LO,HI", "-40 to 10", root=tmp_path)
    for split in ("train", "test"):
        (tmp_path / split / "s2" / "a.png").unlink()
        float_tiff(tmp_path / split / "s2" / "a.tif", np.full((12, 16, 3), 3000, np.uint16))
    refused("source_range=LO,HI", "uint16", "target_range=LO,HI", "3000 to 3000", root=tmp_path)


def test_a_range_clips_and_maps_to_plus_minus_one(tmp_path):
    values = np.array([-40.0, -25.0, -12.5, 0.0, 10.0], np.float32).repeat(5).reshape(5, 5, 1)
    for split in ("train", "test"):
        float_tiff(tmp_path / split / "s1" / "a.tif", values)
        write_image(tmp_path / split / "s2" / "a.png", pixels(3, height=5, width=5))
    image = PairsFolder(tmp_path, source_range="-25,0").read("test/a").source
    assert image[0, :, 0].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]


def test_16_bit_png_is_scaled_by_its_range(tmp_path):
    values = np.array([[0, 5000], [10000, 65535]], np.uint16)
    for split in ("train", "test"):
        for side in ("s1", "s2"):
            (tmp_path / split / side).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / split / side / "a.png"), values)
    sample = PairsFolder(tmp_path, source_range="0,10000", target_range="0,65535").read("train/a")
    assert sample.source.ravel().tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert sample.target.ravel()[3] == 1.0


def test_a_range_for_8_bit_values_is_taken_as_said(tmp_path):
    image = PairsFolder(two_folders(tmp_path), source_range="0,100").read("train/a").source
    assert np.array_equal(image == 1.0, pixels(1, 0).transpose(2, 0, 1) >= 100)


@pytest.mark.parametrize("text", ["", "1", "0,1,2", "5,5", "1,0", "nan,1", "0,inf", "a,b"])
def test_a_range_that_is_none_is_refused(tmp_path, text):
    refused("source_range", "the lower one first", root=two_folders(tmp_path), source_range=text)


def test_bands_are_chosen_counted_from_one_and_may_repeat(tmp_path):
    values = np.stack([np.full((12, 16), band, np.uint8) for band in (10, 20, 30)], axis=2)
    for split in ("train", "test"):
        write_image(tmp_path / split / "s1" / "a.tif", values[:, :, :2])
        write_image(tmp_path / split / "s2" / "a.tif", values)
    data = PairsFolder(tmp_path, source_bands="1,2,1", target_bands="3,2,1")
    sample = data.read("test/a")
    assert quantise(sample.source)[:, 0, 0].tolist() == [10, 20, 10]
    assert quantise(sample.target)[:, 0, 0].tolist() == [30, 20, 10]
    assert (data.source_channels, data.target_channels) == (3, 3)
    with pytest.raises(ContractError, match=r"a\.tif has 2 bands; source_bands asks for band 4"):
        PairsFolder(tmp_path, source_bands="4").read("test/a")
    for text in ("0", "x", "1,,2", "-1", ""):
        refused("counted from 1", root=tmp_path, target_bands=text)


def test_one_source_band_is_repeated_where_that_is_asked_for(tmp_path):
    data = PairsFolder(two_folders(tmp_path), channels="repeat")
    image = data.read("test/d").source
    assert data.source_channels == 3 and image.shape[0] == 3
    assert np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])
    assert np.array_equal(image[:1], PairsFolder(tmp_path, channels="none").read("test/d").source)


def test_repeating_leaves_sources_of_several_bands_and_targets_alone(tmp_path):
    for split in ("train", "test"):
        write_image(tmp_path / split / "A" / "a.tif", pixels(2))
        write_image(tmp_path / split / "B" / "a.tif", pixels(3))
    assert PairsFolder(tmp_path, channels="repeat").source_channels == 2
    turned = PairsFolder(two_folders(tmp_path / "x", "A", "B"), direction="BtoA", channels="repeat")
    assert (turned.source_channels, turned.target_channels) == (3, 1)


def test_nodata_is_refused_unless_clipping_it_is_asked_for(tmp_path):
    source = np.full((12, 16, 1), -10.0, np.float32)
    source[0, :3] = -9999.0
    data = PairsFolder(db_pairs(tmp_path, source, nodata=-9999.0), source_range="-25,0")
    with pytest.raises(ContractError, match=r"3 of 192 values are nodata \(-9999\).*nodata=clip"):
        data.read("train/a")
    image = PairsFolder(tmp_path, source_range="-25,0", nodata="clip").read("train/a").source
    assert (image[0, 0, :3] == -1.0).all()


def test_the_place_of_the_source_geotiff_is_handed_on(tmp_path):
    for split in ("train", "test"):
        write_image(tmp_path / split / "s1" / "a.tif", pixels(1), PLACE)
        write_image(tmp_path / split / "s2" / "a.png", pixels(3))
    assert PairsFolder(tmp_path).georeference("test/a").transform == PLACE.transform


def test_an_unknown_or_useless_option_is_refused_with_the_known_ones(tmp_path):
    two_folders(tmp_path)
    refused("no option 'chanels'", "channels: none", "test_share:", root=tmp_path, chanels="repeat")
    refused("choose from none, repeat", root=tmp_path, channels="3")
    refused("direction=AtoB has no meaning", root=tmp_path, direction="AtoB")
    manifest(tmp_path / "csv", "s/a.png,t/a.png,train,", "s/b.png,t/b.png,test,")
    refused("test_share=0.5 has no meaning", root=tmp_path / "csv", test_share="0.5")


# --- Bad files, found by reading -------------------------------------------------------------------------------------


def test_reading_names_the_file_that_does_not_fit_and_says_why(tmp_path):
    names = ("a", "channels", "cut", "empty", "missing", "size", "text", "type")
    two_folders(tmp_path, train=names)
    sar, opt = tmp_path / "train" / "sar", tmp_path / "train" / "opt"
    data = PairsFolder(tmp_path)
    write_image(sar / "channels.png", pixels(3))
    (opt / "cut.png").write_bytes((opt / "cut.png").read_bytes()[:-30])
    (sar / "empty.png").write_bytes(b"")
    (opt / "missing.png").unlink()
    write_image(opt / "size.png", pixels(3, height=13))
    (sar / "text.png").write_text("not an image")
    cv2.imwrite(str(opt / "type.png"), np.zeros((12, 16, 3), np.uint16))
    messages = problems_of(data, data.ids("train"))
    assert len(messages) == 7
    for message, name, words in zip(
        messages,
        names[1:],
        ("has 3 channels", "cut.png can't be read", "is an empty file", "does not exist", "13x16", "can't be read", "uint16"),
        strict=True,
    ):
        assert str(tmp_path) in message and f"{name}.png" in message and words in message
    assert problems_of(data, data.ids("test")) == []


def test_nan_in_a_source_is_refused_by_name(tmp_path):
    db_pairs(tmp_path)
    data = PairsFolder(tmp_path, source_range="-25,0")
    float_tiff(tmp_path / "test" / "s1" / "a.tif", np.full((12, 16, 1), np.nan, np.float32))
    with pytest.raises(ContractError, match=r"a\.tif: 192 of 192 values are NaN"):
        data.read("test/a")


def test_one_broken_first_file_does_not_stop_the_listing_but_all_broken_do(tmp_path):
    two_folders(tmp_path, train=("a", "b"))
    (tmp_path / "train" / "sar" / "a.png").write_bytes(b"")
    assert len(problems_of(PairsFolder(tmp_path), ("train/a", "train/b"))) == 1
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    refused("no pair is readable", "a.png is an empty file", "d.png is an empty file", root=tmp_path)


def test_a_native_jpeg_is_read(tmp_path):
    for split in ("train", "test"):
        for side, channels in (("A", 1), ("B", 3)):
            (tmp_path / split / side).mkdir(parents=True)
            Image.fromarray(pixels(channels).squeeze()).save(tmp_path / split / side / "a.jpg")
    assert PairsFolder(tmp_path).read("test/a").source.shape == (1, 12, 16)


# --- As a plugin -----------------------------------------------------------------------------------------------------


def _read_in_child(data, sample_id):
    return data.read(sample_id).target


def test_it_pickles_and_reads_the_same_in_a_spawned_worker(tmp_path):
    data = PairsFolder(two_folders(tmp_path), channels="repeat")
    assert pickle.loads(pickle.dumps(data)).ids("train") == data.ids("train")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        read = pool.apply(_read_in_child, (data, "train/c"))
    assert np.array_equal(read, data.read("train/c").target)


def test_the_registry_finds_it():
    assert load_dataset("pairs") is PairsFolder


@pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no real pairs")
def test_the_real_pairs_have_their_known_counts_and_scenes():
    data = PairsFolder(Path(os.environ["SARBENCH_DATA"]) / "sar2opt_real", scene=r"volkov_(\d+)_")
    train, test = data.ids("train"), data.ids("test")
    assert (len(train), len(test)) == (302, 64)
    assert {data.scene(i) for i in test} == {"157", "161", "169", "171", "172", "196", "208", "216"}
    assert (data.source_channels, data.target_channels) == (1, 3)
    assert {data.size(i) for i in test} == {(256, 256)}
    assert problems_of(data, test[::8]) == []


@pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no real GeoTIFFs")
def test_a_real_sentinel_pair_is_read_through_a_manifest(tmp_path):
    sample = Path(os.environ["SARBENCH_DATA"]) / "geotiff" / "sen1floods11_sample"
    for split in ("train", "test"):
        for side in ("S1", "S2"):
            (tmp_path / split).mkdir(exist_ok=True)
            (tmp_path / split / side).symlink_to(sample / side)
    rows = [f"{split}/S1/Spain_7370579_S1Hand.tif,{split}/S2/Spain_7370579_S2Hand.tif,{split}" for split in ("train", "test")]
    (tmp_path / "pairs.csv").write_text("\n".join(["source,target,split", *rows]))
    refused("float32", "int16", root=tmp_path)
    options = {"source_range": "-25,0", "target_range": "0,3000", "target_bands": "4,3,2", "source_bands": "1"}
    data = PairsFolder(tmp_path, **options, channels="repeat")
    pair = data.read(data.ids("test")[0])
    assert pair.source.shape == pair.target.shape == (3, 512, 512)
    assert -0.5 < pair.target.mean() < 0.5
    assert data.georeference(data.ids("test")[0]).crs.startswith("GEOGCS")
