"""Adaptation: a segmenter learns from translations with the source's labels, and is tested on real target images.

SemST (https://arxiv.org/abs/2310.04995, Sec. 4.3 and table 2) asks so: DeepLab-V2 (https://arxiv.org/abs/1606.00915) on
ResNet-101, mean IoU on the target domain. This judge adapts nothing itself: it learns by cross-entropy from labelled images
alone. Trained on source images it is the floor ("source only"), on real target images with their labels the ceiling. What the
three adaptation methods of the table add stands in `bdl.py`, `proda.py` and `sepico.py`.
Ours: Adam with poly decay in place of SGD, one learning rate; presets bench and tiny start from random weights, so they have
group normalisation and a smaller ResNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sarbench.bench.adapter import BENCH, TINY, Adapter, AdapterConfig, labels_of
from sarbench.bench.interface import Batch, Card, Player, Turn
from sarbench.bench.judges._self_training import cross_entropy


@dataclass(frozen=True)
class Config(AdapterConfig):
    """Hyperparameters of the segmenter."""


class Adaptation(Adapter):
    """DeepLab-V2 that learns from labelled images alone."""

    card = Card(
        title="adaptation",
        paper="https://arxiv.org/abs/2310.04995",
        year=2024,
        supervision="paired",
        channels="any",
        size_multiple=8,
        aux=("labels",),
        pretrained=("resnet101",),
    )
    presets = {"paper": Config(), "bench": Config(**vars(BENCH)), "tiny": Config(**vars(TINY))}
    version = "v1"
    config: Config

    def players(self) -> dict[str, Player]:
        """One, with Adam."""
        return {"network": Player(self.network, self.optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Cross-entropy over the labelled pixels."""
        yield "network", {"segmentation": cross_entropy(self.network(batch.paired.source), labels_of(batch, paired=True))}
