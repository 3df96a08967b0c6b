"""The FCN score as it was published: pix2pix's own FCN-8s, trained on Cityscapes by its authors, as Caffe stores it.

pix2pix (Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004, Sec. 4); SemST (https://arxiv.org/abs/2310.04995, table 1)
scores with the same network. Nothing is trained here: `sarbench fetch --list` says where the file (fcn-8s-cityscapes) comes
from, and without it this judge says nothing. It tells the 19 classes of Cityscapes apart, on street scenes alone.
Ours: images are asked at their own size, which is 1024x2048 px in Cityscapes; pix2pix stretched translations of 256 px to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Card, Player, Turn, setting
from sarbench.bench.judge import Judge, JudgeConfig
from sarbench.bench.judges.networks.caffe_weights import read_caffemodel
from sarbench.bench.judges.networks.fcn8s import CITYSCAPES_MEAN, FCN8s

ASSET, FILE = "fcn-8s-cityscapes", "fcn-8s-cityscapes.caffemodel"


@dataclass(frozen=True)
class Config(JudgeConfig):
    """Hyperparameters of the published network; how it was trained is not among them."""

    width: int = setting(64, "pix2pix: VGG-16")
    head: int = setting(4096, "pix2pix: the fully connected layers of VGG-16")


class FCNCityscapes(Judge):
    """The published FCN-8s, given as a file."""

    card = Card(
        title="FCN of Cityscapes",
        paper="https://arxiv.org/abs/1611.07004",
        year=2017,
        supervision="paired",
        channels="same",
        aux=("labels",),
        pretrained=(ASSET,),
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}
    answer = "labels"
    sees = "images"
    augment = ()
    version = "v1"
    given = True
    knows = (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain"),
        *("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    )
    config: Config

    def __init__(self, config: Config, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, classes)
        self.network = FCN8s(channels, len(classes), width=config.width, head=config.head)
        self.register_buffer("mean", torch.tensor(CITYSCAPES_MEAN).view(1, 3, 1, 1), persistent=False)

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Take up the published weights."""
        self.network.load_caffe(read_caffemodel(find(ASSET) / FILE))

    def players(self) -> dict[str, Player]:
        """None: it is trained."""
        return {}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Nothing is left to learn."""
        yield from ()

    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """The class of the highest score, from BGR bands of 0 to 255 less the mean of the authors' training images."""
        return self.network((first.flip(1) + 1) * 127.5 - self.mean).argmax(1)
