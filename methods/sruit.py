"""SRUIT: Semantically Robust Unsupervised Image Translation for Paired Remote Sensing Images.

Fang, Li, Li, Zhao and Zhang, 2025, https://arxiv.org/abs/2502.11468
Differs from the paper: widths and kernels of the layers are ours, since its supplement could not be had; the generators
maximise log Dis instead of minimising log(1 - Dis); the second adversarial term of Eq. 4, printed as a copy of the first,
is read as that of Dis_B.

Supervision is "paired": the two images of a step show one place, since Dis_A judges (A, B) against (A, fake B). No loss
compares a translation with the other image of its place, so that what has changed between the dates may survive.
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
from sarbench.methods.networks.coupled_autoencoders import CoupledAutoencoders, Domain
from sarbench.methods.networks.multiscale_discriminator import MultiscaleDiscriminator


@dataclass(frozen=True)
class Config:
    """Hyperparameters of SRUIT; the defaults are the paper's for 256x256 px."""

    width: int = setting(64, "card [R]: first layer 64, doubled to 512 at most; the paper's supplement is missing")
    outer_kernel: int = setting(7, "card [R]: of the first and the last layer")
    halvings: int = setting(4, "Sec. 4.4; Fig. 11 has 3, 4 and 5")
    shared_encoder_blocks: int = setting(2, "Sec. 4.4: two residual layers; card [R]: in each encoder")
    shared_decoder_blocks: int = setting(2, "Sec. 4.4: two residual layers; card [R]: in each decoder")
    weight_sharing: bool = setting(True, "Sec. 3.2; Fig. 9 has none")
    discriminator_width: int = setting(64, "Sec. 4.4: PatchGAN of pix2pix, C64-C128-C256-C512")
    discriminator_layers: int = setting(3, "Sec. 4.4: PatchGAN of pix2pix, patches of 70x70 px")
    discriminator_scales: int = setting(3, "Sec. 4.4")
    discriminator_norm: Literal["none", "instance"] = setting("none", "Sec. 4.3; Fig. 10 has instance")
    conditional: bool = setting(True, "Sec. 3.2, Eq. 3; false: Dis judges the translation alone")
    gan_mode: Literal["bce", "least_squares", "hinge"] = setting("bce", "Eq. 3")
    lambda_cc: float = setting(100.0, "Sec. 4.4, Eq. 4; 0: no cross-cycle")
    lambda_rec: float = setting(100.0, "Sec. 4.4, Eq. 4; 0: no direct reconstruction")
    lambda_latent: float = setting(0.0, "Sec. 3.2: aligning the latent features was tried and made things worse")
    learning_rate: float = setting(2e-4, "Sec. 4.4")
    beta1: float = setting(0.5, "Sec. 4.4")
    beta2: float = setting(0.999, "Sec. 4.4")
    decay_from: float = setting(0.5, "Sec. 4.4: the framework of CycleGAN, 100 epochs constant, 100 with linear decay to 0")
    batch_size: int = setting(1, "card [R]: not given; the framework's default")


PAPER = Config()


class SRUIT(Method):
    """Two autoencoders with one latent space, swapped to translate, under discriminators that see both images of a place."""

    card = Card(
        title="SRUIT",
        paper="https://arxiv.org/abs/2502.11468",
        year=2025,
        supervision="paired",
        channels="any",
        size_multiple=16,
        fidelity="reconstruction",
        deviations=(
            "Widths, kernels and normalisation of the generators are ours: the supplement that lists them could not be had.",
            "Two shared residual blocks in each encoder and each decoder, where the paper says two residual layers.",
            "The generators maximise log Dis(fake) in place of minimising log(1 - Dis(fake)).",
            "The second adversarial term of Eq. 4, printed as a copy of the first, is read as that of Dis_B.",
            "The losses of a discriminator are summed over its scales, of which the paper says nothing.",
            "Neither batch size nor schedule is given: batches of one image, and a rate that is constant, then falls to 0.",
            "The paper names 200 epochs for its rivals alone; the protocols of its tables give them to every method.",
            "Those protocols flip and turn the training images by 90 degrees; the paper says nothing of it for translation.",
            "The ablation of latent alignment is an L1 at a weight of 100; the paper gives no weight.",
        ),
        licence="no code found",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=12,
            outer_kernel=3,
            halvings=2,  # crops are a quarter of the paper's, so the latent image is as large
            shared_encoder_blocks=1,
            shared_decoder_blocks=1,
            discriminator_width=8,
            discriminator_layers=2,
            learning_rate=5e-4,  # a thousand updates in all
            batch_size=8,
        ),
    }
    ablations = {
        "section 3.2": {"": {}, "no cross-cycle": {"lambda_cc": "0"}, "latent alignment": {"lambda_latent": "100"}},
        "figure 9": {"": {}, "no weight sharing": {"weight_sharing": "false"}},
        "figure 10": {"": {}, "instance normalisation": {"discriminator_norm": "instance"}},
        "figure 11": {
            "3 down-samplings": {"halvings": "3"},
            "4 down-samplings": {"halvings": "4"},
            "5 down-samplings": {"halvings": "5"},
        },
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        channels: dict[Domain, int] = {"A": source_channels, "B": target_channels}

        def discriminator(condition: Domain, judged: Domain) -> MultiscaleDiscriminator:
            D = MultiscaleDiscriminator(
                channels[judged] + (channels[condition] if c.conditional else 0),
                scales=c.discriminator_scales,
                width=c.discriminator_width,
                layers=c.discriminator_layers,
                norm=c.discriminator_norm,
            )
            return initialization.normal(D, 0.02)

        generators = CoupledAutoencoders(
            channels,
            width=c.width,
            outer_kernel=c.outer_kernel,
            halvings=c.halvings,
            encoder_blocks=c.shared_encoder_blocks,
            decoder_blocks=c.shared_decoder_blocks,
            shared=c.weight_sharing,
        )
        self.G = initialization.normal(generators, 0.02)
        self.Dis_A = discriminator("A", "B")  # watches what comes out of A: Sec. 3.2
        self.Dis_B = discriminator("B", "A")

    @property
    def size_multiple(self) -> int:
        """A halving each."""
        return 2**self.config.halvings

    def players(self) -> dict[str, Player]:
        """Both discriminators with one Adam, then all encoders and decoders with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"Dis": Player([self.Dis_A, self.Dis_B], optimizer), "G": Player(self.G, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both discriminators, then one of all encoders and decoders."""
        c, kind = self.config, self.config.gan_mode
        A, B = batch.paired.source, batch.paired.target

        z_A, z_B = self.G.encode(A, "A"), self.G.encode(B, "B")
        # One pass for two batches: instance normalisation looks at each row alone.
        fake_B, rec_B = self.G.decode(torch.cat([z_A, z_B]), "B").chunk(2)
        fake_A, rec_A = self.G.decode(torch.cat([z_B, z_A]), "A").chunk(2)

        def of_A(image: Tensor) -> tuple[Tensor, ...]:
            return (A, image) if c.conditional else (image,)

        def of_B(image: Tensor) -> tuple[Tensor, ...]:
            return (B, image) if c.conditional else (image,)

        real_B, false_B = self.Dis_A(*of_A(B)), self.Dis_A(*of_A(fake_B.detach()))
        real_A, false_A = self.Dis_B(*of_B(A)), self.Dis_B(*of_B(fake_A.detach()))
        yield (
            "Dis",
            {
                "gan_A": adversarial.discriminator(real_B, false_B, kind),  # Eq. 3
                "gan_B": adversarial.discriminator(real_A, false_A, kind),
            },
        )
        losses = {
            "gan_A": adversarial.generator(self.Dis_A(*of_A(fake_B)), kind),  # Eq. 3
            "gan_B": adversarial.generator(self.Dis_B(*of_B(fake_A)), kind),
        }
        if c.lambda_rec:
            losses["rec_A"] = c.lambda_rec * l1(rec_A, A)  # Eq. 1
            losses["rec_B"] = c.lambda_rec * l1(rec_B, B)
        if c.lambda_cc or c.lambda_latent:
            again_A, again_B = self.G.encode(fake_B, "B"), self.G.encode(fake_A, "A")
        if c.lambda_cc:
            losses["cc_A"] = c.lambda_cc * l1(self.G.decode(again_A, "A"), A)  # Eq. 2
            losses["cc_B"] = c.lambda_cc * l1(self.G.decode(again_B, "B"), B)
        if c.lambda_latent:
            losses["latent_A"] = c.lambda_latent * l1(again_A, z_A)  # Sec. 3.2, last paragraph
            losses["latent_B"] = c.lambda_latent * l1(again_B, z_B)
        yield "G", losses

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """D_B(E_A(A))."""
        return self.G.decode(self.G.encode(source, "A"), "B")

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """D_A(E_B(B)): training treats both directions alike."""
        return self.G.decode(self.G.encode(target, "B"), "A")
