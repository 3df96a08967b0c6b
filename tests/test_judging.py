"""Judges asked about whole runs: what they are shown, what is recorded, and that nothing is done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from sarbench.bench import judge, judging
from sarbench.bench.errors import ContractError
from sarbench.bench.judged import Judged, Subject, read_matrices
from sarbench.bench.judges import _training as training
from sarbench.bench.judges._shown import Side
from sarbench.bench.judges.adaptation import Adaptation
from sarbench.bench.judges.change_detection import ChangeDetection
from sarbench.bench.judges.segmentation import Segmentation
from sarbench.bench.match import true_offset
from sarbench.bench.pipeline import Bench
from sarbench.bench.protocols import asks_matching
from sarbench.bench.records import Record, Store
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

SEEDS = (0, 1)
N_TEST = 3


@pytest.fixture(autouse=True)
def small_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds, two steps, a handful of channels."""
    monkeypatch.setattr(judge, "JUDGE_SEEDS", SEEDS)
    change = replace(ChangeDetection.presets["tiny"], budget_images=4, batch_size=2, crop_px=32, decoder=(8, 8, 8, 8, 8))
    monkeypatch.setattr(ChangeDetection, "presets", {"tiny": change})
    labels = replace(Segmentation.presets["tiny"], budget_images=4, batch_size=2, crop_px=32, width=2, head=4)
    monkeypatch.setattr(Segmentation, "presets", {"tiny": labels})
    learned = replace(Adaptation.presets["tiny"], budget_images=4, batch_size=2, crop_px=32, width=2)
    monkeypatch.setattr(Adaptation, "presets", {"tiny": learned})


def bench_of(root: Path, protocol: str, **options: str) -> Bench:
    small = {"size_px": "64", "n_train": "4", "n_test": str(N_TEST), **options}
    return Bench(track(protocol, "tiny", budget=8, options=small), Hardware(), root / "runs", root / "boards", quiet=True)


def recorded(bench: Bench, method: str, judge: str) -> tuple[Record, Judged]:
    record = bench.run(method, 0)
    assert record is not None
    assert record.judged is not None
    return record, record.judged[judge]


def subjects(judged: Judged) -> set[Subject]:
    return {images.subject for images in judged.images}


def test_change_detection_is_asked_both_ways_where_a_method_knows_the_way_back(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-change")
    _, judged = recorded(bench, "sruit", "change_detection")
    assert subjects(judged) == {
        *(Subject(net, kind, "forward") for net in ("own", "fixed") for kind in ("translated", "source", "ceiling")),
        *(Subject("fixed", kind, "forward") for kind in ("erased", "checkerboard", "noise")),
        *(Subject(net, kind, "back") for net in ("own", "fixed") for kind in ("translated", "ceiling")),
    }
    assert judged.seeds == SEEDS
    assert judged.classes == ("no change", "change")
    assert judged.gsd_m == 3.0
    assert all(len(values) == len(SEEDS) for images in judged.images for values in images.numbers.values())


def test_the_record_comes_back_with_its_verdicts_and_refuses_others(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-change")
    record, _ = recorded(bench, "identity", "change_detection")
    store, slug = Store(tmp_path / "boards"), bench.track.slug
    (loaded,) = store.read(slug)
    assert loaded.record.judged == record.judged
    beside = loaded.path.with_suffix(".judged.csv")
    text = beside.read_text()
    beside.write_text(text.replace("0>0:", "0>0:1", 1))
    with pytest.raises(ContractError, match="not the one it was written with"):
        store.read(slug)
    beside.unlink()
    with pytest.raises(ContractError, match="missing"):
        store.read(slug)
    beside.write_text(text)
    kept = json.loads(loaded.path.read_text())
    kept["judged"]["change_detection"]["images"][0]["numbers"]["accuracy[pooled]"][0] = 0.25
    loaded.path.write_text(json.dumps(kept))
    with pytest.raises(ContractError, match=r"is recorded as 0\.25, but its matrices give"):
        store.read(slug)


def test_the_source_as_a_translation_is_the_floor_and_needs_no_judge_of_its_own(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-change")
    _, judged = recorded(bench, "identity", "change_detection")
    for net in ("own", "fixed"):
        assert judged.of(net, "translated").numbers == judged.of(net, "source").numbers  # type: ignore[arg-type, union-attr]
    trained = list((tmp_path / "runs/cache/judges/change_detection").glob("*/weights.safetensors"))
    assert len(trained) == 2 * len(SEEDS)  # on the real pairs, and on the ceiling's


def test_the_target_itself_in_place_of_a_translation_tells_the_judge_nothing(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-change")
    _, judged = recorded(bench, "identity", "change_detection")
    (loaded,) = Store(tmp_path / "boards").read(bench.track.slug)
    data = loaded.path.with_suffix(".judged.csv").read_bytes()
    matrices = read_matrices(data, {"change_detection": judged}, bench.material.test)
    for seed in SEEDS:
        called = matrices["change_detection", Subject("fixed", "erased", "forward"), seed].sum(axis=1)[:, 1]
        assert len(set(called.tolist())) == 1  # equal images differ nowhere, so every sample gets one and the same map


def test_a_second_run_trains_no_judge_and_asks_none_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(tmp_path, "synthetic-render")
    _, first = recorded(bench, "identity", "segmentation")

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(training, "judged", never)
    _, second = recorded(bench_of(tmp_path, "synthetic-render"), "identity", "segmentation")
    assert second == first


def test_the_segmenter_is_asked_once_for_all_methods(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-render")
    _, judged = recorded(bench, "identity", "segmentation")
    recorded(bench, "mean_color", "segmentation")
    expected = {"translated", "source", "ceiling", "checkerboard", "noise"}
    assert subjects(judged) == {Subject("fixed", kind, "forward") for kind in expected}  # type: ignore[arg-type]
    assert judged.of("fixed", "translated").numbers == judged.of("fixed", "source").numbers  # type: ignore[union-attr]
    assert len(list((tmp_path / "runs/cache/judges/segmentation").glob("*/weights.safetensors"))) == len(SEEDS)


def test_judges_of_other_seeds_and_other_images_are_other_judges(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-render")
    recorded(bench, "identity", "segmentation")
    folder = tmp_path / "runs/cache/judges/segmentation"
    assert len(list(folder.iterdir())) == len(SEEDS)
    recorded(bench_of(tmp_path, "synthetic-render", seed="1"), "identity", "segmentation")
    assert len(list(folder.iterdir())) == 2 * len(SEEDS)


def test_a_judge_that_lost_its_weights_is_trained_again_to_the_same_verdicts(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-render")
    _, first = recorded(bench, "identity", "segmentation")
    for file in (tmp_path / "runs/cache/judges").glob("*/*/*.*"):
        file.unlink()
    _, second = recorded(bench, "identity", "segmentation")
    assert second == first


def test_missing_weights_leave_a_judge_unmeasured_and_the_run_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wanting = replace(Segmentation.presets["tiny"], photo_weights=True)
    monkeypatch.setattr(Segmentation, "presets", {"tiny": wanting})
    bench = bench_of(tmp_path, "synthetic-render")
    _, judged = recorded(bench, "identity", "segmentation")
    assert judged.reason == "not measured: no vgg16 weights here"
    assert not judged.images
    (loaded,) = Store(tmp_path / "boards").read(bench.track.slug)
    rows = loaded.path.with_suffix(".judged.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"adaptation"}  # which needs no weights
    assert "sarbench fetch vgg16" in judging.missing_weights(bench.track)[0]


def test_images_made_from_the_targets_are_not_judged(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-change")
    record = bench.run_honeypot("oracle_blur")
    assert record is not None
    assert record.judged is None


def test_ranks_share_the_judges_out_and_say_what_one_rank_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verdicts(folder: str) -> np.ndarray:
        bench = bench_of(tmp_path / folder, "synthetic-render")
        court, material = judging._Court(bench, "segmentation", judging.Run(None, tmp_path, 0, "")), bench.material  # type: ignore[arg-type]
        real = court._single(Side("target"), {"train": material.train_targets, "test": material.test_targets})
        return court.bank.verdicts(real, real, SEEDS)

    class Apart(Exception):
        """What the second rank has to give."""

    def give(values: list[Any], own: Any) -> None:
        raise Apart(own)

    def take(values: list[Any], own: Any) -> None:
        values[:] = [own, given]

    alone = verdicts("one")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "barrier", lambda: None)
    monkeypatch.setattr(dist, "all_gather_object", give)
    with pytest.raises(Apart) as second:
        verdicts("two")
    (given,) = second.value.args
    assert list(given) == [SEEDS[1]]
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "all_gather_object", take)
    assert np.array_equal(verdicts("two"), alone)


def test_verdicts_do_not_depend_on_which_images_are_asked_together(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic-render")
    material = bench.material
    judge = Segmentation(Segmentation.presets["tiny"], 3, material.dataset.classes).eval()
    images = np.stack([material.images.target(i) for i in material.test_targets])
    together = training.predict_padded(judge, images, images, Hardware())
    alone = [training.predict_padded(judge, image[None], image[None], Hardware())[0] for image in images]
    assert np.array_equal(together, np.stack(alone))


def test_sides_that_a_judge_can_not_take_are_padded_and_cut_back() -> None:
    judge = Segmentation(Segmentation.presets["tiny"], 3, ("a", "b")).eval()
    image = np.zeros((1, 3, 45, 33), np.float32)
    assert training.predict_padded(judge, image, image, Hardware()).shape == (1, 45, 33)


# --- Matching ---


def test_sar_to_optical_is_judged_by_matching_and_nothing_is_trained(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic")
    record = bench.run("identity", 0)
    assert record is not None
    assert record.judged is None
    assert record.matched is not None
    assert record.matched.scores["translated"] == record.matched.scores["source"]
    assert record.matched.scores["target"]["distance"] == 0.0
    assert record.matched.signature == "matching;ncc;grey-mean;centre64;template3/4;v1"
    (loaded,) = Store(tmp_path / "boards").read(bench.track.slug)
    assert loaded.record.matched == record.matched
    places = [true_offset(sample_id, 64) for sample_id in loaded.rows["id"]]
    assert loaded.rows[["match_top", "match_left"]].to_numpy().tolist() == [list(place) for place in places]
    honeypot = bench.run_honeypot("oracle_blur")
    assert honeypot is not None
    assert honeypot.matched is None


def test_matching_is_no_term_of_a_track_so_that_older_boards_stand() -> None:
    assert track("synthetic", "tiny").terms()["judges"] == ()
    assert asks_matching("sar to optical", True)
    assert not asks_matching("sar to optical", False)
    assert not asks_matching("season", True)


def test_images_too_small_for_templates_are_not_matched(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "synthetic", size_px="16")
    small = replace(bench.track, size=replace(bench.track.size, test_crop_px=12, train_crop_px=16))
    assert judging._matching(replace(bench, track=small), tmp_path) is None
