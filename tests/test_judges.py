"""The judges themselves: losses, schedules, what they are shown, and one that can be fooled."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sarbench.bench import registry
from sarbench.bench.board_verdicts import fooled
from sarbench.bench.dataset import BOTH, Dataset, DatasetCard, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import write_image
from sarbench.bench.interface import Batch, Card, Pairs, Schedule
from sarbench.bench.judge import Judge, JudgeConfig
from sarbench.bench.judged import Judged, Kind, Subject, judged_images
from sarbench.bench.judges._artefacts import SpectralNoise, checkerboard
from sarbench.bench.judges._confusion import CHANGE_CLASSES
from sarbench.bench.judges._shown import Plant, Shown, Side
from sarbench.bench.judges._training import judged
from sarbench.bench.judges.change_detection import dice
from sarbench.bench.material import Images
from sarbench.bench.train import Hardware

SIDE = 32
JUDGES = registry.names("judges")
TRAINED = [name for name in JUDGES if not registry.load_judge(name).given]


class Fields(Dataset):
    """Four grey pairs; a bright square of the second image is what has changed."""

    card = DatasetCard("fields", "", "", "season", "scene", "", "")
    source_channels = target_channels = 3
    aux = ("change",)

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}" for i in range(4))

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        i = int(sample_id[-1])
        change = np.zeros((1, SIDE, SIDE), np.int64)
        change[:, 4 * i : 4 * i + 8, 4:12] = 1
        source = np.full((3, SIDE, SIDE), -0.2, np.float32)
        target = np.where(change == 1, 0.8, source).astype(np.float32)
        found = {"source": source, "target": target, "change": change}
        return Sample(
            found["source"] if "source" in parts else None,
            found["target"] if "target" in parts else None,
            {"change": change} if "change" in parts else {},
        )

    def scene(self, sample_id: str) -> str:
        return sample_id


def shown(first: Side, second: Side = Side("target")) -> Shown:
    dataset = Fields()
    return Shown(Images(dataset), {s: dataset.ids(s) for s in ("train", "test")}, first, second, "change", None)


class Gullible(Judge):
    """Sees change where the second image is bright, but only in images that look sharp: as easily fooled as can be."""

    card = Card("gullible", "", 2025, "paired", "same", size_multiple=32, aux=("change",))
    answer, sees, augment, version = "change", "pairs", (), "v1"

    def predict(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        sharp = (first[..., 1:] - first[..., :-1]).abs().mean((1, 2, 3)) > 0.005
        return ((second.mean(1) > 0.3) & sharp[:, None, None]).long()


def test_a_judge_that_likes_planted_artefacts_is_flagged() -> None:
    noisy = [np.clip(128 + 30 * np.random.default_rng(0).standard_normal((SIDE, SIDE, 3)), 0, 255).astype(np.uint8)]
    plants: dict[Kind, Plant | None] = {"source": None, "checkerboard": checkerboard, "noise": SpectralNoise.of(noisy)}
    judge = Gullible(JudgeConfig(), 3, CHANGE_CLASSES)
    images = tuple(
        judged_images(Subject("fixed", kind, "forward"), [judged(judge, shown(Side("source", plant=plant)), Hardware())] * 2,
                      CHANGE_CLASSES)
        for kind, plant in plants.items()
    )  # fmt: skip
    found = fooled(Judged(signature="s", classes=CHANGE_CLASSES, seeds=(0, 1), images=images), "f1[change,pooled]")
    assert found == {"checkerboard": pytest.approx(1.0), "noise": pytest.approx(1.0)}


# --- What a judge is shown ---


def test_equal_images_are_one_content_wherever_they_come_from(tmp_path: Path) -> None:
    real = shown(Side("source"))
    for split in ("train", "test"):
        for sample_id in real.ids(split):
            write_image(tmp_path / split / f"{sample_id}.png", real.pixels("source", sample_id))
    copied = shown(Side(folders={"train": tmp_path / "train", "test": tmp_path / "test"}))
    assert copied.content("train") == real.content("train")
    assert shown(Side("source", plant=checkerboard)).content("train") != real.content("train")
    assert shown(Side("target")).content("test") != real.content("test") != real.content("train")


def test_a_translation_that_is_missing_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "test/0.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(ContractError, match="test/1 has no translation"):
        shown(Side(folders={"test": tmp_path})).content("test")


def test_a_judge_sees_translations_and_originals_at_8_bits() -> None:
    image = shown(Side("source")).read("test/0").source
    assert image.dtype == np.float32
    assert np.allclose((image + 1) * 127.5, np.rint((image + 1) * 127.5), atol=1e-4)


# --- Losses and schedules ---


def test_dice_is_0_for_the_truth_and_near_1_for_its_opposite() -> None:
    true = torch.zeros(2, 16, 16)
    true[:, :8] = 1.0
    assert dice(true, true).item() == pytest.approx(0.0, abs=1e-6)
    assert dice(1 - true, true).item() > 0.99
    assert dice(torch.zeros_like(true), torch.zeros_like(true)).item() == pytest.approx(0.0)


def test_the_poly_schedule_is_one_minus_progress_to_its_power() -> None:
    poly = Schedule("poly", rate=0.9)
    assert poly(0.0) == 1.0
    assert poly(0.5) == pytest.approx(0.5**0.9)
    assert poly(1.0) == 0.0


def test_epochs_are_turned_into_images_and_otherwise_the_budget_counts() -> None:
    assert JudgeConfig(epochs=300).images(756) == 226_800
    assert JudgeConfig(budget_images=2_000).images(756) == 2_000


@pytest.mark.parametrize("name", JUDGES)
def test_every_judge_has_three_sizes_and_every_setting_its_source(name: str) -> None:
    cls = registry.load_judge(name)
    assert set(cls.presets) == {"paper", "bench", "tiny"}
    assert all(field.metadata["source"] for field in fields(cls.presets["tiny"]))
    assert cls.answer in cls.card.aux


@pytest.mark.parametrize("name", TRAINED)
def test_every_judge_that_is_trained_learns_from_one_step_and_gives_a_class_for_each_pixel(name: str) -> None:
    cls: Any = registry.load_judge(name)
    torch.manual_seed(0)
    judge = cls(cls.presets["tiny"], 3, cls.tells_apart(("a", "b", "c")))
    x = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    answers = torch.randint(2, (2, 1, SIDE, SIDE))
    pairs = Pairs(x, x.flip(-1), torch.arange(2), ("a", "b"), ("a", "b"), {judge.answer: answers})
    player, losses = next(judge.training_step(Batch(pairs, pairs), 0.0))  # adapters have a discriminator's turn, too
    sum(losses.values()).backward()  # type: ignore[union-attr]
    moved = judge.players()[player].parameters()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in moved)
    found = judge.eval().predict(x, x.flip(-1))
    assert found.shape == (2, SIDE, SIDE)
    assert found.dtype == torch.int64
    assert 0 <= found.min() <= found.max() < len(judge.classes)


def test_pixels_without_a_label_teach_the_segmenter_nothing() -> None:
    cls: Any = registry.load_judge("segmentation")
    judge = cls(cls.presets["tiny"], 3, ("a", "b"))
    x = torch.rand(1, 3, SIDE, SIDE)
    pairs = Pairs(x, x, torch.arange(1), ("a",), ("a",), {"labels": torch.full((1, 1, SIDE, SIDE), 255)})
    ((_, losses),) = judge.training_step(Batch(pairs), 0.0)
    assert losses["cross_entropy"].item() == 0.0


def test_no_judge_translates() -> None:
    with pytest.raises(ContractError, match="judges translations and makes none"):
        Gullible(JudgeConfig(), 3, CHANGE_CLASSES).translate(torch.zeros(1), torch.zeros(1))
