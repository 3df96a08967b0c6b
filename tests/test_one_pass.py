"""The pass that all metrics share: kept work, shared work, and features of references that are computed once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import one_pass, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_header, read_image, write_image
from sarbench.bench.metric import Features, ImageBatch, Metric
from sarbench.bench.one_pass import Pass
from sarbench.bench.score import score_folders
from sarbench.bench.scores import Scores

SEEN: list[int] = []  # images that the made-up network saw


def _network(images: ImageBatch) -> np.ndarray:
    SEEN.append(len(images))
    return images.pixels.reshape(len(images), -1)[:, :4].astype(np.float32)


FEATURES = Features("made_up_network", "made-up;v1", 4, _network)
DISTANCE = Metric(
    name="distance",
    signature="distance;v1",
    unit="",
    higher_is_better=False,
    features=FEATURES,
    statistic=lambda x, y: float(np.abs(x.mean(0) - y.mean(0)).sum()),
    ranked_from=100,
)
LEVEL = Metric("level", "level;v1", "", True, lambda translated: translated.pixels.mean((1, 2, 3)), ("translated",))
COPY = Metric(
    "copy",
    "copy;v1",
    "",
    True,
    lambda t, s: np.abs(t.pixels[..., :1] - 1.0 * s.pixels).mean((1, 2, 3)),
    ("translated", "source"),
)


@pytest.fixture(autouse=True)
def _metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    known: Mapping[str, Metric] = {"distance": DISTANCE, "level": LEVEL, "copy": COPY}
    monkeypatch.setattr(registry, "load_metric", known.__getitem__)


def folder(root: Path, n: int, *, seed: int = 0, channels: int = 3, size: int = 8) -> Path:
    for i in range(n):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (size, size, channels), np.uint8)
        write_image(root / f"{i:03d}.png", pixels)
    return root


def asked(root: Path, **changes: Any) -> Pass:
    files = sorted(root.iterdir())
    return Pass(
        {"translated": files}, [read_header(f) for f in files], 255, **{"rows": {"level": LEVEL}, "batch_size": 2, **changes}
    )


def test_a_pass_that_is_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "CHUNK", 4)
    images, work = folder(tmp_path / "images", 10), tmp_path / "work"
    whole = one_pass.run(asked(images))
    steps: list[int] = []

    def stop(n: int) -> None:
        steps.append(n)
        if sum(steps) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_pass.run(asked(images), work, advance=stop)
    assert [f.name for f in work.iterdir()] == ["000000.npz"]
    decoded: list[Path] = []
    real = one_pass.read_image
    monkeypatch.setattr(one_pass, "read_image", lambda path: decoded.append(path) or real(path))
    again = one_pass.run(asked(images), work)
    assert len(decoded) == 6
    assert np.array_equal(again["level"], whole["level"])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_kept_work_that_is_not_whole_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    monkeypatch.setattr(one_pass, "CHUNK", 4)
    images, work = folder(tmp_path / "images", 6), tmp_path / "work"
    first = one_pass.run(asked(images), work)
    file = work / "000000.npz"
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    assert np.array_equal(one_pass.run(asked(images), work)["level"], first["level"])


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_the_chunks_and_all_get_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    monkeypatch.setattr(one_pass, "CHUNK", 4)
    images = folder(tmp_path / "images", 14)
    alone = one_pass.run(asked(images))
    together, done = threading.Barrier(ranks), {}

    def work(rank: int) -> None:
        done[rank] = one_pass.run(asked(images), tmp_path / "work", rank=rank, ranks=ranks, barrier=lambda: together.wait(20))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(np.array_equal(done[rank]["level"], alone["level"]) for rank in range(ranks))


def test_several_processes_need_a_folder_to_meet_in(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="--cache FOLDER"):
        one_pass.run(asked(folder(tmp_path, 2)), rank=0, ranks=2)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_metric_of_sets_sees_every_image_once_whatever_the_batch(tmp_path: Path, batch_size: int) -> None:
    a, b = folder(tmp_path / "a", 10), folder(tmp_path / "b", 10, seed=1)
    scores = score_folders(a, b, ["distance", "level"], batch_size=batch_size, progress=False)
    x, y = (
        np.stack([np.random.default_rng([seed, i]).integers(0, 256, (8, 8, 3), np.uint8).ravel()[:4] for i in range(10)])
        for seed in (0, 1)
    )
    assert scores.sets["distance"] == pytest.approx(np.abs(x.mean(0) - y.mean(0)).sum(), rel=1e-6)
    assert sum(SEEN) == 20
    assert scores.summary()["distance"]._asdict() == {
        "value": scores.sets["distance"], "std": None, "n": 10, "undefined": 0, "infinite": 0
    }  # fmt: skip
    assert list(scores.columns) == ["level"]


def test_features_of_both_sides_are_kept_by_content(tmp_path: Path) -> None:
    a, b, cache = folder(tmp_path / "a", 6), folder(tmp_path / "b", 6, seed=1), tmp_path / "cache"
    first = score_folders(a, b, ["distance"], progress=False, cache=cache)
    SEEN.clear()
    b.rename(tmp_path / "moved")
    again = score_folders(a, tmp_path / "moved", ["distance"], progress=False, cache=cache)
    assert sum(SEEN) == 0
    assert again.sets == first.sets
    SEEN.clear()
    write_image(tmp_path / "moved" / "000.png", np.zeros((8, 8, 3), np.uint8))
    other = score_folders(a, tmp_path / "moved", ["distance"], progress=False, cache=cache)
    assert sum(SEEN) == 6  # the references, of which one is new; the translated ones are known
    assert other.sets != first.sets
    assert not list((cache / "passes").iterdir())  # nothing is left of finished passes


def test_kept_features_that_are_not_whole_are_computed_again(tmp_path: Path) -> None:
    a, b, cache = folder(tmp_path / "a", 6), folder(tmp_path / "b", 6, seed=1), tmp_path / "cache"
    first = score_folders(a, b, ["distance"], progress=False, cache=cache)
    for file in (cache / "features").iterdir():
        file.write_bytes(file.read_bytes()[:-8])
    assert score_folders(a, b, ["distance"], progress=False, cache=cache).sets == first.sets


@pytest.mark.parametrize("paired", [True, False])
def test_a_set_is_measured_on_halves_of_the_scenes_and_no_network_runs_again(tmp_path: Path, paired: bool) -> None:
    a, b = folder(tmp_path / "a", 8), folder(tmp_path / "b", 8 if paired else 10, seed=1)
    scores = score_folders(
        a, b, ["distance", "level"], paired=paired, progress=False, scene=lambda name: name[:2] + str(int(name) // 2)
    )
    assert sum(SEEN) == (16 if paired else 18)
    assert list(scores.halved) == ["distance"]
    assert scores.halved["distance"].scenes == 4
    assert len(set(scores.halved["distance"].values)) > 2  # of six different halves
    kept = Scores.from_kept(json.loads(json.dumps(scores.to_kept())))
    assert kept.halved == scores.halved
    assert not score_folders(a, b, ["distance"], paired=paired, progress=False).halved


def test_unpaired_references_are_a_set_of_their_own(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", 5), folder(tmp_path / "b", 9, seed=1, size=12)
    scores = score_folders(a, b, ["distance", "level"], paired=False, progress=False)
    assert sum(SEEN) == 14
    assert scores.summary()["distance"].n == 5
    with pytest.raises(ContractError, match="copy need the folder of source images"):
        score_folders(a, b, ["copy"], paired=False, progress=False)


def test_a_metric_may_read_the_source_whose_bands_are_its_own(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", 3), folder(tmp_path / "s", 3, seed=2, channels=1)
    scores = score_folders(a, None, ["copy"], source=b, progress=False)
    assert len(scores.columns["copy"]) == 3


def test_a_set_without_a_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Callable[..., float] = lambda x, y: float("inf")  # noqa: E731
    broken = Metric("distance", "d", "", False, features=FEATURES, statistic=nothing)
    monkeypatch.setattr(registry, "load_metric", lambda name: broken)
    a = folder(tmp_path / "a", 3)
    scores = score_folders(a, a, ["distance"], progress=False)
    with pytest.raises(ContractError, match="a metric of sets gave inf"):
        scores.summary()


def test_a_set_too_small_for_a_number_is_not_measured_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Callable[..., float] = lambda x, y: float("nan")  # noqa: E731
    small = Metric("distance", "d", "", False, features=FEATURES, statistic=nothing, undefined="fewer than two images")
    monkeypatch.setattr(registry, "load_metric", lambda name: small)
    a = folder(tmp_path / "a", 1)
    scores = score_folders(a, a, ["distance"], progress=False)
    assert scores.summary()["distance"].value is None
    assert scores.unmeasured == {"distance": "not measured: fewer than two images"}


def test_what_metrics_share_is_computed_once_a_batch_and_given_to_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []

    def total(translated: ImageBatch) -> np.ndarray:
        computed.append(len(translated))
        return translated.pixels.sum((1, 2, 3), dtype=np.float64)

    def made(name: str, factor: float) -> Metric:
        rows = lambda translated, total=None: factor * total  # noqa: E731 - it fails where nothing is given
        return Metric(name, f"{name};v1", "", True, rows, ("translated",), shared={"total": total})

    metrics = {"one": made("one", 1.0), "two": made("two", 2.0)}
    monkeypatch.setattr(registry, "load_metric", metrics.__getitem__)
    columns = score_folders(folder(tmp_path / "a", 5), None, ["one", "two"], progress=False, batch_size=2).columns
    assert computed == [2, 2, 1]
    np.testing.assert_array_equal(2 * columns["one"], columns["two"])
    assert len(set(columns["one"].tolist())) == 5


def test_rows_may_have_further_axes_and_are_kept_as_they_are(tmp_path: Path) -> None:
    rows: Callable[..., np.ndarray] = lambda translated: translated.pixels[:, :2, 0, :].astype(np.float64)  # noqa: E731
    files = sorted(folder(tmp_path / "a", 5).iterdir())
    grid = Metric("grid", "grid;v1", "", True, rows, ("translated",))
    asked = Pass({"translated": files}, [read_header(file) for file in files], 255, {"grid": grid}, batch_size=2)
    first = one_pass.run(asked, tmp_path / "work")["grid"]
    assert first.shape == (5, 2, 3)
    np.testing.assert_array_equal(one_pass.run(asked, tmp_path / "work")["grid"], first)  # read back
    np.testing.assert_array_equal(one_pass.run(asked)["grid"], first)


def test_as_many_batches_are_under_way_as_torch_has_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import torch

    together = threading.Barrier(3, timeout=20)
    given = []

    def watched(images: ImageBatch) -> np.ndarray:
        together.wait()  # broken, and the test red, unless three are under way
        given.append((torch.get_num_threads(), cv2.getNumThreads()))
        return _network(images)

    before = torch.get_num_threads(), cv2.getNumThreads()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(3)
    try:
        features = Features("watched", "watched;v1", 4, watched)
        images = asked(folder(tmp_path / "images", 12), features=[("translated", features)])
        found = one_pass.run(images)["watched of translated"]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before[0])
    assert given == [(1, 1)] * 6  # each in one thread
    assert cv2.getNumThreads() == before[1]
    pixels = np.stack([np.asarray(read_image(path)) for path in images.files["translated"]])
    np.testing.assert_array_equal(found, pixels.reshape(12, -1)[:, :4])  # in the order of the files


def test_an_error_in_a_batch_stops_the_pass_and_gives_the_threads_back(tmp_path: Path) -> None:
    import torch

    def refuses(images: ImageBatch) -> np.ndarray:
        raise ContractError("too dark")

    threads = torch.get_num_threads()
    broken = asked(folder(tmp_path / "images", 6), features=[("translated", Features("f", "f;v1", 4, refuses))])
    with pytest.raises(ContractError, match=r"000\.png, .*001\.png: too dark"):
        one_pass.run(broken)
    assert torch.get_num_threads() == threads
