"""CDiffusion: Conditional Diffusion for SAR to Optical Image Translation.

Bai, Pu and Xu, IEEE Geoscience and Remote Sensing Letters 2024, https://doi.org/10.1109/LGRS.2023.3337143
Differs from the paper: the length of its warm-up is a guess. Of the official code, not followed: it has neither warm-up nor
cosine, and its sampling script pairs sources and targets in the order in which a folder lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Ema, Method, Player, Schedule, Turn, adamw, normal, setting
from sarbench.methods.losses.reconstruction import mse
from sarbench.methods.networks.diffusion_unet import GUIDED, DiffusionUNet
from sarbench.methods.processes import ddpm


@dataclass(frozen=True)
class Config:
    """Hyperparameters of CDiffusion; the defaults are the paper's at 256x256 px."""

    unet_widths: tuple[int, ...] = setting((128, 128, 256, 256, 512, 512), "official code")
    unet_blocks: int = setting(3, "official code: per size")
    unet_heads: tuple[int, ...] = setting((0, 0, 0, 0, 4, 4), "official code: at 16x16 and 8x8 of 256x256")
    norm_groups: int = setting(32, "official code")
    patch: int = setting(1, "ours: side of the blocks of pixels that the U-Net takes as one")
    T: int = setting(2000, "official code")
    beta_first: float = setting(1e-4, "official code: of 1,000 steps, scaled to T")
    beta_last: float = setting(0.02, "official code: of 1,000 steps, scaled to T")
    steps: int = setting(250, "official code: of a translation", trains=False)
    variance: Literal["large", "small"] = setting(
        "large", "official code: of the fresh noise; the smaller of Ho's two suits few steps", trains=False
    )
    learning_rate: float = setting(1e-4, "official code")
    weight_decay: float = setting(0.0, "official code")
    warmup: float = setting(0.02, "paper: a warm-up; its length is ours, a share of the budget")
    ema_decay: float = setting(0.9999, "official code")
    batch_size: int = setting(24, "official code: 6 on each of 4 GPUs")


PAPER = Config()


class CDiffusion(Method):
    """A diffusion model of the target that sees the source, without noise, beside every noisy image."""

    card = Card(
        title="CDiffusion",
        paper="https://doi.org/10.1109/LGRS.2023.3337143",
        year=2024,
        supervision="paired",
        channels="any",
        size_multiple=32,
        stochastic=True,
        evaluations=250,
        deviations=(
            "The paper's warm-up is taken to be 2 % of the budget.",
            "Presets bench and tiny: a smaller U-Net that takes 2x2 pixels as one; tiny: less fresh noise in fewer steps.",
        ),
    )
    presets = {
        "paper": PAPER,
        "bench": replace(
            PAPER,
            unet_widths=(64, 128, 256, 512),
            unet_blocks=2,
            unet_heads=(0, 0, 0, 8),
            patch=2,
            learning_rate=2e-4,
            ema_decay=0.999,
            batch_size=16,
        ),
        "tiny": replace(
            PAPER,
            unet_widths=(16, 32, 32),
            unet_blocks=1,
            unet_heads=(0, 0, 2),
            norm_groups=8,
            patch=2,  # wider blocks hold more noise than so narrow a network can carry
            T=1000,
            steps=10,
            variance="small",
            learning_rate=4e-3,  # two thousand updates in all
            warmup=0.0,
            ema_decay=0.98,
            batch_size=4,
        ),
    }
    config: Config
    abar: Tensor  # (T,)

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.unet = DiffusionUNet(
            target_channels + source_channels,
            target_channels,
            widths=c.unet_widths,
            blocks=c.unet_blocks,
            heads=c.unet_heads,
            form=replace(GUIDED, groups=c.norm_groups),
            patch=c.patch,
        )
        abar = ddpm.alpha_bar(ddpm.linear(c.beta_first, c.beta_last, c.T))
        self.register_buffer("abar", abar.float(), persistent=False)

    @property
    def size_multiple(self) -> int:
        """The halvings of the U-Net: 32 for the paper's 5."""
        return self.unet.multiple

    @property
    def evaluations(self) -> int:
        """One evaluation of the U-Net a step."""
        return self.config.steps

    def players(self) -> dict[str, Player]:
        """The U-Net alone; translations are made by the average of its weights."""
        c = self.config
        schedule = Schedule("cosine", warmup=c.warmup)
        optimizer = adamw(c.learning_rate, weight_decay=c.weight_decay, schedule=schedule)
        return {"unet": Player(self.unet, optimizer, Ema(c.ema_decay))}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Predict the noise in the target."""
        x, y, seeds = batch.paired.source, batch.paired.target, batch.paired.seeds
        eps = normal(seeds, y.shape[1:], "eps")
        t = ddpm.random_steps(seeds, self.config.T, "t")
        y_t = ddpm.noised(y, eps, self.abar[t])
        yield "unet", {"mse": mse(self.unet(torch.cat([y_t, x], dim=1), t), eps)}

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """From pure noise, step by step, with fresh noise at each."""
        shape = (self.target_channels, *source.shape[2:])

        def predict(y_t: Tensor, t: int) -> Tensor:
            return self.unet(torch.cat([y_t, source], dim=1), torch.full((len(source),), t, device=source.device))

        def noise(t: int) -> Tensor:
            return normal(seeds, shape, f"noise {t}").to(source.device)

        abar = self.abar.double().tolist()
        y_T = normal(seeds, shape, "y_T").to(source.device)
        steps = ddpm.spread_steps(self.config.T, self.config.steps)
        return ddpm.sample(predict, y_T, abar, steps, noise, self.config.variance)
