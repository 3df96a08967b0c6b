"""SePiCo: Semantic-Guided Pixel Contrast for Domain Adaptive Semantic Segmentation.

Xie, Li, Li, Liu, Huang and Wang, TPAMI 2023, https://arxiv.org/abs/2204.08808
One stage of self-training: a teacher that follows the network labels target images; the network learns from them after a
ClassMix with the labelled images and a strong view, weighted by the share of pixels that the teacher is sure of. Beside it a
projection of each pixel's features, of both domains, is drawn to its class and away from the others: to class means
(`centroid`), to a bank of features (`bank`), or to whole distributions in closed form (`distribution`, the paper's best).
Images that hold rare classes are seen more often.
Differs from the paper: the statistics of classes are gathered from the teacher's features of labelled images over the whole of
training; crops are random, not chosen until they hold the rare class; target pixels are contrasted under the teacher's sure
labels in the unmixed image; the regulariser has the sign that keeps classes alike (`_pixel_contrast.diversity`); strong views
are not blurred; Adam in place of AdamW, with one rate for all layers and no warm-up of it. Presets bench and tiny, which start
from random weights, learn from labels alone at first, and take a lower temperature: on features of length 1 that of the paper
leaves the contrast all but flat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.adapter import BENCH, TINY, Adapter, AdapterConfig, labels_of
from sarbench.bench.interface import Batch, Card, Player, Turn, setting
from sarbench.bench.judges._confusion import UNLABELLED
from sarbench.bench.judges._pixel_contrast import Statistics, bank_contrast, centroid_contrast, distribution_contrast, diversity
from sarbench.bench.judges._self_training import (
    Still,
    confident_labels,
    cross_entropy,
    labels_at,
    mixed_by_class,
    strong_view,
)


@dataclass(frozen=True)
class Config(AdapterConfig):
    """Hyperparameters of SePiCo."""

    contrast: Literal["distribution", "bank", "centroid"] = setting("distribution", "Sec. 3.3: DistCL; BankCL, ProtoCL")
    teacher_decay: float = setting(0.999, "Sec. 4.2: alpha")
    threshold: float = setting(0.968, "Sec. 4.2: of pixels that make a pseudo label's weight")
    lambda_contrast: float = setting(1.0, "Sec. 4.2")
    lambda_diversity: float = setting(1.0, "Sec. 4.2: lambda_reg")
    tau: float = setting(100.0, "Sec. 4.2")
    start_contrast: float = setting(0.075, "code: after 3,000 of 40,000 iterations; share of the budget")
    warm_up: float = setting(0.0, "the paper has none; ours, from random weights: share of the budget on labels alone")
    memory: int = setting(200, "code: length of a class's bank")
    projection: int = setting(512, "Sec. 4.2: channels of the projection")
    least_share: float = setting(0.75, "code: of a feature's cell that a class must hold to be its label")
    rare_temperature: float = setting(0.01, "code: of rare class sampling, as DAFormer's")
    rare_pixels: int = setting(3000, "code: that a class must have in an image to be looked for there")
    jitter: float = setting(0.2, "code: colour jitter")
    noise: float = setting(0.0, "code: it blurs; ours does not")


class SePiCo(Adapter):
    """Self-training with a teacher, and pixel contrast."""

    card = Card(
        title="SePiCo",
        paper="https://arxiv.org/abs/2204.08808",
        year=2023,
        supervision="unpaired",
        channels="any",
        size_multiple=8,
        aux=("labels",),
        pretrained=("resnet101",),
        licence="Apache-2.0",
    )
    presets = {
        "paper": Config(batch_size=2, crop_px=640, learning_rate=6e-5),
        "bench": Config(**vars(BENCH), tau=0.1, warm_up=0.1, rare_pixels=500),
        "tiny": Config(
            **vars(TINY),
            tau=0.1,
            warm_up=0.6,
            teacher_decay=0.97,  # two hundred steps in all
            threshold=0.8,
            lambda_contrast=0.1,
            lambda_diversity=0.1,
            memory=50,
            projection=32,
            rare_pixels=50,
            jitter=0.5,
            rare_temperature=1.0,  # the rendered domain is rich in what is rare
        ),
    }
    version = "v1"
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        width = self.network.trunk.out_channels
        self.project = nn.Sequential(
            nn.Conv2d(width, width // 4, 1), nn.ReLU(inplace=True), nn.Conv2d(width // 4, config.projection, 1)
        )
        self.teacher = Still(nn.ModuleList([self.network, self.project]))
        self.statistics = Statistics(len(classes), config.projection, config.memory)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # a checkpoint keeps it

    def players(self) -> dict[str, Player]:
        """The network with its projection."""
        return {"network": Player([self.network, self.project], self.optimizer)}

    def stages(self) -> tuple[float, ...]:
        """Labels alone, self-training, contrast beside it."""
        return (0.0, self.config.warm_up, max(self.config.warm_up, self.config.start_contrast))

    def probabilities(self, pixels: Int64[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"]:
        """Rare class sampling (Hoyer et al., DAFormer, CVPR 2022, Eqs. 8 and 9): first a class, then an image that holds it."""
        return rare_class_sampling(pixels, self.config.rare_temperature, self.config.rare_pixels)

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One turn: the source's labels, the teacher's, and contrast."""
        c, pairs, labels, classes = self.config, batch.unpaired, labels_of(batch), len(self.classes)
        n = int(self.steps)
        self.teacher.follow(nn.ModuleList([self.network, self.project]), min(1 - 1 / (n + 1), c.teacher_decay))
        self.steps.add_(1)
        teacher, teacher_project = self.teacher.network
        size = pairs.source.shape[2:]
        if progress < c.warm_up:
            yield "network", {"segmentation": cross_entropy(self.network(pairs.source), labels)}
            return
        with torch.no_grad():
            taught = teacher(pairs.target).softmax(1)
            most, pseudo = taught.max(1)
            sure = (most > c.threshold).float().mean((1, 2))  # of each image: the weight of its pseudo labels
            mixed, mixed_labels, pasted = mixed_by_class(pairs.source, labels, pairs.target, pseudo, pairs.seeds, classes)
            weights = torch.where(pasted > 0, 1.0, sure[:, None, None])
            seen = strong_view(mixed, pairs.seeds, c.jitter, c.noise, 0.0)
        maps = self.network.features(torch.cat([pairs.source, pairs.target, seen]))
        maps_s, maps_t, maps_m = maps.chunk(3)
        losses = {
            "segmentation": cross_entropy(self.network.classify(maps_s, size), labels),
            "self_training": cross_entropy(self.network.classify(maps_m, size), mixed_labels, weights),
        }
        coarse = labels_at(labels, maps_s.shape[2:], classes, c.least_share)  # type: ignore[arg-type]
        with torch.no_grad():
            self.statistics.see(F.normalize(teacher_project(teacher.features(pairs.source)), dim=1), coarse)
        if progress >= c.start_contrast:
            confident = confident_labels(taught, c.threshold)
            coarse_t = labels_at(confident, maps_t.shape[2:], classes, c.least_share)  # type: ignore[arg-type]
            q = F.normalize(self.project(torch.cat([maps_s, maps_t])).float(), dim=1).movedim(1, 3).flatten(0, 2)
            k = torch.cat([coarse, coarse_t]).flatten()
            losses["contrast"] = c.lambda_contrast * self._contrast(q[k != UNLABELLED], k[k != UNLABELLED])
            losses["diversity"] = c.lambda_diversity * diversity(q, self.statistics.mean, self.statistics.known, c.tau)
        yield "network", losses

    def _contrast(self, q: Float[Tensor, "n A"], k: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
        s, tau = self.statistics, self.config.tau
        if self.config.contrast == "centroid":
            return centroid_contrast(q, k, s.mean, s.known, tau)
        if self.config.contrast == "bank":
            return bank_contrast(q, k, s.bank, s.filled, tau)
        return distribution_contrast(q, k, s.mean, s.variance, s.known, tau)


def rare_class_sampling(pixels: Int64[np.ndarray, "n classes"], temperature: float, least: int) -> Float[np.ndarray, " n"]:
    """The probability of each image: P(c) = softmax of (1 - f_c) / T over classes, f_c their share of all pixels; then evenly
    over the images with at least so many pixels of c. A class that no image holds so much of is looked for wherever it is.
    """
    share = pixels.sum(0) / max(pixels.sum(), 1)
    there = share > 0
    if not there.any():
        return np.full(len(pixels), 1 / len(pixels))
    logits = np.where(there, (1 - share) / temperature, -np.inf)
    of_class = np.exp(logits - logits.max())
    of_class /= of_class.sum()
    holds = pixels >= least
    holds = np.where(holds.any(0), holds, pixels > 0)
    found = (holds / holds.sum(0).clip(min=1) * of_class).sum(1)
    return found / found.sum()
