"""State dicts as they are published: plain names, the expected tensors and no others, batch normalisation folded away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sarbench.bench.errors import ContractError

NORM = ("weight", "bias", "running_mean", "running_var")
NAMES_SHOWN = 3


def norm_shapes(name: str, bands: int) -> dict[str, tuple[int, ...]]:
    """The weights of a batch normalisation and their shapes."""
    return {f"{name}.{part}": (bands,) for part in NORM}


def checked(published: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], network: str) -> dict[str, Tensor]:
    """The tensors of a published file, which must be those of `shapes`; ContractError naming what is not.

    A file may hold them under `params`, as pyiqa's do, and each name may begin with `module.`, as data parallel training
    leaves it. Counters of batches, which no result depends on, are left out.
    """
    inner = published.get("params", published)
    state = {name.removeprefix("module."): value for name, value in inner.items() if not name.endswith("num_batches_tracked")}
    found = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
    if wrong:
        shown = ", ".join(f"{name} {found.get(name, 'missing')}, expected {shapes.get(name)}" for name in wrong[:NAMES_SHOWN])
        raise ContractError(f"the weights are not those of {network}: {len(wrong)} tensors differ: {shown}; fetch them again")
    return state


def folded(state: Mapping[str, Tensor], convolution: str, norm: str, eps: float) -> tuple[Tensor, Tensor]:
    """Kernel and bias that do what a convolution and the batch normalisation after it do at test time; folded in float64."""
    kernel = state[f"{convolution}.weight"].double()
    bias = state.get(f"{convolution}.bias", torch.zeros(len(kernel))).double()
    gamma, beta, mean, variance = (state[f"{norm}.{part}"].double() for part in NORM)
    gain = gamma / (variance + eps).sqrt()
    return (kernel * gain[:, None, None, None]).float(), ((bias - mean) * gain + beta).float()
