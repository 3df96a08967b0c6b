"""A metric's work on references is done once, kept by content, and changes no score."""

from dataclasses import replace

import numpy as np
import pytest

from sarbench.bench import references, registry
from sarbench.bench.images import write_image
from sarbench.bench.metric import ImageBatch, Metric, Prepared
from sarbench.bench.references import Kept
from sarbench.bench.score import score_folders


class Counting:
    """A metric whose work on references is to average them; it counts those that it sees."""

    def __init__(self):
        self.seen = 0

    def prepare(self, reference):
        self.seen += len(reference)
        return {"mean": reference.pixels.astype(np.float64).mean((1, 2)), "first": reference.pixels[:, 0, 0].astype(np.float32)}

    def rows_prepared(self, translated, kept):
        assert kept["first"].shape == (len(translated), 3)
        return np.abs(translated.pixels.mean((1, 2)) - kept["mean"]).mean(1)

    def rows(self, translated, reference):
        return self.rows_prepared(translated, self.prepare(reference))

    def metric(self, signature="counting;v1"):
        return Metric("counting", signature, "", False, rows=self.rows, prepared=Prepared(self.prepare, self.rows_prepared))


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("translated", "reference"):
        for i in range(7):
            write_image(tmp_path / side / f"{i}.png", rng.integers(0, 256, (16, 16 + i % 2, 3), dtype=np.uint8))
    return tmp_path / "translated", tmp_path / "reference"


@pytest.fixture
def counting(monkeypatch):
    counting = Counting()
    load = registry.load_metric
    monkeypatch.setattr(registry, "load_metric", lambda name: counting.metric() if name == "counting" else load(name))
    return counting


def scored(folders, cache, **words):
    return score_folders(*folders, ["counting"], cache=cache, progress=False, **words).columns["counting"]


def test_references_are_prepared_once_and_scores_stay_the_same(folders, counting, tmp_path):
    plain = scored(folders, None)
    counting.seen = 0
    assert (scored(folders, tmp_path / "cache") == plain).all()
    assert counting.seen == 7
    assert (scored(folders, tmp_path / "cache") == plain).all()
    assert counting.seen == 7


def test_only_references_that_are_new_are_prepared_whatever_they_are_called(folders, counting, tmp_path):
    scored(folders, tmp_path / "cache")
    (folders[1] / "6.png").rename(folders[1] / "0b.png")
    (folders[0] / "6.png").rename(folders[0] / "0b.png")
    write_image(folders[1] / "3.png", np.full((16, 17, 3), 7, np.uint8))
    counting.seen = 0
    changed = scored(folders, tmp_path / "cache", batch_size=1)
    assert counting.seen == 1
    assert (changed == scored(folders, None)).all()


def test_another_signature_takes_nothing_from_the_first(folders, counting, tmp_path, monkeypatch):
    scored(folders, tmp_path / "cache")
    monkeypatch.setattr(registry, "load_metric", lambda name: counting.metric("counting;v2"))
    counting.seen = 0
    scored(folders, tmp_path / "cache")
    assert counting.seen == 7


def test_a_file_that_is_cut_short_is_made_anew(folders, counting, tmp_path):
    plain = scored(folders, tmp_path / "cache")
    for file in (tmp_path / "cache" / "prepared").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-3])
    counting.seen = 0
    assert (scored(folders, tmp_path / "cache") == plain).all()
    assert counting.seen == 7
    scored(folders, tmp_path / "cache")
    assert counting.seen == 7


def test_a_set_too_large_for_the_disk_is_scored_and_not_kept(folders, counting, tmp_path, monkeypatch):
    monkeypatch.setattr(references, "MOST_OF_FREE_SPACE", 0.0)
    assert (scored(folders, tmp_path / "cache") == scored(folders, None)).all()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_disk_that_fills_up_loses_no_score(folders, counting, tmp_path, monkeypatch):
    def full(path, data):
        raise references.ContractError(f"can't write {path}: the disk is full")

    monkeypatch.setattr(references, "write_bytes", full)
    assert (scored(folders, tmp_path / "cache") == scored(folders, None)).all()


def test_a_batch_of_which_a_part_is_kept_gives_the_same_rows(tmp_path):
    counting, rng = Counting(), np.random.default_rng(1)
    x, y = (ImageBatch(rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)) for _ in range(2))
    digests = [str(i) * 8 for i in range(5)]
    with Kept(counting.metric(), tmp_path, digests) as kept:
        kept.rows([1, 3], kept.reader([1, 3])(), part(x, [1, 3]), part(y, [1, 3]))
    with Kept(counting.metric(), tmp_path, digests) as kept:
        known = kept.reader(range(5))()
        assert [arrays is not None for arrays in known] == [False, True, False, True, False]
        np.testing.assert_array_equal(kept.rows(range(5), known, x, y), counting.rows(x, y))


def part(images, rows):
    return replace(images, pixels=images.pixels[rows])


@pytest.mark.parametrize("name", ["lpips", "lpips_squeeze", "lpips_vgg"])
def test_lpips_against_kept_references_is_lpips(name, tmp_path):
    metric = registry.load_metric(name)
    from sarbench.bench.score import why_unmeasured

    if reason := why_unmeasured(metric):
        pytest.skip(reason)
    rng = np.random.default_rng(2)
    x, y = (ImageBatch(rng.integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)) for _ in range(2))
    plain = metric.rows(x, y)
    for _ in range(2):  # prepared, then read
        with Kept(metric, tmp_path, ["aa", "bb", "cc"]) as kept:
            np.testing.assert_allclose(kept.rows(range(3), kept.reader(range(3))(), x, y), plain, rtol=1e-6)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
