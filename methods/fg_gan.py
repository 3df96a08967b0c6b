"""FG-GAN: A Fine-Grained Generative Adversarial Network for Unsupervised SAR-to-Optical Image Translation.

Yang, Wang, Zhao and Yang, IEEE TGRS 60, 5621211, 2022, https://scholar.google.com/scholar?q=%22FG-GAN%22
Differs from the paper: in what `card.deviations` lists. Neither its text nor code could be had. S3OIL (Yang et al., IEEE TIP
2025, by the same group, https://doi.org/10.1109/TIP.2025.3616576), Sec. IV-A2, says what it took from FG-GAN: an unbalanced
generator with DenseNet blocks in the middle, and discriminators of several scales. This is that, in CycleGAN's frame.

G: source x -> target y; F: y -> x.
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
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.multiscale_discriminator import MultiscaleDiscriminator
from sarbench.methods.networks.unbalanced_generator import UnbalancedGenerator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of FG-GAN; the defaults are readings of S3OIL's account ("S3OIL") or ours ("guess")."""

    width: int = setting(64, "S3OIL: layers of ResNet-50")
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), "S3OIL: layers of ResNet-50; here they start from scratch")
    middle: int = setting(512, "guess: as our reading of S3OIL, for the 30.6 M parameters of its table 6")
    dense_blocks: int = setting(2, "S3OIL: DenseNet blocks in the middle; guess: how many")
    dense_layers: int = setting(6, "guess: the first block of DenseNet-121")
    growth: int = setting(32, "guess: DenseNet's")
    decoder: tuple[int, ...] = setting((128, 128, 80, 64, 64), "guess: slim, since the generator is unbalanced; as in S3OIL")
    head: int = setting(7, "guess: side of the last convolution, CycleGAN's")
    discriminator_width: int = setting(64, "guess: PatchGAN")
    discriminator_layers: int = setting(3, "guess: PatchGAN of 70x70 px")
    discriminator_scales: int = setting(3, "S3OIL: multi-scale discriminators, citing FG-GAN; guess: pix2pixHD's three")
    pool_size: int = setting(50, "guess: CycleGAN")
    lambda_cycle: float = setting(10.0, "guess: CycleGAN")
    learning_rate: float = setting(2e-4, "guess: CycleGAN")
    beta1: float = setting(0.5, "guess: CycleGAN")
    beta2: float = setting(0.999, "guess: CycleGAN")
    decay_from: float = setting(0.5, "guess: CycleGAN, constant for half of the budget, then linear to 0")
    batch_size: int = setting(1, "guess: CycleGAN")


PAPER = Config()


class FGGAN(Method):
    """CycleGAN with unbalanced generators and discriminators of several scales."""

    card = Card(
        title="FG-GAN",
        paper="https://scholar.google.com/scholar?q=%22FG-GAN%22",
        year=2022,
        supervision="unpaired",
        channels="any",
        size_multiple=64,
        fidelity="reconstruction",
        deviations=(
            "Built from S3OIL's account of its generator and discriminators: its own text and code could not be had.",
            "The frame is CycleGAN's: least squares, cycle weight 10, image pools, Adam, no identity term; all guesses.",
            "Both generators are unbalanced; widths, dense blocks and decoder are those of our S3OIL.",
            "The encoders start from scratch with instance normalisation, where S3OIL's start from ImageNet's weights.",
            "Whatever else makes it fine-grained, such as further losses, is missing.",
        ),
        licence="no code found",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=8,
            blocks=(1, 1, 1),
            middle=64,
            dense_blocks=1,
            dense_layers=2,
            growth=8,
            decoder=(32, 16, 12, 8),
            head=3,  # at full size, where a CPU spends its time
            discriminator_width=8,
            discriminator_layers=2,
            discriminator_scales=2,
            learning_rate=5e-4,  # a few thousand updates in all
            batch_size=4,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config

        def generator(channels_in: int, channels_out: int) -> UnbalancedGenerator:
            return UnbalancedGenerator(
                channels_in,
                channels_out,
                width=c.width,
                blocks=c.blocks,
                middle=c.middle,
                dense_blocks=c.dense_blocks,
                dense_layers=c.dense_layers,
                growth=c.growth,
                decoder=c.decoder,
                head=c.head,
            )

        def discriminator(channels: int) -> MultiscaleDiscriminator:
            layers = {"width": c.discriminator_width, "layers": c.discriminator_layers, "scales": c.discriminator_scales}
            return initialization.normal(MultiscaleDiscriminator(channels, **layers), 0.02)

        self.G = generator(source_channels, target_channels)  # x -> y
        self.F = generator(target_channels, source_channels)  # y -> x
        self.D_X, self.D_Y = discriminator(source_channels), discriminator(target_channels)
        self.pool_x, self.pool_y = ImagePool(c.pool_size, "pool x"), ImagePool(c.pool_size, "pool y")

    @property
    def size_multiple(self) -> int:
        """A halving for each level of the encoder, and once more."""
        return self.G.size_multiple

    def players(self) -> dict[str, Player]:
        """Both generators with one Adam, then both discriminators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"G": Player([self.G, self.F], optimizer), "D": Player([self.D_X, self.D_Y], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both generators, then one of both discriminators."""
        c, x, y, seeds = self.config, batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        fake_y, fake_x = self.G(x), self.F(y)
        yield (
            "G",
            {
                "gan_G": adversarial.generator(self.D_Y(fake_y), "least_squares"),
                "gan_F": adversarial.generator(self.D_X(fake_x), "least_squares"),
                "cycle_x": c.lambda_cycle * l1(self.F(fake_y), x),
                "cycle_y": c.lambda_cycle * l1(self.G(fake_x), y),
            },
        )
        past_y, past_x = self.pool_y(fake_y, seeds), self.pool_x(fake_x, seeds)
        yield (
            "D",
            {
                "D_Y": 0.5 * adversarial.discriminator(self.D_Y(y), self.D_Y(past_y), "least_squares"),
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
