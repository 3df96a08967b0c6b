"""NIMA: a distribution over the scores 1 to 10 from the mean of a network's last map (Talebi and Milanfar, IEEE TIP 2018).

https://arxiv.org/abs/1709.05424; in the form of the weights that pyiqa publishes, which differs from the paper: the image
keeps its aspect ratio and its middle is taken, and every network ends in the mean over positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.metrics.networks import inception_resnet, published, running, vgg

BINS = 10
HEAD = "classifier.2"
BASE = "base_model."


@dataclass(frozen=True)
class Backbone:
    """A network behind NIMA: what it reads, and its last map."""

    asset: str
    side: int  # px
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    width: int
    shapes: Callable[[], dict[str, tuple[int, ...]]]
    weights: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    last_map: Callable[[Mapping[str, Tensor], Tensor], Tensor]


INCEPTION_RESNET = Backbone(
    asset="nima",
    side=299,
    mean=(0.5, 0.5, 0.5),
    spread=(0.5, 0.5, 0.5),
    width=inception_resnet.WIDTH,
    shapes=lambda: inception_resnet.shapes(BASE),
    weights=lambda state: inception_resnet.weights(state, BASE),
    last_map=inception_resnet.last_map,
)
VGG = Backbone(
    asset="nima_vgg16",
    side=224,
    mean=(0.485, 0.456, 0.406),
    spread=(0.229, 0.224, 0.225),
    width=512,
    shapes=lambda: vgg.shapes(f"{BASE}features_"),
    weights=lambda state: {name: state[name] for name in vgg.shapes(f"{BASE}features_")},
    last_map=lambda weights, x: F.max_pool2d(vgg.last_map(weights, f"{BASE}features_", x), 2),
)


def shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """All weights by name, as pyiqa publishes them, and their shapes."""
    return backbone.shapes() | {f"{HEAD}.weight": (BINS, backbone.width), f"{HEAD}.bias": (BINS,)}


def weights(backbone: Backbone, state: Mapping[str, Tensor], where: torch.device) -> dict[str, Tensor]:
    """A published state dict, ready for `distributions` on a device. ContractError for one of another network."""
    state = published.checked(state, shapes(backbone), "NIMA")
    ready = running.channels_last(backbone.weights(state))
    ready |= {f"{HEAD}.{part}": state[f"{HEAD}.{part}"].double() for part in ("weight", "bias")}
    return {name: value.to(where) for name, value in ready.items()}


def distributions(backbone: Backbone, weights: Mapping[str, Tensor], x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 10"]:
    """The share of raters that would give each score from 1 to 10 to RGB images in [0, 1], float64."""
    x = running.standardised(middle(x, backbone.side), backbone.mean, backbone.spread)
    features = backbone.last_map(weights, x).mean((2, 3), dtype=torch.float64)
    return F.linear(features, weights[f"{HEAD}.weight"], weights[f"{HEAD}.bias"]).softmax(1)


def middle(x: Float[Tensor, "B 3 H W"], side: int) -> Float[Tensor, "B 3 S S"]:
    """The image with its shorter side brought to `side` px (bilinear, antialiased), and of that the square in the middle."""
    height, width = x.shape[2:]
    short = min(height, width)
    size = (side * height // short, side * width // short)
    if size != (height, width):
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    top, left = (round((length - side) / 2) for length in size)
    return x[:, :, top : top + side, left : left + side]
