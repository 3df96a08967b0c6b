"""Every promise of a dataset as one function, `check_<promise>`; third parties run them by `sarbench check-dataset NAME`.

A check takes a `Subject` and raises AssertionError, or the dataset's own error, where the promise is broken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sarbench.bench import registry
from sarbench.bench.dataset import BOTH, Dataset, DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.material import SPLITS, refuse_bad_sample
from sarbench.bench.storage import digest

READ = 6  # samples of each split and domain that a check reads
COPY_LIMIT = 256 << 20  # bytes of a folder that is copied in order to damage it
UNLABELLED = 255


@dataclass(frozen=True)
class Subject:
    """A dataset under one set of options."""

    name: str
    root: Path | None
    options: Mapping[str, str] = field(default_factory=dict)

    def open(self, root: Path | None = None) -> Dataset:
        """The dataset, opened anew."""
        return registry.load_dataset(self.name)(root or self.root, **self.options)

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


def all_checks() -> list[Callable[[Subject], None]]:
    """The checks in the order of this file."""
    return [value for name, value in globals().items() if name.startswith("check_")]


def some_ids(dataset: Dataset, n: int = READ) -> list[str]:
    """A few ids of every split and domain, evenly spread."""
    found: dict[str, None] = {}
    for split in SPLITS:
        for ids in (dataset.ids(split), dataset.target_ids(split)):
            found |= dict.fromkeys(ids[i] for i in np.linspace(0, len(ids) - 1, min(n, len(ids))).astype(int))
    return list(found)


def fingerprint(dataset: Dataset, sample_id: str) -> str:
    """A hash of everything that a sample has."""
    parts = sorted(dataset.read(sample_id, (*BOTH, *dataset.aux)).parts().items())
    return digest(*(part for name, a in parts for part in (f"{name}{a.dtype}{a.shape}", np.ascontiguousarray(a).tobytes())))


def read_in_processes(datasets: Sequence[Dataset], workers: int = 2) -> list[list[str]]:
    """The fingerprints of a few samples of each dataset, read by spawned processes that got it by pickling."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [[pool.submit(fingerprint, dataset, i) for i in some_ids(dataset, 2)] for dataset in datasets]
        return [[future.result() for future in futures] for futures in waiting]


# --- The promises -----------------------------------------------------------------------------------------------------


def check_card_is_complete(subject: Subject) -> None:
    """The card says what a reader of a board must know, as literals that are read without importing the file."""
    card = subject.open().card
    assert isinstance(card, DatasetCard)
    for name in ("title", "source", "target", "task", "licence"):
        assert str(getattr(card, name)).strip(), f"card.{name} is empty"
    assert bool(card.get) == (subject.root is not None), "card.get says how to get the data; empty for data made by code"
    assert registry.card_of("datasets", subject.name).get("title"), "write the card's fields as literals, by name"


def check_ids_are_sorted_unique_and_named_after_their_split(subject: Subject) -> None:
    """Ids are relative paths in order, each in one split and one domain."""
    dataset = subject.open()
    every: list[str] = []
    for split in SPLITS:
        domains = [dataset.ids(split)] if dataset.card.paired else [dataset.ids(split), dataset.target_ids(split)]
        for ids in domains:
            assert ids, f"the split {split!r} is empty"
            assert list(ids) == sorted(set(ids)), f"the ids of {split!r} are not sorted and unique"
            assert all(i.startswith(f"{split}/") for i in ids), f"an id of {split!r} does not begin with {split}/"
            every += ids
        if dataset.card.paired:
            assert dataset.target_ids(split) == dataset.ids(split), "a paired dataset has one list of ids"
    assert len(set(every)) == len(every), "an id stands in two splits or two domains"
    bad = [i for i in every if re.search(r"(^/)|(\.\.)|\\|(//)", i)]
    assert not bad, f"not a relative path: {bad[:3]}"


def check_opening_again_gives_the_same(subject: Subject) -> None:
    """Order and pixels do not depend on the day, the process or the order of a directory listing."""
    one, two = subject.open(), subject.open()
    assert [one.ids(s) for s in SPLITS] == [two.ids(s) for s in SPLITS]
    assert [one.target_ids(s) for s in SPLITS] == [two.target_ids(s) for s in SPLITS]
    ids = some_ids(one)
    assert [fingerprint(one, i) for i in ids] == [fingerprint(two, i) for i in reversed(ids)][::-1]


def check_no_scene_is_cut_by_the_split(subject: Subject) -> None:
    """A scene lies on one side, unless the split that was asked for is a published one that cuts scenes."""
    dataset = subject.open()
    scenes = {s: {dataset.scene(i) for i in dataset.ids(s) + dataset.target_ids(s)} - {None} for s in SPLITS}
    shared = scenes["train"] & scenes["test"]
    assert bool(shared) == dataset.keeps_official_leaks, f"scenes in both splits: {sorted(map(str, shared))[:5]}"
    if scenes["train"]:
        assert dataset.card.group, "samples have scenes, so the card must say what a scene is"


def check_samples_are_what_the_contract_says(subject: Subject) -> None:
    """Images are float32 in [-1, 1], finite, on one grid; labels are classes; what else there is has its declared name."""
    dataset = subject.open()
    for sample_id in some_ids(dataset):
        sample = dataset.read(sample_id, (*BOTH, *dataset.aux))
        refuse_bad_sample(dataset, sample_id, sample)
        images = [name for name in BOTH if name in sample.parts()]
        assert len(images) == (2 if dataset.card.paired else 1), f"{sample_id} has {images}"
        missing = set(dataset.aux) - set(sample.aux)
        assert not missing or not dataset.card.paired, f"{sample_id} lacks {sorted(missing)}, which the class declares"
        for name, array in sample.aux.items():
            assert array.ndim == 3, f"{name} of {sample_id} is not (C, H, W)"
            assert array.dtype in (np.float32, np.int64), f"{name} of {sample_id} is {array.dtype}; use float32 or int64"
            if name.startswith("labels"):
                known = {*range(len(dataset.classes)), UNLABELLED}
                assert set(np.unique(array).tolist()) <= known, f"{name} of {sample_id} holds values that are no class"
            if name in ("change", "valid"):
                assert set(np.unique(array).tolist()) <= {0, 1}, f"{name} of {sample_id} is no mask of 0 and 1"


def check_only_what_was_asked_for_is_given(subject: Subject) -> None:
    """`parts` chooses; asking for one image does not bring the other along."""
    dataset = subject.open()
    for sample_id in some_ids(dataset, 1):
        whole = dataset.read(sample_id, (*BOTH, *dataset.aux)).parts()
        for name, array in whole.items():
            part = dataset.read(sample_id, (name,)).parts()
            assert name in part, f"{sample_id}: {name} was asked for alone and is missing"
            assert np.array_equal(part[name], array), f"{sample_id}: {name} differs when it is read alone"


def check_size_is_that_of_the_images(subject: Subject) -> None:
    """`size` says without decoding what `read` then gives."""
    dataset = subject.open()
    for sample_id in some_ids(dataset, 3):
        for name, array in dataset.read(sample_id).parts().items():
            assert tuple(dataset.size(sample_id)) == array.shape[1:], f"size of {sample_id} is not that of its {name}"


def check_files_exist_and_a_dataset_made_by_code_has_none(subject: Subject) -> None:
    """Every id names the files that it is read from."""
    dataset = subject.open()
    for sample_id in some_ids(dataset):
        files = dataset.files(sample_id)
        assert bool(files) == (subject.root is not None), f"files of {sample_id}: {files}"
        assert all(file.is_file() for file in files), f"a file of {sample_id} does not exist"


def check_workers_read_the_same(subject: Subject) -> None:
    """The dataset survives pickling, and spawned processes read the same pixels."""
    dataset = subject.open()
    ids = some_ids(dataset, 2)
    copy = pickle.loads(pickle.dumps(dataset))
    here = [fingerprint(dataset, i) for i in ids]
    assert [fingerprint(copy, i) for i in ids] == here, "a pickled copy reads other pixels"


def check_a_damaged_or_missing_file_is_one_clear_error(subject: Subject) -> None:
    """Cut short, emptied, or gone: ContractError names the file or its partner, at the latest when it is read."""
    original = subject.open()
    if subject.root is None or sum(f.stat().st_size for f in subject.root.rglob("*") if f.is_file()) > COPY_LIMIT:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / subject.root.name
        shutil.copytree(subject.root, root)
        for sample_id in some_ids(original, 1)[:2]:
            for file in original.files(sample_id):
                victim = root / file.relative_to(subject.root)
                whole = victim.read_bytes()
                for what, damage in (("cut short", whole[: len(whole) // 2]), ("emptied", b""), ("removed", None)):
                    victim.unlink(missing_ok=True)
                    if damage is not None:
                        victim.write_bytes(damage)
                    message = _error_of(lambda: _read_whole(subject.open(root), sample_id))  # noqa: B023 - called at once
                    assert message is not None, f"{victim.name} was {what}, and {sample_id} was read without an error"
                    named = damage is None or victim.stem in message  # of a file that is gone, its partner is named
                    assert named, f"{victim.name} was {what}; the error does not name it: {message}"
                    victim.write_bytes(whole)


def check_a_wrong_folder_and_a_wrong_option_are_refused(subject: Subject) -> None:
    """The error says what was expected and what was found, and which options there are."""
    opened = registry.load_dataset(subject.name)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "holiday_pictures").mkdir()
        if subject.root is not None:
            _refused(lambda: opened(Path(folder), **subject.options), "holiday_pictures")
            _refused(lambda: opened(Path(folder) / "nowhere", **subject.options), "")
        _refused(lambda: opened(subject.root, **{**subject.options, "no_such_option": "1"}), "no_such_option")


def _refused(call: Callable[[], object], named: str) -> None:
    message = _error_of(call)
    assert message is not None, f"{named or 'a folder that does not exist'} was taken"
    assert named in message, f"the error does not name {named}: {message}"


def _error_of(call: Callable[[], object]) -> str | None:
    """The text of the ContractError that a call raises; None where it raises nothing."""
    try:
        call()
    except ContractError as error:
        return str(error)
    return None


def _read_whole(dataset: Dataset, sample_id: str) -> None:
    split = sample_id.partition("/")[0]
    if sample_id not in dataset.ids(split) + dataset.target_ids(split):
        raise ContractError(f"{sample_id} is no longer listed")  # as good as an error: nothing wrong is read
    dataset.read(sample_id, (*BOTH, *dataset.aux))


# --- The command ------------------------------------------------------------------------------------------------------


def run_checks(subject: Subject) -> Iterator[tuple[str, str]]:
    """Each check's name, and what is wrong; empty where the promise is kept."""
    for check in all_checks():
        try:
            check(subject)
        except Exception as error:
            yield check.__name__, f"{type(error).__name__}: {str(error).strip() or type(error).__name__}"
        else:
            yield check.__name__, ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench check-dataset`."""
    parser.add_argument("name", help="the dataset, such as sen12ms")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="its folder")
    parser.add_argument("--data-option", action="append", default=[], metavar="KEY=VALUE", help="an option of the dataset")


def command(args: argparse.Namespace) -> int:
    """Print a line for each check; 1 if any failed."""
    from sarbench.bench.options import pair

    subject = Subject(args.name, args.data, dict(pair(text) for text in args.data_option))
    subject.open()  # a folder that can't be opened is an error, not eleven failed checks
    failed = 0
    for name, problem in run_checks(subject):
        failed += bool(problem)
        print(f"{'FAIL' if problem else 'ok  '}  {name.removeprefix('check_').replace('_', ' ')}  {problem}".rstrip())
    return 1 if failed else 0
