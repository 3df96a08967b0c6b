"""DGDM (2-D adaptation): Probabilistic Weather Forecasting with Deterministic Guidance-Based Diffusion Model.

Yoon, Seo, Kim, Choi and Cho, ECCV 2024, https://arxiv.org/abs/2312.02819
Differs from the paper: it forecasts one frame, the target, from one, the source, where the paper forecasts films; so the
U-Net is flat, without attention over time, and all of the image has one variance schedule. The features of the
deterministic branch are concatenated with z_t, where the official code attends to them at every size. How others adapted
DGDM to pairs of images is not documented. Of the official code, not followed: its walk starts with less noise than the
bridge has there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Card, Ema, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses.reconstruction import mse
from sarbench.methods.networks.deterministic_predictor import DeterministicPredictor
from sarbench.methods.networks.diffusion_unet import DiffusionUNet, Form
from sarbench.methods.processes import brownian_bridge as bridge
from sarbench.methods.processes import ddpm


@dataclass(frozen=True)
class Config:
    """Hyperparameters of DGDM; the defaults are those of the official code."""

    predictor_width: int = setting(64, "official code")
    predictor_blocks: int = setting(8, "official code: ConvNeXt blocks")
    unet_widths: tuple[int, ...] = setting((64, 128, 256, 512), "official code")
    unet_blocks: int = setting(2, "official code: per size")
    middle_heads: int = setting(8, "official code: in the bottleneck")
    patch: int = setting(1, "ours: side of the blocks of pixels that the U-Net takes as one")
    T: int = setting(1000, "official code")
    s: float = setting(1.0, "official code: scales the variance")
    steps: int = setting(200, "official code: of the whole walk", trains=False)
    skipped: int = setting(100, "official code: of these steps, for which the deterministic estimate stands", trains=False)
    eta: float = setting(1.0, "official code: share of fresh noise in a step", trains=False)
    learning_rate: float = setting(1e-4, "official code: of the U-Net")
    predictor_rate: float = setting(1e-3, "official code: of the deterministic branch")
    decay_from: float = setting(0.5, "ours: share of the budget after which the rates fall linearly to 0")
    ema_decay: float = setting(0.995, "official code")
    ema_every: int = setting(8, "official code")
    ema_start: float = setting(0.15, "BBDM: 30,000 of 200,000 steps")
    batch_size: int = setting(32, "official code: 8, accumulated 4 times")


PAPER = Config()


class DGDM(Method):
    """A deterministic first estimate, refined over the second half of a Brownian bridge."""

    card = Card(
        title="DGDM (2-D adaptation)",
        paper="https://arxiv.org/abs/2312.02819",
        year=2024,
        supervision="paired",
        channels="same",
        size_multiple=8,
        stochastic=True,
        evaluations=100,
        fidelity="adapted",
        deviations=(
            "One frame in, one out: a flat U-Net, no attention over time, one variance schedule.",
            "Features of the deterministic branch are concatenated with z_t, not attended to at every size.",
            "The U-Net has plain attention in the bottleneck and no linear attention elsewhere.",
            "The walk starts with the noise that the bridge has there; in the official code with less.",
            "The learning rates fall linearly in the second half; the official code halves them when the loss stands still.",
        ),
        licence="MIT",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, patch=2, batch_size=16),
        "tiny": replace(
            PAPER,
            predictor_width=16,
            predictor_blocks=2,
            unet_widths=(16, 32, 32),
            unet_blocks=1,
            middle_heads=2,
            patch=2,  # wider blocks hold more noise than so narrow a network can carry
            steps=12,
            skipped=6,
            learning_rate=2e-3,  # two thousand updates in all
            predictor_rate=2e-3,
            ema_decay=0.98,
            ema_every=1,
            batch_size=4,
        ),
    }
    config: Config
    m: Tensor  # (T,)

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.predictor = DeterministicPredictor(
            source_channels, target_channels, width=c.predictor_width, blocks=c.predictor_blocks
        )
        self.unet = DiffusionUNet(
            target_channels + c.predictor_width,
            target_channels,
            widths=c.unet_widths,
            blocks=c.unet_blocks,
            heads=(0,) * len(c.unet_widths),
            middle_heads=c.middle_heads,
            form=Form(scale_shift=True),
            patch=c.patch,
        )
        self.unet.head[-1].reset_parameters()  # type: ignore[operator]  # not zero, so that the features matter at once
        self.register_buffer("m", bridge.shares(c.T).float(), persistent=False)

    @property
    def size_multiple(self) -> int:
        """The halvings of the U-Net, or of the deterministic branch where these are more."""
        return max(self.unet.multiple, self.predictor.factor)

    @property
    def evaluations(self) -> int:
        """One evaluation of the U-Net a step that is not skipped."""
        return self.config.steps - self.config.skipped

    def players(self) -> dict[str, Player]:
        """Both branches; translations are made by the averages of their weights."""
        c = self.config
        schedule, ema = Schedule("linear", hold=c.decay_from), Ema(c.ema_decay, c.ema_every, c.ema_start)
        return {
            "predictor": Player(self.predictor, adam(c.predictor_rate, schedule=schedule), ema),
            "unet": Player(self.unet, adam(c.learning_rate, schedule=schedule), ema),
        }

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """The deterministic branch, which the bridge teaches too (they are trained end to end), then the U-Net."""
        c, x, y, seeds = self.config, batch.paired.source, batch.paired.target, batch.paired.seeds
        t = ddpm.random_steps(seeds, c.T, "t")
        z_t = bridge.noised(y, x, normal(seeds, y.shape[1:], "eps"), self.m[t], c.s)
        p, features = self.predictor(x)
        yield "predictor", {"prediction": mse(p, y), "bridge": mse(self._predict(z_t, features, t), z_t - y)}
        yield "unet", {"bridge": mse(self._predict(z_t, features.detach(), t), z_t - y)}

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """From the bridge between the estimate and the source, half-way, to the target."""
        c = self.config
        p, features = self.predictor(source)

        def predict(z_t: Tensor, t: int) -> Tensor:
            return self._predict(z_t, features, torch.full((len(source),), t, device=source.device))

        def noise(t: int | str) -> Tensor:
            return normal(seeds, source.shape[1:], f"noise {t}").to(source.device)

        steps = ddpm.spread_steps(c.T, c.steps)[c.skipped :]
        start = bridge.noised(p, source, noise("to start"), self.m[steps[0]].item(), c.s)
        return bridge.sample(predict, start, source, steps, noise, T=c.T, s=c.s, eta=c.eta, clip=True)

    def _predict(self, z_t: Tensor, features: Tensor, t: Tensor) -> Tensor:
        known = F.interpolate(features, z_t.shape[2:], mode="nearest")
        return self.unet(torch.cat([z_t, known], dim=1), t)
