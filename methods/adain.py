"""AdaIN: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization.

Huang and Belongie, ICCV 2017, https://arxiv.org/abs/1703.06868
Differs from the paper: in what `card.deviations` lists.

Contents are sources and styles are targets, in training a random target for each source. A translation never sees the
target of its place: its style is the mean of the statistics of all training targets, found once before training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import (
    Batch,
    Card,
    ContractError,
    Method,
    Pairs,
    Player,
    Schedule,
    Turn,
    adam,
    setting,
)
from sarbench.methods.networks.normalization import adaptive_instance_norm, moments
from sarbench.methods.networks.vgg19 import FrozenVGG19, MirrorDecoder

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")  # Sec. 6.2: layers of the style loss; the last is f of Eq. 9


@dataclass(frozen=True)
class Config:
    """Hyperparameters of AdaIN; the defaults are the paper's for 256x256 px."""

    encoder: Literal["imagenet", "random"] = setting("imagenet", "Sec. 6.1: VGG-19; random: its layers, never trained")
    width: int = setting(64, "Sec. 6.1: VGG-19")
    lambda_style: float = setting(10.0, "official code, lambda of Eq. 11; Sec. 6.2 leaves it open")
    alpha: float = setting(1.0, "Eq. 14: share of the style in a translation")
    learning_rate: float = setting(1e-4, "official code")
    decay: float = setting(8.0, "official code: 1 / (1 + 5e-5 i) at iteration i, of 160,000")
    batch_size: int = setting(8, "Sec. 6.2: eight pairs of content and style")


PAPER = Config()
NO_WEIGHTS = replace(PAPER, encoder="random")


class AdaIN(Method):
    """A decoder of VGG features whose means and spreads are those of the targets."""

    card = Card(
        title="AdaIN",
        paper="https://arxiv.org/abs/1703.06868",
        year=2017,
        supervision="unpaired",
        channels="any",
        size_multiple=8,
        pretrained=("vgg19",),
        fidelity="adapted",
        deviations=(
            "The style of every translation is the mean of the statistics of all training targets; the paper takes that of one "
            "style image.",
            "The presets bench and tiny need no pretrained weights: their encoder is VGG-19's layers drawn at random and never "
            "trained, which is not the paper's encoder.",
            "torchvision's VGG-19 on images of ImageNet's statistics; the paper's is rescaled to unit mean activations.",
            "Translations are clipped to the range of images.",
        ),
        licence="MIT",
    )
    presets = {
        "paper": PAPER,
        "bench": NO_WEIGHTS,
        "tiny": replace(NO_WEIGHTS, width=16, learning_rate=1e-3, decay=1.0),  # a thousand updates in all
    }
    fitted = ("style_mean", "style_std")
    config: Config
    style_mean: Tensor  # (C,) of the deepest features, over all training targets
    style_std: Tensor

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        if target_channels not in (1, 3):
            raise ContractError(f"{self.card.title} needs targets of 1 or 3 bands, which VGG-19 can see; got {target_channels}")
        self.f = FrozenVGG19(TAPS, width=config.width, padding="reflect")  # Sec. 6.1: reflection in f and in g
        self.g = MirrorDecoder(target_channels, width=config.width)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """VGG-19, unless the encoder is a random one."""
        return ("vgg19",) if self.config.encoder == "imagenet" else ()

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """VGG-19 into the encoder."""
        for name in self.pretrained:
            self.f.load_photo_weights(torch.load(find(name), map_location="cpu", weights_only=True))

    @torch.no_grad()
    def fit(self, pairs: Iterable[Pairs]) -> None:
        """The mean over all training targets of the statistics of their deepest features."""
        mean, std, n = torch.zeros(()), torch.zeros(()), 0
        for part in pairs:
            of_each = moments(self.f(part.target)[-1])  # (B, C) each
            mean, std = (old + new.double().sum(dim=0).cpu() for old, new in zip((mean, std), of_each, strict=True))
            n += len(part)
        self.style_mean = (mean / n).float().to(self.style_mean.device)
        self.style_std = (std / n).float().to(self.style_std.device)

    def players(self) -> dict[str, Player]:
        """The decoder."""
        c = self.config
        return {"g": Player(self.g, adam(c.learning_rate, schedule=Schedule("inverse", rate=c.decay)))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of the decoder.  Eq. 11."""
        with torch.no_grad():
            content = self.f(batch.unpaired.source)[-1]
            styles = [moments(feature) for feature in self.f(batch.unpaired.target)]
            t = adaptive_instance_norm(content, *styles[-1])  # Eq. 9
        found = self.f(self.g(t))  # Eq. 10
        distances = [
            F.mse_loss(mean, style_mean) + F.mse_loss(std, style_std)
            for (mean, std), (style_mean, style_std) in zip(map(moments, found), styles, strict=True)
        ]
        yield (
            "g",
            {
                "content": F.mse_loss(found[-1].float(), t.float()),  # Eq. 12
                "style": self.config.lambda_style * torch.stack(distances).sum(),  # Eq. 13
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The source's features under the statistics of the training targets.  Eq. 14."""
        content = self.f(source)[-1]
        t = adaptive_instance_norm(content, self.style_mean[None], self.style_std[None])
        return self.g(torch.lerp(content, t, self.config.alpha)).clamp(-1.0, 1.0)
