import pickle
from dataclasses import replace

import numpy as np
import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise
from sarbench.bench.registry import load_dataset
from sarbench.datasets.synthetic import (
    BUILDING,
    CLASSES,
    CORNER_DB,
    CROP,
    FOREST,
    GSD_M,
    INCIDENCE_DEG,
    NOISE_FLOOR_DB,
    ROAD,
    SAR_RANGE_DB,
    SOIL,
    WATER,
    Landscape,
    Synthetic,
    cast_shadow,
    fractal_field,
    landscape,
    mean_intensity,
    optical_image,
    sar_image,
    speckle,
    to_unit,
)


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def flat(size_px=64, label=SOIL, db=-12.0):
    zeros = np.zeros((size_px, size_px))
    return Landscape(zeros, zeros.copy(), np.full(zeros.shape, label), np.full((3, *zeros.shape), 0.4), zeros + db, zeros, 0.0)


def with_house(height_m=10.0, angle=0.0):
    land = flat()
    land.object_m[20:40, 30:36] = height_m
    land.labels[20:40, 30:36] = BUILDING
    return replace(land, angle=angle)


@pytest.fixture(scope="module")
def many():
    data = Synthetic(size_px="96", n_train="60")
    return [data.read(i) for i in data.ids("train")]


# --- The dataset -----------------------------------------------------------------------------------------------------


def test_samples_are_float32_in_plus_minus_one_on_the_levels_of_8_bits(many):
    for sample in many:
        assert sample.source.shape == (1, 96, 96) and sample.target.shape == (3, 96, 96)
        for image in (sample.source, sample.target):
            assert image.dtype == np.float32 and image.flags.c_contiguous
            assert image.min() >= -1.0 and image.max() <= 1.0
            assert np.array_equal((quantise(image) / 127.5 - 1.0).astype(np.float32), image)
        assert sample.aux["labels"].shape == (1, 96, 96)
        assert 0 <= sample.aux["labels"].min() <= sample.aux["labels"].max() < len(CLASSES)


def test_the_same_seed_gives_the_same_bytes_in_any_order():
    one, two = Synthetic(size_px="48"), Synthetic(size_px="48")
    ids = one.ids("train")[:4]
    first = [one.read(i) for i in ids]
    second = [pickle.loads(pickle.dumps(two)).read(i) for i in reversed(ids)][::-1]
    for a, b in zip(first, second, strict=True):
        assert a.source.tobytes() == b.source.tobytes() and a.target.tobytes() == b.target.tobytes()
        assert a.aux["labels"].tobytes() == b.aux["labels"].tobytes()


def test_scenes_and_seeds_differ():
    data, other = Synthetic(size_px="48"), Synthetic(size_px="48", seed="1")
    images = [data.read(i).target.tobytes() for i in (*data.ids("train")[:20], *data.ids("test")[:20])]
    assert len(set(images)) == 40
    assert other.read("train/0000000").target.tobytes() != images[0]


def test_the_number_of_looks_changes_the_speckle_and_nothing_else():
    one, four = (Synthetic(size_px="48", looks=n).read("train/0000003") for n in ("1", "4"))
    assert np.array_equal(one.target, four.target)
    assert not np.array_equal(one.source, four.source)


def test_train_and_test_are_other_scenes_and_the_test_scenes_do_not_move():
    small, large = Synthetic(size_px="32", n_train="5", n_test="3"), Synthetic(size_px="32", n_train="50", n_test="4")
    assert (len(small.ids("train")), len(small.ids("test"))) == (5, 3)
    for data in (small, large):
        scenes = [{data.scene(i) for i in data.ids(split)} for split in ("train", "test")]
        assert not scenes[0] & scenes[1]
        assert list(data.ids("train")) == sorted(set(data.ids("train")))
    assert np.array_equal(small.read("test/0000002").target, large.read("test/0000002").target)


@pytest.mark.parametrize("size_px", [16, 17, 64, 100, 300])
def test_any_size_can_be_made(size_px):
    data = Synthetic(size_px=str(size_px))
    assert data.read("test/0000000").target.shape == (3, size_px, size_px)
    assert data.size("test/0000000") == (size_px, size_px)


def test_the_source_band_is_repeated_where_that_is_asked_for():
    one, three = Synthetic(size_px="32"), Synthetic(size_px="32", channels="repeat")
    assert (one.source_channels, three.source_channels, three.target_channels) == (1, 3, 3)
    assert np.array_equal(three.read("train/0000000").source, np.repeat(one.read("train/0000000").source, 3, axis=0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "64"}, "no option 'size'; it knows: size_px, n_train"),
        ({"size_px": "15"}, "size_px=15: give an integer from 16 to 4096"),
        ({"looks": "0"}, "looks=0"),
        ({"n_test": "x"}, "n_test=x"),
        ({"seed": "-1"}, "seed=-1"),
        ({"channels": "3"}, "choose from none, repeat"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(options, words):
    with pytest.raises(ContractError) as error:
        Synthetic(**options)
    assert words in str(error.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ContractError, match="reads no folder"):
        Synthetic(tmp_path)


def test_the_registry_finds_it():
    assert load_dataset("synthetic") is Synthetic


# --- The land --------------------------------------------------------------------------------------------------------


def test_a_fractal_field_has_variance_one_and_the_slope_asked_for():
    fields = np.stack([fractal_field(rng(i), 256, 3.0, 1e6) for i in range(8)])
    rough = np.stack([fractal_field(rng(i), 256, 2.0, 16.0) for i in range(8)])
    assert np.isclose(rough.var(), 1.0, rtol=0.1)
    window = np.hanning(256)[:, None] * np.hanning(256)
    power = (np.abs(np.fft.fft2(fields * window)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    bands = [(radius > f) & (radius < 1.2 * f) for f in (0.04, 0.16)]
    slope = np.log(power[bands[0]].mean() / power[bands[1]].mean()) / np.log(4.0)
    assert np.isclose(slope, 3.0, atol=0.25)


def test_every_class_occurs_and_none_swallows_the_rest(many):
    labels = np.stack([sample.aux["labels"] for sample in many])
    share = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert share.min() > 0.005
    assert share.max() < 0.65
    assert share[FOREST] > 0.1 and share[WATER] > 0.02


def test_water_is_flat_and_bears_no_houses():
    for seed in range(30):
        land = landscape(rng(seed), 96)
        water = land.labels == WATER
        assert np.all(land.terrain_m[water] == 0.0) and np.all(land.object_m[water] == 0.0)
        assert np.all(land.object_m[land.labels == BUILDING] >= 5.0)
        assert land.colour.min() > 0.0 and land.colour.max() < 1.0


# --- The SAR ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [1, 4, 16])
def test_intensity_over_flat_ground_varies_by_one_over_the_root_of_the_looks(looks):
    land = flat(512)
    intensity = 10.0 ** (sar_image(rng(), land, looks) / 10.0)
    assert np.isclose(intensity.std() / intensity.mean(), looks**-0.5, rtol=0.02)
    floor = 10 ** (NOISE_FLOOR_DB / 10)
    assert np.isclose(intensity.mean(), 10**-1.2 + floor, rtol=0.01)


def test_speckle_is_gamma_with_mean_one_and_independent_pixels():
    looks = 3
    values = speckle(rng(), (400, 400), looks)
    assert np.isclose(values.mean(), 1.0, rtol=0.01)
    centred = values - values.mean()
    assert np.isclose((centred**3).mean() / values.std() ** 3, 2.0 / looks**0.5, rtol=0.06)  # skewness 2 / sqrt(L)
    assert abs((centred[:, 1:] * centred[:, :-1]).mean() / values.var()) < 0.01


def test_mean_backscatter_rises_from_water_over_fields_and_forest_to_houses(many):
    labels = np.stack([sample.aux["labels"] for sample in many])
    low, high = SAR_RANGE_DB
    values_db = (np.stack([sample.source for sample in many]) + 1.0) / 2.0 * (high - low) + low
    mean = [(10.0 ** (values_db[labels == k] / 10.0)).mean() for k in range(len(CLASSES))]
    assert mean[WATER] < mean[SOIL] < mean[CROP] < mean[FOREST] < mean[BUILDING]
    median_db = [np.median(values_db[labels == k]) for k in range(len(CLASSES))]  # without the houses' layover
    assert median_db[WATER] + 4.0 < median_db[ROAD] + 2.0 < median_db[SOIL] + 1.0 < median_db[CROP] < median_db[FOREST] - 2.0


def test_sar_tells_the_class_but_not_all_of_it(many):
    """A local mean of 5 x 5 px and one threshold a border: better than the largest class, far from perfect."""
    kinds = {WATER: 0, SOIL: 1, CROP: 1, FOREST: 2}
    smooth, wanted = [], []
    for sample in many:
        windows = np.lib.stride_tricks.sliding_window_view(sample.source[0], (5, 5))
        labels = sample.aux["labels"][0, 2:-2, 2:-2]
        for label, kind in kinds.items():
            smooth.append(windows.mean(axis=(2, 3))[labels == label])
            wanted.append(np.full(int((labels == label).sum()), kind))
    smooth, wanted = np.concatenate(smooth), np.concatenate(wanted)
    centres = np.array([smooth[wanted == kind].mean() for kind in range(3)])
    found = np.abs(smooth[:, None] - centres).argmin(axis=1)
    recall = np.array([(found[wanted == kind] == kind).mean() for kind in range(3)])
    assert recall.mean() > 0.6  # chance: 1 / 3
    assert recall.mean() < 0.95


def test_ground_that_faces_the_sensor_is_brighter_by_the_square_of_the_cosine():
    land = flat()
    slope = np.radians(10.0)
    x = np.arange(64.0) * GSD_M
    for sign in (1.0, -1.0):  # the sensor is on the left: rising ground faces it
        tilted = replace(land, terrain_m=np.broadcast_to(sign * np.tan(slope) * x, (64, 64)))
        expected = (np.cos(np.radians(INCIDENCE_DEG) - sign * slope) / np.cos(np.radians(INCIDENCE_DEG))) ** 2
        floor = 10 ** (NOISE_FLOOR_DB / 10)
        gain = (mean_intensity(tilted)[30, 30] - floor) / (mean_intensity(land)[30, 30] - floor)
        assert np.isclose(gain, expected)


def test_a_house_has_layover_towards_the_sensor_a_bright_foot_and_a_shadow_behind():
    height_m = 10.0
    intensity, ground = mean_intensity(with_house(height_m)), mean_intensity(flat())[0, 0]
    row = intensity[30]
    layover_px = round(height_m / np.tan(np.radians(INCIDENCE_DEG)) / GSD_M)
    shadow_px = int(height_m * np.tan(np.radians(INCIDENCE_DEG)) / GSD_M)
    assert np.all(row[30 - layover_px : 30] > 2.0 * ground)
    assert np.isclose(row[: 30 - layover_px], ground).all()
    assert row.argmax() == 30 and row[30] > 10 ** (CORNER_DB / 10)
    assert np.allclose(row[36 : 36 + shadow_px], 10 ** (NOISE_FLOOR_DB / 10))
    assert np.isclose(row[36 + shadow_px + 1 :], ground).all()
    assert np.isclose(intensity[10], ground).all()


def test_the_bright_foot_fades_as_the_wall_turns_away():
    feet = [mean_intensity(with_house(angle=np.radians(degrees)))[30, 30] for degrees in (0, 10, 20, 40)]
    assert feet == sorted(feet, reverse=True) and feet[0] > 8.0 * feet[3]


def test_decibels_are_clipped_to_the_stated_range():
    low, high = SAR_RANGE_DB
    assert to_unit(np.array([low - 9, low, (low + high) / 2, high, high + 9])).tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]


# --- The optical image -----------------------------------------------------------------------------------------------


def test_a_shadow_falls_away_from_the_sun_and_is_as_long_as_the_sun_is_low():
    height_m = np.zeros((40, 40))
    height_m[20, 20] = 5.0 * GSD_M
    sun = (np.sqrt(0.5), 0.0, np.sqrt(0.5))  # in the east, 45 degrees high
    shadow = cast_shadow(height_m, sun)
    assert np.flatnonzero(shadow[20]).tolist() == [16, 17, 18, 19]
    assert shadow.sum() == 4


def test_slopes_towards_the_sun_are_brighter():
    land = flat()
    y = np.arange(64.0)[:, None] * np.ones(64) * GSD_M
    means = []
    for tilt in (-0.1, 0.0, 0.1):  # the sun is in the south-east; y points south, so ground that falls with y faces it
        tilted = replace(land, terrain_m=-tilt * y)
        means.append(optical_image(rng(), tilted).mean())
    assert means[0] < means[1] < means[2]


def test_fields_of_one_backscatter_differ_in_colour():
    """The colour of a parcel is not a function of its backscatter: what makes the task ill-posed, as the real one is."""
    colours, decibels = [], []
    for seed in range(20):
        land = landscape(rng(seed), 96)
        field = (land.labels == CROP) & (land.object_m == 0.0)
        colours.append(land.colour[:, field])
        decibels.append(land.backscatter_db[field])
    colour, value_db = np.concatenate(colours, axis=1), np.concatenate(decibels)
    narrow = np.abs(value_db + 11.5) < 0.2
    assert colour[:, narrow].std(axis=1).min() > 0.5 * colour.std(axis=1).min()
