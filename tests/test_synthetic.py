import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise
from sarbench.bench.registry import card_of, load_dataset
from sarbench.datasets.synthetic import OPTIONS, SCENES, Synthetic
from sarbench.datasets.world.land import GSD_M
from sarbench.datasets.world.materials import BUILDING, CLASSES, CROP, FOREST, GRASS, SOIL, WATER

TASKS = ("sar", "season", "render")


def everything(data, sample_id):
    """All that a sample has, by name."""
    return data.read(sample_id, ("source", "target", *data.aux)).parts()


def digest(data, ids):
    found = hashlib.sha256()
    for sample_id in ids:
        for name, array in sorted(everything(data, sample_id).items()):
            found.update(f"{sample_id} {name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def all_ids(data):
    return [i for split in ("train", "test") for i in (*data.ids(split), *data.target_ids(split))]


@pytest.fixture(scope="module")
def many():
    data = Synthetic(size_px="96", n_train="60")
    return [data.read(i, ("source", "target", "labels")) for i in data.ids("train")]


# --- What a sample is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_images_are_float32_in_plus_minus_one_on_the_levels_of_8_bits(task):
    data = Synthetic(task=task, size_px="64", n_train="6", n_test="2")
    for sample_id in all_ids(data):
        for name, array in everything(data, sample_id).items():
            assert array.flags.c_contiguous and array.shape[1:] == (64, 64)
            if name in data.aux and not name.endswith(("_as_source", "_as_target")):
                assert array.dtype == np.int64 and array.shape[0] == 1
                assert 0 <= array.min() <= array.max() < (2 if name == "change" else len(CLASSES))
                continue
            assert array.dtype == np.float32 and array.min() >= -1.0 and array.max() <= 1.0
            assert array.shape[0] == (data.source_channels if name == "source" else data.target_channels)
            assert np.array_equal((quantise(array) / 127.5 - 1.0).astype(np.float32), array)


@pytest.mark.parametrize("task", TASKS)
def test_only_what_is_asked_for_is_there(task):
    data = Synthetic(task=task, size_px="32", n_train="1", n_test="1")
    whole = {i: everything(data, i) for i in all_ids(data)}
    for sample_id, parts in whole.items():
        assert set(data.read(sample_id).parts()) == set(parts) & {"source", "target"}
        assert data.read(sample_id, ()).parts() == {}
        for name, array in parts.items():
            alone = data.read(sample_id, (name,)).parts()
            assert set(alone) == {name} and np.array_equal(alone[name], array)


def test_an_image_that_is_not_asked_for_is_not_made(monkeypatch):
    data = Synthetic(size_px="32")
    monkeypatch.setattr("sarbench.datasets.world.scene.Scene.sar", None)
    monkeypatch.setattr("sarbench.datasets.world.scene.Scene.optical", None)
    assert data.read("train/0000000", ("labels",)).aux["labels"].shape == (1, 32, 32)


@pytest.mark.parametrize("size_px", [16, 17, 64, 129, 300])
@pytest.mark.parametrize("task", TASKS)
def test_any_size_can_be_made(task, size_px):
    data = Synthetic(task=task, size_px=str(size_px), n_train="1", n_test="1")
    assert data.read(data.ids("test")[0]).source.shape[1:] == (size_px, size_px)
    assert data.read(data.target_ids("test")[0]).target.shape == (3, size_px, size_px)
    assert data.size(data.ids("test")[0]) == (size_px, size_px)


@pytest.mark.slow
def test_the_largest_size_can_be_made():
    sample = Synthetic(size_px="4096").read("test/0000000", ("source", "target", "labels"))
    assert sample.source.shape == (1, 4096, 4096) and sample.target.shape == (3, 4096, 4096)
    assert set(np.unique(sample.aux["labels"])) >= {SOIL, CROP, GRASS, FOREST, BUILDING}


@pytest.mark.parametrize("task", TASKS)
def test_presets_are_chosen_by_scenes_that_no_board_scores(task):
    scored, chosen_by = (Synthetic(task=task, size_px="48", n_train="4", n_test="4", split=s) for s in ("test", "validation"))
    scenes = {
        name: {data.scene(i) for split in splits for i in (*data.ids(split), *data.target_ids(split))}
        for name, data, splits in (
            ("train", scored, ["train"]),
            ("test", scored, ["test"]),
            ("validation", chosen_by, ["test"]),
            ("train again", chosen_by, ["train"]),
        )
    }
    assert scenes["train"] == scenes["train again"]
    assert not scenes["train"] & scenes["test"]
    assert not scenes["train"] & scenes["validation"]
    assert not scenes["test"] & scenes["validation"]


# --- The same on every machine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bytes_in_any_order_for_any_number_of_scenes(task):
    one, two = (Synthetic(task=task, size_px="48", n_train=n, n_test=n, season="any") for n in ("4", "9"))
    ids = all_ids(one)
    first = {i: digest(one, [i]) for i in ids}
    second = {i: digest(pickle.loads(pickle.dumps(two)), [i]) for i in reversed(ids)}
    assert first == second
    assert len(set(first.values())) == len(set(ids))


def test_another_process_makes_the_same_bytes():
    code = (
        "import hashlib; from sarbench.datasets.synthetic import Synthetic as S; "
        "print(hashlib.sha256(S(size_px='48').read('train/0000003').target.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = hashlib.sha256(Synthetic(size_px="48").read("train/0000003").target.tobytes()).hexdigest()
    assert there == here


GOLDEN = {
    "sar": "79279d13acfe5f056b4c7555a81ad8be77812c8abec939916174f73a9a5aa504",
    "season": "b92a1ed5da3389c472f7ef27c858da6952940fa4b55c0eaa74264aa1792f2362",
    "render": "d169d27bb2b13ddbed5b37ff8944a01894634f9e4f1a5e704162e681ddc73aa3",
}


@pytest.mark.parametrize("task", TASKS)
def test_every_machine_and_every_numpy_makes_these_bytes(task):
    """Records of other machines are compared by the hash of their data; change this only with the world itself."""
    data = Synthetic(task=task, size_px="128", n_train="6", n_test="2", season="any")
    assert digest(data, sorted(set(all_ids(data)))) == GOLDEN[task]


# --- Scenes ----------------------------------------------------------------------------------------------------------


def test_scenes_and_seeds_differ():
    data, other = Synthetic(size_px="48"), Synthetic(size_px="48", seed="1")
    images = [data.read(i).target.tobytes() for i in (*data.ids("train")[:20], *data.ids("test")[:20])]
    assert len(set(images)) == 40
    assert other.read("train/0000000").target.tobytes() != images[0]


def test_no_two_scenes_are_alike():
    data = Synthetic(size_px="64", n_train="200")
    small = []
    for sample_id in data.ids("train"):
        thumbnail = data.read(sample_id, ("target",)).target.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).ravel()
        thumbnail = thumbnail - thumbnail.mean()
        small.append(thumbnail / np.linalg.norm(thumbnail))
    alike = np.stack(small) @ np.stack(small).T
    np.fill_diagonal(alike, 0.0)
    assert alike.max() < 0.85


@pytest.mark.parametrize("task", TASKS)
def test_train_and_test_are_other_scenes_and_the_test_scenes_do_not_move(task):
    small, large = (Synthetic(task=task, size_px="32", n_train=n, n_test=m) for n, m in (("5", "3"), ("50", "4")))
    assert (len(small.ids("train")), len(small.target_ids("test"))) == (5, 3)
    for data in (small, large):
        scenes = [{data.scene(i) for i in (*data.ids(s), *data.target_ids(s))} for s in ("train", "test")]
        assert not scenes[0] & scenes[1]
        for ids in (data.ids("train"), data.target_ids("test")):
            assert list(ids) == sorted(set(ids))
    last = small.target_ids("test")[-1]
    assert np.array_equal(small.read(last, ("target",)).target, large.read(last, ("target",)).target)


@pytest.mark.slow
def test_ids_stay_sorted_and_scenes_apart_up_to_the_most_there_can_be():
    data = Synthetic(n_train=str(SCENES), n_test="1", unpaired="yes", size_px="16")
    last, other = data.ids("train")[-1], data.ids("test")[0]
    assert len({data.scene(last), data.scene(other), data.scene(data.target_ids("train")[0])}) == 3
    assert data.ids("train") == tuple(sorted(data.ids("train")))


# --- SAR to optical --------------------------------------------------------------------------------------------------


def test_every_class_occurs_and_none_swallows_the_rest(many):
    share = np.bincount(np.concatenate([sample.aux["labels"].ravel() for sample in many]), minlength=len(CLASSES))
    share = share / share.sum()
    assert share.min() > 0.006 and share.max() < 0.5
    assert share[WATER] > 0.02 and share[FOREST] > 0.1


def test_the_sar_image_does_not_know_the_season():
    images = [Synthetic(size_px="64", season=season).read("train/0000002") for season in ("summer", "winter", "any")]
    assert len({image.source.tobytes() for image in images}) == 1
    assert images[0].target.tobytes() != images[1].target.tobytes()


def test_any_season_draws_all_four():
    data = Synthetic(size_px="16", season="any", n_train="60")
    known = {s: Synthetic(size_px="16", season=s, n_train="60") for s in ("spring", "summer", "autumn", "winter")}
    found = []
    for i in data.ids("train"):
        image = data.read(i, ("target",)).target
        found += [season for season, other in known.items() if np.array_equal(image, other.read(i, ("target",)).target)]
    assert len(found) == 60 and min(found.count(season) for season in known) > 5


def test_the_number_of_looks_changes_the_speckle_and_nothing_else():
    one, many_looks = (Synthetic(size_px="64", looks=n).read("train/0000003") for n in ("1", "64"))
    assert np.array_equal(one.target, many_looks.target)
    rough = [np.abs(np.diff(image.source, axis=2)).mean() for image in (one, many_looks)]
    assert rough[0] > 2.0 * rough[1]


def test_the_source_band_is_repeated_where_that_is_asked_for():
    one, three = Synthetic(size_px="32"), Synthetic(size_px="32", channels="repeat")
    assert (one.source_channels, three.source_channels, three.target_channels) == (1, 3, 3)
    assert np.array_equal(three.read("train/0000000").source, np.repeat(one.read("train/0000000").source, 3, axis=0))
    season = Synthetic(size_px="32", channels="repeat", task="season")  # has three already
    assert season.read("train/0000000").source.shape == (3, 32, 32)


def classified(train, test):
    """A Gaussian a class, fitted to 5 x 5 px means of the decibels; its classes and the true ones, over the test images."""

    def pixels(samples):
        windows = [np.lib.stride_tricks.sliding_window_view(s.source[0], (5, 5)).mean(axis=(2, 3)) for s in samples]
        labels = [s.aux["labels"][0, 2:-2, 2:-2] for s in samples]
        return np.concatenate([w.ravel() for w in windows]), np.concatenate([k.ravel() for k in labels])

    values, labels = pixels(train)
    mean, spread = (np.array([f(values[labels == k]) for k in range(len(CLASSES))]) for f in (np.mean, np.std))
    prior = np.bincount(labels, minlength=len(CLASSES)) / len(labels)
    values, labels = pixels(test)
    score = -(((values[:, None] - mean) / spread) ** 2) / 2.0 - np.log(spread) + np.log(prior)
    return score.argmax(axis=1), labels


def test_sar_tells_the_class_but_not_all_of_it(many):
    found, labels = classified(many[:40], many[40:])
    accuracy, largest = (found == labels).mean(), np.bincount(labels).max() / len(labels)
    assert largest + 0.05 < accuracy < 0.75
    assert (found[labels == WATER] == WATER).mean() > 0.5


def test_the_colour_of_a_class_can_be_guessed_but_not_its_pixels(many):
    """The true class map, each class in its mean colour, is far from a perfect translation."""
    labels = np.concatenate([sample.aux["labels"].ravel() for sample in many])
    target = np.concatenate([sample.target.reshape(3, -1) for sample in many], axis=1)
    left = np.zeros(3)
    for k in range(len(CLASSES)):
        left += target[:, labels == k].var(axis=1) * (labels == k).mean()
    explained = 1.0 - left / target.var(axis=1)
    assert explained.min() > 0.2 and explained.max() < 0.8


# --- Two dates -------------------------------------------------------------------------------------------------------


def test_change_is_where_the_classes_of_the_two_dates_differ():
    data = Synthetic(task="season", size_px="96", n_train="50")
    shares = []
    for sample_id in data.ids("train"):
        aux = data.read(sample_id, ("labels", "labels_2", "change")).aux
        assert np.array_equal(aux["change"] == 1, aux["labels"] != aux["labels_2"])
        shares.append(aux["change"].mean())
    assert 0.01 < np.mean(shares) < 0.2 and np.median(shares) > 0.0


def test_the_first_date_does_not_depend_on_the_second():
    winter, autumn = (Synthetic(task="season", size_px="64", season_2=season) for season in ("winter", "autumn"))
    for sample_id in winter.ids("train")[:4]:
        one, two = everything(winter, sample_id), everything(autumn, sample_id)
        for name in ("source", "labels", "labels_2", "change"):
            assert np.array_equal(one[name], two[name])
        assert not np.array_equal(one["target"], two["target"])


def test_the_season_task_begins_with_the_image_that_sar_ends_with():
    sar, season = Synthetic(size_px="64"), Synthetic(size_px="64", task="season")
    one, two = everything(sar, "train/0000005"), everything(season, "train/0000005")
    assert np.array_equal(one["target"], two["source"]) and np.array_equal(one["labels"], two["labels"])


def test_changed_land_differs_more_than_unchanged_land_when_the_season_is_the_same():
    data = Synthetic(task="season", size_px="128", season="summer", season_2="summer", n_train="30")
    changed, same = [], []
    for sample_id in data.ids("train"):
        parts = everything(data, sample_id)
        apart = np.abs(parts["source"] - parts["target"]).mean(axis=0)
        changed.append(apart[parts["change"][0] == 1])
        same.append(apart[parts["change"][0] == 0])
    assert np.concatenate(changed).mean() > 4.0 * np.concatenate(same).mean()


def test_the_right_translation_shows_the_land_of_the_first_date_as_the_second_date_looks():
    data = Synthetic(task="season", size_px="96", season="summer", season_2="winter", n_train="12")
    for sample_id in data.ids("train"):
        parts = everything(data, sample_id)
        changed = parts["change"][0] == 1
        near = np.zeros_like(changed)  # shadows reach beyond what was built
        for down, right in np.ndindex(21, 21):
            near |= np.roll(changed, (down - 10, right - 10), (0, 1))
        for right_answer, looks_like, other in (
            ("source_as_target", "target", "source"),
            ("target_as_source", "source", "target"),
        ):
            gap = np.abs(parts[right_answer] - parts[looks_like]).mean(axis=0)
            assert gap[~near].mean() < 0.5 * np.abs(parts[other] - parts[looks_like]).mean()
            assert not changed.any() or gap[changed].mean() > gap[~near].mean()


# --- Unpaired domains ------------------------------------------------------------------------------------------------


def test_paired_is_the_rule_and_its_card_says_so():
    data = Synthetic()
    assert data.card.paired and data.card == Synthetic.card
    assert data.ids("test") == data.target_ids("test")
    assert card_of("datasets", "synthetic")["gsd_m"] == GSD_M


@pytest.mark.parametrize("options", [{"unpaired": "yes"}, {"task": "season", "unpaired": "yes"}, {"task": "render"}])
def test_unpaired_domains_show_other_scenes_and_their_card_says_so(options):
    data = Synthetic(size_px="32", n_train="6", n_test="3", **options)
    assert not data.card.paired and Synthetic.card.paired
    assert pickle.loads(pickle.dumps(data)).card == data.card
    every = [set(data.ids(s)) for s in ("train", "test")] + [set(data.target_ids(s)) for s in ("train", "test")]
    scenes = [data.scene(i) for ids in every for i in ids]
    assert len(set(scenes)) == len(scenes) == 18
    source, target = data.read(data.ids("train")[0]), data.read(data.target_ids("train")[0])
    with pytest.raises(ContractError):
        _ = source.target
    with pytest.raises(ContractError):
        _ = target.source
    assert data.aux == ("labels",)


def test_labels_of_an_unpaired_target_are_of_its_own_date():
    paired = Synthetic(task="season", size_px="64", n_train="30")
    unpaired = Synthetic(task="season", size_px="64", n_train="30", unpaired="yes")
    unpaired._scenes["train/target_0000000"] = (7, ("target",))  # a scene that the paired set has too
    found, there = everything(unpaired, "train/target_0000000"), everything(paired, "train/0000007")
    assert np.array_equal(found["target"], there["target"])
    assert np.array_equal(found["labels"], there["labels_2"])


def test_the_rendered_domain_has_another_class_balance():
    data = Synthetic(task="render", size_px="96", n_train="40")
    shares = []
    for ids in (data.ids("train"), data.target_ids("train")):
        labels = np.concatenate([data.read(i, ("labels",)).aux["labels"].ravel() for i in ids])
        shares.append(np.bincount(labels, minlength=len(CLASSES)) / labels.size)
    rendered, real = shares
    assert np.abs(rendered - real).sum() > 0.25
    assert rendered[BUILDING] > 2.0 * real[BUILDING]
    assert rendered.min() > 0.005


# --- Misregistration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["sar", "season"])
def test_the_source_is_moved_by_the_vector_that_is_told_and_nothing_else_is(task):
    options = {"looks": "64"} if task == "sar" else {}
    exact, moved = (Synthetic(task=task, size_px="200", misregistration_px=m, **options) for m in ("0", "3.5"))
    for sample_id in exact.ids("train")[:5]:
        one, two = everything(exact, sample_id), everything(moved, sample_id)
        for name in one.keys() - {"source"}:
            assert np.array_equal(one[name], two[name])
        wanted_px = np.array(moved.offset_px(sample_id))
        found_px, *_ = phase_cross_correlation(
            two["source"].mean(axis=0), one["source"].mean(axis=0), upsample_factor=50, normalization=None
        )
        assert np.abs(found_px - wanted_px).max() < 0.2


def test_offsets_fill_the_disc_evenly_and_never_leave_it():
    data = Synthetic(size_px="16", n_train="600", misregistration_px="2")
    offsets = np.array([data.offset_px(i) for i in data.ids("train")])
    length_px = np.hypot(*offsets.T)
    assert length_px.max() <= 2.0
    assert np.isclose((length_px < 2.0 / 2.0**0.5).mean(), 0.5, atol=0.08)  # half the disc's area
    assert np.abs(offsets.mean(axis=0)).max() < 0.15
    assert Synthetic(size_px="16").offset_px("train/0000000") == (0.0, 0.0)


def test_a_moved_source_shows_land_up_to_its_border():
    """What comes in at the border is what a larger image shows there: as varied as the rest, and no repeated row."""
    data = Synthetic(task="season", size_px="64", misregistration_px="8")
    for sample_id in data.ids("train")[:6]:
        source = data.read(sample_id, ("source",)).source
        for edge in (source[:, :4], source[:, -4:], source[:, :, :4].transpose(0, 2, 1), source[:, :, -4:].transpose(0, 2, 1)):
            assert np.abs(np.diff(edge, axis=1)).mean() > 0.005


def test_the_speckle_stays_where_it_is_when_the_land_is_moved(monkeypatch):
    """It belongs to the sensor's grid: over level ground nothing is left to be moved."""

    def level(rng, land, edge_px=0):
        return np.full((64 + 2 * edge_px, 64 + 2 * edge_px), 0.1, np.float32)

    monkeypatch.setattr("sarbench.datasets.world.scene.mean_intensity", level)
    exact, moved = (Synthetic(size_px="64", misregistration_px=m) for m in ("0", "6"))
    one, two = (data.read("train/0000001", ("source",)).source for data in (exact, moved))
    assert np.array_equal(one, two) and one.std() > 0.1


# --- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "64"}, "no option 'size'; it knows: size_px, n_train"),
        ({"size_px": "15"}, "size_px=15: give an integer from 16 to 4096"),
        ({"size_px": "4097"}, "size_px=4097"),
        ({"size_px": "²"}, "size_px=²: give an integer"),
        ({"looks": "0"}, "looks=0: give an integer from 1 to 64"),
        ({"looks": "65"}, "looks=65"),
        ({"n_train": "0"}, "n_train=0: give an integer from 1 to 1000000"),
        ({"n_test": "x"}, "n_test=x"),
        ({"seed": "-1"}, "seed=-1"),
        ({"channels": "3"}, "channels=3: choose from none, repeat"),
        ({"task": "change"}, "task=change: choose from sar, season, render"),
        ({"season": "rain"}, "season=rain: choose from spring, summer, autumn, winter, any"),
        ({"task": "season", "season_2": ""}, "season_2=: choose from"),
        ({"unpaired": "true"}, "unpaired=true: choose from no, yes"),
        ({"misregistration_px": "nan"}, "misregistration_px=nan: give a number from 0 to 8"),
        ({"misregistration_px": "-0.5"}, "misregistration_px=-0.5: give a number"),
        ({"misregistration_px": "8.01"}, "misregistration_px=8.01"),
        ({"misregistration_px": "one"}, "misregistration_px=one"),
        ({"misregistration_px": "1", "unpaired": "yes"}, "misregistration_px needs pairs"),
        ({"season_2": "autumn"}, "season_2=autumn does nothing with task=sar; drop it"),
        ({"task": "season", "looks": "4"}, "looks=4 does nothing with task=season"),
        ({"task": "render", "unpaired": "no"}, "unpaired=no does nothing with task=render"),
        ({"task": "render", "misregistration_px": "0"}, "misregistration_px=0 does nothing with task=render"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(options, words):
    with pytest.raises(ContractError) as error:
        Synthetic(**options)
    assert words in str(error.value)


def test_every_option_says_what_it_is_for():
    with pytest.raises(ContractError) as error:
        Synthetic(help="")
    for name, option in OPTIONS.items():
        assert f"\n  {name}: {option.about}" in str(error.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ContractError, match="reads no folder"):
        Synthetic(tmp_path)


def test_the_registry_finds_it():
    assert load_dataset("synthetic") is Synthetic
