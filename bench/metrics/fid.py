"""Fréchet inception distance: how far the features of all translated images lie from those of all references.

Unit: none, from 0; lower is better; 0 for sets whose features have the same mean and covariance.
Formula: Eq. 6 of the paper, |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), of the means and covariances (with n - 1) of
the 2048 pooled features of Inception-v3, in float64; see `bench/moments.py` for how the last term is found.
Conventions: `clean-fid` (Parmar, Zhang and Zhu, CVPR 2022, https://arxiv.org/abs/2104.11222) is this metric; `pytorch-fid`
and `torch-fidelity` (also torchmetrics) bring images to 299 px by other filters, and differ by more than methods do.
Source: Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500.
Misleads: it is biased upwards, by an amount that falls with the number of images and depends on the method (Chong and
Forsyth, CVPR 2020, https://arxiv.org/abs/1911.07023): values of different n must not be compared, and below 2048 images,
where the covariances are singular, nothing is ranked by it; read `kid` there. It knows no pairs: right images in the wrong
places score well. The network saw photographs, not overhead images.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import Metric
from sarbench.bench.metrics import _inception as inception
from sarbench.bench.moments import frechet


def fid(translated: Float[np.ndarray, "n D"], reference: Float[np.ndarray, "m D"]) -> float:
    """The Fréchet distance of two sets of features, from 0; NaN below two images a side. ContractError for NaN features."""
    return frechet(translated, reference) if min(len(translated), len(reference)) > 1 else math.nan


metric = Metric(
    name="fid",
    signature="fid;inception-2015;pil-bicubic-antialias-299;rgb;grey-repeated;range255;cov-n-1;v1",
    unit="",
    higher_is_better=False,
    features=inception.CLEAN,
    statistic=fid,
    ranked_from=inception.WIDTH,
    assets=inception.CLEAN.assets,
    decimals=2,
    undefined="a side has fewer than two images",
)

compat = {
    "clean-fid": replace(
        metric,
        name="fid@clean-fid",
        signature="fid@clean-fid;inception-2015;pil-bicubic-antialias-299;rgb;grey-repeated;range255;cov-n-1;v1",
    ),
    "pytorch-fid": replace(
        metric,
        name="fid@pytorch-fid",
        signature="fid@pytorch-fid;inception-2015;bilinear-299;rgb;grey-repeated;range255;cov-n-1;v1",
        features=inception.PYTORCH_FID,
    ),
    "torch-fidelity": replace(
        metric,
        name="fid@torch-fidelity",
        signature="fid@torch-fidelity;inception-2015;bilinear-tf1-299;rgb;grey-repeated;range255;cov-n-1;v1",
        features=inception.TORCH_FIDELITY,
    ),
}
