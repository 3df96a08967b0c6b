"""BBDM: Image-to-Image Translation with Brownian Bridge Diffusion Models.

Li, Xue, Liu and Lai, CVPR 2023, https://arxiv.org/abs/2205.07680
Differs from the paper: the learning rate falls linearly, where the official code halves it whenever the loss stands still.
The presets `bench` and `tiny` have no pretrained autoencoder: the bridge runs between the images themselves, as in the
pixel mode of the official code, through a smaller U-Net. Of the official code, not followed: its 200 steps are 202, and
its sampler keeps the variance of the process only at eta = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from sarbench.bench.interface import Card, setting
from sarbench.methods.frames.bridge import BridgeConfig, BridgeFrame, bridge_presets


@dataclass(frozen=True)
class Config(BridgeConfig):
    """Hyperparameters of BBDM; the defaults are the paper's at 256x256 px."""

    conditioned: bool = setting(False, "official code: in pixels, x is also concatenated with z_t; in the latent space not")


PAPER: BridgeConfig = Config()
PIXELS = replace(PAPER, space="pixels", conditioned=True)


class BBDM(BridgeFrame):
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
    presets = bridge_presets(PAPER, PIXELS)
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels, source_channels if config.conditioned else 0)

    def condition_on(self, source: Tensor, x: Tensor) -> list[Tensor]:
        """The source in the bridge's space, or nothing."""
        return [x] if self.config.conditioned else []
