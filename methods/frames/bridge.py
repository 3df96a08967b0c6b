"""The frame of BBDM: a Brownian bridge from the source to the target, between images or in the code of a VQGAN.

Li, Xue, Liu and Lai, CVPR 2023, https://arxiv.org/abs/2205.07680. A method of this family adds its card, its presets, and what
its U-Net sees of the source beside z_t.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sarbench.bench.interface import Batch, Ema, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.networks import vqgan
from sarbench.methods.networks.diffusion_unet import GUIDED, DiffusionUNet
from sarbench.methods.processes import brownian_bridge as bridge
from sarbench.methods.processes import ddpm


@dataclass(frozen=True)
class BridgeConfig:
    """Hyperparameters of the frame; the defaults are those of BBDM at 256x256 px."""

    space: Literal["latent", "pixels"] = setting("latent", "BBDM, Sec. 3.1: in the code of a VQGAN, 4 times smaller")
    unet_widths: tuple[int, ...] = setting((128, 512, 1024), "BBDM, official code")
    unet_blocks: int = setting(2, "BBDM, official code: per size")
    unet_heads: tuple[int, ...] = setting((0, 0, 0), "BBDM, official code: its attention sizes are never reached")
    middle_heads: int = setting(16, "BBDM, official code: 64 channels each, in the bottleneck")
    norm_groups: int = setting(32, "BBDM, official code")
    patch: int = setting(1, "ours: side of the blocks of pixels that the U-Net takes as one")
    T: int = setting(1000, "BBDM, Sec. 4.1")
    s: float = setting(1.0, "BBDM, Sec. 3.2: scales the variance, and with it the diversity")
    steps: int = setting(200, "BBDM, Sec. 4.1: of a translation", trains=False)
    eta: float = setting(1.0, "BBDM, official code: share of fresh noise in a step", trains=False)
    learning_rate: float = setting(1e-4, "BBDM, official code")
    decay_from: float = setting(0.5, "ours: share of the budget after which the rate falls linearly to 0")
    ema_decay: float = setting(0.995, "BBDM, official code")
    ema_every: int = setting(8, "BBDM, official code")
    ema_start: float = setting(0.15, "BBDM, official code: 30,000 of 200,000 steps")
    batch_size: int = setting(32, "BBDM, official code: 8, accumulated 4 times")


Config = TypeVar("Config", bound=BridgeConfig)


def bridge_presets(paper: Config, pixels: Config) -> dict[str, Config]:
    """The presets of a method of the family: the paper's config, and its form between `pixels` at the common sizes."""
    bench = replace(pixels, unet_widths=(64, 128, 256, 512), unet_heads=(0, 0, 0, 8), middle_heads=8, patch=2, batch_size=16)
    tiny = replace(
        pixels,
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
    )
    return {"paper": paper, "bench": bench, "tiny": tiny}


class BridgeFrame(Method):
    """A U-Net that walks from the source to the target over a Brownian bridge."""

    config: BridgeConfig
    m: Tensor  # (T,)

    def __init__(self, config: BridgeConfig, source_channels: int, target_channels: int, condition_channels: int) -> None:
        """`condition_channels`: of what the U-Net sees beside z_t."""
        super().__init__(config, source_channels, target_channels)
        c = config
        if c.space == "latent":
            vqgan.refuse_other_channels(self.card.title, target_channels)
            self.encoder, self.decoder = vqgan.Encoder(), vqgan.Decoder()
        self.unet = DiffusionUNet(
            target_channels + condition_channels,
            target_channels,
            widths=c.unet_widths,
            blocks=c.unet_blocks,
            heads=c.unet_heads,
            middle_heads=c.middle_heads,
            form=replace(GUIDED, groups=c.norm_groups),
            residual_resampling=True,
            patch=c.patch,
        )
        self.register_buffer("m", bridge.shares(c.T).float(), persistent=False)

    @abstractmethod
    def condition_on(self, source: Float[Tensor, "B C H W"], x: Float[Tensor, "B C h w"]) -> list[Float[Tensor, "B _ h w"]]:
        """What the U-Net sees beside z_t, given the source and what stands for it in the bridge's space."""

    @property
    def learned(self) -> Sequence[nn.Module]:
        """The networks that learn."""
        return [self.unet]

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
        """What learns; translations are made by the average of its weights."""
        c = self.config
        optimizer = adam(c.learning_rate, schedule=Schedule("linear", hold=c.decay_from))
        return {"unet": Player(self.learned, optimizer, Ema(c.ema_decay, c.ema_every, c.ema_start))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """BBDM, Algorithm 1."""
        c, source, seeds = self.config, batch.paired.source, batch.paired.seeds
        with torch.no_grad():
            x, y = self._encoded(source), self._encoded(batch.paired.target)
        t = ddpm.random_steps(seeds, c.T, "t")
        z_t = bridge.noised(y, x, normal(seeds, y.shape[1:], "eps"), self.m[t], c.s)
        predicted = self.unet(torch.cat([z_t, *self.condition_on(source, x)], dim=1), t)
        yield "unet", {"l1": l1(predicted, z_t - y)}  # z_t - y = m_t (x - y) + sqrt(delta_t) eps

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """BBDM, Algorithm 2, from the source."""
        c, x = self.config, self._encoded(source)
        condition = self.condition_on(source, x)

        def predict(z_t: Tensor, t: int) -> Tensor:
            return self.unet(torch.cat([z_t, *condition], dim=1), torch.full((len(x),), t, device=x.device))

        def noise(t: int) -> Tensor:
            return normal(seeds, x.shape[1:], f"noise {t}").to(x.device)

        steps, pixels = ddpm.spread_steps(c.T, c.steps), c.space == "pixels"
        y = bridge.sample(predict, x, x, steps, noise, T=c.T, s=c.s, eta=c.eta, clip=pixels)
        return y if pixels else vqgan.decoded(self.decoder, y)

    def reconstruct(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_target H W"]:
        """Targets after the autoencoder alone; the bridge between pixels has none."""
        if not self.has_upper_bound:
            return super().reconstruct(target, seeds)
        return vqgan.decoded(self.decoder, self._encoded(target))

    @property
    def has_upper_bound(self) -> bool:
        """That of the autoencoder, in latent space."""
        return self.config.space == "latent"

    def _encoded(self, image: Tensor) -> Tensor:
        return self.encoder(image) if self.config.space == "latent" else image
