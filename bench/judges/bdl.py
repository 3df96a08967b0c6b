"""BDL: Bidirectional Learning for Domain Adaptation of Semantic Segmentation.

Li, Yuan and Vasconcelos, CVPR 2019, https://arxiv.org/abs/1904.10620
M is the segmenter, D tells its class maps of both domains apart, F translates labelled images S into the looks of target images
T: S' = F(S). Algorithm 1: from an M that knows the labelled images alone, K times over, F is trained with M as a perceptual
loss (Eq. 2: `_translator`), then M on S' with D (Eq. 1), then N times on pseudo labels of the last M, too (Eq. 3):
l_M = lambda_adv l_adv(M(S'), M(T)) + l_seg(M(S'), Y_S) + l_seg(M(T_ssl), Y_T), where T_ssl are the pixels that M itself labels
with a probability above 0.9 (maximum probability threshold).
What F starts from are the labelled images that the judge is given: source images, or a method's translations, and then F goes
on from those; so this suite reads "BDL with translated images" of SemST's table 2. Without F (`translators` 0) M learns from
the labelled images as they are; so preset tiny does, whose few steps make no translator.
Differs from the paper: one budget for all stages, whose lengths are shares of it, and one decay of the learning rates; F and M
go on from their weights at every stage, where the authors' readme starts M again from ImageNet. Paper and code disagree on
Eq. 6, see `_translator.perceptual`; F has no identity loss, as in Eq. 2, where the code has CycleGAN's. The threshold is 0.9
for each class; the authors' code lowers it to the median of classes that are less certain, for which the whole target set would
have to be labelled first. Adam in place of SGD. In the preset tiny F says what to add to an image, not the image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from sarbench.bench.adapter import BENCH, TINY, Adapter, AdapterConfig, labels_of
from sarbench.bench.interface import Batch, Card, Pairs, Player, Schedule, Turn, adam, setting
from sarbench.bench.judges._self_training import Still, confident_labels, cross_entropy, fooling, telling_apart
from sarbench.bench.judges._translator import Translator, perceptual, windows
from sarbench.bench.judges.networks.output_discriminator import OutputDiscriminator

Stage = Literal["labels", "translation", "alignment", "self_training"]


@dataclass(frozen=True)
class Config(AdapterConfig):
    """Hyperparameters of BDL."""

    translators: int = setting(2, "Algorithm 1: K, trainings of F; table 1 has two. 0: no F")
    rounds: int = setting(2, "Algorithm 1: N, the updates of the pseudo labels, after each training of F")
    labels_alone: float = setting(0.0465, "ours: 80,000 iterations for M(0); share of the budget, 0 without F")
    translating: float = setting(0.609, "Sec. 4.1: 20 epochs of GTA5's 24,966 images; F's share of each of the K turns")
    first: float = setting(0.25, "readme: 80,000 iterations before two rounds of 120,000 each; share of M's part of a turn")
    lambda_adv: float = setting(0.001, "Sec. 4.1")
    threshold: float = setting(0.9, "Sec. 4.3: of the maximum probability")
    discriminator_width: int = setting(64, "AdaptSegNet, Sec. 4.1")
    discriminator_rate: float = setting(1e-4, "AdaptSegNet, Sec. 4.1: Adam")
    lambda_gan: float = setting(1.0, "Sec. 4.1: of Eq. 2")
    lambda_recon: float = setting(10.0, "Sec. 4.1: of Eq. 2")
    lambda_per: float = setting(0.1, "Sec. 4.1: of Eq. 6")
    lambda_per_recon: float = setting(10.0, "Sec. 4.1: of Eq. 6")
    translator_px: int = setting(452, "Sec. 4.1: side of the crops that F is trained on")
    translator_rate: float = setting(2e-4, "readme: CycleGAN's; its Sec. 4")
    translator_width: int = setting(64, "Sec. 4.1: CycleGAN's generator")
    translator_blocks: int = setting(9, "Sec. 4.1: of CycleGAN's generator")
    translator_residual: bool = setting(False, "ours: F adds to an image, so that a short training can't spoil it")
    image_discriminator_width: int = setting(64, "CycleGAN, Sec. 7.2")
    image_discriminator_layers: int = setting(3, "CycleGAN, Sec. 4: patches of 70x70 px")
    pool_size: int = setting(50, "CycleGAN, Sec. 4")


class BDL(Adapter):
    """Translation that M oversees, output-space alignment, and self-training on confident pixels, in turns."""

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
        "paper": Config(budget_images=1_718_640),  # 80,000 + 2 (20 x 24,966 + 320,000)
        "bench": Config(**vars(BENCH), translator_width=32, pool_size=6),  # for each of eight rows
        "tiny": Config(
            **vars(TINY) | {"learning_rate": 2e-3},
            translators=1,
            rounds=1,
            labels_alone=0.4,
            translating=0.25,
            first=0.8,
            # On validation scenes the mean IoU of three seeds is 0.19; 0.21 without F; 0.09 (one seed) with F as CycleGAN's.
            translator_residual=True,
            discriminator_width=8,
            discriminator_rate=1e-3,  # from random weights
            translator_rate=5e-4,
            translator_width=8,
            translator_blocks=3,
            image_discriminator_width=8,
            image_discriminator_layers=2,
            pool_size=6,
        ),
    }
    version = "v2"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        c = config
        self.D = OutputDiscriminator(len(classes), c.discriminator_width)
        self.before = Still(self.network)  # M as the stage found it: F's critic, and the labeller of target images
        self.translator = None
        if c.translators:
            self.translator = Translator(
                channels,
                width=c.translator_width,
                blocks=c.translator_blocks,
                discriminator_width=c.image_discriminator_width,
                discriminator_layers=c.image_discriminator_layers,
                pool_size=c.pool_size,
                residual=c.translator_residual,
            )
        self.plan = plan(config)
        self.stage: Tensor
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))  # a checkpoint keeps it

    def players(self) -> dict[str, Player]:
        """M and D; F with its inverse, and the discriminators of images."""
        c, decay = self.config, Schedule("poly", rate=self.config.power)
        discriminator = adam(c.discriminator_rate, (0.9, 0.99), schedule=decay)
        found = {"M": Player(self.network, self.optimizer), "D": Player(self.D, discriminator)}
        if self.translator is None:
            return found
        images = adam(c.translator_rate, (0.5, 0.999), schedule=Schedule("linear", hold=0.5))
        return found | {
            "F": Player(self.translator.generators, images),
            "D_images": Player(self.translator.discriminators, images),
        }

    def stages(self) -> tuple[float, ...]:
        """Where those of Algorithm 1 begin."""
        return tuple(begin for begin, _ in self.plan)

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """The turns of the stage."""
        pairs, labels, now = batch.unpaired, labels_of(batch), bisect_right(self.stages(), progress) - 1
        if now > int(self.stage):
            self.before.take(self.network)
            self.stage.fill_(now)
        stage = self.plan[now][1]
        if stage == "labels":
            yield "M", {"segmentation": cross_entropy(self.network(pairs.source), labels)}
        elif stage == "translation":
            yield from self._translate(pairs)
        else:
            yield from self._segment(pairs, labels, stage == "self_training")

    def _translate(self, pairs: Pairs) -> Iterator[Turn]:
        """Eq. 2, then what tells translations from images."""
        assert self.translator is not None
        c = self.config
        S, T = (windows(images, pairs.seeds, c.translator_px, "window") for images in (pairs.source, pairs.target))
        cycle = self.translator.cycle(S, T)
        losses = self.translator.making(cycle, c.lambda_gan, c.lambda_recon)
        yield "F", losses | perceptual(self.before.network, cycle, c.lambda_per, c.lambda_per_recon)
        yield "D_images", self.translator.telling_apart(cycle, pairs.seeds)

    def _segment(self, pairs: Pairs, labels: Int64[Tensor, "B H W"], self_training: bool) -> Iterator[Turn]:
        """Eq. 1, or 3 in self-training, then D."""
        c = self.config
        labelled = pairs.source if self.translator is None else self.translator(pairs.source)  # S'
        scores_s, scores_t = self.network(torch.cat([labelled, pairs.target])).chunk(2)
        p_s, p_t = scores_s.softmax(1), scores_t.softmax(1)
        losses = {
            "segmentation": cross_entropy(scores_s, labels),  # Eq. 8
            "adversarial": c.lambda_adv * fooling(self.D(p_t), True),  # Eq. 7: target maps shall look like those of S'
        }
        if self_training:
            with torch.no_grad():
                pseudo = confident_labels(self.before.network(pairs.target).softmax(1), c.threshold)
            losses["self_training"] = cross_entropy(scores_t, pseudo)  # Eq. 9
        yield "M", losses
        yield "D", telling_apart(self.D, p_s, p_t)


def plan(config: Config) -> tuple[tuple[float, Stage], ...]:
    """Algorithm 1: the progress at which each stage begins; a stage without length ends where it begins."""
    c = config
    found: list[tuple[float, Stage]] = [(0.0, "labels")] if c.translators else []
    start, translating = (c.labels_alone, c.translating) if c.translators else (0.0, 0.0)
    turns = max(1, c.translators)
    for k in range(turns):
        begin, end = (start + (1 - start) * i / turns for i in (k, k + 1))
        learning = begin + (end - begin) * translating
        if c.translators:
            found.append((begin, "translation"))
        found.append((learning, "alignment"))
        first = learning + (end - learning) * c.first
        found += [(first + (end - first) * i / c.rounds, "self_training") for i in range(c.rounds)]
    return tuple(found)
