"""The independent implementations that metrics are certified against: which function of which package, and what differs.

Each package is imported when its first number is asked for, and none of them is needed by anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sarbench.bench.certify_corpus import Pair, Sets
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
    faults: Mapping[str, str] = field(default_factory=dict)  # case -> why the package, not we, is wrong there
    takes: Callable[[Any], bool] = lambda case: True


def installed(package: str) -> str:
    """A package's version; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# --- Images as the packages take them --------------------------------------------------------------------------------


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


def _torchmetrics(name: str, prepare: Callable[[ImageBatch], Any] = unit, **named: Any) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        import torchmetrics.functional.image as functional

        return float(getattr(functional, name)(*both(pair, prepare), **named).mean())

    return of


def _skimage(name: str, **named: Any) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        import skimage.metrics

        x, y = both(pair, array)
        return float(getattr(skimage.metrics, name)(y, x, data_range=pair.peak, **named))

    return of


def _sewar(name: str, peak: bool = False, gaussian: bool = False) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        import sewar
        from sewar.utils import Filter

        named: dict[str, Any] = {"MAX": pair.peak} if peak else {}
        named |= {"fltr_specs": {"fltr": Filter.GAUSSIAN, "sigma": 1.5, "ws": 11}} if gaussian else {}
        found = getattr(sewar, name)(array(pair.reference), array(pair.translated), **named)
        return float(np.real(found[0] if isinstance(found, tuple) else found))

    return of


def _piq(name: str, **named: Any) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        import piq

        return float(getattr(piq, name)(*both(pair), data_range=1.0, reduction="none", **named))

    return of


def _pyiqa(module: str, name: str, **named: Any) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        from importlib import import_module

        arch: Any = getattr(import_module(f"pyiqa.archs.{module}"), name)(**named)
        return float(arch(*(x.float() for x in both(pair))))

    return of


def _variation(package: str, **named: Any) -> Callable[[Pair], float]:
    def of(pair: Pair) -> float:
        from importlib import import_module

        module: Any = import_module("piq" if package == "piq" else "torchmetrics.functional.image")
        return float(module.total_variation(unit(pair.translated), reduction="none", **named))

    return of


def _rmse_of_sewar(pair: Pair) -> float:
    import sewar

    return float(sewar.rmse(array(pair.reference), array(pair.translated))) * 255 / pair.peak


def _mse_of_skimage(pair: Pair) -> float:
    from skimage.metrics import mean_squared_error

    return float(np.sqrt(mean_squared_error(*both(pair, array)))) * 255 / pair.peak


def _several_bands(pair: Pair) -> bool:
    return pair.bands > 1


def _one_or_three(pair: Pair) -> bool:
    return pair.bands in (1, 3)


# --- Metrics of a pair -----------------------------------------------------------------------------------------------

FLAT_WINDOW = "its window is flat (11x11 px), not Gaussian"
LOCAL = "it averages correlations in windows of 8x8 px, where a flat window counts as 0, in place of one correlation an image"
CLIPS = "a negative contrast-structure term counts as 0"
ZERO_PAD = "where a side is odd it pads the coarser scales with zeros"
EPSILON = "it adds 1e-8 to the mean squared error, so that an identical pair has 80 dB"
BLACK_BAND = "it divides by the mean of a black band, where we say that the value is undefined"
GAUSS = "gaussian_weights=True, sigma=1.5, use_sample_covariance=False"
_GAUSS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
_SSIM, _MS_SSIM = "structural_similarity_index_measure", "multiscale_structural_similarity_index_measure"
_PSNR, _SCC = "peak_signal_noise_ratio", "spatial_correlation_coefficient"
_ERGAS, _SAM = "error_relative_global_dimensionless_synthesis", "spectral_angle_mapper"

OF_PAIRS: tuple[Oracle, ...] = (
    Oracle("torchmetrics", f"{_PSNR}(data_range=1)", "psnr@torchmetrics", _torchmetrics(_PSNR, data_range=1.0)),
    Oracle("scikit-image", f"{_PSNR}(data_range=peak)", "psnr", _skimage(_PSNR)),
    Oracle("sewar", "psnr(MAX=peak)", "psnr", _sewar("psnr", peak=True)),
    Oracle("piq", "psnr", "psnr@piq", _piq("psnr"), EPSILON),
    Oracle("pyiqa", "PSNR", "psnr@pyiqa", _pyiqa("psnr_arch", "PSNR"), EPSILON),
    Oracle(
        "torchmetrics",
        f"{_PSNR}(data_range=1) of clamp(v + 0.5)",
        "psnr@cdiffset",
        _torchmetrics(_PSNR, stretched, data_range=1.0),
        "C-DiffSET clips the darkest and the brightest quarter of the range, and doubles the contrast of the rest",
    ),
    Oracle("sewar", "rmse * 255 / peak", "rmse", _rmse_of_sewar),
    Oracle("scikit-image", "sqrt(mean_squared_error) * 255 / peak", "rmse", _mse_of_skimage),
    Oracle(
        "scikit-image", f"structural_similarity({GAUSS})", "ssim", _skimage("structural_similarity", channel_axis=2, **_GAUSS)
    ),
    Oracle("sewar", "ssim(MAX=peak, Gaussian of sigma 1.5)", "ssim", _sewar("ssim", peak=True, gaussian=True)),
    Oracle("piq", "ssim(downsample=False)", "ssim", _piq("ssim", downsample=False)),
    Oracle(
        "torchmetrics",
        f"{_SSIM}(data_range=1)",
        "ssim@torchmetrics",
        _torchmetrics(_SSIM, data_range=1.0),
        "it counts the border too, of which it reflects the image",
    ),
    Oracle(
        "torchmetrics",
        f"{_SSIM} as it comes (data_range=None)",
        "ssim",
        _torchmetrics(_SSIM),
        "it takes the range from the values of the batch, and counts a reflected border",
        follows=False,
    ),
    Oracle(
        "piq",
        "ssim as it comes (downsample=True)",
        "ssim@piq",
        _piq("ssim"),
        "it shrinks images of 384 px and more by a whole factor first",
    ),
    Oracle(
        "pyiqa",
        "SSIM as it comes",
        "ssim@pyiqa",
        _pyiqa("ssim_arch", "SSIM"),
        "it takes the rounded luma of RGB, and " + CLIPS,
    ),
    Oracle(
        "pyiqa",
        "SSIM(test_y_channel=False)",
        "ssim",
        _pyiqa("ssim_arch", "SSIM", test_y_channel=False),
        CLIPS + ", and values are rounded to 8 bits first",
        follows=False,
    ),
    Oracle(
        "scikit-image",
        "structural_similarity as it comes (data_range=peak)",
        "ssim@skimage",
        _skimage("structural_similarity", channel_axis=2),
        "its window is flat (7x7 px), and its covariances are those of samples",
    ),
    Oracle("sewar", "ssim(MAX=peak)", "ssim", _sewar("ssim", peak=True), FLAT_WINDOW, follows=False),
    Oracle(
        "torchmetrics",
        f"{_SSIM}(data_range=1) of clamp(v + 0.5)",
        "ssim@cdiffset",
        _torchmetrics(_SSIM, stretched, data_range=1.0),
        "C-DiffSET clips the darkest and the brightest quarter of the range",
    ),
    Oracle(
        "piq",
        "multi_scale_ssim",
        "ms_ssim@piq",
        _piq("multi_scale_ssim"),
        "where a side is odd it repeats the first row and column before it halves",
    ),
    Oracle(
        "torchmetrics",
        f"{_MS_SSIM}(data_range=1)",
        "ms_ssim@torchmetrics",
        _torchmetrics(_MS_SSIM, data_range=1.0),
        "it averages over the bands before the product, and counts a reflected border at the last scale",
    ),
    Oracle(
        "pyiqa",
        "MS_SSIM as it comes",
        "ms_ssim",
        _pyiqa("ssim_arch", "MS_SSIM"),
        f"it takes the rounded luma of RGB; {CLIPS}; {ZERO_PAD}",
        follows=False,
    ),
    Oracle(
        "sewar",
        "msssim(MAX=peak)",
        "ms_ssim",
        _sewar("msssim", peak=True),
        "it halves by a filter that averages over two neighbouring bands as well, and its bands come before the product",
        follows=False,
    ),
    *(
        oracle
        for name, why in (("scc", LOCAL), ("scc_local", ""))
        for oracle in (
            Oracle("torchmetrics", f"{_SCC} of levels", f"{name}@torchmetrics", _torchmetrics(_SCC, levels), why),
            Oracle("sewar", "scc", f"{name}@sewar", _sewar("scc"), why),
            Oracle(
                "torchmetrics",
                f"{_SCC} of clamp(v + 0.5)",
                f"{name}@cdiffset",
                _torchmetrics(_SCC, stretched),
                "C-DiffSET clips the darkest and the brightest quarter of the range" + (f"; {why}" if why else ""),
            ),
        )
    ),
    Oracle(
        "torchmetrics",
        f"{_SCC} of [0, 1]",
        "scc_local",
        _torchmetrics(_SCC),
        "it computes in float32, and takes what rounding leaves in flat areas for structure",
        follows=False,
    ),
    Oracle(
        "torchmetrics",
        "total_variation",
        "total_variation@torchmetrics",
        _variation("torchmetrics"),
        "it sums the differences, of values in [0, 1], and so grows with the image",
    ),
    Oracle("piq", "total_variation(norm_type=l1)", "total_variation@torchmetrics", _variation("piq", norm_type="l1")),
    Oracle(
        "piq",
        "total_variation as it comes (norm_type=l2)",
        "total_variation@piq",
        _variation("piq"),
        "it takes the root of the sum of squares, of values in [0, 1], and so grows with the image",
    ),
    Oracle(
        "torchmetrics",
        _SAM,
        "sam@torchmetrics",
        _torchmetrics(_SAM, levels),
        "radians; undefined where a pixel is black",
        takes=_several_bands,
    ),
    Oracle("sewar", "sam", "sam@sewar", _sewar("sam"), "radians; black pixels are left out", takes=_several_bands),
    *(
        Oracle(package, call, f"ergas@{package}", of, "it takes pan-sharpening's h / l = 1 / 4")
        for package, call, of in (
            ("torchmetrics", _ERGAS, _torchmetrics(_ERGAS, levels)),
            ("sewar", "ergas", _sewar("ergas")),
        )
    ),
)


# --- Metrics of sets -------------------------------------------------------------------------------------------------


def statistics(features: Float[np.ndarray, "n D"]) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]]:
    """Mean and covariance."""
    return features.mean(axis=0), np.cov(features, rowvar=False)


def _moments(sets: Sets) -> tuple[Any, ...]:
    return *statistics(sets.translated), *statistics(sets.reference)


def _fid_of_pytorch_fid(sets: Sets) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    return float(calculate_frechet_distance(*_moments(sets)))


def _fid_of_clean_fid(sets: Sets) -> float:
    from cleanfid.fid import frechet_distance

    return float(frechet_distance(*_moments(sets)))


def _fid_of_torchmetrics(sets: Sets) -> float:
    import torch
    from torchmetrics.image.fid import _compute_fid

    return float(_compute_fid(*(torch.from_numpy(part) for part in _moments(sets))))


def _fid_of_torch_fidelity(sets: Sets) -> float:
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    parts = ({"mu": mu, "sigma": sigma} for mu, sigma in map(statistics, (sets.translated, sets.reference)))
    return float(fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"])


def _kid_of_torchmetrics(sets: Sets) -> float:
    import torch
    from torchmetrics.image.kid import poly_mmd

    size = min(len(sets.translated), len(sets.reference))
    return float(poly_mmd(*(torch.from_numpy(side[:size]) for side in (sets.translated, sets.reference))))


def _kid_of_clean_fid(sets: Sets) -> float:
    from cleanfid.fid import kernel_distance

    np.random.seed(0)  # noqa: NPY002 - as a caller of clean-fid would
    return float(kernel_distance(sets.translated, sets.reference))


def _kid_of_torch_fidelity(sets: Sets) -> float:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    found = kid_features_to_metric(*map(torch.from_numpy, (sets.translated, sets.reference)), verbose=False)
    return float(found["kernel_inception_distance_mean"])


def _equal_numbers(sets: Sets) -> bool:
    return len(sets.translated) == len(sets.reference)


def _narrow(sets: Sets) -> bool:
    return sets.translated.shape[1] < 2048


def _a_thousand(sets: Sets) -> bool:
    return min(len(sets.translated), len(sets.reference)) >= 1000


OF_SETS: tuple[Oracle, ...] = (
    Oracle("pytorch-fid", "calculate_frechet_distance (scipy's sqrtm)", "fid@pytorch-fid", _fid_of_pytorch_fid),
    Oracle("clean-fid", "frechet_distance (scipy's sqrtm)", "fid@clean-fid", _fid_of_clean_fid, takes=_narrow),
    Oracle("torchmetrics", "_compute_fid (eigenvalues)", "fid@torch-fidelity", _fid_of_torchmetrics),
    Oracle("torch-fidelity", "fid_statistics_to_metric (eigenvalues)", "fid@torch-fidelity", _fid_of_torch_fidelity),
    Oracle("torchmetrics", "poly_mmd", "kid", _kid_of_torchmetrics, takes=_equal_numbers),
    Oracle(
        "clean-fid",
        "kernel_distance after numpy.random.seed(0)",
        "kid@clean-fid",
        _kid_of_clean_fid,
        "it averages over 100 random subsets",
    ),
    Oracle(
        "torch-fidelity",
        "kid_features_to_metric",
        "kid@torch-fidelity",
        _kid_of_torch_fidelity,
        "it averages over 100 random subsets of 1000",
        takes=_a_thousand,
    ),
)
