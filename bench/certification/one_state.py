"""Two implementations of one network under one state dict: official weights where they are at hand, else a random one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from jaxtyping import Float

from sarbench.bench import assets
from sarbench.bench.certification.corpus import Pair, random_state
from sarbench.bench.certification.packages import Oracle, unit

if TYPE_CHECKING:
    from torch import Tensor

    from sarbench.bench.metric import ImageBatch

RANDOM = "random weights: network code only"
OFFICIAL = "official weights"


@dataclass(frozen=True)
class Network:
    """A metric's network under given weights."""

    metric: str
    weights: str  # official, or random
    ours: Callable[[Pair], Any]
    itself: Callable[[Pair], Any]
    oracles: tuple[Oracle, ...]
    slow: bool = False


def state_of(asset: str, shapes: Callable[[], Mapping[str, tuple[int, ...]]]) -> tuple[dict[str, Tensor], str]:
    """The published state dict of an asset and OFFICIAL, or a random one of these shapes and RANDOM."""
    try:
        found = assets.load_state_dict(asset)
    except assets.AssetMissing:
        return random_state(shapes()), RANDOM
    return dict(found.get("params", found)), OFFICIAL


def doubled(state: Mapping[str, Tensor]) -> dict[str, Float[np.ndarray, "..."]]:
    """A state dict in float64, for the self."""
    return {name: value.double().numpy() for name, value in state.items()}


def rgb(images: ImageBatch) -> Float[np.ndarray, "3 H W"]:
    """One image in [0, 1], grey repeated."""
    return unit(images)[0].expand(3, -1, -1).numpy()


@contextmanager
def undownloaded(*builders: str) -> Iterator[None]:
    """Torchvision's networks without the weights that packages ask it to fetch."""
    import torchvision

    build = {name: getattr(torchvision.models, name) for name in builders}
    fakes: dict[str, Any] = {name: lambda *_, of=of, **__: of(weights=None) for name, of in build.items()}
    with mock.patch.multiple(torchvision.models, **fakes):
        yield


def filled(module: Any, state: Mapping[str, Tensor]) -> Any:
    """A module in float64 whose every tensor comes from a state dict, but for counters and constants."""
    missing, unexpected = module.load_state_dict(state, strict=False)
    left = [name for name in missing if "num_batches" not in name and "scaling_layer" not in name]
    if left or unexpected:
        raise ValueError(f"the package's network has other tensors: {(left + list(unexpected))[:3]}")
    return module.eval().double()


def said(module: Callable[..., Any], *inputs: Tensor) -> Float[np.ndarray, "..."]:
    """What a module gives, as numbers without axes of length 1."""
    import torch

    with torch.inference_mode():
        found = module(*inputs)
    return np.squeeze(found.double().numpy())
