"""The contract of an adapter: a segmenter that shall label target images, and has labels of another domain alone.

What a translation is worth for it: its labelled images are source images, or their translations, with the source's labels. It
is tested on real target images against their own labels, which it never sees. An adapter is a judge, so it is trained by the
suite's one training loop, with one budget; what a paper does in stages follows `progress` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Optimizer, Schedule, adam, setting
from sarbench.bench.judge import Judge, JudgeConfig
from sarbench.bench.judges._confusion import UNLABELLED
from sarbench.bench.judges.networks.deeplab_v2 import DeepLabV2
from sarbench.bench.keys import key
from sarbench.bench.material import Material
from sarbench.bench.storage import file_digest

ASSETS = {"imagenet": ("resnet101",), "deeplab": ("deeplab-resnet101",), "random": ()}
DEEPLAB = "DeepLab_resnet_pretrained_init-f81d91e8.pth"  # in the folder of that name; the digits are of its sha256


@dataclass(frozen=True)
class AdapterConfig(JudgeConfig):
    """Hyperparameters that all adapters share; they have one network, so that what differs is the adaptation."""

    budget_images: int = setting(80_000, "BDL, readme: 80,000 iterations of one image without self-training")
    crop_px: int | None = setting(None, "AdaptSegNet: whole images; theirs are made smaller first")
    batch_size: int = setting(1, "AdaptSegNet, Sec. 4.1")
    learning_rate: float = setting(
        2.5e-5, "ours, with Adam; AdaptSegNet, Sec. 4.1, has SGD at 2.5e-4, its head at ten times that"
    )
    start: Literal["imagenet", "deeplab", "random"] = setting(
        "imagenet", "ProDA's code; BDL's and AdaptSegNet's: Caffe's DeepLab"
    )
    blocks: tuple[int, int, int, int] = setting((3, 4, 23, 3), "SemST, table 2: ResNet-101")
    norm: Literal["frozen", "batch", "group"] = setting("frozen", "AdaptSegNet, Sec. 4.1: batch normalisation as published")
    width: int = setting(64, "ResNet")
    output_stride: int = setting(8, "DeepLab-V2, Sec. 3.1")
    dilations: tuple[int, ...] = setting((6, 12, 18, 24), "DeepLab-V2, Sec. 3.2: ASPP-L")
    scales: tuple[float, ...] = setting((1.0,), "DeepLab-V2, Sec. 4.1.2 has three; adaptation papers have one")


BENCH = AdapterConfig(  # random weights: declared, and part of every signature
    budget_images=100_000,
    crop_px=256,
    batch_size=8,
    learning_rate=1e-3,
    start="random",
    norm="group",
    blocks=(2, 2, 2, 2),
    width=32,
)
TINY = replace(BENCH, budget_images=2_400, crop_px=64, blocks=(1, 1, 1, 1), width=8, dilations=(1, 2, 3, 4))


class Adapter(Judge):
    """An adapter. One file in `bench/judges/`, one class, presets "paper", "bench" and "tiny".

    With `supervision="unpaired"` on its card it learns from `batch.unpaired`: `source` are labelled images, their labels in
    `aux["labels"]`, and `target` are target images without labels, from another shuffle. With "paired" it sees no target
    image at all, and `batch.paired.source` are the labelled images.
    """

    answer = "labels"
    sees = "domains"
    augment = ("flip_left_right",)
    config: AdapterConfig

    def __init__(self, config: AdapterConfig, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        self.network = build(config, channels, len(classes))

    @classmethod
    def needs(cls, config: JudgeConfig) -> tuple[str, ...]:
        """The weights of ImageNet that the config asks for."""
        assert isinstance(config, AdapterConfig)
        return ASSETS[config.start]

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Take them up, in every network of that shape."""
        for name in self.pretrained:
            path = find(name)
            if self.config.start == "deeplab":
                path = path / DEEPLAB
                if not file_digest(path).startswith("f81d91e8"):
                    raise ContractError(f"{path} is another file or damaged; replace it by the one that was downloaded")
            weights = torch.load(path, map_location="cpu", weights_only=True)
            for module in self.modules():
                if isinstance(module, DeepLabV2):
                    (module.load_deeplab if self.config.start == "deeplab" else module.load_torchvision)(weights)

    @property
    def optimizer(self) -> Optimizer:
        """Adam with poly decay, for the network."""
        return adam(self.config.learning_rate, schedule=Schedule("poly", rate=self.config.power))

    def probabilities(self, pixels: Int64[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"] | None:
        """How often each labelled image is seen in training, given its pixels of each class; None: all equally often."""
        return None

    def drawn(self, material: Material, images: int, seed: int) -> Material:
        """The material with labelled images as often as `probabilities` has it, by a draw that is keyed by the seed."""
        if type(self).probabilities is Adapter.probabilities:
            return material
        parts = (material.images.parts(i, (self.answer,))[self.answer] for i in material.train)
        pixels = np.stack([np.bincount(p[p != UNLABELLED], minlength=len(self.classes)) for p in parts])
        found = self.probabilities(pixels)
        if found is None:
            return material
        rows = np.random.default_rng(key(seed, "labelled images")).choice(len(pixels), size=images, p=found)
        return replace(material, train=tuple(material.train[i] for i in rows))

    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """The class of the highest score."""
        return self.network(first).argmax(1)


def build(config: AdapterConfig, channels: int, classes: int) -> DeepLabV2:
    """The network of a config, in the layout and on the values that its first weights want."""
    layout: Literal["caffe", "torchvision"] = "caffe" if config.start == "deeplab" else "torchvision"
    return DeepLabV2(
        channels,
        classes,
        blocks=config.blocks,
        width=config.width,
        output_stride=config.output_stride,
        dilations=config.dilations,
        layout=layout,
        norm=config.norm,
        values="plain" if config.start == "random" else layout,
        scales=config.scales,
    )


def labels_of(batch: Batch, paired: bool = False) -> Int64[Tensor, "B H W"]:
    """The labels of a batch's labelled images."""
    pairs = batch.paired if paired else batch.unpaired
    return pairs.aux["labels"][:, 0].long()
