"""GcGAN: Geometry-Consistent Generative Adversarial Networks for One-Sided Unsupervised Domain Mapping.

Fu, Gong, Wang, Batmanghelich, Zhang and Tao, CVPR 2019, https://arxiv.org/abs/1809.05852
Differs from the paper: the identity loss is that of the official code; in each half of the geometry loss the other side is
held still, as in that code, without which both halves have one gradient and weigh twice; above batch 1, each row of the
batch has image pools of its own.

A turn or a flip keeps the meaning of what is seen from above. It is not neutral for a side-looking radar, whose shadows and
layover point along its look direction: x and T x are then images of two different looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

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
    """Hyperparameters of GcGAN; the defaults are the paper's for 256x256 px."""

    geometry: Literal["rotation", "vertical_flip"] = setting(
        "rotation", "Sec. 3.2: f is a clockwise turn by 90 degrees, or a vertical flip"
    )
    width: int = setting(64, "official code: the generator of CycleGAN")
    blocks: int = setting(9, "official code: the generator of CycleGAN; 6 for Cityscapes at 128 px")
    discriminator_width: int = setting(64, "official code: the discriminator of CycleGAN, C64-C128-C256-C512")
    discriminator_layers: int = setting(3, "official code: the discriminator of CycleGAN, patches of 70x70 px")
    pool_size: int = setting(50, "official code: the pool of CycleGAN, one for each discriminator")
    lambda_geo: float = setting(20.0, "Sec. 3.3, lambda of the full objective; official code: 2 times 10")
    lambda_identity: float = setting(5.0, "official code: 10 times 0.5; 10 times 0.3 from labels to photographs")
    learning_rate: float = setting(2e-4, "official code")
    beta1: float = setting(0.5, "official code")
    beta2: float = setting(0.999, "official code")
    decay_from: float = setting(0.5, "official code: 100 epochs constant, 100 with linear decay to 0")
    batch_size: int = setting(8, "official code: the default; 12 on four GPUs in its script for Cityscapes")


PAPER = Config()


class GcGAN(Method):
    """One generator that should commute with a turn of the image, under a discriminator for each orientation."""

    card = Card(
        title="GcGAN",
        paper="https://arxiv.org/abs/1809.05852",
        year=2019,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=(
            "The identity loss is that of the official code.",
            "In each half of the geometry loss the other side is held still, as in the official code.",
            "Above batch 1, each row of the batch has image pools of its own.",
        ),
        licence="none given",
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

        def discriminator() -> PatchDiscriminator:
            D = PatchDiscriminator(target_channels, width=c.discriminator_width, layers=c.discriminator_layers)
            return initialization.normal(D, 0.02)

        G = ResNetGenerator(source_channels, target_channels, width=c.width, blocks=c.blocks)
        self.G = initialization.normal(G, 0.02)  # of x and of T x alike: Sec. 3.3
        self.D, self.D_turned = discriminator(), discriminator()
        self.pool, self.pool_turned = ImagePool(c.pool_size, "pool"), ImagePool(c.pool_size, "pool turned")

    def players(self) -> dict[str, Player]:
        """G, then both discriminators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"G": Player(self.G, optimizer), "D": Player([self.D, self.D_turned], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of G, then one of both discriminators."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        x_turned, y_turned = turned(x, c.geometry), turned(y, c.geometry)

        # One pass for two batches: instance normalisation looks at each row alone.
        fake, same = self.G(torch.cat([x, y])).chunk(2)
        fake_turned, same_turned = self.G(torch.cat([x_turned, y_turned])).chunk(2)
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(fake), "least_squares"),
                "gan_turned": adversarial.generator(self.D_turned(fake_turned), "least_squares"),
                "geo": c.lambda_geo * l1(fake, turned_back(fake_turned.detach(), c.geometry)),
                "geo_turned": c.lambda_geo * l1(fake_turned, turned(fake.detach(), c.geometry)),
                "identity": c.lambda_identity * l1(same, y),
                "identity_turned": c.lambda_identity * l1(same_turned, y_turned),
            },
        )
        past, past_turned = self.pool(fake, seeds), self.pool_turned(fake_turned, seeds)
        yield (
            "D",
            {
                "D": 0.5 * adversarial.discriminator(self.D(y), self.D(past), "least_squares"),
                "D_turned": 0.5
                * adversarial.discriminator(self.D_turned(y_turned), self.D_turned(past_turned), "least_squares"),
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source)


def turned(x: Float[Tensor, "B C H W"], geometry: str) -> Float[Tensor, "B C _ _"]:
    """T x: the image turned clockwise by 90 degrees, or upside down as in a mirror."""
    return x.rot90(-1, (2, 3)) if geometry == "rotation" else x.flip(2)


def turned_back(x: Float[Tensor, "B C H W"], geometry: str) -> Float[Tensor, "B C _ _"]:
    """The inverse of `turned`."""
    return x.rot90(1, (2, 3)) if geometry == "rotation" else x.flip(2)
