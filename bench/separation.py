"""Do groups of features lie apart? The Davies-Bouldin index, and the t-SNE picture, of features and the group of each.

S3OIL (section IV-C and Fig. 8) reads both of its encoder's features of paired and of unpaired samples. That is no score of a
translation against its reference, but of what a method does inside, so it is no metric here: give the features of whatever
layer, and a label a row.
Misleads: the index is small where groups are compact and far apart. S3OIL takes its fall from 42.44 to 35.97 as groups that
come closer; by the definition it says the reverse, and both values say that the centres lie within a twentieth of the groups'
spread. In the picture, sizes of clusters and distances between them mean nothing; only who is whose neighbour does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from sarbench.bench.errors import ContractError

MOST_POINTS = 3000  # the exact t-SNE holds matrices of their square
ITERATIONS = 1000
EXAGGERATED = 250  # the first iterations, which pull the clusters together
EXAGGERATION = 12.0
ENTROPY_STEPS = 64

SIDE_PX = 640
DOT_PX = 5  # diameter
FONT_PX = 16
FINER = 4  # drawn so many times larger, for smooth edges
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # of Okabe and Ito: told apart by all


def davies_bouldin(features: Float[np.ndarray, "n D"], labels: Shaped[np.ndarray, " n"]) -> float:
    """The Davies-Bouldin index of groups of feature vectors, from 0; lower: compact groups far apart.

    The mean over groups of the worst (s_i + s_j) / d_ij: s is the mean distance of a group's vectors from their mean (the
    paper's q is 1, as in scikit-learn), d the distance of two means. inf where two means coincide (scikit-learn gives 0 there,
    as for perfect groups); NaN where moreover neither group has a spread. ContractError below two groups.
    Davies and Bouldin, IEEE TPAMI 1(2), 1979, https://doi.org/10.1109/TPAMI.1979.4766909
    """
    x, names = _checked(features, labels), _names(labels)
    if len(names) < 2:
        raise ContractError(f"the Davies-Bouldin index compares groups, and all labels are {names[0]!r}; label two or more")
    groups = [x[labels == name] for name in names]
    means = np.stack([group.mean(axis=0) for group in groups])
    spreads = np.array([np.linalg.norm(group - mean, axis=1).mean() for group, mean in zip(groups, means, strict=True)])
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (spreads[:, None] + spreads[None]) / distances  # (groups, groups)
    np.fill_diagonal(ratios, -math.inf)
    return float(ratios.max(axis=1).mean())


def affinities(features: Float[np.ndarray, "n D"], perplexity: float = 30.0) -> Float[np.ndarray, "n n"]:
    """How near neighbours are, Eqs. 1 and 2 and section 3.1 of the t-SNE paper: symmetric, 0 on the diagonal, of sum 1.

    Each row's Gaussian is as wide as gives the entropy log(perplexity). ContractError for a perplexity below 1 or above a third
    of the other points.
    """
    x = _checked(features)
    n = len(x)
    if not 1 <= perplexity <= (n - 1) / 3:
        raise ContractError(f"{n} points allow a perplexity from 1 to {(n - 1) / 3:g}, not {perplexity:g}")
    x = x - x.mean(axis=0)
    distances = _squared_distances(x)
    distances /= distances.mean() or 1.0
    np.fill_diagonal(distances, math.inf)
    distances -= distances.min(axis=1, keepdims=True)
    beta, low, high = np.ones(n), np.zeros(n), np.full(n, math.inf)
    for _ in range(ENTROPY_STEPS):
        weights = np.exp(-distances * beta[:, None])
        total = weights.sum(axis=1)
        mean = np.sum(np.where(weights > 0, distances, 0.0) * weights, axis=1) / total
        wide = np.log(total) + beta * mean > math.log(perplexity)
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + np.where(np.isinf(high), low, high)) / 2)
    conditional = weights / total[:, None]
    return (conditional + conditional.T) / (2 * n)


def t_sne(features: Float[np.ndarray, "n D"], perplexity: float = 30.0) -> Float[np.ndarray, "n 2"]:
    """Points in the plane whose neighbours are those of the features; the same on every call.

    The exact form, for at most 3000 points, from the first two principal components. ContractError for more points, fewer than
    four, and a perplexity that does not fit (see `affinities`).
    van der Maaten and Hinton, JMLR 9, 2008, https://www.jmlr.org/papers/v9/vandermaaten08a.html
    """
    x = _checked(features)
    n = len(x)
    if n > MOST_POINTS:
        raise ContractError(f"t-SNE of {n} points would take hours; draw {MOST_POINTS} of them or fewer")
    p = affinities(x, perplexity)
    y = _principal_components(x)
    speed, gains = np.zeros_like(y), np.ones_like(y)
    rate = max(n / EXAGGERATION / 4, 50.0)  # Belkina et al., Nature Communications 10, 2019
    for step in range(ITERATIONS):
        exaggeration, momentum = (EXAGGERATION, 0.5) if step < EXAGGERATED else (1.0, 0.8)
        slope = gradient(y, exaggeration * p)
        against = speed * slope < 0  # still downhill
        gains = np.maximum(np.where(against, gains + 0.2, gains * 0.8), 0.01)
        speed = momentum * speed - rate * gains * slope
        y = y + speed
    return y - y.mean(axis=0)


def gradient(y: Float[np.ndarray, "n 2"], p: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n 2"]:
    """The slope of the Kullback-Leibler divergence of the plane's affinities from p, Eq. 5 of the t-SNE paper."""
    nearness = 1 / (1 + _squared_distances(y))
    np.fill_diagonal(nearness, 0)
    forces = (p - nearness / nearness.sum()) * nearness
    return 4 * (forces.sum(axis=1)[:, None] * y - forces @ y)


def picture(
    points: Float[np.ndarray, "n 2"], labels: Shaped[np.ndarray, " n"], captions: Mapping[str, str] | None = None
) -> UInt8[np.ndarray, "640 640 3"]:
    """Points in the plane, a colour a group, with a legend: the labels, or what `captions` says for them.

    ContractError for more than six groups. To be written by `images.write_image`.
    """
    points = _checked(points, labels)
    names = _names(labels)
    if len(names) > len(COLOURS):
        raise ContractError(f"a picture shows at most {len(COLOURS)} groups, got {len(names)}: {', '.join(map(str, names))}")
    side, dot = SIDE_PX * FINER, DOT_PX * FINER / 2
    margin, top = 4 * dot, (len(names) + 1) * 1.5 * FONT_PX * FINER
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (side - top - margin) / (np.max(high - low) or 1.0)  # one scale for both axes
    middle = np.array([side / 2, (top + side - margin) / 2])
    places = middle + (points - (low + high) / 2) * scale * (1, -1)
    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    colour = dict(zip(names, COLOURS, strict=False))
    for (x, y), name in zip(places, labels.tolist(), strict=True):
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour[name])
    font = ImageFont.load_default(size=FONT_PX * FINER)
    for i, name in enumerate(names):
        y = (i + 1) * 1.5 * FONT_PX * FINER
        draw.ellipse((margin - dot, y - dot, margin + dot, y + dot), fill=colour[name])
        draw.text((margin + 4 * dot, y), (captions or {}).get(str(name), str(name)), fill="black", font=font, anchor="lm")
    return np.asarray(canvas.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX))


def _checked(features: Float[np.ndarray, "n D"], labels: Shaped[np.ndarray, " n"] | None = None) -> Float[np.ndarray, "n D"]:
    if features.ndim != 2 or not len(features) or not features.shape[1]:
        raise ContractError(f"features are a matrix (n, D) with rows and columns, got shape {features.shape}")
    if labels is not None and labels.shape != features.shape[:1]:
        raise ContractError(f"{len(features)} feature vectors need as many labels, got shape {labels.shape}")
    bad = int(np.sum(~np.isfinite(features).all(axis=1)))
    if bad:
        raise ContractError(f"{bad} of {len(features)} feature vectors hold NaN or infinite values; leave them out")
    return features.astype(np.float64)


def _names(labels: Shaped[np.ndarray, " n"]) -> list[Any]:
    return np.unique(labels).tolist()


def _principal_components(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n 2"]:
    """The first two, so small that only their order counts; signs so that each largest weight is positive."""
    centred = x - x.mean(axis=0)
    u, s, weights = np.linalg.svd(centred, full_matrices=False)
    y = np.zeros((len(x), 2))
    for i in range(min(2, len(s))):
        y[:, i] = u[:, i] * s[i] * np.sign(weights[i, np.argmax(np.abs(weights[i]))])
    return y * (1e-4 / (y[:, 0].std() or 1.0))


def _squared_distances(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n n"]:
    squares = np.sum(x * x, axis=1)
    distances = x @ x.T
    distances *= -2
    distances += squares[:, None]
    distances += squares[None]
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, 0)
    return distances
