"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks.

Isola, Zhu, Zhou and Efros, CVPR 2017, https://arxiv.org/abs/1611.07004 (v3 is cited).
Differs from the paper: no dropout noise and running batch statistics at test time, where the paper keeps both as in
training; so a translation is deterministic and does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Method, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.unet import UNet


@dataclass(frozen=True)
class Config:
    """Hyperparameters of pix2pix; the defaults are the paper's for 256x256 px."""

    width: int = setting(64, "Sec. 6.1.1: C64 first, 8 times as wide from the fourth layer on")
    halvings: int = setting(8, "Sec. 6.1.1: a bottleneck of 1x1")
    dropout: float = setting(0.5, "Sec. 6.1")
    discriminator_width: int = setting(64, "Sec. 6.1.2: C64-C128-C256-C512")
    discriminator_layers: int = setting(3, "Sec. 6.1.2: patches of 70x70 px")
    lambda_l1: float = setting(100.0, "Sec. 4.2, lambda of Eq. 4")
    learning_rate: float = setting(2e-4, "Sec. 3.3")
    beta1: float = setting(0.5, "Sec. 3.3")
    beta2: float = setting(0.999, "Sec. 3.3")
    decay_from: float = setting(0.5, "official PyTorch code: 100 epochs constant, 100 with linear decay to 0")
    batch_size: int = setting(1, "Sec. 3.3: between 1 and 10; 1 in most experiments")


PAPER = Config()


class Pix2Pix(Method):
    """A U-Net under a conditional patch discriminator and an L1 loss."""

    card = Card(
        title="pix2pix",
        paper="https://arxiv.org/abs/1611.07004",
        year=2017,
        supervision="paired",
        channels="any",
        size_multiple=256,
        deviations=("Translates with running batch statistics and without dropout; the paper keeps both as in training.",),
        licence="BSD-2-Clause",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=16,
            halvings=5,
            dropout=0.0,  # a quarter of the width has nothing to spare
            discriminator_width=16,
            discriminator_layers=2,
            learning_rate=5e-4,  # a few thousand updates in all
            batch_size=4,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        G = UNet(source_channels, target_channels, width=config.width, halvings=config.halvings, dropout=config.dropout)
        D = PatchDiscriminator(
            source_channels + target_channels,
            width=config.discriminator_width,
            layers=config.discriminator_layers,
            norm="batch",
        )
        self.G = initialization.normal(G, 0.02)  # Sec. 6.2
        self.D = initialization.normal(D, 0.02)

    @property
    def size_multiple(self) -> int:
        """A halving each: 256 for the paper's 8."""
        return 2**self.config.halvings

    def players(self) -> dict[str, Player]:
        """D, then G, with an Adam each."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"D": Player(self.D, optimizer), "G": Player(self.G, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, halved to slow it down (Sec. 3.3), then one of G."""
        x, y = batch.paired.source, batch.paired.target
        fake = self.G(x, batch.paired.seeds)  # z is the dropout: Sec. 3, "noise only in the form of dropout"
        yield "D", {"gan": 0.5 * adversarial.discriminator(self.D(x, y), self.D(x, fake.detach()), "bce")}  # Eq. 1
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(x, fake), "bce"),  # Eq. 1
                "l1": self.config.lambda_l1 * l1(fake, y),  # Eqs. 3 and 4
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x) without noise."""
        return self.G(source)
