"""cBBDM: Conditional Brownian Bridge Diffusion Model for VHR SAR to Optical Image Translation.

Kim and Chung, 2024, https://arxiv.org/abs/2408.07947
Differs from the paper: the learning rate falls linearly, where the official code halves it whenever the loss stands still.
The presets `bench` and `tiny` have no pretrained autoencoder: the bridge runs between the images themselves, so that the
condition is not shrunk, through a smaller U-Net. Of the official code, not followed: its 200 steps are 202.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import Card, setting
from sarbench.methods.frames.bridge import BridgeConfig, BridgeFrame, bridge_presets


@dataclass(frozen=True)
class Config(BridgeConfig):
    """Hyperparameters of cBBDM, those of BBDM but for the batch; the defaults are the paper's, for 512x512 px."""

    batch_size: int = setting(2, "official code: 1, accumulated twice")


PAPER: BridgeConfig = Config()
PIXELS = replace(PAPER, space="pixels")


class CBBDM(BridgeFrame):
    """A bridge from the source's code to the target's, by a U-Net that also sees the source's pixels."""

    card = Card(
        title="cBBDM",
        paper="https://arxiv.org/abs/2408.07947",
        year=2024,
        supervision="paired",
        channels="same",
        size_multiple=16,
        stochastic=True,
        evaluations=200,
        pretrained=("vq-f4",),
        deviations=(
            "Presets bench and tiny: no autoencoder, the bridge runs between the images, the condition keeps its size.",
            "The learning rate falls linearly in the second half; the official code halves it when the loss stands still.",
        ),
        licence="MIT",
    )
    presets = bridge_presets(PAPER, PIXELS)
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels, source_channels)
        self.condition = nn.Conv2d(source_channels, source_channels, 1, bias=False)

    @property
    def learned(self) -> Sequence[nn.Module]:
        """The U-Net and the condition's convolution."""
        return [self.unet, self.condition]

    def condition_on(self, source: Tensor, x: Tensor) -> list[Tensor]:
        """The source's pixels, halved until they are as few as those of its code, and their channels mixed."""
        while source.shape[2] > x.shape[2]:
            source = F.interpolate(source, scale_factor=0.5, mode="bilinear")
        return [self.condition(source)]
