"""BBDM: Image-to-Image Translation with Brownian Bridge Diffusion Models.

Li, Xue, Liu and Lai, CVPR 2023, https://arxiv.org/abs/2205.07680
Differs from the paper: the learning rate falls linearly, where the official code halves it whenever the loss stands still.
The presets `bench` and `tiny` have no pretrained autoencoder: the bridge runs between the images themselves, as in the
pixel mode of the official code, through a smaller U-Net. Of the official code, not followed: its 200 steps are 202, and
its sampler keeps the variance of the process only at eta = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Ema, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import vqgan
from sarbench.methods.networks.diffusion_unet import GUIDED, DiffusionUNet
from sarbench.methods.processes import brownian_bridge as bridge
from sarbench.methods.processes import ddpm


@dataclass(frozen=True)
class Config:
    """Hyperparameters of BBDM; the defaults are the paper's at 256x256 px."""

    space: Literal["latent", "pixels"] = setting("latent", "Sec. 3.1: in the code of a VQGAN, 4 times smaller")
    conditioned: bool = setting(False, "official code: in pixels, x is also concatenated with z_t; in the latent space not")
    unet_widths: tuple[int, ...] = setting((128, 512, 1024), "official code")
    unet_blocks: int = setting(2, "official code: per size")
    unet_heads: tuple[int, ...] = setting((0, 0, 0), "official code: its attention sizes are never reached")
    middle_heads: int = setting(16, "official code: 64 channels each, in the bottleneck")
    norm_groups: int = setting(32, "official code")
    patch: int = setting(1, "ours: side of the blocks of pixels that the U-Net takes as one")
    T: int = setting(1000, "Sec. 4.1")
    s: float = setting(1.0, "Sec. 3.2: scales the variance, and with it the diversity")
    steps: int = setting(200, "Sec. 4.1: of a translation")
    eta: float = setting(1.0, "official code: share of fresh noise in a step")
    learning_rate: float = setting(1e-4, "official code")
    decay_from: float = setting(0.5, "ours: share of the budget after which the rate falls linearly to 0")
    ema_decay: float = setting(0.995, "official code")
    ema_every: int = setting(8, "official code")
    ema_start: float = setting(0.15, "official code: 30,000 of 200,000 steps")
    batch_size: int = setting(32, "official code: 8, accumulated 4 times")


PAPER = Config()
PIXELS = replace(PAPER, space="pixels", conditioned=True)


class BBDM(Method):
    """A U-Net that walks from the source to the target over a Brownian bridge."""

    card = Card(
        title="BBDM",
        paper="https://arxiv.org/abs/2205.07680",
        year=2023,
        supervision="paired",
        channels="same",
        size_multiple=16,
        stochastic=True,
        evaluations=200,
        pretrained=("vq-f4",),
        deviations=(
            "Presets bench and tiny: no autoencoder, the bridge runs between the images, conditioned on the source.",
            "The learning rate falls linearly in the second half; the official code halves it when the loss stands still.",
        ),
        licence="MIT",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(
            PIXELS, unet_widths=(64, 128, 256, 512), unet_heads=(0, 0, 0, 8), middle_heads=8, patch=2, batch_size=16
        ),
        "tiny": replace(
            PIXELS,
            unet_widths=(16, 32, 32),
            unet_blocks=1,
            middle_heads=2,
            norm_groups=8,
            patch=2,  # wider blocks hold more noise than so narrow a network can carry
            steps=8,
            learning_rate=2e-3,  # two thousand updates in all
            ema_decay=0.98,
            ema_every=1,
            batch_size=4,
        ),
    }
    config: Config
    m: Tensor  # (T,)

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c, channels = config, target_channels
        if c.space == "latent":
            vqgan.refuse_other_channels(self.card.title, channels)
            self.encoder, self.decoder = vqgan.Encoder(), vqgan.Decoder()
        self.unet = DiffusionUNet(
            2 * channels if c.conditioned else channels,
            channels,
            widths=c.unet_widths,
            blocks=c.unet_blocks,
            heads=c.unet_heads,
            middle_heads=c.middle_heads,
            form=replace(GUIDED, groups=c.norm_groups),
            residual_resampling=True,
            patch=c.patch,
        )
        self.register_buffer("m", bridge.shares(c.T).float(), persistent=False)

    @property
    def size_multiple(self) -> int:
        """The halvings of the autoencoder and of the U-Net: 16 for the paper's 2 and 2."""
        return self.unet.multiple * (self.encoder.factor if self.config.space == "latent" else 1)

    @property
    def evaluations(self) -> int:
        """One evaluation of the U-Net a step."""
        return self.config.steps

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The autoencoder of the latent space."""
        return ("vq-f4",) if self.config.space == "latent" else ()

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """The autoencoder; nothing between pixels."""
        if self.config.space == "latent":
            vqgan.load(find("vq-f4"), self.encoder, self.decoder)

    def players(self) -> dict[str, Player]:
        """The U-Net alone; translations are made by the average of its weights."""
        c = self.config
        optimizer = adam(c.learning_rate, schedule=Schedule("linear", hold=c.decay_from))
        return {"unet": Player(self.unet, optimizer, Ema(c.ema_decay, c.ema_every, c.ema_start))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Algorithm 1."""
        c, seeds = self.config, batch.paired.seeds
        with torch.no_grad():
            x, y = self._encoded(batch.paired.source), self._encoded(batch.paired.target)
        t = ddpm.random_steps(seeds, c.T, "t")
        z_t = bridge.noised(y, x, normal(seeds, y.shape[1:], "eps"), self.m[t], c.s)
        yield "unet", {"l1": l1(self._predict(z_t, x, t), z_t - y)}  # z_t - y = m_t (x - y) + sqrt(delta_t) eps

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """Algorithm 2, from the source."""
        c, x = self.config, self._encoded(source)

        def predict(z_t: Tensor, t: int) -> Tensor:
            return self._predict(z_t, x, torch.full((len(x),), t, device=x.device))

        def noise(t: int) -> Tensor:
            return normal(seeds, x.shape[1:], f"noise {t}").to(x.device)

        steps, pixels = ddpm.spread_steps(c.T, c.steps), c.space == "pixels"
        y = bridge.sample(predict, x, x, steps, noise, T=c.T, s=c.s, eta=c.eta, clip=pixels)
        return y if pixels else vqgan.decoded(self.decoder, y)

    def reconstruct(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_target H W"]:
        """Targets after the autoencoder alone; the bridge between pixels has none."""
        y = self._encoded(target)
        return y if self.config.space == "pixels" else vqgan.decoded(self.decoder, y)

    def _encoded(self, image: Tensor) -> Tensor:
        return self.encoder(image) if self.config.space == "latent" else image

    def _predict(self, z_t: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return self.unet(torch.cat([z_t, x], dim=1) if self.config.conditioned else z_t, t)
