"""U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive Layer-Instance Normalization.

Kim, Kim, Kang and Lee, ICLR 2020, https://arxiv.org/abs/1907.10830 (v4 is cited)
Differs from the paper: in nothing known for the preset `paper`; `bench` and `tiny` have the light generator of the official
code. The official PyTorch code takes the variance of the rows' variances for (Ada)LIN, scales D's features by weights before
their spectral normalisation, and sends the gradient of D's losses through G without use; none of that is here.

G: source x -> target y; F: y -> x. CycleGAN, whose generators and discriminators each classify domains on the side, attend
to the channels that the classifier uses, and in the generators normalise as these features ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from sarbench.bench.interface import Batch, Card, Method, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks.attention_discriminator import AttentionDiscriminator
from sarbench.methods.networks.attention_generator import AttentionGenerator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of U-GAT-IT; the defaults are the paper's for 256x256 px."""

    light: bool = setting(False, "official code: --light, gamma and beta from mean features, so that any size fits")
    side: int = setting(256, "appendix, training: 256x256 px; the full generator fits no other size")
    width: int = setting(64, "appendix, architecture")
    outer_kernel: int = setting(7, "appendix, architecture: the first and the last layer")
    blocks: int = setting(4, "appendix, architecture: residual blocks before and after the attention")
    discriminator_width: int = setting(64, "appendix, architecture")
    discriminator_layers: tuple[int, ...] = setting((7, 5), "appendix, architecture: a global and a local discriminator")
    lambda_gan: float = setting(1.0, "Sec. 2.2: lambda_1")
    lambda_cycle: float = setting(10.0, "Sec. 2.2: lambda_2")
    lambda_identity: float = setting(10.0, "Sec. 2.2: lambda_3")
    lambda_cam: float = setting(1000.0, "Sec. 2.2: lambda_4")
    learning_rate: float = setting(1e-4, "appendix, training")
    beta1: float = setting(0.5, "appendix, training")
    beta2: float = setting(0.999, "appendix, training")
    weight_decay: float = setting(1e-4, "appendix, training")
    decay_from: float = setting(0.5, "appendix, training: 500,000 iterations constant, 500,000 with linear decay to 0")
    batch_size: int = setting(1, "appendix, training")


PAPER = Config()


class UGATIT(Method):
    """CycleGAN with attention by class activation maps, and normalisation that the attended features set."""

    card = Card(
        title="U-GAT-IT",
        paper="https://arxiv.org/abs/1907.10830",
        year=2020,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        fixed_size=256,
        deviations=("The presets bench and tiny have the light generator of the official code.",),
        licence="MIT",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, light=True, batch_size=4),
        "tiny": replace(
            PAPER,
            light=True,
            width=4,
            outer_kernel=3,  # at full size, where a CPU spends its time
            blocks=1,
            discriminator_width=4,
            discriminator_layers=(4, 3),  # crops are a quarter of the paper's
            learning_rate=5e-4,  # a few thousand updates in all
            batch_size=4,
        ),
    }
    maps = ("attention",)
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config

        def generator(channels_in: int, channels_out: int) -> AttentionGenerator:
            layers = {"width": c.width, "blocks": c.blocks, "outer_kernel": c.outer_kernel}
            return AttentionGenerator(channels_in, channels_out, **layers, side=self.fixed_size)

        def discriminators(channels: int) -> nn.ModuleList:
            return nn.ModuleList(
                AttentionDiscriminator(channels, width=c.discriminator_width, layers=n) for n in c.discriminator_layers
            )

        self.G = generator(source_channels, target_channels)  # x -> y
        self.F = generator(target_channels, source_channels)  # y -> x
        self.D_X, self.D_Y = discriminators(source_channels), discriminators(target_channels)

    @property
    def fixed_size(self) -> int | None:
        """The full generator's side; the light one fits any size."""
        return None if self.config.light else self.config.side

    def players(self) -> dict[str, Player]:
        """All discriminators with one Adam, then both generators with one Adam."""
        c = self.config
        schedule = Schedule("linear", hold=c.decay_from)
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), weight_decay=c.weight_decay, schedule=schedule)
        return {"D": Player([self.D_X, self.D_Y], optimizer), "G": Player([self.G, self.F], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of the discriminators, then one of both generators, whose rho is then brought back into [0, 1]."""
        c, x, y = self.config, batch.unpaired.source, batch.unpaired.target
        # One pass for two batches: all normalisation looks at each row alone.
        to_y, to_x = self.G(torch.cat([x, y])), self.F(torch.cat([y, x]))
        (fake_y, same_y), (fake_x, same_x) = to_y.image.chunk(2), to_x.image.chunk(2)
        judged = {"D_Y": (self.D_Y, y, fake_y), "D_X": (self.D_X, x, fake_x)}
        yield (
            "D",
            {
                name: c.lambda_gan * adversarial.discriminator(_judge(D, real), _judge(D, fake.detach()), "least_squares")
                for name, (D, real, fake) in judged.items()  # L_lsgan, and L_cam of D: Sec. 2.2
            },
        )
        yield (
            "G",
            {
                "gan_G": c.lambda_gan * adversarial.generator(_judge(self.D_Y, fake_y), "least_squares"),
                "gan_F": c.lambda_gan * adversarial.generator(_judge(self.D_X, fake_x), "least_squares"),
                "cycle_x": c.lambda_cycle * l1(self.F(fake_y).image, x),
                "cycle_y": c.lambda_cycle * l1(self.G(fake_x).image, y),
                "identity_y": c.lambda_identity * l1(same_y, y),
                "identity_x": c.lambda_identity * l1(same_x, x),
                "cam_G": c.lambda_cam * adversarial.discriminator(*to_y.logits.chunk(2), "bce"),  # x is source, y is not
                "cam_F": c.lambda_cam * adversarial.discriminator(*to_x.logits.chunk(2), "bce"),
            },
        )
        self.G.clip_rho()
        self.F.clip_rho()

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source).image

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """F(y)."""
        return self.F(target).image

    def show(self, name: str, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
        """Where G looks: its attention map, from -1 (none) to 1 (this image's most)."""
        attention = functional.interpolate(self.G(source).attention, source.shape[2:], mode="bilinear")
        return 2 * attention / attention.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6) - 1


def _judge(discriminators: nn.ModuleList, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
    """Logits of each discriminator: of patches, and of its attention."""
    return [logits for D in discriminators for logits in D(image)]
