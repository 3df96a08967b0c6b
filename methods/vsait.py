"""VSAIT: Unpaired Image Translation via Vector Symbolic Architectures.

Theiss, Leverett, Kim and Prakash, ECCV 2022, https://arxiv.org/abs/2209.02686
Differs from the paper: in what `card.deviations` lists.

v(x) is the hypervector of an image at each place, made of frozen features by fixed projections; u(x) = F(v(x)) stands for
what sets targets apart from this source. Binding is the product. The official code names outputs of convolutions as its
features; ReLUs that work in place then overwrite all but the deepest, which here stay as they are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from sarbench.bench.interface import Batch, Card, ContractError, Method, Player, Schedule, Turn, adam, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.networks import initialization
from sarbench.methods.networks.antialiased_resnet import AntialiasedResNetGenerator
from sarbench.methods.networks.hypervectors import HyperDiscriminator, HyperMapper, HyperProjector
from sarbench.methods.networks.vgg19 import FrozenVGG19

TAPS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")  # official code: features 2, 7, 12, 21 and 30
KERNELS = (16, 8, 4, 2, 1)  # official code: one place of the deepest tap is 16x16 px


@dataclass(frozen=True)
class Config:
    """Hyperparameters of VSAIT; the defaults are the paper's for 256x256 px."""

    features: Literal["imagenet", "random"] = setting("imagenet", "Sec. 4: VGG-19; random: its layers, never trained")
    feature_width: int = setting(64, "Sec. 4: VGG-19")
    size: int = setting(4096, "Sec. 4: numbers in a hypervector")
    width: int = setting(64, "official code: the residual generator of CUT's line")
    blocks: int = setting(9, "official code")
    discriminator_width: int = setting(1024, "official code")
    lambda_vsa: float = setting(10.0, "Sec. 4; official code")
    generator_learning_rate: float = setting(1e-4, "official code")
    discriminator_learning_rate: float = setting(4e-4, "official code")
    beta1: float = setting(0.0, "official code")
    beta2: float = setting(0.9, "official code")
    weight_decay: float = setting(1e-4, "official code")
    halve_every: float = setting(0.5, "official code: every 100,000 iterations, of 200,000")
    batch_size: int = setting(1, "official code")


PAPER = Config()
NO_WEIGHTS = replace(PAPER, features="random")


class VSAIT(Method):
    """A generator whose images, unbound from what sets targets apart, hash to what their sources hash to."""

    card = Card(
        title="VSAIT",
        paper="https://arxiv.org/abs/2209.02686",
        year=2022,
        supervision="unpaired",
        channels="any",
        size_multiple=4,
        pretrained=("vgg19",),
        deviations=(
            "The presets bench and tiny need no pretrained weights: their features are those of VGG-19's layers drawn at "
            "random and never trained, which are not the paper's.",
            "Images are brought to ImageNet's statistics before VGG-19; the official code feeds it values in [-1, 1].",
            "Features are outputs of convolutions; ReLUs of the official code overwrite all but the deepest.",
        ),
        licence="CC-BY-NC-4.0",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(NO_WEIGHTS, batch_size=4),
        "tiny": replace(
            NO_WEIGHTS,
            feature_width=8,
            size=256,
            width=8,
            blocks=3,
            discriminator_width=64,
            batch_size=4,
        ),
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        if target_channels not in (1, 3):
            raise ContractError(f"{self.card.title} needs targets of 1 or 3 bands, which VGG-19 can see; got {target_channels}")
        G = AntialiasedResNetGenerator(source_channels, target_channels, width=c.width, blocks=c.blocks)
        self.G = initialization.xavier(G, 0.2)  # official code
        self.F = HyperMapper(c.size)
        self.D = initialization.xavier(HyperDiscriminator(c.size, width=c.discriminator_width), 0.2)  # official code
        self.vgg = FrozenVGG19(TAPS, width=c.feature_width)
        self.hash = HyperProjector(self.vgg.channels, KERNELS, size=c.size)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """VGG-19, unless the features are of a random one."""
        return ("vgg19",) if self.config.features == "imagenet" else ()

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """VGG-19 for the features."""
        for name in self.pretrained:
            self.vgg.load_photo_weights(torch.load(find(name), map_location="cpu", weights_only=True))

    def players(self) -> dict[str, Player]:
        """The discriminator, then the generator and the mapping, with an Adam each."""
        c = self.config
        betas, schedule = (c.beta1, c.beta2), Schedule("steps", every=c.halve_every, drop=0.5)
        of_D = adam(c.discriminator_learning_rate, betas, weight_decay=c.weight_decay, schedule=schedule)
        of_G = adam(c.generator_learning_rate, betas, weight_decay=c.weight_decay, schedule=schedule)
        return {"D": Player(self.D, of_D), "G": Player([self.G, self.F], of_G)}

    def v(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B size H/16 W/16"]:
        """The hypervectors of images."""
        return self.hash(self.vgg(images))

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, which takes mapped sources for fakes too, then one of G and F."""
        x, y = batch.unpaired.source, batch.unpaired.target
        with torch.no_grad():
            v_x, v_y = self.v(x), self.v(y)
        v_fake = self.v(self.G(x).image)
        u = self.F(v_x)
        mapped = v_x * u
        # The mean of the three hinges: two fakes for one real, as in the official code.
        yield (
            "D",
            {
                "gan": adversarial.discriminator(self.D(v_y), self.D(v_fake.detach()), "hinge") / 3,
                "gan_mapped": adversarial.FAKE["hinge"](self.D(mapped.detach()).float()).mean() / 3,
            },
        )
        unbound = v_fake * u.detach()
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(v_fake), "hinge") / 2,
                "gan_mapped": adversarial.generator(self.D(mapped), "hinge") / 2,
                "vsa": self.config.lambda_vsa * (1.0 - functional.cosine_similarity(unbound, v_x, dim=1)).mean(),
            },
        )

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source).image
