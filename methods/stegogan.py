"""StegoGAN: Leveraging Steganography for Non-Bijective Image-to-Image Translation.

Wu, Chen, Mermet, Hurni, Schindler, Gonthier and Landrieu, CVPR 2024, https://arxiv.org/abs/2403.20142
Differs from the paper: above batch 1, each row of the batch has an image pool of its own. The official code steps G's
optimiser twice on one gradient, computes a loss on features that it never adds, exports h m (1 - m) where the unmatchable
part is h (1 - m), and names as its main test image one that is given a message from the true target; none of that is here.

G: source x -> target y; F: y -> x. Some of y has no counterpart in x, such as text on a map. CycleGAN's F hides it in its
x for G to read back. Here F takes it out of its features by a mask, and hands it to G as a message, so that nothing need be
hidden. In training, G is also given the message of some unrelated y; `translate` never has one: it is G(x) alone.
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
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.stego_generators import ReceivingGenerator, SplittingGenerator, at_full_size


@dataclass(frozen=True)
class Config:
    """Hyperparameters of StegoGAN; the defaults are those of its README for the maps of Google."""

    width: int = setting(64, "official code: CycleGAN's generator")
    outer_kernel: int = setting(7, "official code: c7s1 of CycleGAN's generator, the first and the last layer")
    blocks: int = setting(9, "official code: nine residual blocks")
    place: int = setting(8, "official README: --resnet_layer 8, residual blocks before the mask and the message")
    discriminator_width: int = setting(64, "official code: PatchGAN")
    discriminator_layers: int = setting(3, "official code: patches of 70x70 px")
    pool_size: int = setting(50, "official code: the 50 previously created images")
    lambda_cycle: float = setting(10.0, "official code")
    lambda_identity: float = setting(0.5, "official code, a share of lambda_cycle")
    lambda_reg: float = setting(0.3, "official README: 0.3 for Google, 0.25 for IGN")
    lambda_consistency: float = setting(1.0, "official README: --lambda_consistency 1")
    noise: float = setting(0.01, "official code: on F(y) before it goes back, against hidden messages")
    learning_rate: float = setting(2e-4, "official code")
    beta1: float = setting(0.5, "official code")
    beta2: float = setting(0.999, "official code")
    drop_every: float = setting(0.5, "official README: a drop after 50 of 100 epochs")
    drop: float = setting(0.1, "official code: lr_policy step, gamma 0.1")
    batch_size: int = setting(1, "official README")


PAPER = Config()


class StegoGAN(Method):
    """CycleGAN whose way back exports what has no counterpart, and whose way there can be told it."""

    card = Card(
        title="StegoGAN",
        paper="https://arxiv.org/abs/2403.20142",
        year=2024,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=(
            "Above batch 1, each row of the batch has an image pool of its own.",
            "The official code's second optimiser step, its unused loss on features and its h m (1 - m) are not taken over.",
        ),
        licence="none given",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=6,
            outer_kernel=3,  # at full size, where a CPU spends its time
            blocks=2,
            place=1,
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
        layers = {"width": c.width, "blocks": c.blocks, "place": c.place, "outer_kernel": c.outer_kernel}

        def discriminator(channels: int) -> PatchDiscriminator:
            D = PatchDiscriminator(channels, width=c.discriminator_width, layers=c.discriminator_layers)
            return initialization.normal(D, 0.02)

        self.G = initialization.normal(ReceivingGenerator(source_channels, target_channels, **layers), 0.02)  # x -> y
        self.F = initialization.normal(SplittingGenerator(target_channels, source_channels, **layers), 0.02)  # y -> x
        self.D_X, self.D_Y = discriminator(source_channels), discriminator(target_channels)
        self.pool_x, self.pool_y = ImagePool(c.pool_size, "pool x"), ImagePool(c.pool_size, "pool y")

    def players(self) -> dict[str, Player]:
        """Both generators with one Adam, then both discriminators with one Adam."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("steps", every=c.drop_every, drop=c.drop))
        return {"G": Player([self.G, self.F], optimizer), "D": Player([self.D_X, self.D_Y], optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of both generators, then one of both discriminators."""
        c, x, y, seeds = self.config, batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        lambda_identity = c.lambda_cycle * c.lambda_identity

        # Each pass is for several batches: instance normalisation looks at each row alone.
        back = self.F(torch.cat([y, x]))
        fake_x, same_x = back.image.chunk(2)
        message, mask_y = back.message[: len(y)], at_full_size(back.unmatchable[: len(y)], y)
        noisy = fake_x + c.noise * normal(seeds, x.shape[1:], "noise on F(y)")
        told_y, stego_y = self.G(torch.cat([noisy, x]), torch.cat([message, message.detach()])).chunk(2)
        untold_y, clean_y, same_y = self.G(torch.cat([fake_x, x, y])).chunk(3)
        again = self.F(stego_y)
        mask_stego = at_full_size(again.unmatchable, y)
        yield (
            "G",
            {
                "gan_G": adversarial.generator(self.D_Y(stego_y), "least_squares"),
                "gan_F": adversarial.generator(self.D_X(fake_x), "least_squares"),
                "cycle_x": c.lambda_cycle * l1(again.image, x),
                "cycle_y": c.lambda_cycle * l1(told_y, y),
                "identity_y": lambda_identity * l1(same_y, y),
                "identity_x": lambda_identity * l1(same_x, x),
                "mask_y": c.lambda_reg * _sparsity(back.unmatchable[: len(y)]),
                "mask_stego": c.lambda_reg * _sparsity(again.unmatchable),
                # Where all is matchable, a message changes nothing.
                "consistency_y": c.lambda_consistency * l1((1 - mask_y) * untold_y, (1 - mask_y) * y),
                "consistency_stego": c.lambda_consistency * l1((1 - mask_stego) * clean_y, (1 - mask_stego) * stego_y),
            },
        )
        past_y, past_x = self.pool_y(stego_y, seeds), self.pool_x(fake_x, seeds)
        yield (
            "D",
            {
                "D_Y": 0.5 * adversarial.discriminator(self.D_Y(y), self.D_Y(past_y), "least_squares"),
                "D_X": 0.5 * adversarial.discriminator(self.D_X(x), self.D_X(past_x), "least_squares"),
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The clean translation: G(x) without a message, which could only come from a target."""
        return self.G(source)

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """F(y), from the matchable part."""
        return self.F(target).image


def _sparsity(mask: Float[Tensor, "B 1 h w"]) -> Float[Tensor, ""]:
    """Mean square root of a mask in [0, 1]; kept from 0, where the root has no slope."""
    return (mask.float() + 1e-10).sqrt().mean()
