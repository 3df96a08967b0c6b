import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image
from sarbench.bench.strip import GAP_PX, compose, tiles


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image).astype(int)


def _flat(height, width, *colour):
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, len(colour)))


def test_tiles_stand_side_by_side_with_a_white_gap():
    pixels = _pixels(tiles([_flat(64, 48, 200, 0, 0), _flat(64, 48, 0, 0, 200)]))
    assert pixels.shape == (64, 48 + GAP_PX + 48, 3)
    assert np.abs(pixels[:, :40] - [200, 0, 0]).max() < 16
    assert np.abs(pixels[:, -40:] - [0, 0, 200]).max() < 16
    assert pixels[:, 48:52].mean() > 200


def test_a_large_image_is_cropped_at_its_centre_and_never_resized():
    image = np.zeros((100, 120, 3), np.uint8)
    image[34:66, 44:76] = 255
    assert _pixels(tiles([image], max_px=32)).min() > 250
    assert _pixels(tiles([image], max_px=64)).shape == (64, 64, 3)
    assert _pixels(tiles([image])).shape == (100, 120, 3)


def test_grey_images_become_rgb_and_further_bands_are_left_out():
    grey = _pixels(tiles([_flat(32, 32, 90)]))
    assert grey.shape == (32, 32, 3)
    assert np.abs(grey - 90).max() <= 2
    assert np.abs(_pixels(tiles([_flat(32, 32, 90, 255)])) - 90).max() <= 2
    assert np.abs(_pixels(tiles([_flat(32, 32, 10, 120, 200, 0, 255)])) - [10, 120, 200]).max() <= 4


def test_the_same_images_give_the_same_bytes():
    images = [np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8) for i in range(3)]
    assert tiles(images) == tiles(images)
    assert compose([("a", tiles(images))]) == compose([("a", tiles(images))])


def test_what_can_not_be_shown_is_refused():
    with pytest.raises(ContractError, match="no image"):
        tiles([])
    with pytest.raises(ContractError, match="no row"):
        compose([])
    with pytest.raises(ContractError, match="uint8"):
        tiles([np.zeros((8, 8, 3), np.float32)])


def test_a_row_that_is_no_jpeg_is_named():
    good = tiles([_flat(16, 16, 5, 5, 5)])
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    wide = io.BytesIO()
    Image.new("L", (9000, 1)).save(wide, "JPEG")
    for bad in (b"", b"not a picture", good[: len(good) // 2], png.getvalue(), wide.getvalue()):
        with pytest.raises(ContractError, match="the tiles of cyclegan"):
            compose([("source", good), ("cyclegan", bad)])


def test_rows_stand_below_each_other_with_their_labels_at_the_left():
    red, blue = (tiles([_flat(48, 48, *colour)] * 2) for colour in ((200, 0, 0), (0, 0, 200)))
    pixels = _pixels(compose([("source", red), ("a_long_method_name", blue)]))
    width = 48 * 2 + GAP_PX
    label_px = pixels.shape[1] - width
    assert pixels.shape[0] == 48 * 2 + GAP_PX
    assert np.abs(pixels[8:40, label_px + 8 : label_px + 40] - [200, 0, 0]).max() < 24
    assert np.abs(pixels[60:92, label_px + 8 : label_px + 40] - [0, 0, 200]).max() < 24
    labels = pixels[:, : label_px - GAP_PX].min(axis=2) < 100
    ink = labels[:48].any(axis=0).sum(), labels[52:].any(axis=0).sum()
    assert 20 < ink[0] < ink[1]
    assert labels.any(axis=1).sum() > 20


@pytest.mark.skipif("SARBENCH_DATA" not in os.environ, reason="SARBENCH_DATA does not name the folder of real images")
def test_real_pairs_make_a_picture_of_the_expected_size():
    root = Path(os.environ["SARBENCH_DATA"]) / "sar2opt_real" / "test"
    sar, optical = ([read_image(file) for file in sorted((root / name).iterdir())[:4]] for name in ("sar", "opt"))
    pixels = _pixels(compose([("source", tiles(sar)), ("target", tiles(optical))]))
    assert pixels.shape[0] == 2 * 192 + GAP_PX
    assert pixels.shape[1] > 4 * 192
