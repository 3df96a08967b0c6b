"""BDL: Bidirectional Learning for Domain Adaptation of Semantic Segmentation.

Li, Yuan and Vasconcelos, CVPR 2019, https://arxiv.org/abs/1904.10620
M is the segmenter, D tells its class maps of both domains apart, S' are labelled images in the target's looks, T target images.
Eq. 3: l_M = lambda_adv l_adv(M(S'), M(T)) + l_seg(M(S'), Y_S) + l_seg(M(T_st), Y_T), where T_st are the pixels that M itself
labels with a probability above 0.9 (Eq. 9, maximum probability threshold).
Differs from the paper: its other direction, M as a perceptual loss for the translator (Eqs. 2 and 6), is left out: here the
translator comes trained, from whatever method is judged, so what is left is its forward direction with K = 1 and N rounds of
self-training, each from a new set of pseudo labels of the last one's M. A round goes on from those weights, where the
authors' readme starts it again from ImageNet. The threshold is 0.9 for each class; the authors' code lowers it to the median of
classes that are less certain, for which the whole target set would have to be labelled first. Adam in place of SGD.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sarbench.bench.adapter import BENCH, TINY, Adapter, AdapterConfig, labels_of
from sarbench.bench.interface import Batch, Card, Player, Schedule, Turn, adam, setting
from sarbench.bench.judges._self_training import Still, confident_labels, cross_entropy, fooling, telling_apart
from sarbench.bench.judges.networks.output_discriminator import OutputDiscriminator


@dataclass(frozen=True)
class Config(AdapterConfig):
    """Hyperparameters of BDL."""

    lambda_adv: float = setting(0.001, "Sec. 4.1")
    threshold: float = setting(0.9, "Sec. 4.3: of the maximum probability")
    rounds: int = setting(2, "Algorithm 1: N, the updates of the pseudo labels")
    first: float = setting(0.25, "readme: 80,000 iterations before two rounds of 120,000 each; share of the budget")
    discriminator_width: int = setting(64, "AdaptSegNet, Sec. 4.1")
    discriminator_rate: float = setting(1e-4, "AdaptSegNet, Sec. 4.1: Adam")


class BDL(Adapter):
    """Output-space alignment, then self-training on confident pixels."""

    card = Card(
        title="BDL",
        paper="https://arxiv.org/abs/1904.10620",
        year=2019,
        supervision="unpaired",
        channels="any",
        size_multiple=8,
        aux=("labels",),
        pretrained=("resnet101",),
        licence="MIT",
    )
    presets = {
        "paper": Config(budget_images=320_000),
        "bench": Config(**vars(BENCH)),
        "tiny": Config(**vars(TINY), first=0.7, discriminator_width=8, discriminator_rate=1e-3),  # from random weights
    }
    version = "v1"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        self.D = OutputDiscriminator(len(classes), config.discriminator_width)
        self.labeller = Still(self.network)  # M at the beginning of a round
        self.round: Tensor
        self.register_buffer("round", torch.zeros((), dtype=torch.int64))  # a checkpoint keeps it

    def players(self) -> dict[str, Player]:
        """M and D."""
        decay = Schedule("poly", rate=self.config.power)
        discriminator = adam(self.config.discriminator_rate, (0.9, 0.99), schedule=decay)
        return {"M": Player(self.network, self.optimizer), "D": Player(self.D, discriminator)}

    def round_at(self, progress: float) -> int:
        """The round of self-training; 0: only alignment, without pseudo labels."""
        c = self.config
        if not c.rounds or progress < c.first:
            return 0
        return 1 + min(int((progress - c.first) / (1 - c.first) * c.rounds), c.rounds - 1)

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Eq. 3, then D."""
        c, pairs = self.config, batch.unpaired
        now = self.round_at(progress)
        if now > int(self.round):  # Algorithm 1: update T_st with M of the last round
            self.labeller.take(self.network)
            self.round.fill_(now)
        scores_s, scores_t = self.network(torch.cat([pairs.source, pairs.target])).chunk(2)
        p_s, p_t = scores_s.softmax(1), scores_t.softmax(1)
        losses = {
            "segmentation": cross_entropy(scores_s, labels_of(batch)),  # Eq. 8
            "adversarial": c.lambda_adv * fooling(self.D(p_t), True),  # Eq. 7: target maps shall look like those of S'
        }
        if now:
            with torch.no_grad():
                pseudo = confident_labels(self.labeller.network(pairs.target).softmax(1), c.threshold)
            losses["self_training"] = cross_entropy(scores_t, pseudo)  # Eq. 9
        yield "M", losses
        yield "D", telling_apart(self.D, p_s, p_t)
