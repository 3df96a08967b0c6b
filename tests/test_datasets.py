"""Every dataset keeps every promise of the contract, under every set of options that its fake names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench import dataset_checks, registry
from sarbench.bench.dataset import Dataset, DatasetCard, Sample
from sarbench.bench.dataset_checks import Subject, fingerprint, read_in_processes, some_ids
from tests.conftest import dataset_maker

SMALL = {"size_px": "32", "n_train": "6", "n_test": "4"}
OPTIONS = {
    "synthetic": [
        SMALL,
        {**SMALL, "task": "season"},
        {**SMALL, "task": "render"},
        {**SMALL, "unpaired": "yes", "channels": "repeat"},
    ],
    "pairs": [{"scene": r"(scene\d+)_"}],
}
VARIANTS = [
    (name, options)
    for name in registry.names("datasets")
    for options in (OPTIONS[name] if name in OPTIONS else dataset_maker(name).VARIANTS)
]
IDS = [",".join([name, *(f"{k}={v}" for k, v in options.items() if v not in SMALL.values())]) for name, options in VARIANTS]


@pytest.fixture
def subject_of(fake_dataset: Callable[[str], Path]) -> Callable[[str, dict[str, str]], Subject]:
    return lambda name, options: Subject(name, None if name == "synthetic" else fake_dataset(name), options)


@pytest.mark.parametrize("check", dataset_checks.all_checks(), ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=IDS)
def test_dataset(
    name: str, options: dict[str, str], check: Callable[[Subject], None], subject_of: Callable[..., Subject]
) -> None:
    check(subject_of(name, options))


@pytest.mark.slow
def test_spawned_processes_read_what_this_one_reads(subject_of: Callable[..., Subject]) -> None:
    datasets = [subject_of(name, options).open() for name, options in VARIANTS]
    here = [[fingerprint(dataset, i) for i in some_ids(dataset, 2)] for dataset in datasets]
    assert read_in_processes(datasets) == here


@pytest.mark.parametrize("name", [name for name in registry.names("datasets") if name != "pairs"])
def test_a_docstring_says_what_a_user_must_know(name: str) -> None:
    text = registry.docstring_of("datasets", name)
    for block in ("Source", "Target", "Split", "Licence"):
        assert block in text, f"datasets/{name}.py: no word on {block}"


# --- The checks find what they are for ---


class Broken(Dataset):
    """Two samples a split; each flaw is switched on by name."""

    card = DatasetCard(title="broken", source="s", target="t", task="x", group="pair", licence="none", reference="")
    source_channels = target_channels = 1
    aux = ("labels",)
    classes = ("a", "b")

    def __init__(self, root: Path | None = None, **options: str) -> None:
        self.flaw = options.pop("flaw", "")
        if options and self.flaw != "options":
            raise ValueError("not a ContractError")

    def ids(self, split: str) -> tuple[str, ...]:
        ids = (f"{split}/a", f"{split}/b")
        return ids[::-1] if self.flaw == "order" else ids

    def read(self, sample_id: str, parts: object = ()) -> Sample:
        image = np.zeros((1, 4, 4), np.float32)
        if self.flaw == "range":
            image[0, 0, 0] = 1.5
        if self.flaw == "random":
            image += np.float32(np.random.default_rng().uniform(0, 1))
        labels = np.full((1, 4, 4), 7 if self.flaw == "labels" else 1)
        return Sample(image, image, {} if self.flaw == "aux" else {"labels": labels})

    def scene(self, sample_id: str) -> str | None:
        return sample_id[-1] if self.flaw == "scene" else sample_id

    def size(self, sample_id: str) -> tuple[int, int]:
        return (4, 5) if self.flaw == "size" else (4, 4)


@pytest.mark.parametrize(
    ("flaw", "check"),
    [
        ("order", "ids_are_sorted_unique_and_named_after_their_split"),
        ("random", "opening_again_gives_the_same"),
        ("scene", "no_scene_is_cut_by_the_split"),
        ("range", "samples_are_what_the_contract_says"),
        ("labels", "samples_are_what_the_contract_says"),
        ("aux", "samples_are_what_the_contract_says"),
        ("size", "size_is_that_of_the_images"),
        ("options", "a_wrong_folder_and_a_wrong_option_are_refused"),
    ],
)
def test_a_check_fails_where_its_promise_is_broken(flaw: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_dataset", lambda name: Broken)
    run = getattr(dataset_checks, f"check_{check}")
    with pytest.raises(Exception):  # noqa: B017 - whatever the check or the dataset raises
        run(Subject("broken", None, {"flaw": flaw}))
    if flaw != "options":
        run(Subject("broken", None))
