"""MUNIT: Multimodal Unsupervised Image-to-Image Translation.

Huang, Liu, Belongie and Kautz, ECCV 2018, https://arxiv.org/abs/1804.04732
Differs from the paper: without the perceptual loss, which it keeps for images of 512 px and more; both players of a step
see the same translations, where the official code draws other styles for each.

A translation takes its style from the prior N(0, I), as the paper samples it: one draw an image, from the image's seed. The
official code assigns AdaIN's parameters to layers by their order; here they are handed on as arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.multiscale_discriminator import StridedMultiscaleDiscriminator
from sarbench.methods.networks.style_autoencoder import StyleAutoencoder


@dataclass(frozen=True)
class Config:
    """Hyperparameters of MUNIT; the defaults are the paper's for 256x256 px."""

    width: int = setting(64, "App. B.1: c7s1-64")
    halvings: int = setting(2, "App. B.1: d128, d256")
    blocks: int = setting(4, "App. B.1: four residual blocks in content encoder and decoder")
    style_size: int = setting(8, "App. B.1: eight numbers")
    style_halvings: int = setting(4, "App. B.1: d128, d256, d256, d256")
    mlp_width: int = setting(256, "official code")
    outer_kernel: int = setting(7, "App. B.1: c7s1; side of the first and the last convolution")
    up_kernel: int = setting(5, "App. B.1: side of the convolutions after a doubling")
    discriminator_width: int = setting(64, "App. B.1: d64, d128, d256, d512")
    discriminator_layers: int = setting(4, "App. B.1: d64, d128, d256, d512")
    discriminator_scales: int = setting(3, "App. B.1: three scales")
    lambda_x: float = setting(10.0, "App. B.2, lambda_x of Eq. 5")
    lambda_c: float = setting(1.0, "App. B.2, lambda_c of Eq. 5")
    lambda_s: float = setting(1.0, "App. B.2, lambda_s of Eq. 5")
    lambda_cycle: float = setting(0.0, "Sec. 5.1: style-augmented cycle; official code: 10 for streets and seasons, else 0")
    learning_rate: float = setting(1e-4, "App. B.2")
    beta1: float = setting(0.5, "App. B.2")
    beta2: float = setting(0.999, "App. B.2")
    weight_decay: float = setting(1e-4, "official code")
    halve_every: float = setting(0.1, "App. B.2: halved every 100,000 iterations; official code: of 1,000,000")
    batch_size: int = setting(1, "App. B.2")


PAPER = Config()


class MUNIT(Method):
    """Two autoencoders of content and style that swap contents, each under a multi-scale discriminator."""

    card = Card(
        title="MUNIT",
        paper="https://arxiv.org/abs/1804.04732",
        year=2018,
        supervision="unpaired",
        channels="any",
        size_multiple=4,
        stochastic=True,
        deviations=(
            "A translation's style is one draw from the prior, keyed by the image's seed.",
            "Both players of a step see the same translations; the official code draws other styles for each.",
            "No perceptual loss at any size; the paper has one from 512 px on.",
        ),
        licence="CC-BY-NC-SA-4.0",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=8,
            blocks=2,
            style_halvings=3,
            mlp_width=32,
            outer_kernel=3,
            up_kernel=3,
            discriminator_width=8,
            discriminator_layers=3,
            discriminator_scales=2,
            learning_rate=5e-4,  # a few thousand updates in all
            batch_size=4,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config

        def autoencoder(channels: int) -> StyleAutoencoder:
            network = StyleAutoencoder(
                channels,
                width=c.width,
                halvings=c.halvings,
                blocks=c.blocks,
                style_size=c.style_size,
                style_halvings=c.style_halvings,
                mlp_width=c.mlp_width,
                outer_kernel=c.outer_kernel,
                up_kernel=c.up_kernel,
            )
            return initialization.kaiming(network)  # App. B.2

        def discriminator(channels: int) -> StridedMultiscaleDiscriminator:
            D = StridedMultiscaleDiscriminator(
                channels, scales=c.discriminator_scales, width=c.discriminator_width, layers=c.discriminator_layers
            )
            return initialization.normal(D, 0.02)  # official code

        self.X = autoencoder(source_channels)
        self.Y = autoencoder(target_channels)
        self.D_X = discriminator(source_channels)
        self.D_Y = discriminator(target_channels)

    @property
    def size_multiple(self) -> int:
        """A halving each."""
        return 2**self.config.halvings

    def players(self) -> dict[str, Player]:
        """Both discriminators with one Adam, then both autoencoders with one Adam."""
        c = self.config
        schedule = Schedule("steps", every=c.halve_every, drop=0.5)
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), weight_decay=c.weight_decay, schedule=schedule)
        return {"D": Player([self.D_X, self.D_Y], optimizer), "G": Player([self.X, self.Y], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both discriminators, then one of both autoencoders.  Eq. 5."""
        c, X, Y = self.config, self.X, self.Y
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        s_x, s_y = (normal(seeds, (c.style_size,), f"style {domain}") for domain in "xy")  # from the priors

        c_x, c_y = X.content(x), Y.content(y)
        own_x, own_y = X.style(x), Y.style(y)
        # One pass for two batches: every normalisation looks at each row alone.
        rec_x, fake_x = X.decode(torch.cat([c_x, c_y]), torch.cat([own_x, s_x])).chunk(2)
        rec_y, fake_y = Y.decode(torch.cat([c_y, c_x]), torch.cat([own_y, s_y])).chunk(2)
        yield (
            "D",
            {
                "gan_x": adversarial.discriminator(self.D_X(x), self.D_X(fake_x.detach()), "least_squares"),  # Eq. 4
                "gan_y": adversarial.discriminator(self.D_Y(y), self.D_Y(fake_y.detach()), "least_squares"),
            },
        )
        again_c_x, again_c_y = Y.content(fake_y), X.content(fake_x)
        losses = {
            "gan_x": adversarial.generator(self.D_X(fake_x), "least_squares"),  # Eq. 4
            "gan_y": adversarial.generator(self.D_Y(fake_y), "least_squares"),
            "rec_x": c.lambda_x * l1(rec_x, x),  # Eq. 1
            "rec_y": c.lambda_x * l1(rec_y, y),
            "content_x": c.lambda_c * l1(again_c_x, c_x),  # Eq. 2
            "content_y": c.lambda_c * l1(again_c_y, c_y),
            "style_x": c.lambda_s * l1(X.style(fake_x), s_x),  # Eq. 3
            "style_y": c.lambda_s * l1(Y.style(fake_y), s_y),
        }
        if c.lambda_cycle:
            losses["cycle_x"] = c.lambda_cycle * l1(X.decode(again_c_x, own_x), x)
            losses["cycle_y"] = c.lambda_cycle * l1(Y.decode(again_c_y, own_y), y)
        yield "G", losses

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The source's content in a style drawn from the targets' prior."""
        return self.Y.decode(self.X.content(source), normal(seeds, (self.config.style_size,), "style y"))

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """The target's content in a style drawn from the sources' prior."""
        return self.X.decode(self.Y.content(target), normal(seeds, (self.config.style_size,), "style x"))
