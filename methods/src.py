"""SRC: Exploring Patch-wise Semantic Relation for Contrastive Learning in Image-to-Image Translation Tasks.

Jung, Kwon and Ye, CVPR 2022, https://arxiv.org/abs/2203.01532
Differs from the paper: each row of a batch has positions of its own, and its loss is that of one image, averaged over the
batch. The expectation over hard negatives weighs their exponentials, as written there; the official code weighs the
similarities themselves, which stands under hdce_form=source_code. That code takes one image of 256 positions; any number
of both does here, but the weights hold for 256, since the relation loss is a sum over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from sarbench.bench.interface import Batch, Card, Turn, setting
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.patch_nce import hdce, relation_divergence


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of SRC; the defaults are the official code's for horse2zebra at 256x256 px."""

    lambda_hdce: float = setting(0.1, "official code")
    lambda_src: float = setting(0.05, "official code: horse2zebra; 0.1 for Cityscapes")
    hdce_form: Literal["normalised", "source_code"] = setting(
        "normalised", "the hard negatives' expectation; source_code: the official code"
    )
    gamma_start: float = setting(50.0, "official code: 1 / concentration of the negatives at the start, linear to gamma_end")
    gamma_end: float = setting(10.0, "official code")


class SRC(ContrastiveFrame):
    """CUT with decoupled hard negatives, and patches that resemble each other after as before."""

    card = Card(
        title="SRC",
        paper="https://arxiv.org/abs/2203.01532",
        year=2022,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=("Each row of a batch has positions of its own; the shallowest layer is the image without its padding.",),
        licence="MIT",
    )
    presets = frame_presets(Config())
    config: Config

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, then one of G and its projector."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        inputs = torch.cat([x, y])
        output = self.G(inputs)
        fake = output.image[: len(x)]
        yield "D", {"gan": 0.5 * adversarial.discriminator(self.D(y), self.D(fake.detach()), "least_squares")}
        of_x, of_y = self.patches(inputs, output, seeds)
        beta = 1.0 / (c.gamma_start + (c.gamma_end - c.gamma_start) * progress)  # the curriculum: ever harder
        contrasts = [p.mean(lambda w, z: hdce(w, z, beta=beta, tau=c.tau, form=c.hdce_form)) for p in (of_x, of_y)]
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(fake), "least_squares"),
                "hdce": 0.5 * c.lambda_hdce * contrasts[0],
                "hdce_same": 0.5 * c.lambda_hdce * contrasts[1],
                "src": c.lambda_src * of_x.mean(relation_divergence),
            },
        )
