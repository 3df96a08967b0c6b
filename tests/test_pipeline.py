"""A whole run: data -> train -> translate -> score -> record, resumable and idempotent."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sarbench.bench import cli, pipeline, registry, runs
from sarbench.bench.board import board_of
from sarbench.bench.ceiling import SIGNATURE, second_look
from sarbench.bench.images import find_images, quantise, read_image
from sarbench.bench.metric import Features, Metric
from sarbench.bench.pipeline import Bench
from sarbench.bench.records import Store
from sarbench.bench.score import score_folders
from sarbench.bench.significance import rows_of
from sarbench.bench.storage import file_digest
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

METRICS = ("psnr", "ssim", "scc", "total_variation")


def write_pairs(root: Path, n_train: int = 16, n_test: int = 5, side: int = 64) -> Path:
    """Grey blobs and their coloured translation."""
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for i in range(n):
            grey = cv2.resize(rng.integers(0, 255, (8, 8), dtype=np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
            colour = np.stack([grey, 255 - grey, grey // 2], axis=2)
            for domain, image in (("sar", grey), ("opt", colour)):
                (root / split / domain).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / split / domain / f"{i:02d}.png"), image)
    return root


def bench_of(root: Path, budget: int = 24) -> Bench:
    made = track(
        "pairs", "tiny", budget=budget, data=write_pairs(root / "blobs") if not (root / "blobs").exists() else root / "blobs"
    )
    return Bench(made, Hardware(), root / "runs", root / "boards", quiet=True)


def test_a_run_leaves_a_record_rows_images_and_a_strip(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run("pix2pix", 0)
    assert record is not None
    folder = tmp_path / "boards/results/pairs.blobs.tiny.24/pix2pix"
    assert sorted(file.name for file in folder.iterdir()) == ["0.csv", "0.jpg", "0.json"]
    assert record.budget.images == 24
    assert record.dataset.n_test == 5
    assert record.dataset.split == "unverified"
    assert record.cost.parameters > 0
    assert len(find_images(tmp_path / "runs/pairs.blobs.tiny.24/pix2pix/0/translated")) == 5
    assert [loaded.record.method for loaded in Store(tmp_path / "boards").read("pairs.blobs.tiny.24")] == ["pix2pix"]


def test_scoring_the_written_folder_gives_the_record_to_the_last_digit(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run("histogram_matching", 0)
    assert record is not None
    scores = score_folders(
        bench.folder / "histogram_matching/0/translated", bench.reference, METRICS, batch_size=3, progress=False
    )
    for name in METRICS:
        assert float(np.mean(scores.columns[name])) == pytest.approx(record.scores[name].value, rel=1e-12)


def test_a_second_run_does_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_of(tmp_path).run("pix2pix", 0)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a stage that was done is done again")

    monkeypatch.setattr(pipeline, "train", refuse)
    monkeypatch.setattr(pipeline, "score_folders", refuse)
    monkeypatch.setattr(pipeline, "write_image", refuse)
    second = bench_of(tmp_path).run("pix2pix", 0)
    assert first is not None
    assert second is not None
    assert first.scores == second.scores


def test_an_image_that_was_changed_is_scored_again(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    first = bench.run("mean_color", 0)
    file = next(iter(find_images(bench.folder / "mean_color/0/translated").values()))
    cv2.imwrite(str(file), np.zeros_like(cv2.imread(str(file))))
    second = bench_of(tmp_path).run("mean_color", 0)
    assert first is not None
    assert second is not None
    assert first.scores["psnr"] != second.scores["psnr"]


def test_another_budget_is_another_track(tmp_path: Path) -> None:
    assert bench_of(tmp_path, 24).track.slug != bench_of(tmp_path, 40).track.slug
    assert bench_of(tmp_path, 24).run_key("pix2pix", 0) != bench_of(tmp_path, 40).run_key("pix2pix", 0)


def test_changed_data_is_trained_and_scored_again(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    before = bench.run_key("pix2pix", 0), bench.protocol_hash
    file = next((tmp_path / "blobs/train/opt").iterdir())
    cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint8))
    again = bench_of(tmp_path)
    assert again.run_key("pix2pix", 0) != before[0]
    assert again.protocol_hash != before[1]


def test_honeypots_are_made_from_the_targets(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run_honeypot("oracle_blur")
    assert record is not None
    assert record.role == "honeypot"
    made, target = (find_images(folder) for folder in (bench.folder / "oracle_blur/0/translated", bench.reference))
    assert list(made) == list(target)
    for name in made:
        assert abs(read_image(made[name]).mean() - read_image(target[name]).mean()) < 2


def test_the_ceiling_is_a_second_look_at_the_targets(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    record = bench.run_ceiling()
    assert record is not None
    assert (record.role, record.config) == ("ceiling", {"signature": SIGNATURE})
    made, target = (find_images(folder) for folder in (bench.folder / "second_look/0/translated", bench.reference))
    assert list(made) == list(target)
    for name in made:
        assert (read_image(made[name]) == second_look(read_image(target[name]), name)).all()


def test_a_track_of_unpaired_domains_has_neither_honeypots_nor_a_ceiling() -> None:
    paired, unpaired = track("synthetic", "tiny"), track("synthetic-render", "tiny")
    assert runs.ceilings_of(paired) == ["second_look"]
    assert runs.honeypots_of(unpaired) == runs.ceilings_of(unpaired) == []


def landscape(root: Path, name: str = "synthetic", **options: str) -> Bench:
    small = {"size_px": "64", "n_train": "4", "n_test": "3"}
    return Bench(
        track(name, "tiny", budget=8, options={**small, **options}), Hardware(), root / "runs", root / "boards", quiet=True
    )


def test_labels_lie_beside_the_references_and_give_scores_by_class(tmp_path: Path) -> None:
    bench = landscape(tmp_path)
    record = bench.run("identity", 0)
    assert record is not None
    dataset, labels = bench.material.dataset, bench.labels
    assert labels is not None
    assert list(find_images(labels)) == list(bench.material.test)
    for name, file in find_images(labels).items():
        assert (read_image(file)[..., 0] == dataset.read(name, ("labels",)).aux["labels"][0]).all()
    by_class = record.by_class
    assert by_class is not None
    assert set(by_class) <= set(dataset.classes)
    assert sum(score.pixels for score in by_class.values()) == 3 * 64 * 64
    pooled = sum(score.pixels * 10 ** (-(score.psnr or np.inf) / 10) for score in by_class.values()) / (3 * 64 * 64)
    images = [find_images(folder) for folder in (bench.folder / "identity/0/translated", bench.reference)]
    errors = [(read_image(file) / 255.0 - read_image(images[1][name]) / 255.0) ** 2 for name, file in images[0].items()]
    assert pooled == pytest.approx(np.mean(errors), rel=1e-9)
    assert record.shifts is not None
    assert sum(record.shifts.values()) == 3


def test_references_that_were_written_without_labels_are_written_anew(tmp_path: Path) -> None:
    bench = landscape(tmp_path)
    assert bench.material.paired
    shutil.rmtree(bench.folder / "reference" / "labels")
    stage = bench.folder / "reference" / "stage.json"
    stage.write_text(json.dumps({"content_hash": json.loads(stage.read_text())["content_hash"]}))
    again = landscape(tmp_path)
    assert len(again.material.test) == 3
    assert again.labels is not None
    assert len(find_images(again.labels)) == 3


def test_labels_are_cropped_as_the_images_are(tmp_path: Path) -> None:
    bench = landscape(tmp_path)
    bench = replace(bench, track=replace(bench.track, size=replace(bench.track.size, test_crop_px=40)))
    record = bench.run("identity", 0)
    assert record is not None
    assert sum(score.pixels for score in (record.by_class or {}).values()) == 3 * 40 * 40
    assert bench.labels is not None
    for name, file in find_images(bench.labels).items():
        whole = bench.material.dataset.read(name, ("labels",)).aux["labels"][0]
        assert (read_image(file)[..., 0] == whole[12:52, 12:52]).all()


def test_scores_by_class_and_shifts_are_kept_with_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = landscape(tmp_path).run("identity", 0)
    monkeypatch.setattr(pipeline, "score_folders", lambda *args, **kwargs: pytest.fail("scored again"))
    second = landscape(tmp_path).run("identity", 0)
    assert first is not None
    assert second is not None
    assert first.by_class
    assert (first.by_class, first.shifts) == (second.by_class, second.shifts)


def test_a_metric_of_sets_stands_in_the_record_with_its_halves_and_on_the_board_with_its_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = registry.load_metric
    features = Features(
        "thumbnail", "thumbnail;v1", 12, lambda images: images.pixels[:, ::32, ::32].reshape(len(images), -1).astype(np.float32)
    )

    def faked(name: str) -> Metric:
        return replace(load(name), features=features, assets=(), ranked_from=1) if name in ("fid", "kid") else load(name)

    monkeypatch.setattr(registry, "load_metric", faked)
    bench = bench_of(tmp_path)
    records = [bench.run(name, 0) for name in ("mean_color", "histogram_matching")]
    halved = [record.scores["fid"].replicates for record in records if record is not None]
    assert {found.drawn for found in halved} == {halved[0].drawn}
    assert halved[0].drawn.startswith("halves-of-images;")
    assert halved[0].values != halved[1].values
    loaded = Store(tmp_path / "boards").read("pairs.blobs.tiny.24")
    board = board_of("pairs.blobs.tiny.24", [item.record for item in loaded], rows_of(loaded))
    assert all(board.interval(entry, metric) is not None for entry in board.floors for metric in ("fid", "kid"))


def test_data_without_labels_has_no_scores_by_class(tmp_path: Path) -> None:
    record = bench_of(tmp_path).run("mean_color", 0)
    assert record is not None
    assert record.by_class is None
    assert not (tmp_path / "runs/pairs.blobs.tiny.24/reference/labels").exists()


def test_an_unpaired_track_has_no_labels_and_no_shifts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarbench.bench.judging.judges_of", lambda track: ())  # whose trainings take longer than all the rest
    bench = landscape(tmp_path, "synthetic-render")
    record = bench.run("identity", 0)
    assert record is not None
    assert bench.labels is record.by_class is record.shifts is None


def test_grey_targets_leave_the_spectral_angle_unmeasured(tmp_path: Path) -> None:
    write_pairs(tmp_path / "blobs")
    for file in (tmp_path / "blobs").glob("*/opt/*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file))[..., 0])
    record = bench_of(tmp_path).run("mean_color", 0)
    assert record is not None
    assert record.scores["sam"].reason == "not measured: it needs images of 2 bands or more, these have 1"
    assert record.scores["psnr"].n == 5


def test_a_record_gives_the_threads_of_the_training_not_of_a_later_scoring(tmp_path: Path) -> None:
    write_pairs(tmp_path / "blobs")
    before = torch.get_num_threads()
    first = bench_of(tmp_path).run("mean_color", 0)
    torch.set_num_threads(before + 1)
    try:
        later = bench_of(tmp_path).run("mean_color", 0)
    finally:
        torch.set_num_threads(before)
    assert first is not None
    assert later is not None
    assert first.cost.threads == later.cost.threads == before


def test_a_record_names_missing_weights_and_no_folder_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    write_pairs(tmp_path / "blobs")
    record = bench_of(tmp_path).run("mean_color", 0)
    assert record is not None
    assert record.scores["lpips"].reason == "not measured: no alexnet weights here"
    assert str(tmp_path) not in record.model_dump_json()


def test_a_trained_run_translates_a_folder_as_the_benchmark_did(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run("pix2pix", 0)
    run = bench.folder / "pix2pix/0"
    assert cli.main(["translate", str(run), str(tmp_path / "blobs/test/sar"), str(tmp_path / "out"), "--device", "cpu"]) == 0
    there, here = find_images(run / "translated" / "test"), find_images(tmp_path / "out")
    assert list(here) == list(there)
    for name, file in here.items():
        assert np.abs(read_image(file).astype(int) - read_image(there[name])).max() <= 1


def test_a_method_that_learns_both_ways_translates_a_folder_of_targets_back(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    method, _ = bench.trained("sruit", 0)
    words = [str(bench.folder / "sruit/0"), str(tmp_path / "blobs/test/opt"), str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["translate", *words, "--direction", "BtoA"]) == 0
    made = find_images(tmp_path / "out")
    assert list(made) == list(find_images(tmp_path / "blobs/test/opt"))
    for sample_id, file in zip(bench.material.test, made.values(), strict=True):
        target = torch.from_numpy(bench.material.images.target(sample_id))[None]
        with torch.inference_mode():
            back = quantise(method.translate_back(target, torch.zeros(1, dtype=torch.int64))[0].numpy())
        assert np.abs(read_image(file).transpose(2, 0, 1).astype(int) - back).max() <= 1


def test_a_diffusion_run_shows_its_confidence_its_upper_bound_and_other_numbers_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = bench_of(tmp_path, budget=8)
    method, _ = bench.trained("cdiffset", 0)
    run, blobs = str(bench.folder / "cdiffset/0"), tmp_path / "blobs/test"
    assert cli.main(["translate", run, str(blobs / "sar"), str(tmp_path / "maps"), "--map", "confidence"]) == 0
    assert cli.main(["translate", run, str(blobs / "opt"), str(tmp_path / "best"), "--direction", "BtoB"]) == 0
    capsys.readouterr()
    assert cli.main(["translate", run, str(blobs / "sar"), str(tmp_path / "fast"), "--set", "steps=2"]) == 0
    assert "s each to translate" in capsys.readouterr().out
    assert cli.main(["translate", run, str(blobs / "sar"), str(tmp_path / "wide"), "--set", "unet_widths=[32,96]"]) == 1
    assert "leave out --set unet_widths" in capsys.readouterr().err
    maps, best = find_images(tmp_path / "maps"), find_images(tmp_path / "best")
    assert len(maps) == len(best) == 5
    for sample_id, shown, bound in zip(bench.material.test, maps.values(), best.values(), strict=True):
        assert read_image(shown).shape == (64, 64, 1)
        target = torch.from_numpy(bench.material.images.target(sample_id))[None]
        with torch.inference_mode():
            expected = quantise(method.reconstruct(target, torch.zeros(1, dtype=torch.int64))[0].numpy())
        assert np.abs(read_image(bound).transpose(2, 0, 1).astype(int) - expected).max() <= 1


def test_runs_that_differ_in_their_translations_alone_share_trained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench_of(tmp_path, budget=8)
    assert first.run("cdiffset", 0) is not None

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(pipeline, "train", refuse)
    other = replace(bench_of(tmp_path, budget=8), settings={"steps": "2"})
    record = other.run("cdiffset", 0)
    assert record is not None
    assert (record.variant, record.budget.images) == ("steps=2", 8)
    ours, theirs = (bench.folder_of("cdiffset", 0) for bench in (other, first))
    assert (ours / "weights.safetensors").read_bytes() == (theirs / "weights.safetensors").read_bytes()
    made, before = (find_images(folder / "translated") for folder in (ours, theirs))
    assert all((read_image(made[name]) != read_image(before[name])).any() for name in made)
    with pytest.raises(AssertionError, match="trained again"):
        replace(bench_of(tmp_path, budget=8), settings={"learning_rate": "1e-3"}).trained("cdiffset", 0)


def test_the_upper_bound_of_a_run_is_a_ceiling_beside_it(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, budget=8)
    method, _ = bench.trained("cdiffset", 0)
    bench.run("cdiffset", 0)
    bench.run("bbdm", 0)  # between pixels: no autoencoder
    records = {loaded.record.method: loaded.record for loaded in Store(tmp_path / "boards").read(bench.track.slug)}
    assert set(records) == {"cdiffset", "cdiffset_upper_bound", "bbdm"}
    assert records["cdiffset_upper_bound"].role == "ceiling"
    made = find_images(bench.folder / "cdiffset_upper_bound/0/translated")
    for sample_id, file in made.items():
        target = torch.from_numpy(bench.material.images.target(sample_id))[None]
        with torch.inference_mode():
            expected = quantise(method.reconstruct(target, torch.zeros(1, dtype=torch.int64))[0].numpy())
        assert np.abs(read_image(file).transpose(2, 0, 1).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--map", "confidence"], "pix2pix has no map 'confidence' of its translations; it has: none"),
        (["--direction", "BtoB"], "pix2pix has no part that a target could pass alone"),
        (["--direction", "BtoA"], "pix2pix learns no way back"),
        (["--map", "confidence", "--direction", "BtoA"], "leave --direction out"),
    ],
)
def test_a_view_that_a_method_does_not_have_is_refused(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    bench = bench_of(tmp_path, budget=4)
    bench.trained("pix2pix", 0)
    given = [str(bench.folder / "pix2pix/0"), str(tmp_path / "blobs/test/opt"), str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["translate", *given, *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "weights"))
    write_pairs(tmp_path / "blobs")
    assert cli.main(command(tmp_path, "--method", "s3oil", "--set", "csc_scorer=clip", "--budget", "2")[3:]) == 1
    told = capsys.readouterr().err
    assert "clip_vit_b32 missing (clip-vit-base-patch32.bin, sha256 a6308213" in told
    assert str(tmp_path / "weights") in told
    assert not list((tmp_path / "runs").rglob("weights.safetensors"))


def command(root: Path, *words: str) -> list[str]:
    given = [
        "--protocol",
        "pairs",
        "--data",
        str(root / "blobs"),
        "--runs",
        str(root / "runs"),
        "--leaderboards",
        str(root / "boards"),
    ]
    return [sys.executable, "-m", "sarbench.bench.cli", "run", *given, "--device", "cpu", *words]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_a_process_killed_at_a_random_step_resumes_and_ends_bit_equal(tmp_path: Path, method: str) -> None:
    for name in ("whole", "cut"):
        write_pairs(tmp_path / name / "blobs")
    words = ["--method", method, "--budget", "240", "--preset", "tiny"]
    whole = subprocess.run(command(tmp_path / "whole", *words), capture_output=True, text=True, timeout=240)
    assert whole.returncode == 0, whole.stderr[-3000:]
    folder = tmp_path / "cut/runs/pairs.blobs.tiny.240" / method / "0"
    kills = 0
    for attempt in range(3):
        process = subprocess.Popen(command(tmp_path / "cut", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen = len(list((folder / "checkpoints").glob("*"))) and max((folder / "checkpoints").glob("*")).name
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            now = sorted(path.name for path in (folder / "checkpoints").glob("step_*.safetensors"))
            if now and now[-1] != seen:
                time.sleep(random.Random(attempt).random() * 0.3)
                break
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 1
    done = subprocess.run(command(tmp_path / "cut", *words), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (tmp_path / name / "runs/pairs.blobs.tiny.240" / method / "0" for name in ("whole", "cut"))
    assert file_digest(first / "weights.safetensors") == file_digest(second / "weights.safetensors")
    images = [find_images(run / "translated") for run in (first, second)]
    assert {n: file_digest(f) for n, f in images[0].items()} == {n: file_digest(f) for n, f in images[1].items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_two_ranks_end_where_one_rank_ends(tmp_path: Path, method: str) -> None:
    from sarbench.bench.train import read_weights

    for name in ("one", "two"):
        write_pairs(tmp_path / name / "blobs")
    words = ["--method", method, "--budget", "16"]
    one = subprocess.run(command(tmp_path / "one", *words), capture_output=True, text=True, timeout=240)
    assert one.returncode == 0, one.stderr[-3000:]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "sarbench.bench.cli",
    ]
    two = subprocess.run(
        [*launcher, *command(tmp_path / "two", *words)[3:]],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert two.returncode == 0, two.stderr[-3000:]
    first, second = (
        read_weights(tmp_path / name / "runs/pairs.blobs.tiny.16" / method / "0/weights.safetensors") for name in ("one", "two")
    )
    assert first is not None
    assert second is not None
    # That the arithmetic is the same is shown in test_ranks.py, in double precision; here rounding plays with Adam.
    assert first.keys() == second.keys()
    images = [find_images(tmp_path / name / "runs/pairs.blobs.tiny.16" / method / "0/translated") for name in ("one", "two")]
    assert list(images[0]) == list(images[1])
    for name, file in images[0].items():
        assert np.abs(read_image(file).astype(int) - read_image(images[1][name])).mean() < 1
    record = json.loads((tmp_path / "two/boards/results/pairs.blobs.tiny.16" / method / "0.json").read_text())
    assert record["dataset"]["n_test"] == 5
