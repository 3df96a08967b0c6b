"""What is in both splits is found, however it was changed; what only looks alike is not."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sarbench.bench.dataset import Georeference, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image, scale
from sarbench.bench.leaks import Leak, Overlap, cross_split_leaks, fingerprint, footprint, footprint_overlaps, verdict
from sarbench.bench.registry import load_dataset

REAL = Path(os.environ.get("SARBENCH_DATA", "/nowhere")) / "sar2opt_real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="SARBENCH_DATA has no sar2opt_real")


def land(seed: int, height: int = 128, width: int = 128, channels: int = 3) -> np.ndarray:
    """A random image (C, H, W) in [-1, 1] with structure at every scale."""
    rng = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) for sigma in (1.0, 3.0, 9.0)]
    field = np.tanh(sum(field / field.std() for field in fields) / 2)
    return np.repeat(0.8 * field[None], channels, 0).astype(np.float32)


def prints(images):
    return [fingerprint(Sample(None, image)) for image in images]


def found(train, test):
    return cross_split_leaks(prints(train), prints(test))


def as_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)


def recompressed(image: np.ndarray, quality: int = 50) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(as_bytes(image).squeeze()).save(file, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(file), np.float32) / 127.5 - 1
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


def shifted(image: np.ndarray) -> np.ndarray:
    return np.pad(image[:, 2:, :-2], ((0, 0), (0, 2), (2, 0)), mode="reflect")


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "not at all": lambda image: image,
    "brighter": lambda image: np.clip(image + 0.1, -1, 1),
    "less contrast": lambda image: 0.7 * image - 0.1,
    "gamma": lambda image: 2 * ((np.clip(image, -1, 1) + 1) / 2) ** 0.8 - 1,
    "JPEG": recompressed,
    "shifted by 2 px": shifted,
    "noise": lambda image: image + np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32),
}


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    image = image[:, :, ::-1] if orientation >= 4 else image
    return np.ascontiguousarray(np.rot90(image, orientation % 4, (1, 2)))


# --- Copies ----------------------------------------------------------------------------------------------------------


def test_an_equal_image_is_found_and_said_to_be_equal():
    train, test = [land(i) for i in range(5)], [land(9), land(3)]
    assert found(train, test) == [Leak("equal", "target", 3, 1)]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_changed_copy_is_found_in_every_orientation(change: str, size: int):
    train = [land(i, size, size) for i in range(8)]
    test = [turned(CHANGES[change](image).astype(np.float32), i) for i, image in enumerate(train)]
    leaks = found(train, test)
    assert {(leak.train, leak.test) for leak in leaks} == {(i, i) for i in range(8)}
    assert all(leak.kind in ("equal", "copy") and leak.correlation > 0.9 for leak in leaks)


def test_a_finding_tells_how_to_lay_the_copy_over_its_origin():
    image = land(0, 96, 160)
    for orientation in range(8):
        (leak,) = found([turned(image, orientation)], [recompressed(image, 90)])
        laid = turned(image, 4 * leak.mirrored + leak.quarters)
        assert np.array_equal(laid, turned(image, orientation))
        assert abs(leak.down_px) <= 2
        assert abs(leak.right_px) <= 2


def test_source_and_target_are_searched_apart():
    train = [fingerprint(Sample(land(1, channels=1), land(2)))]
    test = [fingerprint(Sample(land(2, channels=1), land(3))), fingerprint(Sample(land(1, channels=1), land(4)))]
    assert [(leak.part, leak.test) for leak in cross_split_leaks(train, test)] == [("source", 1)]


def test_samples_of_one_image_are_compared_with_their_own_domain():
    train = [fingerprint(Sample(land(1))), fingerprint(Sample(None, land(2)))]
    test = [fingerprint(Sample(land(2))), fingerprint(Sample(None, land(2)))]
    assert [(leak.part, leak.train, leak.test) for leak in cross_split_leaks(train, test)] == [("target", 1, 1)]


def test_a_list_against_itself_finds_every_image_once():
    images = [land(i) for i in range(6)]
    assert {(leak.train, leak.test) for leak in found(images, images)} == {(i, i) for i in range(6)}


def test_nothing_is_found_in_empty_lists():
    assert found([], [land(0)]) == found([land(0)], []) == []


# --- Shared ground ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("down", "right"), [(0, 128), (128, 0), (0, 127), (60, 90), (77, -101)])
def test_patches_that_overlap_by_a_part_are_found_with_their_offset(down: int, right: int):
    hits = []
    for seed in range(5):
        ground = land(seed, 500, 500)
        one, two = ground[:, 120:376, 120:376], ground[:, 120 + down : 376 + down, 120 + right : 376 + right]
        hits += found([one], [recompressed(two, 75)])
    assert len(hits) == 5
    share = (256 - abs(down)) * (256 - abs(right)) / 256**2
    assert all(leak.kind == "overlap" and abs(leak.share - share) < 0.03 for leak in hits)
    assert all(abs(leak.down_px - down) <= 4 and abs(leak.right_px - right) <= 4 for leak in hits)


def test_neighbours_that_only_touch_share_no_ground():
    ground = land(0, 256, 1024)
    tiles = [ground[:, :, left : left + 256] for left in range(0, 1024, 256)]
    assert found(tiles[:2], tiles[2:]) == []


@needs_real
def test_half_overlaps_cut_from_a_real_scene_are_found_and_nothing_else():
    scene = scale(read_image(REAL.parent / "cd_hetero_real" / "shuguang" / "t2.png"), 0, 255).transpose(2, 0, 1)
    corners = [(top, left) for top in range(0, scene.shape[1] - 255, 128) for left in range(0, scene.shape[2] - 255, 128)]
    patches = [scene[:, top : top + 256, left : left + 256] for top, left in corners]
    leaks = found(patches, [recompressed(patch, 75) for patch in patches])
    apart = {(leak.train, leak.test): np.abs(np.subtract(corners[leak.train], corners[leak.test])) for leak in leaks}
    assert all(max(distance) < 256 for distance in apart.values())
    halves = [
        (i, j) for i, a in enumerate(corners) for j, b in enumerate(corners) if sum(np.abs(np.subtract(a, b))) in (0, 128)
    ]
    assert set(halves) <= apart.keys()


@needs_real
def test_real_pairs_are_clean_across_the_split_and_the_overlaps_within_are_found():
    data = load_dataset("pairs")(REAL)
    train = [fingerprint(data.read(i)) for i in data.ids("train") if i[13:16] in ("050", "139", "089", "175", "003")]
    names = [i[-6:] for i in data.ids("train") if i[13:16] in ("050", "139", "089", "175", "003")]
    test = [fingerprint(data.read(i)) for i in data.ids("test")[:16]]
    assert cross_split_leaks(train, test) == []
    within = {(names[leak.train], names[leak.test]) for leak in cross_split_leaks(train, train) if leak.train < leak.test}
    # frames of two neighbouring orbits: one ground, two resamplings
    assert {("050_13", "139_20"), ("089_23", "175_30")} <= within
    assert len(within) <= 4


# --- What is no leak -------------------------------------------------------------------------------------------------


def noise(rng: np.random.Generator, sd: float, base: float = -0.8) -> np.ndarray:
    grey = np.rint((base + rng.normal(0, sd, (3, 128, 128)) + 1) * 127.5) / 127.5 - 1
    return np.clip(grey, -1, 1).astype(np.float32)


def swath_edge(rng: np.random.Generator, sd: float) -> np.ndarray:
    y, x = np.mgrid[:128, :128]
    ground = np.where(0.98 * x + 0.2 * y < rng.uniform(60, 64), -1.0, rng.normal(0, sd, (128, 128)))
    return np.repeat(ground[None], 3, 0).astype(np.float32)


def parcels(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:128, :128]
    u, v = rng.uniform(0, 64, 2)
    return np.repeat(np.where(((x + u) // 32 + (y + v) // 32) % 2, 0.3, -0.3)[None], 3, 0).astype(np.float32)


ALIKE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "water": lambda rng: noise(rng, 0.012),
    "still water": lambda rng: noise(rng, 0.002),
    "compressed water": lambda rng: recompressed(noise(rng, 0.012), 80),
    "no data": lambda rng: np.full((3, 128, 128), -1, np.float32),
    "edges of a swath": lambda rng: swath_edge(rng, 0.03),
    "regular parcels": parcels,
    "furrows": lambda rng: noise(rng, 0.05) + 0.2 * np.sin(np.arange(128) * 0.5 + rng.uniform(0, 6)).astype(np.float32),
    "land": lambda rng: land(int(rng.integers(1 << 30))),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_images_that_are_merely_alike_are_no_leak(kind: str):
    rng = np.random.default_rng(1)
    images = [ALIKE[kind](rng) for _ in range(60)]
    assert found(images[:40], images[40:]) == []


def test_one_logo_in_every_image_is_no_leak():
    logo = land(99, 40, 40)
    images = []
    for seed in range(60):
        image = land(seed, 256, 256)
        image[:, 20:60, 20:60] = logo
        images.append(image)
    assert found(images[:40], images[40:]) == []


@pytest.mark.parametrize("size", ["64", "128"])
def test_the_synthetic_dataset_is_clean(size: str):
    data = load_dataset("synthetic")(size_px=size, n_train="60", n_test="20")
    train, test = ([fingerprint(data.read(i)) for i in data.ids(split)] for split in ("train", "test"))
    assert cross_split_leaks(train, test) == []


# --- The fingerprint -------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_small_picklable_and_the_same_for_the_same_image():
    sample = Sample(land(0, 256, 256, 1), land(1, 256, 256))
    one, two = pickle.dumps(fingerprint(sample)), pickle.dumps(fingerprint(sample))
    assert one == two
    assert len(one) < 6000


def test_an_equal_print_needs_equal_shape_and_values():
    image = land(0)
    digests = [prints([x])[0].parts["target"].digest for x in (image, image.copy(), image[:1], image + np.float32(1e-6))]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (13, 40, 40), (3, 700, 31), (2, 2000, 1500)])
def test_any_size_and_channel_count_has_a_fingerprint(shape: tuple[int, int, int]):
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    assert [leak.kind for leak in found([image], [image])] == ["equal"] * (image.size > 1)


# --- Footprints ------------------------------------------------------------------------------------------------------


def wkt(code: int) -> str:
    import rasterio

    return rasterio.crs.CRS.from_epsg(code).to_wkt()


UTM33, UTM34 = wkt(32633), wkt(32634)


def place(x: float, y: float, crs: str = UTM33, angle: float = 0.0, size: int = 256):
    """The footprint of a square of 10 m pixels, turned about its top left corner."""
    cosine, sine = 10 * np.cos(angle), 10 * np.sin(angle)
    return footprint(Georeference(crs, (cosine, sine, x, sine, -cosine, y)), (size, size))


def shares(train, test):
    return {(overlap.train, overlap.test): overlap.share for overlap in footprint_overlaps(train, test)}


def test_footprints_that_overlap_are_found_with_their_share():
    here = place(500_000, 5_000_000)
    assert shares([here], [place(501_280, 5_000_000), place(501_280, 4_998_720), here]) == {
        (0, 0): 0.5,
        (0, 1): 0.25,
        (0, 2): 1,
    }
    assert shares([here], [place(500_100, 4_999_900, size=10)]) == {(0, 0): 1.0}  # of the smaller one


def test_footprints_that_touch_do_not_overlap_not_even_by_a_rounded_pixel():
    here = place(500_000, 5_000_000)
    beside = [place(502_560, 5_000_000), place(502_550, 5_000_000), place(502_560, 4_997_440), place(500_000, 5_002_560)]
    assert shares([here], beside) == {}
    assert shares([here], [place(502_540, 5_000_000)])


def test_turned_footprints_are_compared_as_they_lie_not_by_their_bounds():
    angle = 0.5
    here = place(500_000, 5_000_000, angle=angle)
    right = place(500_000 + 2560 * np.cos(angle), 5_000_000 + 2560 * np.sin(angle), angle=angle)
    half = place(500_000 + 1280 * np.cos(angle), 5_000_000 + 1280 * np.sin(angle), angle=angle)
    assert shares([here], [right, half]) == {(0, 1): pytest.approx(0.5, abs=0.002)}


def test_footprints_of_two_reference_systems_are_brought_to_one():
    from rasterio.warp import transform

    (x,), (y,) = transform(UTM33, UTM34, [800_000], [5_000_000])
    here = place(800_000, 5_000_000)
    found_shares = shares([here, place(300_000, 5_000_000)], [place(x, y, UTM34), place(x + 3000, y, UTM34)])
    assert found_shares.keys() == {(0, 0)}
    assert found_shares[0, 0] > 0.85  # the grids of the two zones are turned against each other


def test_images_without_a_place_overlap_nothing():
    assert footprint(None, (8, 8)) is None
    assert footprint(Georeference(UTM33, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)), (8, 8)) is None
    assert footprint(Georeference(UTM33, (0.0, 0.0, 5.0, 0.0, 0.0, 5.0)), (8, 8)) is None
    assert footprint_overlaps([None, place(0, 0)], [None]) == []


def test_a_reference_system_that_has_no_place_on_earth_is_a_clear_error():
    with pytest.raises(ContractError, match="bring all images to one system"):
        footprint_overlaps([place(0, 0, crs='LOCAL_CS["site",UNIT["metre",1]]')], [place(500_000, 5_000_000)])


def test_the_sweep_finds_what_comparing_all_with_all_finds():
    rng = np.random.default_rng(0)
    boxes = [(*rng.uniform(0, 60_000, 2), int(rng.choice([20, 64, 256]))) for _ in range(300)]
    places = [place(x, y, size=size) for x, y, size in boxes]

    def meets(a, b):
        shared = [min(p + 10 * a[2], q + 10 * b[2]) - max(p, q) for p, q in ((a[0], b[0]), (-a[1], -b[1]))]
        return min(shared) > 15.0

    expected = {(i, j) for i, a in enumerate(boxes[:200]) for j, b in enumerate(boxes[200:]) if meets(a, b)}
    assert expected
    assert shares(places[:200], places[200:]).keys() == expected


# --- The verdict -----------------------------------------------------------------------------------------------------


def test_a_split_is_verified_where_all_is_known_and_nothing_was_found():
    for overlaps in (None, []):
        told = verdict(["a", "b"], ["c"], [], overlaps)
        assert told.split == "verified"
        assert "2 scenes are in train and 1 in test, none in both" in told.reasons
        assert any("footprint" in reason for reason in told.reasons) == (overlaps == [])


def test_a_split_is_unverified_where_scenes_are_not_known_or_images_not_seen():
    told = verdict(["a", None], [None], [], None)
    assert (told.split, told.reasons[0]) == ("unverified", "the scene of 2 of 3 images is not known")
    assert verdict(["a"], ["b"], [], None, unseen=1).split == "unverified"


@pytest.mark.parametrize(
    ("scenes", "leaks", "overlaps", "says"),
    [
        (["a", "b"], [], None, "1 scenes are in train and in test: a"),
        (["b", "c"], [Leak("equal", "source", 0, 0), Leak("equal", "target", 0, 0)], None, "1 of 2 test images equal"),
        (["b", "c"], [Leak("copy", "target", 0, 1)], None, "changed copies of a training image (target)"),
        (["b", None], [Leak("overlap", "target", 0, 1, 0.5)], None, "show part of the ground"),
        (["b", "c"], [], [Overlap(0, 0, 0.5), Overlap(0, 1, 0.25)], "2 of 2 test images overlap training images"),
    ],
)
def test_anything_found_on_both_sides_is_a_leak_and_is_named(scenes, leaks, overlaps, says):
    told = verdict(["a"], scenes, leaks, overlaps)
    assert told.split == "leaking"
    assert says in told.reasons[0]
