"""Scenimefy: Learning to Craft Anime Scene via Semi-Supervised Image-to-Image Translation.

Jiang, Jiang, Yang and Loy, ICCV 2023, https://arxiv.org/abs/2308.12968
Differs from the paper: the few real pairs take the place of the pseudo-pairs that it draws from a StyleGAN and selects by
segmentation; each row of a batch has positions of its own; the unpaired branch is SRC with its hard negatives in the
expectation's form; the official code's optional content loss on VGG-19, off in its script, is left out.
Traps of the official code, not reproduced: the weight of the paired branch, meant to fall as a cosine, stays at 1 for any
even number of epochs; the weight of the style loss counts twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from sarbench.bench.interface import Batch, Card, Player, Turn, setting
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.patch_nce import hdce, patch_nce, relation_divergence
from sarbench.methods.networks import initialization
from sarbench.methods.networks.antialiased_resnet import AntialiasedPatchDiscriminator
from sarbench.methods.networks.patch_features import PatchProjector, matched_patches


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of Scenimefy; the defaults are the official code's for 256x256 px."""

    lambda_hdce: float = setting(0.1, "official code")
    lambda_src: float = setting(0.05, "official code")
    hdce_form: Literal["normalised", "source_code"] = setting(
        "normalised", "SRC, the hard negatives' expectation; source_code: its official code"
    )
    gamma_start: float = setting(50.0, "official code: 1 / concentration of the negatives at the start, linear to gamma_end")
    gamma_end: float = setting(10.0, "official code")
    lambda_pair: float = setting(1.0, "official code: the conditional adversarial loss of pairs")
    lambda_style: float = setting(0.05, "official code: StylePatchNCE of pairs in its script; its default is 0.1")
    decays: bool = setting(True, "the weight of the paired branch falls as cos(pi/2 progress)")


class Scenimefy(ContrastiveFrame):
    """SRC on unpaired images; on pairs, a conditional discriminator and patches that resemble the target's."""

    card = Card(
        title="Scenimefy",
        paper="https://arxiv.org/abs/2308.12968",
        year=2023,
        supervision="semi",
        channels="same",
        size_multiple=4,
        fidelity="adapted",
        deviations=(
            "Real pairs take the place of pseudo-pairs from a fine-tuned StyleGAN.",
            "No content loss on VGG-19 features, which the official code's script leaves off.",
            "The weight of the paired branch does fall as a cosine; in the official code it stays at 1.",
            "Each row of a batch has positions of its own; the shallowest layer is the image without its padding.",
        ),
        licence="S-Lab 1.0, not for commercial use",
    )
    presets = frame_presets(Config())
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c, channels = config, source_channels + target_channels
        D_pair = AntialiasedPatchDiscriminator(channels, width=c.discriminator_width, layers=c.discriminator_layers)
        self.D_pair = initialization.xavier(D_pair)
        self.F_style = initialization.xavier(PatchProjector(self.G.feature_channels, width=c.projector_width))

    def players(self) -> dict[str, Player]:
        """Both discriminators, then G with its projectors, with an Adam each."""
        D, G = super().players().values()
        return {"D": replace(D, modules=[self.D, self.D_pair]), "G": replace(G, modules=[self.G, self.F, self.F_style])}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both discriminators, then one of G and its projectors."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        x_p, y_p, seeds_p = batch.paired.source, batch.paired.target, batch.paired.seeds
        inputs = torch.cat([x, y])
        output = self.G(inputs)
        fake, fake_p = output.image[: len(x)], self.G(x_p).image
        yield (
            "D",
            {
                "gan": 0.5 * adversarial.discriminator(self.D(y), self.D(fake.detach()), "least_squares"),
                "pair": 0.5
                * adversarial.discriminator(self.D_pair(x_p, y_p), self.D_pair(x_p, fake_p.detach()), "least_squares"),
            },
        )
        of_x, of_y = self.patches(inputs, output, seeds)
        with torch.no_grad():
            real = self.G.encode(y_p)
        style = matched_patches(self.F_style, real, self.G.encode(fake_p), c.patches, seeds_p, "style")
        beta = 1.0 / (c.gamma_start + (c.gamma_end - c.gamma_start) * progress)
        contrasts = [p.mean(lambda w, z: hdce(w, z, beta=beta, tau=c.tau, form=c.hdce_form)) for p in (of_x, of_y)]
        supervised = math.cos(0.5 * math.pi * progress) if c.decays else 1.0
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(fake), "least_squares"),
                "hdce": 0.5 * c.lambda_hdce * contrasts[0],
                "hdce_same": 0.5 * c.lambda_hdce * contrasts[1],
                "src": c.lambda_src * of_x.mean(relation_divergence),
                "pair": supervised * c.lambda_pair * adversarial.generator(self.D_pair(x_p, fake_p), "least_squares"),
                "style": supervised * c.lambda_style * style.mean(lambda w, z: patch_nce(w, z, c.tau)),
            },
        )
