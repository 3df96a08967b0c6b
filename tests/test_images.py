import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from sarbench.bench import images
from sarbench.bench.dataset import Georeference
from sarbench.bench.errors import ContractError
from sarbench.bench.images import (
    Window,
    as_rgb,
    find_images,
    quantise,
    read_georeference,
    read_header,
    read_image,
    read_labels,
    scale,
    write_image,
)

pytestmark = pytest.mark.filterwarnings("error")
UTM = Georeference(rasterio.crs.CRS.from_epsg(32733).to_wkt(), (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_200_000.0))


def size_of(path):
    header = read_header(path)
    return header.height, header.width


def noise(*shape, dtype=np.uint8, seed=0):
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max + 1, shape, dtype)


def write_tiff(path, pixels, **profile):
    height, width, count = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        shape = {"height": height, "width": width, "count": count, "dtype": pixels.dtype}
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
            file.write(pixels.transpose(2, 0, 1))
    return path


# --- Round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_png_comes_back_bit_exact(tmp_path, channels):
    pixels = noise(33, 47, channels)
    write_image(tmp_path / "a.png", pixels)
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    assert size_of(tmp_path / "a.png") == (33, 47)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_geotiff_comes_back_bit_exact_with_its_place(tmp_path, channels):
    pixels = noise(33, 47, channels)
    write_image(tmp_path / "a.tif", pixels, UTM)
    assert np.array_equal(read_image(tmp_path / "a.tif"), pixels)
    place = read_georeference(tmp_path / "a.tif")
    assert place.transform == UTM.transform
    assert rasterio.crs.CRS.from_wkt(place.crs) == rasterio.crs.CRS.from_epsg(32733)


def test_a_tiff_without_a_place_has_none_and_warns_of_nothing(tmp_path):
    write_image(tmp_path / "a.tif", noise(8, 8, 1))
    assert read_georeference(tmp_path / "a.tif") is None
    assert read_georeference(tmp_path / "a.png") is None


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    for suffix in (".png", ".tif"):
        for name in ("a", "b"):
            write_image(tmp_path / (name + suffix), noise(32, 32, 3), UTM)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_keeps_all_its_bits_and_the_order_of_its_channels(tmp_path, channels):
    pixels = noise(20, 30, channels, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1])  # OpenCV writes blue first
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    assert np.array_equal(read, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("layout", [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_tiff_of_every_type_comes_back_bit_exact(tmp_path, dtype, layout):
    pixels = noise(40, 50, 2, dtype=dtype)
    read = read_image(write_tiff(tmp_path / "a.tif", pixels, **layout))
    assert read.dtype == dtype
    assert np.array_equal(read, pixels)


def test_palettes_become_their_colours(tmp_path):
    colours = np.array([[10, 20, 30], [200, 100, 50], [0, 255, 1]], np.uint8)
    indices = noise(9, 9) % 3
    image = Image.fromarray(indices)
    image.putpalette(colours.ravel().tolist())
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        image.save(path)
        assert np.array_equal(read_image(path), colours[indices])
        assert read_header(path).channels == 3


def test_black_and_white_becomes_0_and_255(tmp_path):
    bits = noise(9, 9) > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png")[:, :, 0], np.where(bits, 255, 0))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("gray.png", lambda path: Image.fromarray(noise(8, 9)).save(path)),
        ("rgb.png", lambda path: Image.fromarray(noise(8, 9, 3)).save(path)),
        ("bits.png", lambda path: Image.fromarray(noise(8, 9) > 99).save(path)),
        ("palette.png", lambda path: Image.fromarray(noise(8, 9, 3)).quantize(8).save(path)),
        ("gray16.png", lambda path: cv2.imwrite(str(path), noise(8, 9, dtype=np.uint16))),
        ("rgb16.png", lambda path: cv2.imwrite(str(path), noise(8, 9, 3, dtype=np.uint16))),
        ("gray.jpg", lambda path: Image.fromarray(noise(8, 9)).save(path)),
        ("rgb.jpeg", lambda path: Image.fromarray(noise(8, 9, 3)).save(path)),
        ("float.tif", lambda path: write_tiff(path, noise(8, 9, 5, dtype="float32"))),
        ("upper.TIF", lambda path: write_tiff(path, noise(8, 9, 4, dtype="uint16"))),
    ],
)
def test_a_header_tells_what_decoding_gives(tmp_path, name, make):
    make(tmp_path / name)
    header, pixels = read_header(tmp_path / name), read_image(tmp_path / name)
    assert (header.height, header.width, header.channels) == pixels.shape == (8, 9, pixels.shape[2])
    assert header.dtype == pixels.dtype


def test_a_header_names_the_nodata_value(tmp_path):
    assert read_header(write_tiff(tmp_path / "a.tif", noise(8, 8, 1, dtype="int16"), nodata=-9999)).nodata == -9999
    assert read_header(write_tiff(tmp_path / "b.tif", noise(8, 8, 1))).nodata is None


# --- Quantisation ----------------------------------------------------------------------------------------------------


def test_quantise_takes_the_nearest_level_and_the_one_exact_tie_goes_to_even():
    images = np.random.default_rng(0).uniform(-1, 1, 10_000)
    assert np.abs(quantise(images) - 255 * (images + 1) / 2).max() <= 0.5 + 1e-9
    assert quantise(np.array([0.0])).tolist() == [128]  # 127.5
    assert quantise(np.array([-1e-9, 1e-9])).tolist() == [127, 128]
    assert quantise(np.array([-7.0, -1.0, 1.0, 7.0])).tolist() == [0, 0, 255, 255]


def test_quantise_brings_all_256_levels_back_from_float32():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantise((levels / 127.5 - 1.0).astype(np.float32)), levels)


# --- Hostile files ---------------------------------------------------------------------------------------------------


def refused(path, *words):
    with pytest.raises(ContractError) as error:
        read_image(path)
    assert str(path) in str(error.value)
    for word in words:
        assert word in str(error.value)


def encoded(kind):
    buffer = io.BytesIO()
    if kind == "png16":
        return cv2.imencode(".png", noise(40, 40, 3, dtype=np.uint16))[1].tobytes()
    options = {"progressive": True} if kind == "progressive" else {}
    Image.fromarray(noise(40, 40, 3)).save(buffer, "PNG" if kind == "png" else "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "png16", "jpeg", "progressive"])
def test_a_png_or_jpeg_cut_anywhere_is_refused(tmp_path, kind, capfd):
    data, path = encoded(kind), tmp_path / ("a.png" if "png" in kind else "a.jpg")
    cuts = {1, 7, 8, 20, 24, 25, 33, 50, *range(60, len(data), len(data) // 40), *range(len(data) - 24, len(data))}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        refused(path, "replace the file")
    path.write_bytes(data)
    read_image(path)
    captured = capfd.readouterr()
    assert not captured.out and not captured.err


@pytest.mark.parametrize("compress", [None, "deflate", "lzw", "packbits"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_tiff_cut_anywhere_is_refused(tmp_path, compress, interleave, dtype, capfd):
    path = tmp_path / "a.tif"
    write_tiff(path, noise(60, 70, 2, dtype=dtype), interleave=interleave, **({"compress": compress} if compress else {}))
    data = path.read_bytes()
    for cut in {1, 4, 8, 16, 100, 200, 300, *range(400, len(data), len(data) // 20), len(data) - 16, len(data) - 1}:
        path.write_bytes(data[:cut])
        refused(path, "replace the file")
    captured = capfd.readouterr()
    assert not captured.out and not captured.err


def test_a_tiff_whose_writer_died_before_all_blocks_is_refused_not_read_as_zeros(tmp_path):
    path = tmp_path / "a.tif"
    shape = {"height": 64, "width": 64, "count": 1, "dtype": "uint8", "tiled": True, "blockxsize": 32, "blockysize": 32}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", sparse_ok=True, **shape) as file:
            file.write(noise(32, 32), 1, window=rasterio.windows.Window(0, 0, 32, 32))
        with rasterio.open(path) as file:
            assert not file.read()[:, 32:, 32:].any()  # what GDAL does with it
    refused(path, "row 0, column 1", "missing")


def test_empty_text_and_missing_files_are_refused_by_name(tmp_path):
    for suffix in (".png", ".jpg", ".tif"):
        empty, text, missing = (tmp_path / (name + suffix) for name in ("empty", "text", "missing"))
        empty.touch()
        text.write_text("<html>404 not found</html>")
        refused(empty, "is an empty file")
        refused(text, "can't be read as an image")
        refused(missing, "does not exist")
        for path in (empty, text, missing):
            with pytest.raises(ContractError, match=path.stem):
                read_header(path)
    for name in ("empty.tif", "text.tif", "missing.tif"):
        with pytest.raises(ContractError, match=name):
            read_georeference(tmp_path / name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_counted(tmp_path, bad):
    pixels = noise(8, 8, 2, dtype="float32")
    pixels[3, 4, 1] = bad
    refused(write_tiff(tmp_path / "a.tif", pixels), "1 of 128 values are NaN or infinite")


def test_alpha_in_png_and_complex_values_in_tiff_are_refused_with_a_remedy(tmp_path):
    Image.fromarray(noise(8, 8, 4)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "alpha")
    refused(write_tiff(tmp_path / "a.tif", np.ones((8, 8, 1), np.complex64)), "complex", "amplitude")


def test_a_one_bit_tiff_is_refused_instead_of_read_as_almost_black(tmp_path):
    refused(write_tiff(tmp_path / "a.tif", noise(8, 8, 1) % 2, nbits=1), "fewer than 8 bits")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_decompression_bomb_is_one_clear_error_and_takes_no_memory(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b""))
    refused(path, "40000000000 pixels")
    with pytest.raises(ContractError, match="pixels"):
        read_header(path)
    shape = {"height": 200_000, "width": 200_000, "count": 1, "dtype": "uint8", "tiled": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", sparse_ok=True, blockxsize=4096, blockysize=4096, **shape
        ).close()
    refused(tmp_path / "a.tif", "200000x200000 px", "cut it into tiles")


def test_a_large_png_below_the_limit_warns_of_nothing(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_980, 10_980, 8, 2, 0, 0, 0))  # a whole Sentinel-2 tile
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    assert size_of(path) == (10_980, 10_980)


def test_a_tiff_that_is_a_link_to_other_files_is_refused(tmp_path):
    write_tiff(tmp_path / "secret.tif", noise(8, 8, 1))
    (tmp_path / "a.tif").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{tmp_path / "secret.tif"}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    refused(tmp_path / "a.tif", "can't be read as an image")


@pytest.mark.parametrize("kind", ["png", "png16", "jpeg", "tif"])
def test_flipped_bits_give_pixels_or_one_error_and_never_wrong_pixels_in_png(tmp_path, kind):
    path = tmp_path / {"jpeg": "a.jpg", "tif": "a.tif"}.get(kind, "a.png")
    if kind == "tif":
        write_image(path, noise(40, 40, 3))
        data = path.read_bytes()
    else:
        data = encoded(kind)
        path.write_bytes(data)
    whole = read_image(path)
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(data), 150):
        broken = bytearray(data)
        broken[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(broken))
        try:
            pixels = read_image(path)
        except ContractError:
            continue
        if kind in ("png", "png16"):
            assert np.array_equal(pixels, whole)


# --- Writing and finding ---------------------------------------------------------------------------------------------


def test_writing_refuses_what_would_be_lossy_or_is_not_8_bit(tmp_path):
    for name, pixels, words in (
        ("a.jpg", noise(8, 8, 3), "losslessly"),
        ("a.png", noise(8, 8, 2), "1 or 3 channels"),
        ("a.png", noise(8, 8, 3, dtype="float32"), "uint8"),
        ("a.png", noise(8, 8), "uint8"),
    ):
        with pytest.raises(ContractError, match=words):
            write_image(tmp_path / name, pixels)
    assert not list(tmp_path.iterdir())


def test_images_are_found_below_a_folder_sorted_without_hidden_or_other_files(tmp_path):
    for name in ("b/2.PNG", "b/10.tif", "a.jpg", "note.txt", ".part.png", "b/x.y.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_images(tmp_path)) == ["a", "b/10", "b/2", "b/x.y"]


def test_two_images_of_one_name_are_refused(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "a.tif").touch()
    with pytest.raises(ContractError, match=r"a\.png and .*a\.tif have one name"):
        find_images(tmp_path)
    with pytest.raises(ContractError, match="is not a folder"):
        find_images(tmp_path / "none")


@pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA is not set: no real GeoTIFFs")
def test_real_sentinel_tiles_are_read_with_their_place():
    folder = Path(os.environ["SARBENCH_DATA"]) / "geotiff"
    tiles = sorted((folder / "sen12mscr_s1_real").glob("*.tif"))
    assert len(tiles) == 3
    for tile in tiles:
        assert read_image(tile).shape == (256, 256, 2)
        assert read_image(tile).dtype == np.float32
        place = read_georeference(tile)
        assert rasterio.crs.CRS.from_wkt(place.crs).to_epsg() == 32737
        assert place.transform[0] == 10.0 and place.transform[4] == -10.0
    optical = folder / "sen1floods11_sample" / "S2" / "Spain_7370579_S2Hand.tif"
    assert read_image(optical).shape == (512, 512, 13)
    assert read_header(optical).nodata == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_window_and_bands_are_what_the_whole_image_has_there(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    write_image(tmp_path / f"a{suffix}", pixels)
    read = read_image(tmp_path / f"a{suffix}", bands=(3, 1), window=Window(5, 7, 20, 10))
    assert np.array_equal(read, pixels[5:25, 7:17][:, :, [2, 0]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("window", [Window(0, 0, 41, 3), Window(-1, 0, 2, 2), Window(0, 28, 2, 3)])
def test_a_window_that_leaves_the_image_is_refused(tmp_path: Path, suffix: str, window: Window) -> None:
    write_image(tmp_path / f"a{suffix}", np.zeros((40, 30, 1), np.uint8))
    with pytest.raises(ContractError, match="leaves it"):
        read_image(tmp_path / f"a{suffix}", window=window)
    with pytest.raises(ContractError, match="has 1 bands; asked for 2"):
        read_image(tmp_path / f"a{suffix}", bands=(2,))


def test_the_labels_of_a_palette_image_are_its_positions_not_its_colours(tmp_path: Path) -> None:
    positions = np.random.default_rng(0).integers(0, 34, (20, 30), np.uint8)
    image = Image.fromarray(positions, "P")
    image.putpalette(list(np.random.default_rng(1).integers(0, 256, 768)))
    image.save(tmp_path / "p.png")
    assert np.array_equal(read_labels(tmp_path / "p.png"), positions)
    assert np.array_equal(read_labels(tmp_path / "p.png", Window(1, 2, 3, 4)), positions[1:4, 2:6])
    with pytest.raises(ContractError, match="leaves it"):
        read_labels(tmp_path / "p.png", Window(1, 2, 30, 4))


def test_a_colour_image_is_no_class_map(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ContractError, match="is no class map: 3 bands"):
        read_labels(tmp_path / "a.png")


def test_a_palette_image_without_its_end_is_refused_by_name(tmp_path):
    labels = Image.fromarray(np.zeros((8, 8), np.uint8))
    labels.putpalette(list(range(256)) * 3)
    labels.save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-12])
    with pytest.raises(ContractError, match=r"a\.png can't be read as an image \(the end of the file is missing\)"):
        read_labels(tmp_path / "a.png")


def test_8_bit_colour_becomes_planes_in_minus_one_to_one_exactly_as_scale_does_it():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    image = as_rgb(Path("a.png"), pixels)
    assert np.array_equal(image, scale(pixels, 0, 255).transpose(2, 0, 1)) and image.flags.c_contiguous
    assert np.array_equal(quantise(image), pixels.transpose(2, 0, 1))


def test_grey_pixels_are_repeated_only_where_that_was_said():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    image = as_rgb(Path("a.png"), grey, grey=True)
    assert image.shape == (3, 3, 4) and np.array_equal(image[0], image[2])
    with pytest.raises(ContractError, match=r"a\.png holds 1 bands of uint8, expected a colour image"):
        as_rgb(Path("a.png"), grey)
    with pytest.raises(ContractError, match=r"a\.png holds 3 bands of uint16"):
        as_rgb(Path("a.png"), np.zeros((3, 4, 3), np.uint16))


def test_a_remembered_image_is_decoded_once_until_its_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    write_image(file, np.full((8, 8, 3), 5, np.uint8))
    decoded = []
    monkeypatch.setattr(images, "read_image", lambda path, **options: decoded.append(path) or read_image(path, **options))
    read = images.remembered(2)
    assert read(file, Window(0, 0, 4, 8)).shape == (4, 8, 3) and read(file, Window(4, 0, 4, 8)).max() == 5
    assert decoded == [file]
    write_image(file, np.full((9, 8, 3), 6, np.uint8))
    assert read(file, None).max() == 6
    with pytest.raises(ContractError, match=r"a\.png has 9x8 px; the window .* leaves it"):
        read(file, Window(4, 0, 8, 8))
    with pytest.raises(ContractError, match=r"b\.png does not exist"):
        read(tmp_path / "b.png", None)


def test_windows_of_a_tiff_are_decoded_alone(tmp_path):
    write_image(tmp_path / "a.tif", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert images.remembered(1)(tmp_path / "a.tif", Window(1, 2, 1, 1)).ravel().tolist() == [30, 31, 32]


def test_images_are_found_at_every_depth_by_their_names_in_order(tmp_path):
    for name in ("b/2.PNG", "b/1.png", "a.jpeg", "b/c/1.tif", ".hidden.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.jpeg")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "absent.png")
    found = find_images(tmp_path)
    assert list(found) == ["a", "b/1", "b/2", "b/c/1", "link"]
    assert found["b/2"] == tmp_path / "b" / "2.PNG"


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_file_of_another_number_of_bands_than_expected_is_refused(tmp_path, name):
    write_image(tmp_path / name, noise(6, 5, 3))
    assert read_image(tmp_path / name, count=3, bands=(2,)).shape == (6, 5, 1)
    with pytest.raises(ContractError, match=rf"{name} has 3 bands, expected 4"):
        read_image(tmp_path / name, count=4)


def test_8_bits_are_scaled_as_any_other_number():
    levels = np.arange(256)
    assert np.array_equal(scale(levels.astype(np.uint8), 20, 200), scale(levels, 20, 200))
