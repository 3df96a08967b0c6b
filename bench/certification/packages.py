"""How images reach the packages that metrics are certified against, and what is asked of each.

Each package is imported when its first number is asked for, and none of them is needed by anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sarbench.bench.certification.corpus import Pair
from sarbench.bench.metric import ImageBatch

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = (
    "clean-fid",
    "lpips",
    "piq",
    "pyiqa",
    "pytorch-fid",
    "scikit-image",
    "sewar",
    "torch-fidelity",
    "torchmetrics",
)  # as pip knows them: the extra `certify`


@dataclass(frozen=True)
class Oracle:
    """One number of another package, and the metric of ours that it should be."""

    package: str
    call: str  # what is called, and with which settings
    metric: str  # the convention of ours that it follows, such as ssim@piq
    of: Callable[[Any], Any]
    why: str = ""  # why it differs from the plain metric
    follows: bool = True  # False: no convention of ours does the same, so only the difference is shown
    takes: Callable[[Any], bool] = lambda case: True


def installed(package: str) -> str:
    """A package's version; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def unit(images: ImageBatch) -> Float[Tensor, "1 C H W"]:
    """In [0, 1], float64."""
    return levels(images) / images.peak


def levels(images: ImageBatch) -> Float[Tensor, "1 C H W"]:
    """In levels, float64."""
    import torch

    return torch.from_numpy(np.moveaxis(images.pixels, 3, 1).astype(np.float64))


def both(pair: Pair, prepare: Callable[[ImageBatch], Any] = unit) -> tuple[Any, Any]:
    """Translated and reference."""
    return prepare(pair.translated), prepare(pair.reference)


def array(images: ImageBatch) -> Float[np.ndarray, "H W C"]:
    """In levels, float64."""
    return images.pixels[0].astype(np.float64)


def stretched(images: ImageBatch) -> Float[Tensor, "1 C H W"]:
    """Clamp(v + 0.5) for v in [-1, 1], as the evaluation code of C-DiffSET has it."""
    return (2 * unit(images) - 1 + 0.5).clamp(0, 1)


def half_levels(images: ImageBatch) -> Float[Tensor, "1 C H W"]:
    """The same in whole numbers, which float32 holds."""
    return (stretched(images) * 2 * images.peak).round()


# --- One function of a package: what it gives for a pair -------------------------------------------------------------


def torchmetrics(name: str, prepare: Callable[[ImageBatch], Any] = unit, **named: Any) -> Callable[[Pair], float]:
    """A function of torchmetrics.functional.image."""

    def of(pair: Pair) -> float:
        import torchmetrics.functional.image as functional

        return float(getattr(functional, name)(*both(pair, prepare), **named).mean())

    return of


def skimage(name: str, **named: Any) -> Callable[[Pair], float]:
    """A function of skimage.metrics, of levels."""

    def of(pair: Pair) -> float:
        import skimage.metrics

        x, y = both(pair, array)
        return float(getattr(skimage.metrics, name)(y, x, data_range=pair.peak, **named))

    return of


def sewar(name: str, peak: bool = False, gaussian: bool = False) -> Callable[[Pair], float]:
    """A function of sewar, of levels; `gaussian`: SSIM under the window of its paper."""

    def of(pair: Pair) -> float:
        import sewar
        from sewar.utils import Filter

        named: dict[str, Any] = {"MAX": pair.peak} if peak else {}
        named |= {"fltr_specs": {"fltr": Filter.GAUSSIAN, "sigma": 1.5, "ws": 11}} if gaussian else {}
        found = getattr(sewar, name)(array(pair.reference), array(pair.translated), **named)
        return float(np.real(found[0] if isinstance(found, tuple) else found))

    return of


def piq(name: str, **named: Any) -> Callable[[Pair], float]:
    """A function of piq, image by image."""

    def of(pair: Pair) -> float:
        import piq

        return float(getattr(piq, name)(*both(pair), data_range=1.0, reduction="none", **named))

    return of


def pyiqa(module: str, name: str, **named: Any) -> Callable[[Pair], float]:
    """A metric of pyiqa, without its registry, which would fetch weights."""

    def of(pair: Pair) -> float:
        from importlib import import_module

        arch: Any = getattr(import_module(f"pyiqa.archs.{module}"), name)(**named)
        return float(arch(*(x.float() for x in both(pair))))

    return of


def variation(package: str, **named: Any) -> Callable[[Pair], float]:
    """Total variation, in piq or torchmetrics."""

    def of(pair: Pair) -> float:
        from importlib import import_module

        module: Any = import_module("piq" if package == "piq" else "torchmetrics.functional.image")
        return float(module.total_variation(unit(pair.translated), reduction="none", **named))

    return of


def rmse_of_sewar(pair: Pair) -> float:
    """In levels of 255."""
    import sewar

    return float(sewar.rmse(array(pair.reference), array(pair.translated))) * 255 / pair.peak


def mse_of_skimage(pair: Pair) -> float:
    """The root of its mean squared error, in levels of 255."""
    from skimage.metrics import mean_squared_error

    return float(np.sqrt(mean_squared_error(*both(pair, array)))) * 255 / pair.peak


def several_bands(pair: Pair) -> bool:
    """Has a pixel a direction?"""
    return pair.bands > 1
