"""The independent implementations of metrics of two sets of features."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from sarbench.bench.certification.corpus import Sets
from sarbench.bench.certification.packages import Oracle


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
    x, y = (torch.from_numpy(side[:size]) for side in (sets.translated, sets.reference))
    return float(poly_mmd(x, y))


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
