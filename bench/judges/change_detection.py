"""Change detection between two images of one place, as SRUIT judges its translations.

Fang, Li, Li, Zhao and Zhang, 2025, https://arxiv.org/abs/2502.11468, Sec. 4.1: two EfficientNet-b1 with shared weights, a U-Net
with skips as decoder, Adam at 1e-3 with poly decay, flips and quarter turns.
Not in the paper, and ours: the two feature maps become one by their absolute difference, so that both directions are one
task; binary cross-entropy plus Dice; batch size; whether ImageNet's weights were taken (preset paper: yes, as
segmentation-models-pytorch does by default).
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
from sarbench.bench.judges._confusion import CHANGE_CLASSES
from sarbench.bench.judges.networks.siamese_unet import SiameseUNet

ASSET = "efficientnet_b1"


@dataclass(frozen=True)
class Config(JudgeConfig):
    """Hyperparameters of the change detector."""

    width: float = setting(1.0, "Sec. 4.1: EfficientNet-b1")
    depth: float = setting(1.1, "Sec. 4.1: EfficientNet-b1")
    decoder: tuple[int, ...] = setting((256, 128, 64, 32, 16), "segmentation-models-pytorch")
    fusion: Literal["difference", "concatenation"] = setting("difference", "ours: the paper does not say")
    momentum: float = setting(0.01, "EfficientNet: share of a batch in the running statistics")
    photo_weights: bool = setting(False, "ours: the paper does not say; true: the encoder starts from ImageNet's")


class ChangeDetection(Judge):
    """A siamese U-Net on EfficientNet-b1."""

    card = Card(
        title="change detection",
        paper="https://arxiv.org/abs/2502.11468",
        year=2025,
        supervision="paired",
        channels="same",
        size_multiple=32,
        aux=("change",),
        pretrained=(ASSET,),
    )
    presets = {
        "paper": Config(epochs=300, photo_weights=True),
        "bench": Config(),
        "tiny": Config(  # chosen on validation scenes of synthetic-change, where the ceiling must stand clear of the floor
            budget_images=2_400,
            crop_px=64,
            batch_size=8,
            learning_rate=3e-3,  # 300 steps in all
            width=0.25,
            depth=0.3,
            decoder=(24, 24, 16, 16, 8),
            momentum=0.1,
        ),
    }
    answer = "change"
    sees = "pairs"
    augment = ("flip_left_right", "flip_up_down", "rotate_90")
    version = "v1"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        c = config
        self.network = SiameseUNet(
            channels, 1, width=c.width, depth=c.depth, decoder=c.decoder, fusion=c.fusion, momentum=c.momentum
        )

    @classmethod
    def tells_apart(cls, classes: Sequence[str]) -> tuple[str, ...]:
        """Change and no change, whatever classes the land has."""
        return CHANGE_CLASSES

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Take them up."""
        if self.pretrained:
            weights = torch.load(find(ASSET), map_location="cpu", weights_only=True)
            self.network.encoder.load_published(weights)

    def players(self) -> dict[str, Player]:
        """One, with Adam."""
        schedule = Schedule("poly", rate=self.config.power)
        return {"judge": Player(self.network, adam(self.config.learning_rate, schedule=schedule))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Cross-entropy for every pixel, Dice for the few that change."""
        change = batch.paired.aux["change"][:, 0].float()
        scores = self.network(batch.paired.source, batch.paired.target)[:, 0]
        yield (
            "judge",
            {"cross_entropy": F.binary_cross_entropy_with_logits(scores, change), "dice": dice(scores.sigmoid(), change)},
        )

    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """1 where change is more likely than not."""
        return (self.network(first, second)[:, 0] > 0).long()


def dice(shares: Float[Tensor, "B H W"], true: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """1 - 2 |A B| / (|A| + |B|) over the whole batch, with 1 px added above and below the line for maps without change."""
    return 1 - (2 * (shares * true).sum() + 1) / (shares.sum() + true.sum() + 1)
