"""Semi-I2I: A Semi-Supervised Image-to-Image Translation Framework for SAR-Optical Image Matching.

Du, Zhou, Zhu, Zhao, Shao and Tian, IEEE GRSL 19, 2022; the authors' code is https://github.com/WenliangDu/Semi-I2I
Differs from the paper: above batch 1, each row of the batch has image pools of its own. The paper translates one band into
one for matching; channels here are the data's. The official code mixes the options of pix2pix into its own and tests with
the CycleGAN class, which changes nothing here.

G: source x -> target y; F: y -> x. CycleGAN on unpaired images without its identity term, and beside it, on pairs, L1 both
ways under two more discriminators, which see one image each.
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
    """Hyperparameters of Semi-I2I; the defaults are those of the authors' code for 256x256 px."""

    width: int = setting(64, "official code: CycleGAN's generator")
    outer_kernel: int = setting(7, "official code: c7s1 of CycleGAN's generator, the first and the last layer")
    blocks: int = setting(9, "official code: nine residual blocks")
    discriminator_width: int = setting(64, "official code: PatchGAN")
    discriminator_layers: int = setting(3, "official code: patches of 70x70 px")
    pool_size: int = setting(50, "official code: for each of the four discriminators")
    lambda_cycle: float = setting(10.0, "official code, on unpaired images alone")
    lambda_l1: float = setting(50.0, "official code, README: --lambda_L1 50, both ways")
    learning_rate: float = setting(2e-4, "official code")
    beta1: float = setting(0.5, "official code")
    beta2: float = setting(0.999, "official code")
    decay_from: float = setting(0.5, "official code: 100 epochs constant, 100 with linear decay to 0")
    batch_size: int = setting(1, "official code; as many pairs as unpaired images")


PAPER = Config()


class SemiI2I(Method):
    """CycleGAN on unpaired images and a two-way pix2pix on pairs, with the same two generators."""

    card = Card(
        title="Semi-I2I",
        paper="https://github.com/WenliangDu/Semi-I2I",
        year=2022,
        supervision="semi",
        channels="any",
        size_multiple=4,
        deviations=("Above batch 1, each row of the batch has image pools of its own.",),
        licence="BSD-2-Clause",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=8,
            outer_kernel=3,  # at full size, where a CPU spends its time
            blocks=2,
            discriminator_width=8,
            discriminator_layers=2,
            learning_rate=5e-4,  # a few thousand updates in all
            batch_size=4,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config

        def generator(channels_in: int, channels_out: int) -> ResNetGenerator:
            G = ResNetGenerator(channels_in, channels_out, width=c.width, blocks=c.blocks, outer_kernel=c.outer_kernel)
            return initialization.normal(G, 0.02)

        def discriminator(channels: int) -> PatchDiscriminator:
            D = PatchDiscriminator(channels, width=c.discriminator_width, layers=c.discriminator_layers)
            return initialization.normal(D, 0.02)

        self.G = generator(source_channels, target_channels)  # x -> y
        self.F = generator(target_channels, source_channels)  # y -> x
        self.D_X, self.D_Y = discriminator(source_channels), discriminator(target_channels)  # of unpaired images
        self.D_Xp, self.D_Yp = discriminator(source_channels), discriminator(target_channels)  # of paired images
        self.pool_x, self.pool_y = ImagePool(c.pool_size, "pool x"), ImagePool(c.pool_size, "pool y")
        self.pool_xp, self.pool_yp = ImagePool(c.pool_size, "paired pool x"), ImagePool(c.pool_size, "paired pool y")

    def players(self) -> dict[str, Player]:
        """Both generators with one Adam, then all four discriminators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        judges = [self.D_X, self.D_Y, self.D_Xp, self.D_Yp]
        return {"G": Player([self.G, self.F], optimizer), "D": Player(judges, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both generators on an unpaired and a paired batch, then one of the discriminators."""
        c, u, p = self.config, batch.unpaired, batch.paired
        x, y = u.source, u.target

        # One pass for two batches: instance normalisation looks at each row alone.
        fake_y, paired_y = self.G(torch.cat([x, p.source])).split([len(u), len(p)])
        fake_x, paired_x = self.F(torch.cat([y, p.target])).split([len(u), len(p)])
        yield (
            "G",
            {
                "gan_G": adversarial.generator(self.D_Y(fake_y), "least_squares"),
                "gan_F": adversarial.generator(self.D_X(fake_x), "least_squares"),
                "cycle_x": c.lambda_cycle * l1(self.F(fake_y), x),
                "cycle_y": c.lambda_cycle * l1(self.G(fake_x), y),
                "paired_gan_G": adversarial.generator(self.D_Yp(paired_y), "least_squares"),
                "paired_gan_F": adversarial.generator(self.D_Xp(paired_x), "least_squares"),
                "paired_y": c.lambda_l1 * l1(paired_y, p.target),
                "paired_x": c.lambda_l1 * l1(paired_x, p.source),
            },
        )
        past = {
            "D_Y": (self.D_Y, y, self.pool_y(fake_y, u.seeds)),
            "D_X": (self.D_X, x, self.pool_x(fake_x, u.seeds)),
            "D_Yp": (self.D_Yp, p.target, self.pool_yp(paired_y, p.seeds)),
            "D_Xp": (self.D_Xp, p.source, self.pool_xp(paired_x, p.seeds)),
        }
        yield (
            "D",
            {
                name: 0.5 * adversarial.discriminator(D(real), D(fake), "least_squares")
                for name, (D, real, fake) in past.items()
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
