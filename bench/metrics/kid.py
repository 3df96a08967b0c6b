"""Kernel inception distance: how far the features of all translated images lie from those of all references, unbiased.

Unit: none (never times 1000); lower is better; 0 is what equal distributions have on average, so values below 0 occur.
Formula: the unbiased estimate of the squared maximum mean discrepancy under the kernel k(x, y) = (x.y / D + 1)^3: the mean of
k over all pairs of different translated images, plus that over all pairs of different references, minus twice the mean over
all pairs across; of the 2048 pooled features of Inception-v3, in float64. The paper averages over random subsets to save
time; all pairs have the same expectation with less spread, and need no seed.
Conventions: `clean-fid` and `torch-fidelity` average over 100 random subsets of 1000 as these packages do when the translated
images are their first input; clean-fid draws without a seed, for which seed 0 stands here.
Source: Bińkowski, Sutherland, Arbel and Gretton, ICLR 2018, https://arxiv.org/abs/1801.01401; images reach the network as in
clean-fid.
Misleads: as `fid` does, except that small sets make it noisy in place of biased. A set scores below 0 against itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import Metric
from sarbench.bench.metrics import _inception as inception
from sarbench.bench.moments import blocks

SUBSETS = 100
SUBSET_SIZE = 1000


def kid(translated: Float[np.ndarray, "n D"], reference: Float[np.ndarray, "m D"]) -> float:
    """The squared maximum mean discrepancy over all pairs, may be negative; NaN below two images a side.

    ContractError for features that are NaN or infinite.
    """
    n, m = len(translated), len(reference)
    if min(n, m) < 2:
        return math.nan
    within = _sum_within(translated) / (n * (n - 1)) + _sum_within(reference) / (m * (m - 1))
    return within - 2 * _sum_across(translated, reference) / (n * m)


def as_torch_fidelity(translated: Float[np.ndarray, "n D"], reference: Float[np.ndarray, "m D"]) -> float:
    """The mean over the subsets that torch-fidelity draws by its own seed; NaN below 1000 images a side, which it refuses."""
    if min(len(translated), len(reference)) < SUBSET_SIZE:
        return math.nan
    random = np.random.RandomState(2020)
    pairs = ((_drawn(translated, random), _drawn(reference, random)) for _ in range(SUBSETS))
    return float(np.mean([kid(x, y) for x, y in pairs]))


def as_clean_fid(translated: Float[np.ndarray, "n D"], reference: Float[np.ndarray, "m D"]) -> float:
    """The mean over the subsets that clean-fid draws after `np.random.seed(0)`; NaN below two images a side."""
    size = min(len(translated), len(reference), SUBSET_SIZE)
    if size < 2:
        return math.nan
    random = np.random.RandomState(0)
    pairs = ((_drawn(reference, random, size), _drawn(translated, random, size)) for _ in range(SUBSETS))
    return float(np.mean([kid(x, y) for y, x in pairs]))


def _drawn(
    features: Float[np.ndarray, "n D"], random: np.random.RandomState, size: int = SUBSET_SIZE
) -> Float[np.ndarray, "s D"]:
    return features[random.choice(len(features), size, replace=False)]


def _kernel(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base


def _sum_within(x: Float[np.ndarray, "n D"]) -> float:
    """The kernel summed over all ordered pairs of different rows."""
    sums, done = [], 0
    for a in blocks(x):
        done += len(a)
        own = _kernel(a, a)
        sums += [float(own.sum()), -float(np.trace(own))]
        sums += [2 * float(_kernel(a, b).sum()) for b in blocks(x[done:])]
    return math.fsum(sums)


def _sum_across(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> float:
    return math.fsum(float(_kernel(a, b).sum()) for a in blocks(x) for b in blocks(y))


metric = Metric(
    name="kid",
    signature="kid;inception-2015;pil-bicubic-antialias-299;rgb;grey-repeated;range255;poly3;unbiased-all-pairs;v1",
    unit="",
    higher_is_better=False,
    features=inception.CLEAN,
    statistic=kid,
    assets=inception.CLEAN.assets,
    decimals=5,
    undefined="a side has fewer than two images",
)

compat = {
    "clean-fid": replace(
        metric,
        name="kid@clean-fid",
        signature="kid@clean-fid;inception-2015;pil-bicubic-antialias-299;rgb;grey-repeated;range255;poly3;100x1000-seed0;v1",
        statistic=as_clean_fid,
    ),
    "torch-fidelity": replace(
        metric,
        name="kid@torch-fidelity",
        signature="kid@torch-fidelity;inception-2015;bilinear-tf1-299;rgb;grey-repeated;range255;poly3;100x1000-seed2020;v1",
        features=inception.TORCH_FIDELITY,
        statistic=as_torch_fidelity,
        undefined="a side has fewer than 1000 images",
    ),
}
