"""Tracks: where data lies, what a protocol lacks, and two datasets joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarbench.bench import registry
from sarbench.bench.domains import Joined
from sarbench.bench.errors import ContractError
from sarbench.bench.protocols import PROTOCOLS
from sarbench.bench.tracks import find_data, how_to_get, metrics_for, not_yet, track

SMALL = {"size_px": "32", "n_train": "6", "n_test": "3"}


def synthetic(**options: str):
    return registry.load_dataset("synthetic")(None, **{**SMALL, **options})


def test_data_is_found_by_its_name_in_the_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SARBENCH_DATA", raising=False)
    protocol = PROTOCOLS["s3oil-1-sen12ms"]
    assert find_data(protocol) is None
    with pytest.raises(ContractError, match=r"needs --data FOLDER, or the folder sen12ms in \$SARBENCH_DATA. \w+"):
        track(protocol.name, "tiny")
    (tmp_path / "sen12ms").mkdir()
    monkeypatch.setenv("SARBENCH_DATA", str(tmp_path))
    assert find_data(protocol) == tmp_path / "sen12ms"
    assert track(protocol.name, "tiny").slug == "s3oil-1-sen12ms.tiny"
    assert find_data(protocol, tmp_path) == tmp_path  # what is given comes first
    assert find_data(PROTOCOLS["pairs"]) is None  # any folder is none in particular


def test_a_protocol_that_joins_two_datasets_needs_both_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = PROTOCOLS["semst-1-gta5"]
    (tmp_path / "gta5").mkdir()
    assert find_data(protocol, tmp_path) is None
    (tmp_path / "cityscapes").mkdir()
    assert find_data(protocol, tmp_path) == tmp_path
    monkeypatch.setenv("SARBENCH_DATA", str(tmp_path))
    assert find_data(protocol) == tmp_path
    assert "the folders gta5 and cityscapes" in how_to_get(protocol)


def test_a_plan_may_be_made_without_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SARBENCH_DATA", raising=False)
    assert track("s3oil-1-sen12ms", "bench", planned=True).data is None


def test_a_track_takes_the_metrics_that_there_are_and_names_the_others() -> None:
    for protocol in PROTOCOLS.values():
        if protocol.needs_data:
            continue
        made = track(protocol.name, "tiny")
        assert made.metrics
        assert set(made.metrics) <= set(metrics_for(protocol.task))
        assert made.main_metric in made.metrics
        lacking = {name.removeprefix("metric ") for name in not_yet(protocol) if name.startswith("metric ")}
        assert set(made.metrics) | lacking == set(protocol.metrics)
        assert made.terms()["metrics"] == made.metrics


def test_this_version_has_all_that_its_protocols_ask_for() -> None:
    assert not {what for protocol in PROTOCOLS.values() for what in not_yet(protocol)}
    assert not_yet(PROTOCOLS["synthetic"]) == not_yet(PROTOCOLS["pairs"]) == []
    assert not_yet(PROTOCOLS["sruit-3"]) == []


def test_every_protocol_reads_datasets_that_exist_and_options_that_they_know() -> None:
    for protocol in PROTOCOLS.values():
        assert set(protocol.datasets) <= set(registry.names("datasets"))
        for name in protocol.datasets:
            known = getattr(registry.load_dataset(name), "options", None)
            if known is None:
                continue
            for option, value in protocol.options:
                owner, _, inner = option.rpartition(".")
                if (owner or name) == name:
                    assert (inner or option) in known, f"{protocol.name}: {name} has no option {option}"
                    choices = known[inner or option].choices
                    assert not choices or value in choices, f"{protocol.name}: {option}={value}"


def test_joined_domains_read_each_side_from_its_own_dataset() -> None:
    sources, targets = synthetic(), synthetic(seed="1")
    joined = Joined("here", sources, "there", targets)
    source_id, target_id = joined.ids("train")[2], joined.target_ids("train")[2]
    assert (source_id, target_id) == ("train/here/0000002", "train/there/0000002")
    assert not joined.card.paired
    source, target = joined.read(source_id, ("source", "target", "labels")), joined.read(target_id)
    assert (source.source == sources.read("train/0000002").source).all()
    assert (target.target == targets.read("train/0000002").target).all()
    assert (source.aux["labels"] == sources.read("train/0000002", ("labels",)).aux["labels"]).all()
    with pytest.raises(ContractError, match="no target image"):
        _ = source.target
    assert joined.scene(source_id) != joined.scene(target_id)
    assert joined.size(target_id) == (32, 32)
    assert joined.files(source_id) == ()


def test_datasets_of_other_classes_are_not_joined() -> None:
    one, two = synthetic(), synthetic()
    two.classes = ("sky", "sea")
    with pytest.raises(ContractError, match="name other classes"):
        Joined("a", one, "b", two)
