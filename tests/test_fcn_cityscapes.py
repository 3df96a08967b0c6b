"""The published FCN of Cityscapes as a judge: given, not trained, and silent where it does not belong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sarbench.bench import registry
from sarbench.bench.judged import Subject
from sarbench.bench.judges import fcn_cityscapes
from sarbench.bench.judges.fcn_cityscapes import ASSET, FILE, FCNCityscapes
from sarbench.bench.judges.networks.fcn8s import CITYSCAPES_MEAN, FCN8s
from sarbench.bench.pipeline import Bench
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

SMALL = replace(FCNCityscapes.presets["tiny"], width=2, head=4)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FCN8s:
    """A small network in place of the published one, and its file."""
    torch.manual_seed(0)
    network = FCN8s(3, 19, width=2, head=4).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, 0.0, 0.3)
    layers = {name: module for name, module in network.named_children() if hasattr(module, "weight")}
    convolutions = [m for m in network.blocks.modules() if isinstance(m, torch.nn.Conv2d)]
    names = [f"conv{b + 1}_{i + 1}" for b, n in enumerate((2, 2, 3, 3, 3)) for i in range(n)]
    layers |= dict(zip(names, convolutions, strict=True))
    blobs = {name: [p.detach().numpy() for p in module.parameters()] for name, module in layers.items()}
    (tmp_path / "weights" / ASSET).mkdir(parents=True)
    (tmp_path / "weights" / ASSET / FILE).write_bytes(b"caffe")
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "weights"))
    monkeypatch.setattr(fcn_cityscapes, "read_caffemodel", lambda path: blobs)
    monkeypatch.setattr(FCNCityscapes, "presets", {"tiny": SMALL})
    return network


@pytest.fixture
def bench(fake_dataset: Callable[[str], Path], tmp_path: Path) -> Bench:
    """The protocol of Cityscapes on a fake of it."""
    cut = track("cityscapes", "tiny", data=fake_dataset("cityscapes"), budget=8)
    size = replace(cut.size, train_crop_px=32, test_crop_px=None)
    alone = replace(cut.protocol, judges=("fcn_cityscapes",))
    return Bench(replace(cut, size=size, protocol=alone), Hardware(), tmp_path / "runs", tmp_path / "boards", quiet=True)


def test_it_knows_the_classes_of_the_street_scenes() -> None:
    for name in ("cityscapes", "gta5"):
        assert registry.load_dataset(name).classes == FCNCityscapes.knows


def test_it_sees_blue_green_red_less_the_authors_mean(published: FCN8s) -> None:
    judge = FCNCityscapes(SMALL, 3, FCNCityscapes.knows).eval()
    judge.load_pretrained(lambda name: Path(name))
    image = torch.randint(256, (1, 3, 40, 56), generator=torch.Generator().manual_seed(1)).float()
    with torch.inference_mode():
        expected = published(image[:, [2, 1, 0]] - torch.tensor(CITYSCAPES_MEAN)[None, :, None, None]).argmax(1)
        assert torch.equal(judge.predict(image / 127.5 - 1, image), expected)


def test_a_run_is_judged_by_it_once_and_nothing_is_trained(bench: Bench, published: FCN8s) -> None:
    record = bench.run("identity", 0)
    assert record is not None
    assert record.judged is not None
    judged = record.judged["fcn_cityscapes"]
    assert judged.seeds == (0,)
    expected = {"translated", "source", "ceiling", "checkerboard", "noise"}
    assert {images.subject for images in judged.images} == {Subject("fixed", kind, "forward") for kind in expected}  # type: ignore[arg-type]
    assert not list((bench.runs / "cache/judges").rglob("weights.safetensors"))


def test_without_its_weights_or_on_other_classes_it_says_why_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sarbench.bench.judging import Run, _Court

    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setattr(FCNCityscapes, "presets", {"tiny": SMALL})
    run = Run(None, tmp_path, 0, "")  # type: ignore[arg-type]
    assert _Court(bench, "fcn_cityscapes", run).why_not() == f"not measured: no {ASSET} weights here"
    other = Bench(
        track("synthetic-render", "tiny", budget=8, options={"size_px": "64", "n_train": "4", "n_test": "3"}),
        Hardware(),
        tmp_path / "other",
        tmp_path / "boards",
        quiet=True,
    )
    assert _Court(other, "fcn_cityscapes", run).why_not() == "not measured: it knows other classes than these data have"
