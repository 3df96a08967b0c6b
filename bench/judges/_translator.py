"""A CycleGAN inside an adapter, whose images shall look to its segmenter as they did: the backward direction of BDL.

Li, Yuan and Vasconcelos, CVPR 2019, https://arxiv.org/abs/1904.10620, Eqs. 2 and 4 to 6. F takes images of S to the looks of T,
its inverse those of T to the looks of S; S' = F(S), T' = F^-1(T). M is the segmenter, which does not move meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import instance_norm

from sarbench.bench.interface import uniform
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import initialization
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.resnet_generator import ResNetGenerator

Images = Float[Tensor, "B C H W"]
Segmenter = Callable[[Tensor], Tensor]  # images -> class scores (B, classes, H, W)


class Cycle(NamedTuple):
    """What F and its inverse make of images of both domains."""

    S: Images
    T: Images
    S_translated: Images  # S' = F(S)
    T_translated: Images  # T' = F^-1(T)
    S_again: Images  # F^-1(S')
    T_again: Images  # F(T')


class Change(nn.Module):
    """A generator that says what to add to an image: it begins near leaving it alone."""

    def __init__(self, generator: ResNetGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Images) -> Images:
        """The changed image, in [-1, 1]."""
        return (x + self.generator(x)).clamp(-1, 1)


class Translator(nn.Module):
    """F and its inverse, each under a patch discriminator, with pools of what they made before."""

    def __init__(
        self,
        channels: int,
        *,
        width: int,
        blocks: int,
        discriminator_width: int,
        discriminator_layers: int,
        pool_size: int,
        residual: bool,
    ) -> None:
        super().__init__()

        def generator() -> nn.Module:
            network = initialization.normal(ResNetGenerator(channels, channels, width=width, blocks=blocks))
            return Change(network) if residual else network

        def discriminator() -> PatchDiscriminator:
            return initialization.normal(PatchDiscriminator(channels, width=discriminator_width, layers=discriminator_layers))

        self.F, self.F_inverse = generator(), generator()
        self.D_S, self.D_T = discriminator(), discriminator()
        self.pool_S, self.pool_T = ImagePool(pool_size, "pool S"), ImagePool(pool_size, "pool T")

    @property
    def generators(self) -> list[nn.Module]:
        """What moves together to make images."""
        return [self.F, self.F_inverse]

    @property
    def discriminators(self) -> list[nn.Module]:
        """What moves together to tell them from real ones."""
        return [self.D_S, self.D_T]

    @torch.no_grad()
    def forward(self, S: Images) -> Images:
        """S' = F(S), for whoever learns from it."""
        return self.F(S)

    def cycle(self, S: Images, T: Images) -> Cycle:
        """There and back again, from both sides."""
        S_translated, T_translated = self.F(S), self.F_inverse(T)
        return Cycle(S, T, S_translated, T_translated, self.F_inverse(S_translated), self.F(T_translated))

    def making(self, c: Cycle, weight_gan: float, weight_recon: float) -> dict[str, Tensor]:
        """Eq. 2 but for its perceptual losses; Eq. 4 with squares, as CycleGAN has it, and Eq. 5."""
        return {
            "gan_T": weight_gan * adversarial.generator(self.D_T(c.S_translated), "least_squares"),
            "gan_S": weight_gan * adversarial.generator(self.D_S(c.T_translated), "least_squares"),
            "recon_S": weight_recon * l1(c.S_again, c.S),
            "recon_T": weight_recon * l1(c.T_again, c.T),
        }

    def telling_apart(self, c: Cycle, seeds: Int64[Tensor, " B"]) -> dict[str, Tensor]:
        """What the discriminators learn, halved as CycleGAN's; nothing reaches F."""
        past_T, past_S = self.pool_T(c.S_translated, seeds), self.pool_S(c.T_translated, seeds)
        return {
            "D_T": 0.5 * adversarial.discriminator(self.D_T(c.T), self.D_T(past_T), "least_squares"),
            "D_S": 0.5 * adversarial.discriminator(self.D_S(c.S), self.D_S(past_S), "least_squares"),
        }


def perceptual(M: Segmenter, c: Cycle, weight: float, weight_recon: float) -> dict[str, Tensor]:
    """Eq. 6 for both domains: M shall see the same in an image, its translation, and what comes back of that.

    The distance is L1, as in the paper, between class scores that are normalised over each image, as in the authors' code
    (which squares): scores have no scale of their own that the weights could be for.
    """
    with torch.no_grad():
        S, T = instance_norm(M(torch.cat([c.S, c.T]))).chunk(2)
    made = torch.cat([c.S_translated, c.T_translated, c.S_again, c.T_again])
    S_translated, T_translated, S_again, T_again = instance_norm(M(made)).chunk(4)
    return {
        "per_S": weight * l1(S_translated, S),
        "per_T": weight * l1(T_translated, T),
        "per_recon_S": weight_recon * l1(S_again, S),
        "per_recon_T": weight_recon * l1(T_again, T),
    }


def windows(images: Images, seeds: Int64[Tensor, " B"], px: int, purpose: str) -> Float[Tensor, "B C h w"]:
    """A square of so many px of each image, at most, its place keyed by the image's seed; sides are cut to multiples of 4."""
    height, width = images.shape[2:]
    h, w = (min(px, side) // 4 * 4 for side in (height, width))
    if (h, w) == (height, width):
        return images
    place = uniform(seeds, (2,), purpose)
    corners = (place * place.new_tensor([height - h + 1, width - w + 1])).long().tolist()
    return torch.stack([image[:, top : top + h, left : left + w] for image, (top, left) in zip(images, corners, strict=True)])
