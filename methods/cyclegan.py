"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks.

Zhu, Park, Isola and Efros, ICCV 2017, https://arxiv.org/abs/1703.10593 (v7 is cited).
Differs from the paper: above batch 1, each row of the batch has an image pool of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Method, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.resnet_generator import ResNetGenerator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of CycleGAN; the defaults are the paper's for 256x256 px."""

    width: int = setting(64, "Sec. 7.2: c7s1-64")
    blocks: int = setting(9, "Sec. 7.2: nine residual blocks for 256x256 px and more")
    discriminator_width: int = setting(64, "Sec. 7.2: C64-C128-C256-C512")
    discriminator_layers: int = setting(3, "Sec. 4: patches of 70x70 px")
    pool_size: int = setting(50, "Sec. 4: the 50 previously created images")
    lambda_cycle: float = setting(10.0, "Sec. 4, lambda of Eq. 3")
    lambda_identity: float = setting(0.5, "Sec. 5.2, a share of lambda; there for paintings, in the official code for all")
    learning_rate: float = setting(2e-4, "Sec. 4")
    beta1: float = setting(0.5, "official PyTorch code")
    beta2: float = setting(0.999, "official PyTorch code")
    decay_from: float = setting(0.5, "Sec. 7.1: 100 epochs constant, 100 with linear decay to 0")
    batch_size: int = setting(1, "Sec. 4")


PAPER = Config()


class CycleGAN(Method):
    """Two generators that undo each other, each under a patch discriminator."""

    card = Card(
        title="CycleGAN",
        paper="https://arxiv.org/abs/1703.10593",
        year=2017,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=("Above batch 1, each row of the batch has an image pool of its own.",),
        licence="BSD-2-Clause",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(PAPER, width=8, blocks=3, discriminator_width=8, discriminator_layers=2, batch_size=4),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config

        def generator(channels_in: int, channels_out: int) -> ResNetGenerator:
            return initialization.normal(ResNetGenerator(channels_in, channels_out, width=c.width, blocks=c.blocks), 0.02)

        def discriminator(channels: int) -> PatchDiscriminator:
            D = PatchDiscriminator(channels, width=c.discriminator_width, layers=c.discriminator_layers)
            return initialization.normal(D, 0.02)

        self.G = generator(source_channels, target_channels)  # x -> y
        self.F = generator(target_channels, source_channels)  # y -> x
        self.D_X = discriminator(source_channels)
        self.D_Y = discriminator(target_channels)
        self.pool_x = ImagePool(c.pool_size, "pool x")
        self.pool_y = ImagePool(c.pool_size, "pool y")

    def players(self) -> dict[str, Player]:
        """Both generators with one Adam, then both discriminators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"G": Player([self.G, self.F], optimizer), "D": Player([self.D_X, self.D_Y], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both generators, then one of both discriminators."""
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        lambda_cycle = self.config.lambda_cycle
        lambda_identity = lambda_cycle * self.config.lambda_identity

        # One pass for two batches: instance normalisation looks at each row alone.
        fake_y, same_y = self.G(torch.cat([x, y])).chunk(2)
        fake_x, same_x = self.F(torch.cat([y, x])).chunk(2)
        yield (
            "G",
            {
                "gan_G": adversarial.generator(self.D_Y(fake_y), "least_squares"),  # Eq. 1, with the squares of Sec. 4
                "gan_F": adversarial.generator(self.D_X(fake_x), "least_squares"),
                "cycle_x": lambda_cycle * l1(self.F(fake_y), x),  # Eq. 2
                "cycle_y": lambda_cycle * l1(self.G(fake_x), y),
                "identity_y": lambda_identity * l1(same_y, y),  # Sec. 5.2, L_identity
                "identity_x": lambda_identity * l1(same_x, x),
            },
        )
        past_y, past_x = self.pool_y(fake_y, seeds), self.pool_x(fake_x, seeds)
        yield (
            "D",
            {
                "D_Y": 0.5 * adversarial.discriminator(self.D_Y(y), self.D_Y(past_y), "least_squares"),  # halved: Sec. 7.1
                "D_X": 0.5 * adversarial.discriminator(self.D_X(x), self.D_X(past_x), "least_squares"),
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source)

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """F(y)."""
        return self.F(target)
