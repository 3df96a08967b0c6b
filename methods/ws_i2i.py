"""WS-I2I: Extremely Weak Supervised Image-to-Image Translation for Semantic Segmentation.

Shukla, Van Gool and Timofte, ICCV Workshops 2019, https://arxiv.org/abs/1909.08542
Differs from the paper: pairs and unpaired images take turns step by step, not set by set, so both have equally many
updates; which images to annotate as pairs, the paper's other half, is the protocol's choice; above batch 1, each row of the
batch has image pools of its own. The official code makes its reconstructions without gradients, so that its cycle loss
moves nothing, and counts in a list that it never creates; here the cycle has a gradient.

G: source x -> target y; F: y -> x. One pair of discriminators judges both kinds of data, and relativistically: real against
fake. What real images G is held against comes from pools too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sarbench.bench.interface import Batch, Card, Method, Pairs, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.resnet_generator import ResNetGenerator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of WS-I2I; the defaults are those of the authors' code for 256x256 px."""

    width: int = setting(64, "official code: CycleGAN's generator")
    outer_kernel: int = setting(7, "official code: c7s1 of CycleGAN's generator, the first and the last layer")
    blocks: int = setting(9, "official code: nine residual blocks")
    discriminator_width: int = setting(64, "official code: PatchGAN")
    discriminator_layers: int = setting(3, "official code: patches of 70x70 px")
    pool_size: int = setting(50, "official code: pools of unpaired images, real and translated")
    paired_pool_size: int = setting(10, "official code: pools of paired images, real and translated")
    lambda_l1: float = setting(150.0, "official code: pairs, both ways")
    lambda_cycle: float = setting(10.0, "official code: both kinds of data")
    lambda_identity: float = setting(10.0, "official code: both kinds of data")
    learning_rate: float = setting(2e-4, "official code")
    beta1: float = setting(0.5, "official code")
    beta2: float = setting(0.999, "official code")
    decay_from: float = setting(0.5, "official code: 800 epochs constant, 800 with linear decay to 0")
    batch_size: int = setting(1, "official code; as many pairs as unpaired images")


PAPER = Config()


class WSI2I(Method):
    """CycleGAN with relativistic discriminators, by turns on pairs, with L1, and on unpaired images."""

    card = Card(
        title="WS-I2I",
        paper="https://arxiv.org/abs/1909.08542",
        year=2019,
        supervision="semi",
        channels="same",
        size_multiple=4,
        deviations=(
            "Pairs and unpaired images take turns step by step; the paper goes through all pairs, then all unpaired images.",
            "The selection of the images to pair is the protocol's.",
            "Above batch 1, each row of the batch has image pools of its own.",
        ),
        licence="none given for the authors' own part; BSD-2-Clause for CycleGAN's",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=6,
            outer_kernel=3,  # at full size, where a CPU spends its time
            blocks=1,
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

        def pools(slots: int, kind: str) -> nn.ModuleDict:
            names = ("real_x", "real_y", "fake_x", "fake_y")
            return nn.ModuleDict({name: ImagePool(slots, f"{kind} {name}") for name in names})

        self.G = generator(source_channels, target_channels)  # x -> y
        self.F = generator(target_channels, source_channels)  # y -> x
        self.D_X, self.D_Y = discriminator(source_channels), discriminator(target_channels)
        self.paired_pools = pools(c.paired_pool_size, "paired")
        self.unpaired_pools = pools(c.pool_size, "unpaired")

    def players(self) -> dict[str, Player]:
        """Both discriminators with one Adam, then both generators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"D": Player([self.D_X, self.D_Y], optimizer), "G": Player([self.G, self.F], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """D and G on pairs, then D and G on unpaired images."""
        yield from self._turns(batch.paired, self.paired_pools, "paired")
        yield from self._turns(batch.unpaired, self.unpaired_pools, "unpaired")

    def _turns(self, pairs: Pairs, pools: nn.ModuleDict, kind: str) -> Iterator[Turn]:
        c, x, y, seeds = self.config, pairs.source, pairs.target, pairs.seeds
        # One pass for two batches: instance normalisation looks at each row alone.
        fake_y, same_y = self.G(torch.cat([x, y])).chunk(2)
        fake_x, same_x = self.F(torch.cat([y, x])).chunk(2)
        past_y, past_x = pools["fake_y"](fake_y, seeds), pools["fake_x"](fake_x, seeds)
        yield (
            "D",
            {
                f"{kind}_D_Y": adversarial.relativistic(self.D_Y(y), self.D_Y(past_y)),
                f"{kind}_D_X": adversarial.relativistic(self.D_X(x), self.D_X(past_x)),
            },
        )
        real_y, real_x = pools["real_y"](y, seeds), pools["real_x"](x, seeds)
        losses = {
            "gan_G": adversarial.relativistic(self.D_Y(fake_y), self.D_Y(real_y)),
            "gan_F": adversarial.relativistic(self.D_X(fake_x), self.D_X(real_x)),
            "cycle_x": c.lambda_cycle * l1(self.F(fake_y), x),
            "cycle_y": c.lambda_cycle * l1(self.G(fake_x), y),
            "identity_y": c.lambda_identity * l1(same_y, y),
            "identity_x": c.lambda_identity * l1(same_x, x),
        }
        if kind == "paired":
            losses |= {"l1_y": c.lambda_l1 * l1(fake_y, y), "l1_x": c.lambda_l1 * l1(fake_x, x)}
        yield "G", {f"{kind}_{name}": loss for name, loss in losses.items()}

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source)

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """F(y)."""
        return self.F(target)
