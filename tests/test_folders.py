"""The base of datasets in folders: options, ids, parts, splits by group, errors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import (
    REPEAT,
    Files,
    FolderDataset,
    Listing,
    Option,
    change_map,
    drawn,
    find,
    joined,
    share,
    value_range,
)
from sarbench.bench.images import Window, read_image, read_labels, scale, write_image


class Toy(FolderDataset):
    """sar/N.png, opt/N.png, lbl/N.png; two numbers a scene."""

    card = DatasetCard("Toy", "sar", "optical", "sar to optical", "two numbers", "none", "here", get="Draw it.")
    source_channels, target_channels = 1, 3
    aux = ("labels",)
    options = {
        "side": Option("left", "which half", ("left", "right")),
        "test_share": Option("0.5", "share of the scenes to test on", parse=share),
        "range": Option("0,255", "LO,HI", parse=value_range),
    }
    layout = "sar/N.png\nopt/N.png"

    def listing(self) -> Listing:
        if not (self.root / "sar").is_dir():
            raise self.wrong_layout("no folder sar")
        found: Listing = {"train": {}, "test": {}}
        for file in find(self.root / "sar", "*.png"):
            scene = str(int(file.stem) // 2)
            parts = {part: (self.root / folder / file.name,) for part, folder in self._folders.items()}
            found[drawn("toy", scene, self.option["test_share"])][file.stem] = Files(parts, scene, Window(0, 2, 8, 4))
        return found

    _folders = {"source": "sar", "target": "opt", "labels": "lbl"}

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        if part == "labels":
            return read_labels(paths[0], window)[None].astype(np.int64)
        return scale(read_image(paths[0], window=window), *self.option["range"]).transpose(2, 0, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(40):
        for folder, channels in (("sar", 1), ("opt", 3), ("lbl", 1)):
            write_image(tmp_path / folder / f"{i:02d}.png", np.full((8, 8, channels), i, np.uint8))
    return tmp_path


def test_every_scene_is_on_one_side_and_the_ids_are_sorted(root: Path) -> None:
    data = Toy(root)
    train, test = data.ids("train"), data.ids("test")
    assert len(train) + len(test) == 40
    assert not {data.scene(i) for i in train} & {data.scene(i) for i in test}
    assert list(train) == sorted(set(train))
    assert data.target_ids("test") == test


def test_only_the_parts_that_were_asked_for_are_decoded(root: Path) -> None:
    data = Toy(root)
    sample_id = data.ids("train")[0]
    (root / "opt" / f"{sample_id[-2:]}.png").write_bytes(b"")
    assert data.read(sample_id, ["source"]).parts().keys() == {"source"}
    assert data.read(sample_id, ["labels"]).aux["labels"].shape == (1, 8, 4)
    with pytest.raises(ContractError, match="is an empty file"):
        data.read(sample_id)
    with pytest.raises(ContractError, match="no target image"):
        _ = data.read(sample_id, ["source"]).target


def test_a_window_is_what_size_says_and_what_is_read(root: Path) -> None:
    data = Toy(root)
    sample_id = data.ids("train")[0]
    assert data.size(sample_id) == (8, 4)
    assert data.read(sample_id).source.shape == (1, 8, 4)


def test_a_group_stays_on_its_side_when_others_come_or_go() -> None:
    groups = [f"scene {i}" for i in range(1000)]
    sides = [drawn("toy", group, 0.2) for group in groups]
    assert 150 < sides.count("test") < 250
    assert [drawn("toy", group, 0.2) for group in groups[::7]] == sides[::7]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"colour": "red"}, "has no option 'colour'; it knows:"),
        ({"side": "up"}, "choose from left, right"),
        ({"test_share": "2"}, "a number between 0 and 1"),
        ({"range": "5,1"}, "the lower number first"),
        ({"range": "1"}, "give 2 numbers"),
        ({"range": "0,inf"}, "give 2 numbers"),
    ],
)
def test_a_bad_option_is_refused_with_what_to_write(root: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        Toy(root, **options)


def test_a_wrong_folder_says_what_was_expected_and_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "radar").mkdir()
    with pytest.raises(ContractError, match=r"(?s)no folder sar.*expected:.*opt/N.png.*found: radar/.*Draw it"):
        Toy(tmp_path)
    with pytest.raises(ContractError, match=r"needs its folder"):
        Toy(tmp_path / "nowhere")


def test_an_empty_folder_is_a_wrong_layout(tmp_path: Path) -> None:
    (tmp_path / "sar").mkdir()
    with pytest.raises(ContractError, match="no images found"):
        Toy(tmp_path)


def test_a_split_without_images_is_refused(root: Path) -> None:
    for file in (root / "sar").iterdir():
        if int(file.stem) > 1:
            file.unlink()
    with pytest.raises(ContractError, match=r"no (train|test) images; download more of Toy, or choose another split"):
        Toy(root)


def test_repeat_makes_three_equal_channels_of_one(root: Path) -> None:
    class Repeating(Toy):
        options = {**Toy.options, "channels": REPEAT}

    data = Repeating(root, channels="repeat")
    source = data.read(data.ids("test")[0], ["source"]).source
    assert data.source_channels == 3
    assert source.shape == (3, 8, 4)
    assert (source == source[0]).all()
    assert Repeating(root).read(data.ids("test")[0]).source.shape == (1, 8, 4)


def test_parts_of_two_sizes_are_refused_by_name(root: Path) -> None:
    class Whole(Toy):
        def listing(self) -> Listing:
            return {s: {n: Files(f.parts, f.scene) for n, f in found.items()} for s, found in super().listing().items()}

    data = Whole(root)
    sample_id = data.ids("train")[0]
    write_image(root / "opt" / f"{sample_id[-2:]}.png", np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(ContractError, match=r"opt/\d+.png has 8x9 px"):
        data.read(sample_id)


def test_a_dataset_survives_pickling(root: Path) -> None:
    data = Toy(root)
    again = pickle.loads(pickle.dumps(data))
    assert again.ids("train") == data.ids("train")
    assert np.array_equal(again.read(again.ids("test")[0]).target, data.read(data.ids("test")[0]).target)


def test_files_that_belong_together_are_joined_by_name_and_all_that_are_alone_are_listed(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    assert joined({"train": {"source": {"1": a}, "target": {"1": b}}}) == {"train": {"1": {"source": (a,), "target": (b,)}}}
    with pytest.raises(ContractError, match=r"(?s)2 files have no partner.*a has no target and no mask.*c has no source$"):
        joined({"train": {"source": {"1": a}, "target": {}, "mask": {}}, "test": {"source": {}, "target": {"2": c}}})


def test_a_change_map_holds_its_two_values_and_no_other(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.array([[[0], [255]], [[255], [0]]], np.uint8))
    found = change_map(tmp_path / "a.png")
    assert found.dtype == np.int64 and found.tolist() == [[[0, 1], [1, 0]]]
    assert change_map(tmp_path / "a.png", Window(0, 1, 1, 1)).tolist() == [[[1]]]
    with pytest.raises(ContractError, match=r"a\.png holds the value 0; expected 1 \(unchanged\) and 2 \(changed\)"):
        change_map(tmp_path / "a.png", unchanged=1, changed=2)


def test_the_root_may_be_given_at_any_level_that_is_known(root: Path) -> None:
    assert Toy(root).inner("opt") == root
    (root / "down" / "masks").mkdir(parents=True)
    assert Toy(root).inner("masks", "nowhere", "down") == root / "down"
    with pytest.raises(ContractError, match="no folder absent"):
        Toy(root).inner("absent", "down")
