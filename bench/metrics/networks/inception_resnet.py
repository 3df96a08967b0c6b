"""Inception-ResNet-v2 without its classifier (Szegedy, Ioffe, Vanhoucke and Alemi, AAAI 2017).

https://arxiv.org/abs/1602.07261, Figs. 3 and 15 to 20, in the form of the first TensorFlow weights, whose names timm and
pyiqa keep. Every convolution but the last of a residual block has a batch normalisation and a ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.metrics.networks import published

EPS_NORM = 1e-3
WIDTH = 1536  # bands of the last map


@dataclass(frozen=True)
class Conv:
    """A convolution with its normalisation and ReLU."""

    wide: int  # bands out
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    valid: bool = False  # no padding, so that the map shrinks; else it keeps its size


@dataclass(frozen=True)
class Pool:
    """The pooling at the start of a branch: 3x3, mean of stride 1 or maximum of stride 2."""

    kind: str


Branches = tuple[tuple[Conv | Pool, ...], ...]


@dataclass(frozen=True)
class Residual:
    """A residual block: branches side by side, a 1x1 convolution of them, scaled and added to what came in."""

    branches: Branches
    scale: float
    relu: bool = True


def _reduced(wide: int) -> Conv:
    return Conv(wide, (3, 3), stride=2, valid=True)


MIXED_5B: Branches = (
    (Conv(96),),
    (Conv(48), Conv(64, (5, 5))),
    (Conv(64), Conv(96, (3, 3)), Conv(96, (3, 3))),
    (Pool("mean"), Conv(64)),
)
MIXED_6A: Branches = ((_reduced(384),), (Conv(256), Conv(256, (3, 3)), _reduced(384)), (Pool("max"),))
MIXED_7A: Branches = (
    (Conv(256), _reduced(384)),
    (Conv(256), _reduced(288)),
    (Conv(256), Conv(288, (3, 3)), _reduced(320)),
    (Pool("max"),),
)
BLOCK_35: Branches = ((Conv(32),), (Conv(32), Conv(32, (3, 3))), (Conv(32), Conv(48, (3, 3)), Conv(64, (3, 3))))
BLOCK_17: Branches = ((Conv(192),), (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))))
BLOCK_8: Branches = ((Conv(192),), (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))))

LAYERS: dict[str, Conv | Pool | Branches | Residual] = {
    "conv2d_1a": _reduced(32),
    "conv2d_2a": Conv(32, (3, 3), valid=True),
    "conv2d_2b": Conv(64, (3, 3)),
    "maxpool_3a": Pool("max"),
    "conv2d_3b": Conv(80),
    "conv2d_4a": Conv(192, (3, 3), valid=True),
    "maxpool_5a": Pool("max"),
    "mixed_5b": MIXED_5B,
    **{f"repeat.{i}": Residual(BLOCK_35, 0.17) for i in range(10)},
    "mixed_6a": MIXED_6A,
    **{f"repeat_1.{i}": Residual(BLOCK_17, 0.10) for i in range(20)},
    "mixed_7a": MIXED_7A,
    **{f"repeat_2.{i}": Residual(BLOCK_8, 0.20) for i in range(9)},
    "block8": Residual(BLOCK_8, 1.0, relu=False),
    "conv2d_7b": Conv(WIDTH),
}


def shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """The weights by name, with `prefix` before each, and their shapes."""
    found: dict[str, tuple[int, ...]] = {}
    for name, narrow, conv in _convolutions():
        found[f"{prefix}{name}.conv.weight"] = (conv.wide, narrow, *conv.kernel)
        found |= published.norm_shapes(f"{prefix}{name}.bn", conv.wide)
    for name, narrow, wide, _ in _joins():
        found |= {f"{prefix}{name}.weight": (wide, narrow, 1, 1), f"{prefix}{name}.bias": (wide,)}
    return found


def weights(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """`<name>.weight` and `<name>.bias` of every convolution, normalisations and the scales of residuals folded in."""
    ready: dict[str, Tensor] = {}
    for name, _, _ in _convolutions():
        kernel, bias = published.folded(state, f"{prefix}{name}.conv", f"{prefix}{name}.bn", EPS_NORM)
        ready |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    for name, _, _, scale in _joins():
        ready |= {f"{name}.{part}": state[f"{prefix}{name}.{part}"] * scale for part in ("weight", "bias")}
    return ready


def last_map(weights: Mapping[str, Tensor], x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1536 h w"]:
    """The map after the last convolution: 8x8 for images of 299 px, which are RGB in [-1, 1]."""
    for name, layer in LAYERS.items():
        if isinstance(layer, Residual):
            y = F.conv2d(_branched(weights, name, layer.branches, x), *_of(weights, f"{name}.conv2d"))
            x = y.add_(x)
            if layer.relu:
                x = x.relu_()
        else:
            x = _branched(weights, name, layer, x) if isinstance(layer, tuple) else _applied(weights, name, layer, x)
    return x


def _branched(weights: Mapping[str, Tensor], name: str, branches: Branches, x: Tensor) -> Tensor:
    ends = []
    for path in _paths(name, branches):
        y = x
        for inner, layer in path:
            y = _applied(weights, inner, layer, y)
        ends.append(y)
    return torch.cat(ends, 1)


def _applied(weights: Mapping[str, Tensor], name: str, layer: Conv | Pool, x: Tensor) -> Tensor:
    if isinstance(layer, Conv):
        padding = 0 if layer.valid else (layer.kernel[0] // 2, layer.kernel[1] // 2)
        return F.conv2d(x, *_of(weights, name), layer.stride, padding).relu_()
    if layer.kind == "max":
        return F.max_pool2d(x, 3, 2)
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _of(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _paths(name: str, branches: Branches) -> list[list[tuple[str, Conv | Pool]]]:
    """Every branch as its layers in order, each with its name: `branch0` where it is alone, else `branch0.0`, ..."""
    return [
        [(f"{name}.branch{i}" if len(branch) == 1 else f"{name}.branch{i}.{k}", layer) for k, layer in enumerate(branch)]
        for i, branch in enumerate(branches)
    ]


def _walk() -> Iterator[tuple[str, int, Conv | Pool | Branches | Residual]]:
    """Every layer with its name and the bands that go in."""
    bands = 3
    for name, layer in LAYERS.items():
        yield name, bands, layer
        if isinstance(layer, Conv):
            bands = layer.wide
        elif isinstance(layer, tuple):
            bands = _bands_out(layer, bands)


def _bands_out(branches: Branches, narrow: int) -> int:
    return sum(branch[-1].wide if isinstance(branch[-1], Conv) else narrow for branch in branches)


def _convolutions() -> Iterator[tuple[str, int, Conv]]:
    """Every convolution with a normalisation: its name, the bands in, itself."""
    for name, narrow, layer in _walk():
        if isinstance(layer, Conv):
            yield name, narrow, layer
        elif not isinstance(layer, Pool):
            for path in _paths(name, layer.branches if isinstance(layer, Residual) else layer):
                bands = narrow
                for inner, step in path:
                    if isinstance(step, Conv):
                        yield inner, bands, step
                        bands = step.wide


def _joins() -> Iterator[tuple[str, int, int, float]]:
    """The last convolution of every residual block: its name, bands in, bands out, the scale."""
    for name, narrow, layer in _walk():
        if isinstance(layer, Residual):
            yield f"{name}.conv2d", _bands_out(layer.branches, narrow), narrow, layer.scale
