"""ProDA: Prototypical Pseudo Label Denoising and Target Structure Learning for Domain Adaptive Semantic Segmentation.

Zhang et al., CVPR 2021, https://arxiv.org/abs/2101.10979
Three stages. Warm-up: output-space alignment (AdaptSegNet), as BDL has it. Denoising: pseudo labels are what the warmed-up
network said of a target image, once and for all, weighted by how near its features are now to moving class prototypes (Eqs. 4
to 7); symmetric cross-entropy on them; the assignment of a strong view to prototypes shall be that of the weak view; and a
regulariser against over-confidence. Distillation: a fresh student learns from the source's labels, the teacher's confident
labels, and its probabilities.
Differs from the paper: the features f are the last maps of DeepLab-V2, where the authors' code has a head of its own with 256
channels; prototypes begin as the means over the end of warm-up, not over one more pass of the target set; labels of the first
network are made when an image is seen, with its own flips and crops, not stored before; strong views change colours, add noise
and cut a hole, without RandAugment's shears and turns; the student starts from the network's own first weights, not from
SimCLRv2, and there is one distillation where the paper's best numbers have two; stages share one budget; Adam in place of SGD.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.adapter import BENCH, TINY, Adapter, AdapterConfig, build, labels_of
from sarbench.bench.interface import Batch, Card, Pairs, Player, Schedule, Turn, adam, setting
from sarbench.bench.judges._prototypes import Prototypes, denoised, structure
from sarbench.bench.judges._self_training import (
    Still,
    confident_labels,
    cross_entropy,
    fooling,
    strong_view,
    symmetric_cross_entropy,
    telling_apart,
)
from sarbench.bench.judges.networks.output_discriminator import OutputDiscriminator

WARM_UP, DENOISING, DISTILLATION = range(3)


@dataclass(frozen=True)
class Config(AdapterConfig):
    """Hyperparameters of ProDA."""

    warm_up: float = setting(0.4, "ours: share of the budget until denoising begins")
    distillation: float = setting(0.75, "ours: share of the budget until distillation begins; 1: never")
    gather: float = setting(0.1, "ours: share of the budget, last of warm-up, over which the first prototypes are means")
    lambda_adv: float = setting(0.001, "AdaptSegNet, Sec. 4.1, with which the paper warms up")
    tau: float = setting(1.0, "Sec. 4.1: of Eq. 5")
    prototype_decay: float = setting(0.9999, "Sec. 4.1: lambda of Eq. 7")
    encoder_decay: float = setting(0.999, "MoCo's, Sec. 4; the paper gives none for its momentum encoder")
    alpha: float = setting(0.1, "Sec. 4.1: of symmetric cross-entropy")
    beta: float = setting(1.0, "Sec. 4.1: of symmetric cross-entropy")
    gamma_structure: float = setting(10.0, "Sec. 4.1: gamma_1")
    gamma_regular: float = setting(0.1, "Sec. 4.1: gamma_2")
    threshold: float = setting(0.95, "readme: of labels that the student takes over")
    distil_beta: float = setting(1.0, "Sec. 4.1: of the student's KL")
    fresh_student: bool = setting(True, "Sec. 3.3: from weights that know nothing of the task; false: from the teacher's")
    jitter: float = setting(0.3, "ours: of strong views")
    noise: float = setting(0.05, "ours: of strong views")
    hole: float = setting(0.3, "ours: of strong views")
    discriminator_width: int = setting(64, "AdaptSegNet, Sec. 4.1")
    discriminator_rate: float = setting(1e-4, "AdaptSegNet, Sec. 4.1: Adam")


class ProDA(Adapter):
    """Warm-up, denoising by prototypes, distillation."""

    card = Card(
        title="ProDA",
        paper="https://arxiv.org/abs/2101.10979",
        year=2021,
        supervision="unpaired",
        channels="any",
        size_multiple=8,
        aux=("labels",),
        pretrained=("resnet101",),
        licence="MIT",
    )
    presets = {
        "paper": Config(budget_images=240_000),
        "bench": Config(**vars(BENCH), prototype_decay=0.999),
        "tiny": Config(
            **vars(TINY) | {"learning_rate": 2e-3},
            warm_up=0.6,
            distillation=0.85,
            gamma_structure=0.1,  # at 10 it outweighs all else in so few steps
            prototype_decay=0.95,  # a few dozen steps in all
            encoder_decay=0.95,
            fresh_student=False,
            discriminator_width=8,
            discriminator_rate=1e-3,
        ),
    }
    version = "v1"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        self.D = OutputDiscriminator(len(classes), config.discriminator_width)
        self.labeller = Still(self.network)  # warmed up; in distillation the teacher
        self.encoder = Still(self.network)  # the momentum encoder
        self.prototypes = Prototypes(len(classes), self.network.trunk.out_channels)
        self.student = build(config, channels, len(classes)) if config.distillation < 1 else None
        self.stage: Tensor
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))  # a checkpoint keeps it

    def players(self) -> dict[str, Player]:
        """The network, D, and the student."""
        decay = Schedule("poly", rate=self.config.power)
        discriminator = adam(self.config.discriminator_rate, (0.9, 0.99), schedule=decay)
        found = {"network": Player(self.network, self.optimizer), "D": Player(self.D, discriminator)}
        return found if self.student is None else {**found, "student": Player(self.student, self.optimizer)}

    def stages(self) -> tuple[float, ...]:
        """Warm-up, denoising, distillation."""
        return (0.0, self.config.warm_up, self.config.distillation)

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """The turns of the stage."""
        c, pairs, labels = self.config, batch.unpaired, labels_of(batch)
        if progress < c.warm_up:
            yield from self._warm_up(pairs, labels, gather=progress >= c.warm_up - c.gather)
        elif progress < c.distillation:
            self._enter(DENOISING)
            yield from self._denoise(pairs, labels)
        else:
            self._enter(DISTILLATION)
            yield from self._distil(pairs, labels)

    def _enter(self, stage: int) -> None:
        """At the first step of a stage: the network as it is labels, and its momentum encoder starts from it."""
        if int(self.stage) == stage:
            return
        self.stage.fill_(stage)
        self.labeller.take(self.network)
        self.encoder.take(self.network)
        if stage == DISTILLATION and self.student is not None and not self.config.fresh_student:
            self.student.load_state_dict(self.network.state_dict())

    def _warm_up(self, pairs: Pairs, labels: Int64[Tensor, "B H W"], gather: bool) -> Iterator[Turn]:
        maps = self.network.features(torch.cat([pairs.source, pairs.target]))
        scores_s, scores_t = self.network.classify(maps, pairs.target.shape[2:]).chunk(2)
        p_s, p_t = scores_s.softmax(1), scores_t.softmax(1)
        if gather:
            maps_t = maps.detach().chunk(2)[1]
            self.prototypes.gather(maps_t, self.network.head(maps_t).argmax(1))
        yield (
            "network",
            {
                "segmentation": cross_entropy(scores_s, labels),
                "adversarial": self.config.lambda_adv * fooling(self.D(p_t), True),
            },
        )
        yield "D", telling_apart(self.D, p_s, p_t)

    def _denoise(self, pairs: Pairs, labels: Int64[Tensor, "B H W"]) -> Iterator[Turn]:
        c, size = self.config, pairs.target.shape[2:]
        with torch.no_grad():
            first = self.labeller.network.features(pairs.target)
            said = self.labeller.network.classify(first, size).softmax(1)  # p_t,0
            features = self.encoder.network.features(pairs.target)  # f~
            weak = self.prototypes.assignments(features, c.tau)  # omega of Eq. 5, and z_T
            pseudo = denoised(said, weak)  # Eq. 4
            coarse = (self.labeller.network.head(first).softmax(1) * weak).argmax(1)
        seen = strong_view(pairs.target, pairs.seeds, c.jitter, c.noise, c.hole)
        maps_s, maps_t = self.network.features(torch.cat([pairs.source, seen])).chunk(2)
        scores_t = self.network.classify(maps_t, size)
        yield (
            "network",
            {
                "segmentation": cross_entropy(self.network.classify(maps_s, size), labels),  # Eq. 1
                "pseudo_labels": symmetric_cross_entropy(scores_t, pseudo, c.alpha, c.beta),
                "structure": c.gamma_structure * structure(weak, self.prototypes.assignments(maps_t, c.tau)),
                "regular": c.gamma_regular * -scores_t.log_softmax(1).mean(),
            },
        )
        self.prototypes.move(features, coarse, c.prototype_decay)  # Eq. 7
        self.encoder.follow(self.network, c.encoder_decay)

    def _distil(self, pairs: Pairs, labels: Int64[Tensor, "B H W"]) -> Iterator[Turn]:
        assert self.student is not None
        c = self.config
        with torch.no_grad():
            taught = self.labeller.network(pairs.target).softmax(1)
        scores_s, scores_t = self.student(torch.cat([pairs.source, pairs.target])).chunk(2)
        divergence = (taught * (taught.clamp(min=1e-12).log() - scores_t.log_softmax(1))).sum(1).mean()
        yield (
            "student",
            {
                "segmentation": cross_entropy(scores_s, labels),
                "confident": cross_entropy(scores_t, confident_labels(taught, c.threshold)),
                "distillation": c.distil_beta * divergence,
            },
        )

    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """What the student says, once there is one; the network before."""
        distilled = self.student is not None and int(self.stage) == DISTILLATION
        return (self.student if distilled else self.network)(first).argmax(1)  # type: ignore[misc]
