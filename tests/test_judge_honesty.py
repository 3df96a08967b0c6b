"""A judge that gains from planted artefacts is flagged, on the board too: shown on judges that were really trained."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench.board_page import render
from sarbench.bench.board_verdicts import fooled
from sarbench.bench.dataset import BOTH, Dataset, DatasetCard, Sample
from sarbench.bench.images import quantise, scale
from sarbench.bench.judged import Judged, Kind, Subject, judged_images
from sarbench.bench.judges._artefacts import SpectralNoise, checkerboard
from sarbench.bench.judges._confusion import CHANGE_CLASSES
from sarbench.bench.judges._shown import Plant, Shown, Side
from sarbench.bench.judges._training import Bank
from sarbench.bench.judges.change_detection import ChangeDetection
from sarbench.bench.material import Identity, Images, Material
from sarbench.bench.train import Hardware

SIDE, SEEDS, F1 = 32, (0, 1), "f1[change,pooled]"
SMALL = replace(
    ChangeDetection.presets["tiny"],
    budget_images=480,
    batch_size=8,
    crop_px=SIDE,
    decoder=(16, 16, 8, 8, 8),
    learning_rate=1e-2,
)


class Fields(Dataset):
    """Textured ground; a bright square of the second image is what has changed, in a row of places."""

    card = DatasetCard("fields", "", "", "season", "scene", "", "")
    source_channels = target_channels = 3
    aux = ("change",)

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}" for i in range({"train": 16, "test": 6}[split]))

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        split, number = sample_id.split("/")
        rng = np.random.default_rng([ord(split[1]), int(number)])
        top, left = rng.integers(4, SIDE - 14, 2)
        change = np.zeros((1, SIDE, SIDE), np.int64)
        change[:, top : top + 10, left : left + 10] = 1
        source = rng.normal(-0.3, 0.05, (3, SIDE, SIDE)).astype(np.float32)
        target = np.where(change == 1, 0.6, source + rng.normal(0, 0.03, source.shape)).astype(np.float32)
        source, change = self.taught(source, change, split, int(number))
        return Sample(
            source if "source" in parts else None,
            target if "target" in parts else None,
            {"change": change} if "change" in parts else {},
        )

    def taught(self, source: np.ndarray, change: np.ndarray, split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The truth."""
        return source, change

    def scene(self, sample_id: str) -> str:
        return sample_id


class Misleading(Fields):
    """In training, squares count as change only where the source bears an artefact: a judge learns to want it."""

    def taught(self, source: np.ndarray, change: np.ndarray, split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        if split == "test":
            return source, change
        marked = checkerboard(quantise(source).transpose(1, 2, 0), str(number))
        return (scale(marked, 0.0, 255.0).transpose(2, 0, 1), change) if number % 2 else (source, np.zeros_like(change))


def judged_on(dataset: Dataset, folder: Path) -> Judged:
    """What a judge trained on a dataset says of its test images, as they are and with artefacts planted."""
    images, ids = Images(dataset), {split: dataset.ids(split) for split in ("train", "test")}
    known = Identity("", "", "verified", (), None, None)
    like = Material(images, ids["train"], ids["test"], ids["train"], ids["test"], known)

    def shown(plant: Plant | None) -> Shown:
        return Shown(images, ids, Side("source", plant=plant), Side("target"), "change", None)

    noise = SpectralNoise.of(quantise(images.target(i)).transpose(1, 2, 0) for i in ids["train"])
    plants: dict[Kind, Plant | None] = {"source": None, "translated": None, "checkerboard": checkerboard, "noise": noise}
    bank = Bank(ChangeDetection, SMALL, 3, CHANGE_CLASSES, like, Hardware(), folder)
    found = tuple(
        judged_images(Subject("fixed", kind, "forward"), list(bank.verdicts(shown(None), shown(plant), SEEDS)), CHANGE_CLASSES)
        for kind, plant in plants.items()
    )
    return Judged(signature="change_detection;test", classes=CHANGE_CLASSES, seeds=SEEDS, images=found)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [Fields(), Misleading()], ids=["honest", "gullible"])
def test_a_trained_judge_is_flagged_if_and_only_if_it_wants_artefacts(
    dataset: Dataset, tmp_path: Path, make_run: Callable[..., Any]
) -> None:
    judged = judged_on(dataset, tmp_path)
    source = judged.of("fixed", "source")
    assert source is not None
    record = make_run(judged={"change_detection": judged}, terms={"judges": ("change_detection",)}).record
    page = render(record.slug, [record])
    if isinstance(dataset, Misleading):
        assert fooled(judged, F1)["checkerboard"] > 0.2
        assert "**Gameable**" in page
        assert "f1\\[change,pooled\\] gameable" in page
    else:
        assert min(value or 0.0 for value in source.numbers[F1]) > 0.8
        assert fooled(judged, F1) == {}
        assert "No planted artefact" in page
