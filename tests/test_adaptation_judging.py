"""Adaptation asked about whole runs: what networks learn from, what is shared, and that target labels stay unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import judge, judging, plan_judges
from sarbench.bench.adapter import Adapter
from sarbench.bench.judged import Subject
from sarbench.bench.judges import _training as training
from sarbench.bench.judges._domains import Domains
from sarbench.bench.judges._shown import Shown, Side
from sarbench.bench.judges.adaptation import Adaptation
from sarbench.bench.judges.bdl import BDL
from sarbench.bench.judges.proda import ProDA
from sarbench.bench.judges.sepico import SePiCo
from sarbench.bench.loader import Steps
from sarbench.bench.pipeline import Bench
from sarbench.bench.protocols import PROTOCOLS
from sarbench.bench.records import Store
from sarbench.bench.tracks import track
from sarbench.bench.train import Game, Hardware

SEEDS = (0, 1)
KINDS = ("translated", "source", "ceiling")


@pytest.fixture(autouse=True)
def small_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds, three steps, a handful of channels."""
    monkeypatch.setattr(judge, "JUDGE_SEEDS", SEEDS)
    for cls in (Adaptation, BDL, ProDA, SePiCo):
        small = replace(cls.presets["tiny"], budget_images=6, batch_size=2, crop_px=32, width=2)
        monkeypatch.setattr(cls, "presets", {"tiny": small})


def bench_of(root: Path, protocol: str = "synthetic-adapt", judges: tuple[str, ...] = ("adaptation",), **options: str) -> Bench:
    small = {"size_px": "64", "n_train": "4", "n_test": "3", **options}
    found = track(protocol, "tiny", budget=8, options=small)
    found = replace(found, protocol=replace(found.protocol, judges=judges, metrics=("total_variation",)))
    return Bench(found, Hardware(), root / "runs", root / "boards", quiet=True)


def networks(root: Path, judge: str) -> int:
    return len(list((root / f"runs/cache/judges/{judge}").glob("*/weights.safetensors")))


def sides(bench: Bench) -> tuple[Shown, Shown]:
    material = bench.material
    splits = {"train": material.train, "test": material.test}
    targets = {"train": material.train_targets, "test": material.test_targets}
    source, target = Side("source"), Side("target")
    return (
        Shown(material.images, splits, source, source, "labels", None),
        Shown(material.images, targets, target, target, "labels", None),
    )


def test_floor_and_ceiling_are_shared_by_all_methods(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run("identity", 0)
    assert record is not None
    assert record.judged is not None
    judged = record.judged["adaptation"]
    assert {images.subject for images in judged.images} == {Subject("own", kind, "forward") for kind in KINDS}  # type: ignore[arg-type]
    assert judged.of("own", "translated").numbers == judged.of("own", "source").numbers  # type: ignore[union-attr]
    assert networks(tmp_path, "adaptation") == 2 * len(SEEDS)  # the source's, which is the identity's too, and the ceiling
    bench.run("mean_color", 0)
    assert networks(tmp_path, "adaptation") == 3 * len(SEEDS)
    assert len(Store(tmp_path / "boards").read(bench.track.slug)) == 2  # and its verdicts follow from their matrices


def test_everything_is_asked_on_real_target_images(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run("identity", 0)
    assert record is not None
    assert record.judged is not None
    targets = [bench.material.images.parts(i, ("labels",))["labels"] for i in bench.material.test_targets]
    classes = len(record.judged["adaptation"].classes)
    expected = len(SEEDS) * np.bincount(np.concatenate([t[t != 255] for t in targets]), minlength=classes)
    for images in record.judged["adaptation"].images:
        assert np.array(images.pooled).sum(1).tolist() == expected.tolist()


@pytest.mark.slow
def test_adapters_are_asked_with_and_without_translations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(tmp_path, judges=PROTOCOLS["synthetic-adapt"].judges)
    record = bench.run("mean_color", 0)
    assert record is not None
    assert record.judged is not None
    for name in ("bdl", "proda", "sepico"):
        found = {images.subject.images for images in record.judged[name].images}
        assert found == {"translated", "source"}
        assert networks(tmp_path, name) == 2 * len(SEEDS)

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(training, "judged", never)
    again = bench_of(tmp_path, judges=PROTOCOLS["synthetic-adapt"].judges).run("mean_color", 0)
    assert again is not None
    assert again.judged == record.judged


def test_no_label_of_a_target_image_reaches_an_adapter(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    labelled, unlabelled = sides(bench)
    domains = Domains(labelled, unlabelled)
    target_id = domains.target_ids("train")[0]
    assert set(domains.read(target_id, ("target",)).parts()) == {"target"}
    judge = SePiCo(SePiCo.presets["tiny"], 3, bench.material.dataset.classes)
    steps = Steps(
        domains.material(bench.material), judge, batch_size=2, crop_px=32, augment=judge.augment, n_paired=None, seed=0
    )
    asked: list[tuple[str, Any]] = []
    read = domains.unlabelled.read
    domains.unlabelled.read = lambda i, parts: asked.append((i, parts)) or read(i, parts)  # type: ignore[assignment, func-returns-value]
    pairs = steps[0].unpaired
    assert pairs.aux["labels"].shape == (2, 1, 32, 32)
    assert {i for i, _ in asked} == set(pairs.target_ids)
    assert {tuple(parts) for _, parts in asked} == {("target",)}


def test_target_images_are_part_of_what_an_adapter_is_kept_by_and_their_labels_are_not(tmp_path: Path) -> None:
    labelled, unlabelled = sides(bench_of(tmp_path))
    whole = Domains(labelled, unlabelled).content("train")
    fewer = Shown(
        unlabelled.images,
        {**unlabelled.splits, "train": unlabelled.splits["train"][:2]},
        *unlabelled.sides.values(),
        "labels",
        None,
    )
    assert Domains(labelled, fewer).content("train") != whole
    relabelled = Shown(unlabelled.images, unlabelled.splits, *unlabelled.sides.values(), "labels", None)
    cut = relabelled._cut
    relabelled._cut = lambda i, part: cut(i, part) * 0 if part == "labels" else cut(i, part)  # type: ignore[method-assign]
    assert Domains(labelled, relabelled).content("train") == whole
    assert relabelled.content("train") != unlabelled.content("train")


def test_images_of_rare_classes_are_drawn_more_often_and_the_same_for_a_seed(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    labelled, unlabelled = sides(bench)
    material = Domains(labelled, unlabelled).material(bench.material)
    judge = SePiCo(SePiCo.presets["tiny"], 3, bench.material.dataset.classes)
    drawn = judge.drawn(material, 400, seed=1)
    assert len(drawn.train) == 400
    assert set(drawn.train) <= set(material.train)
    assert drawn.train == judge.drawn(material, 400, seed=1).train
    assert drawn.train != judge.drawn(material, 400, seed=2).train
    assert drawn.train_targets == material.train_targets
    plain: Adapter = BDL(BDL.presets["tiny"], 3, bench.material.dataset.classes)
    assert plain.drawn(material, 400, seed=1) is material


def test_domains_of_unequal_size_are_not_measured(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    material = replace(bench.material, test_targets=bench.material.test_targets[:2])
    bench.__dict__["material"] = material
    court = judging._Court(bench, "adaptation", judging.Run(None, tmp_path, 0, ""))  # type: ignore[arg-type]
    assert court.why_not().startswith("not measured: a record holds one verdict a test image")


def test_the_paper_preset_without_its_weights_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wanting = replace(Adaptation.presets["tiny"], start="imagenet")
    monkeypatch.setattr(Adaptation, "presets", {"tiny": wanting})
    record = bench_of(tmp_path).run("identity", 0)
    assert record is not None
    assert record.judged is not None
    assert record.judged["adaptation"].reason == "not measured: no resnet101 weights here"
    assert "sarbench fetch resnet101" in judging.missing_weights(bench_of(tmp_path).track)[0]


def test_a_plan_counts_networks_by_what_they_learn_from() -> None:
    runs = (False, True, False)  # of three methods, one of which knows a way back, which nobody asks here
    assert plan_judges.count(Adaptation, ("labels",), True, runs) == plan_judges.Count(5, 5)  # and floor and ceiling
    assert plan_judges.count(BDL, ("labels",), True, runs) == plan_judges.Count(4, 4)  # and the floor
    assert plan_judges.count(BDL, ("labels",), False, runs) == plan_judges.Count(3, 3)
    shape = plan_judges.Shape((3, 3), ("a", "b"), ("labels",), True, (64, 64), n_train=100, n_test=10)
    assert plan_judges.further_images(track("synthetic-adapt", "tiny"), shape, True) == 100


@pytest.mark.parametrize("cls", [Adaptation, BDL, ProDA, SePiCo])
def test_a_plan_can_time_every_adapter(cls: type[Adapter]) -> None:
    judge = cls(cls.presets["tiny"], 3, ("a", "b"))
    assert plan_judges._seconds_per_step(judge, 2, (32, 32), Hardware()) > 0


def test_a_plan_weighs_each_stage_of_a_training_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[float] = []
    monkeypatch.setattr(Game, "step", lambda self, batch, step, progress, seed: at.append(progress))
    monkeypatch.setattr(plan_judges, "_timed", lambda call, hardware, calls: call(0) or 1 + at[-1])
    staged = replace(BDL.presets["tiny"], translators=1, rounds=1, labels_alone=0.2, translating=0.5, first=0.5)
    seconds = plan_judges._seconds_per_step(BDL(staged, 3, ("a", "b")), 2, (32, 32), Hardware())
    assert at == pytest.approx([0.0, 0.2, 0.6, 0.8])
    assert seconds == pytest.approx(0.2 * 1 + 0.4 * 1.2 + 0.2 * 1.6 + 0.2 * 1.8)
    whole = replace(ProDA.presets["tiny"], warm_up=0.4, distillation=1.0)
    plan_judges._seconds_per_step(ProDA(whole, 3, ("a", "b")), 2, (32, 32), Hardware())
    assert at[4:] == [0.0, 0.4]  # and no stage that has no length


def test_a_judge_is_kept_by_the_code_of_methods_that_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def code() -> str:
        return training.Bank(BDL, BDL.presets["tiny"], 3, ("a", "b"), None, Hardware(), tmp_path).code  # type: ignore[arg-type]

    before, read = code(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "normalization.py"))
    assert code() != before  # which its generators import


def test_the_protocols_of_table_2_ask_all_adapters() -> None:
    for name in ("semst-2-gta5", "semst-2-synthia", "synthetic-adapt"):
        assert PROTOCOLS[name].judges == ("adaptation", "bdl", "proda", "sepico")
    assert "adaptation" in PROTOCOLS["synthetic-render"].judges
