"""The FCN score: a network that labels real target images labels the translations, and is compared with the source's labels.

pix2pix (Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004, Sec. 4) and SemST (https://arxiv.org/abs/2310.04995,
Sec. 4.2) score with an FCN-8s on VGG-16 (https://arxiv.org/abs/1411.4038) trained on Cityscapes. Ours is trained on the
target images of the track's training split.
Ours: Adam with poly decay in place of the authors' SGD; presets bench and tiny start from random weights, so they have batch
normalisation, a narrower head, and maps on their grid in place of a border of 100 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Card, Player, Schedule, Turn, adam, setting
from sarbench.bench.judge import Judge, JudgeConfig
from sarbench.bench.judges._confusion import UNLABELLED
from sarbench.bench.judges.networks.fcn8s import FCN8s

ASSET = "vgg16"


@dataclass(frozen=True)
class Config(JudgeConfig):
    """Hyperparameters of the segmenter."""

    width: int = setting(64, "FCN, Sec. 4.1: VGG-16")
    head: int = setting(4096, "FCN, Sec. 4.1: the fully connected layers of VGG-16")
    padding: Literal["border", "same"] = setting("border", "the authors' Caffe network")
    norm: bool = setting(False, "FCN: VGG-16 has none")
    dropout: float = setting(0.5, "FCN, Sec. 4.1: as VGG-16")
    photo_weights: bool = setting(True, "FCN, Sec. 4.1: fine-tuned from ImageNet's")


PAPER = Config(
    budget_images=100_000,  # FCN: 100,000 iterations of one image
    crop_px=None,
    batch_size=1,
    learning_rate=1e-5,  # Adam in place of SGD at 1e-10 on summed losses
)


class Segmentation(Judge):
    """FCN-8s on VGG-16."""

    card = Card(
        title="segmentation",
        paper="https://arxiv.org/abs/1411.4038",
        year=2015,
        supervision="paired",
        channels="any",
        size_multiple=32,
        aux=("labels",),
        pretrained=(ASSET,),
    )
    presets = {
        "paper": PAPER,
        "bench": Config(width=32, head=512, padding="same", norm=True, dropout=0.1, photo_weights=False),
        "tiny": Config(
            budget_images=1_600,
            crop_px=64,
            batch_size=8,
            learning_rate=3e-3,  # 200 steps in all
            width=8,
            head=48,
            padding="same",
            norm=True,
            dropout=0.0,
            photo_weights=False,
        ),
    }
    answer = "labels"
    sees = "images"
    augment = ("flip_left_right",)
    version = "v1"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        c = config
        self.network = FCN8s(
            channels, len(classes), width=c.width, head=c.head, padding=c.padding, norm=c.norm, dropout=c.dropout
        )

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Take them up."""
        if self.pretrained:
            self.network.load_vgg16(torch.load(find(ASSET), map_location="cpu", weights_only=True))

    def players(self) -> dict[str, Player]:
        """One, with Adam."""
        schedule = Schedule("poly", rate=self.config.power)
        return {"judge": Player(self.network, adam(self.config.learning_rate, schedule=schedule))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Cross-entropy over the labelled pixels."""
        labels = batch.paired.aux["labels"][:, 0].long()
        scores = self.network(batch.paired.source)
        lost = F.cross_entropy(scores, labels, ignore_index=UNLABELLED, reduction="sum")
        yield "judge", {"cross_entropy": lost / (labels != UNLABELLED).sum().clamp(min=1)}

    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """The class of the highest score."""
        return self.network(first).argmax(1)
