"""CFCA-SET: Coarse-to-Fine Context-Aware SAR-to-EO Translation With Auxiliary Learning of SAR-to-NIR Translation.

Lee, Cho, Seo, Kim, Jeong and Kim, IEEE TGRS 61, 2023, https://scholar.google.com/scholar?q=%22CFCA-SET%22
Differs from the paper: in what `card.deviations` lists. Neither its text nor code could be had; what is known of it are its
abstract and the accounts of its group's C-DiffSET (https://arxiv.org/abs/2411.10788) and U-SET: two stages, coarse to fine;
local self-attention in the coarse one, against speckle; a SAR-to-NIR translation learned on the side, whose features support
the one to RGB; a loss that resists misalignment. All numbers are ours.

Set auxiliary=nir for data with a near infrared band (SEN12MS, DFC2020, OSCD), as the preset `paper` does. The other presets
learn the mean of the target's bands in its place, which all data have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from sarbench.bench.interface import Batch, Card, Method, Pairs, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.misalignment import shift_tolerant_l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.coarse_to_fine import CoarseToFine
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of CFCA-SET; all values are guesses, since the paper could not be had."""

    auxiliary: Literal["nir", "mean"] = setting("nir", "title: SAR-to-NIR; mean: of the target's bands, where there is no NIR")
    width: int = setting(64, "guess: CycleGAN's, of both coarse networks")
    blocks: int = setting(6, "guess: residual blocks of each coarse network, CycleGAN's for 128x128 px")
    fine_width: int = setting(64, "guess: CycleGAN's")
    fine_blocks: int = setting(3, "guess: pix2pixHD's local enhancer")
    outer_kernel: int = setting(7, "guess: CycleGAN's, of the first and the last layers")
    window: int = setting(8, "guess: side in px of the windows of attention, at half size")
    heads: int = setting(4, "guess")
    discriminator_width: int = setting(64, "guess: conditional PatchGAN of pix2pix")
    discriminator_layers: int = setting(3, "guess: patches of 70x70 px")
    lambda_fine: float = setting(100.0, "guess: pix2pix's weight of L1")
    lambda_coarse: float = setting(50.0, "guess: half of it at half size")
    lambda_auxiliary: float = setting(50.0, "guess: half of it at half size")
    reach: int = setting(2, "guess: px by which a patch of the target may shift; half of it at half size")
    patch: int = setting(16, "guess: side in px of patches that shift together; half of it at half size")
    learning_rate: float = setting(2e-4, "guess: pix2pix")
    beta1: float = setting(0.5, "guess: pix2pix")
    beta2: float = setting(0.999, "guess: pix2pix")
    decay_from: float = setting(0.5, "guess: pix2pix, constant for half of the budget, then linear to 0")
    batch_size: int = setting(4, "guess")


PAPER = Config()


class CFCASET(Method):
    """A coarse translation with attention and an auxiliary band, refined at full size, under a shift-tolerant L1."""

    card = Card(
        title="CFCA-SET",
        paper="https://scholar.google.com/scholar?q=%22CFCA-SET%22",
        year=2023,
        supervision="paired",
        channels="any",
        size_multiple=16,
        fidelity="reconstruction",
        deviations=(
            "Built from its abstract and later papers' accounts: its own text and code could not be had; all numbers are ours.",
            "Coarse and fine networks are CycleGAN's generators; the coarse ones work at half size, and attend in windows "
            "of 8x8 px behind their first layer.",
            "The auxiliary network's last features join the source as the input of the coarse network.",
            "The misalignment-resistant loss lets each patch of 16x16 px shift by up to 2 px to where L1 is least.",
            "One conditional PatchGAN judges the fine translation by least squares; the coarse ones have no discriminator.",
            "The presets bench and tiny learn the mean of the target's bands where the paper learns near infrared.",
        ),
        licence="no code found",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, auxiliary="mean"),
        "tiny": replace(
            PAPER,
            auxiliary="mean",
            width=8,
            blocks=1,
            fine_width=8,
            fine_blocks=1,
            outer_kernel=3,  # at full size, where a CPU spends its time
            heads=2,
            discriminator_width=8,
            discriminator_layers=2,
            learning_rate=5e-4,  # a thousand updates in all
            batch_size=8,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.G = CoarseToFine(
            source_channels,
            target_channels,
            width=c.width,
            blocks=c.blocks,
            fine_width=c.fine_width,
            fine_blocks=c.fine_blocks,
            outer_kernel=c.outer_kernel,
            window=c.window,
            heads=c.heads,
        )
        D = PatchDiscriminator(source_channels + target_channels, width=c.discriminator_width, layers=c.discriminator_layers)
        self.D = initialization.normal(D, 0.02)

    @property
    def size_multiple(self) -> int:
        """Half of a side is whole windows, and halves twice."""
        return self.G.size_multiple

    @property
    def aux(self) -> tuple[str, ...]:
        """The near infrared band, where it is the auxiliary target."""
        return ("nir",) if self.config.auxiliary == "nir" else ()

    def players(self) -> dict[str, Player]:
        """D, then all networks of G, with an Adam each."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"D": Player(self.D, optimizer), "G": Player(self.G, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, then one of all stages of G together."""
        c, x, y = self.config, batch.paired.source, batch.paired.target
        made = self.G(x)
        real, fake = self.D(x, y), self.D(x, made.fine.detach())
        yield "D", {"gan": 0.5 * adversarial.discriminator(real, fake, "least_squares")}

        half = {"reach": max(1, c.reach // 2), "patch": max(1, c.patch // 2)}
        y_half, auxiliary = (functional.avg_pool2d(image, 2) for image in (y, self._auxiliary_target(batch.paired)))
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(x, made.fine), "least_squares"),
                "fine": c.lambda_fine * shift_tolerant_l1(made.fine, y, reach=c.reach, patch=c.patch),
                "coarse": c.lambda_coarse * shift_tolerant_l1(made.coarse, y_half, **half),
                "auxiliary": c.lambda_auxiliary * shift_tolerant_l1(made.auxiliary, auxiliary, **half),
            },
        )

    def _auxiliary_target(self, pairs: Pairs) -> Float[Tensor, "B 1 H W"]:
        return pairs.aux["nir"] if self.config.auxiliary == "nir" else pairs.target.mean(dim=1, keepdim=True)

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The fine translation."""
        return self.G(source).fine
