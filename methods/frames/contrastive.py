"""The frame of CUT: what the one-sided methods share that compare the patches of an image with those of its translation.

Park, Efros, Zhang and Zhu, ECCV 2020, https://arxiv.org/abs/2007.15651. A method of this family adds its card, its losses as
a `training_step`, and a `Config` that extends `FrameConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sarbench.bench.interface import Method, Player, Schedule, adam, setting
from sarbench.methods.networks import initialization
from sarbench.methods.networks.antialiased_resnet import AntialiasedPatchDiscriminator, AntialiasedResNetGenerator, Translation
from sarbench.methods.networks.patch_features import Patches, PatchProjector, matched_patches


@dataclass(frozen=True)
class FrameConfig:
    """Hyperparameters of the frame; the defaults are those of CUT for 256x256 px."""

    width: int = setting(64, "CUT, App. C.1: the generator of CycleGAN")
    blocks: int = setting(9, "CUT, App. C.1: nine residual blocks")
    discriminator_width: int = setting(64, "CUT, App. C.1: the discriminator of CycleGAN, C64-C128-C256-C512")
    discriminator_layers: int = setting(3, "CUT, App. C.1: the discriminator of CycleGAN")
    projector_width: int = setting(256, "CUT, App. C.1: an MLP of two layers with 256 units")
    patches: int = setting(256, "CUT, App. C.1: 256 positions a layer; one positive and 255 negatives")
    tau: float = setting(0.07, "CUT, Sec. 3: the temperature")
    learning_rate: float = setting(2e-4, "CUT, official code")
    beta1: float = setting(0.5, "CUT, official code")
    beta2: float = setting(0.999, "CUT, official code")
    decay_from: float = setting(0.5, "CUT, official code: 200 epochs constant, 200 with linear decay to 0")
    batch_size: int = setting(1, "CUT, official code")


Config = TypeVar("Config", bound=FrameConfig)


def frame_presets(paper: Config) -> dict[str, Config]:
    """The presets of a method of the family: the paper's config, and it at the common sizes."""
    tiny = replace(
        paper,
        width=8,
        blocks=3,
        discriminator_width=8,
        discriminator_layers=2,
        projector_width=32,
        patches=64,  # of the 256 positions of the deepest layer at 64 px
        learning_rate=5e-4,  # two thousand updates in all
        batch_size=4,
    )
    return {"paper": paper, "bench": replace(paper, batch_size=4), "tiny": tiny}


class ContrastiveFrame(Method):
    """A generator whose encoder, with a projector, sees its own input and output, and a patch discriminator."""

    config: FrameConfig

    def __init__(self, config: FrameConfig, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        G = AntialiasedResNetGenerator(source_channels, target_channels, width=c.width, blocks=c.blocks)
        F = PatchProjector(G.feature_channels, width=c.projector_width)
        D = AntialiasedPatchDiscriminator(target_channels, width=c.discriminator_width, layers=c.discriminator_layers)
        self.G = initialization.xavier(G)
        self.F = initialization.xavier(F)
        self.D = initialization.xavier(D)

    def players(self) -> dict[str, Player]:
        """D, then G with its projector, with an Adam each."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        return {"D": Player(self.D, optimizer), "G": Player([self.G, self.F], optimizer)}

    def patches(
        self,
        inputs: Float[Tensor, "N C H W"],
        output: Translation,
        seeds: Int64[Tensor, " B"],
        flipped: Bool[Tensor, " N"] | None = None,
    ) -> list[Patches]:
        """Patches of the inputs and of their translation, B rows at a time: of x alone, or of x and of y.

        Rows that were `flipped` before they were translated are flipped back here.
        """
        before, after = output.features, self.G.encode(output.image)
        if flipped is not None:
            after = [mirrored(feature, flipped) for feature in after]
            with torch.no_grad():
                before = self.G.encode(inputs)
        found = matched_patches(self.F, before, after, self.config.patches, seeds, "patches")
        return found.split(len(seeds))

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source).image


def mirrored(x: Float[Tensor, "N C H W"], rows: Bool[Tensor, " N"]) -> Float[Tensor, "N C H W"]:
    """The images with left and right exchanged in the rows chosen."""
    return torch.where(rows[:, None, None, None], x.flip(3), x)
