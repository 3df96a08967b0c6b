"""CCM: Conditional Consistency Guided Image Translation and Enhancement.

Bhagat, Jain and Subramanyam, 2025, https://arxiv.org/abs/2501.01223
Differs from the paper: no dropout, since its rate is not known. Trained on pairs, as the official code is: the target is
noised and the source concatenated. A translation starts from noise alone; of the official code, not followed: scripts that
start from the *target* plus noise, a pseudo-Huber distance of single values where the theory has one of images, and a
network that sees noisy images at their full range, up to 80 times that of the source beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Ema, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses.reconstruction import pseudo_huber
from sarbench.methods.networks.consistency_unet import ConsistencyUNet
from sarbench.methods.processes import consistency


@dataclass(frozen=True)
class Config:
    """Hyperparameters of CCM; the defaults are the paper's at 128x128 px."""

    unet_widths: tuple[int, ...] = setting((128, 128, 256, 512), "official code")
    unet_blocks: tuple[int, ...] = setting((2, 2, 4, 4), "official code: per size")
    unet_heads: tuple[int, ...] = setting((0, 0, 8, 8), "official code")
    noise_width: int = setting(256, "official code: of the Fourier features of the noise level")
    norm_groups: int = setting(32, "official code")
    patch: int = setting(1, "ours: side of the blocks of pixels that the U-Net takes as one")
    sigma_min: float = setting(0.002, "official code: as in improved consistency training")
    sigma_max: float = setting(80.0, "official code: as in improved consistency training")
    levels: int = setting(11, "official code: constant, where improved consistency training goes from 11 to 1,281")
    sigmas: tuple[float, ...] = setting(
        tuple(80.0 / 2**i for i in range(11)),
        "official code: the noise levels of a translation, each half the last",
        trains=False,
    )
    learning_rate: float = setting(1e-4, "official code")
    beta1: float = setting(0.9, "official code")
    beta2: float = setting(0.995, "official code")
    warmup: float = setting(0.005, "official code: 1,000 of 200,000 steps")
    ema_decay: float = setting(0.99993, "official code")
    batch_size: int = setting(4, "official code: 4 for LLVIP, 34 for LOL and SID")


PAPER = Config()


class CCM(Method):
    """A network that names the target from any noisy version of it, beside the source."""

    card = Card(
        title="CCM",
        paper="https://arxiv.org/abs/2501.01223",
        year=2025,
        supervision="paired",
        channels="any",
        size_multiple=8,
        stochastic=True,
        evaluations=11,
        deviations=(
            "No dropout: its rate in the paper is not known.",
            "The pseudo-Huber distance is that of whole images, as in improved consistency training.",
            "The network sees noisy images scaled to unit spread, as in consistency models; in the official code as they are.",
            "Presets bench and tiny: a smaller U-Net that takes 2x2 pixels as one.",
        ),
    )
    presets = {
        "paper": PAPER,
        "bench": replace(
            PAPER, unet_widths=(64, 128, 256, 512), unet_heads=(0, 0, 0, 8), patch=2, ema_decay=0.999, batch_size=16
        ),
        "tiny": replace(
            PAPER,
            unet_widths=(16, 32, 32),
            unet_blocks=(1, 1, 2),
            unet_heads=(0, 0, 2),
            noise_width=32,
            norm_groups=4,
            patch=2,
            sigmas=(80.0, 20.0, 5.0),
            learning_rate=1e-3,  # two thousand updates in all
            warmup=0.0,
            ema_decay=0.98,
            batch_size=4,
        ),
    }
    config: Config
    sigmas: Tensor  # (levels,)

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.unet = ConsistencyUNet(
            target_channels + source_channels,
            target_channels,
            widths=c.unet_widths,
            blocks=c.unet_blocks,
            heads=c.unet_heads,
            noise=c.noise_width,
            groups=c.norm_groups,
            patch=c.patch,
        )
        sigmas = consistency.levels(c.levels, c.sigma_min, c.sigma_max)
        self.register_buffer("sigmas", sigmas.float(), persistent=False)

    @property
    def size_multiple(self) -> int:
        """The halvings of the U-Net: 8 for the paper's 3."""
        return self.unet.multiple

    @property
    def evaluations(self) -> int:
        """One evaluation of the U-Net a noise level."""
        return len(self.config.sigmas)

    def players(self) -> dict[str, Player]:
        """The U-Net alone; translations are made by the average of its weights."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule(warmup=c.warmup))
        return {"unet": Player(self.unet, optimizer, Ema(c.ema_decay))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Name the same target at two neighbouring noise levels; the less noisy answer is the one to learn from."""
        x, y, seeds = batch.paired.source, batch.paired.target, batch.paired.seeds
        eps = normal(seeds, y.shape[1:], "eps")
        pair = consistency.random_pairs(seeds, self.sigmas, "pair")
        low, high = self.sigmas[pair], self.sigmas[pair + 1]
        with torch.no_grad():
            known = self._consistent(y + low[:, None, None, None] * eps, x, low)
        named = self._consistent(y + high[:, None, None, None] * eps, x, high)
        yield "unet", {"consistency": (pseudo_huber(named, known) / (high - low)).mean()}

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """From pure noise, named and noised again at each of a few levels."""
        c, shape = self.config, (self.target_channels, *source.shape[2:])

        def estimate(z: Tensor, sigma: float) -> Tensor:
            return self._consistent(z, source, torch.full((len(z),), sigma, device=z.device))

        def noise(i: int) -> Tensor:
            return normal(seeds, shape, f"noise {i}").to(source.device)

        return consistency.sample(estimate, noise, c.sigmas, c.sigma_min)

    def _consistent(self, z: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        def network(z: Tensor, sigma: Tensor) -> Tensor:
            return self.unet(torch.cat([z, x], dim=1), sigma)

        return consistency.consistent(network, z, sigma, self.config.sigma_min)
