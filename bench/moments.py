"""Moments of feature vectors, and the Fréchet distance of two sets of them, in float64.

The Fréchet distance of Gaussians of means m1, m2 and covariances S1, S2 (Dowson and Landau, J. Multivariate Analysis 12,
1982, https://doi.org/10.1016/0047-259X(82)90077-X) is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). No square root of a
matrix is taken here, since it is slow, turns complex by rounding, and loses half the digits where a covariance is singular:
with centred rows X, Y the last trace is the sum of the singular values of X Y^T, over sqrt((n-1)(m-1)), and needs no
covariance; where both sets have more vectors than features it is the sum of the roots of the eigenvalues of S1 S2, found as a
symmetric problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from sarbench.bench.errors import ContractError

ROWS_AT_ONCE = 2048  # of a file of features that may be larger than the memory
ROUNDING = 1e-9  # of the summed variances: what the fast way may lose before the exact way is taken


class Moments:
    """Number, mean and scatter of feature vectors that come in any number of parts.

    Exact to rounding even where means are far larger than spreads: everything is held relative to the first vector seen.
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.origin = np.zeros(width)
        self.shift = np.zeros(width)  # the mean is origin + shift
        self.scatter = np.zeros((width, width))  # sum of (x - mean)(x - mean)^T

    @classmethod
    def of(cls, features: Float[np.ndarray, "n D"]) -> Moments:
        """The moments of one array, which may be a memory-mapped file; ContractError where it is no finite matrix."""
        moments = cls(_width(features))
        moments.update(features)
        return moments

    @property
    def mean(self) -> Float[np.ndarray, " D"]:
        """The mean vector."""
        return self.origin + self.shift

    @property
    def covariance(self) -> Float[np.ndarray, "D D"]:
        """The covariance matrix with n - 1, as np.cov gives it; ContractError below two vectors."""
        _refuse_fewer_than_two(self.n)
        return self.scatter / (self.n - 1)

    def update(self, features: Float[np.ndarray, "n D"]) -> None:
        """Take in more vectors; ContractError for another width, and for values that are NaN or infinite."""
        if _width(features) != len(self.origin):
            raise ContractError(f"moments of {len(self.origin)} features can't take in vectors of {features.shape[1]}")
        for block in blocks(features):
            if not self.n:
                self.origin = block[0].copy()
            centred = block - self.origin
            shift = centred.mean(axis=0)
            centred -= shift
            self._absorb(len(block), shift, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take in what another process has seen: as if its vectors had come here."""
        if len(other.origin) != len(self.origin):
            raise ContractError(f"moments of {len(self.origin)} and of {len(other.origin)} features can't be merged")
        if not self.n:
            self.origin = other.origin.copy()
        self._absorb(other.n, (other.origin - self.origin) + other.shift, other.scatter)

    def _absorb(self, n: int, shift: Float[np.ndarray, " D"], scatter: Float[np.ndarray, "D D"]) -> None:
        # Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm", Stanford STAN-CS-79-773, 1979
        if not n:
            return
        total = self.n + n
        step = shift - self.shift
        self.scatter += scatter
        self.scatter += np.outer(step, step * (self.n * n / total))
        self.shift += step * (n / total)
        self.n = total


def frechet(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> float:
    """The Fréchet distance of two sets of feature vectors, each at least two; never negative, never NaN.

    Either may be a memory-mapped file, which is read in parts. ContractError for widths that differ, fewer than two vectors,
    and values that are NaN or infinite.
    """
    width = _width(x)
    if _width(y) != width:
        raise ContractError(f"feature vectors of {width} and of {y.shape[1]} values can't be compared")
    fewest = min(len(x), len(y))
    _refuse_fewer_than_two(fewest)
    if fewest > width:
        return frechet_of_moments(Moments.of(x), Moments.of(y))
    origin = np.array(x[:1], np.float64).reshape(-1)
    (mean_x, root_x), (mean_y, root_y) = _mean_and_root(x, origin), _mean_and_root(y, origin)
    spread = float(np.sum(root_x**2) + np.sum(root_y**2))
    return _distance(mean_x - mean_y, spread, _singular_sum(root_x @ root_y.T))


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """The Fréchet distance of two sets by their moments; of sets smaller than their width, `frechet` is more exact."""
    if len(a.origin) != len(b.origin):
        raise ContractError(f"moments of {len(a.origin)} and of {len(b.origin)} features can't be compared")
    s1, s2 = a.covariance, b.covariance
    difference = (a.origin - b.origin) + (a.shift - b.shift)
    spread = float(np.trace(s1) + np.trace(s2))
    live = (np.diagonal(s1) > 0) & (np.diagonal(s2) > 0)  # a feature that is constant in one set adds nothing to the product
    if not live.all():
        s1, s2 = s1[np.ix_(live, live)], s2[np.ix_(live, live)]
    return _distance(difference, spread, _trace_of_root(s1, s2, spread))


def _distance(difference: Float[np.ndarray, " D"], spread: float, trace_of_root: float) -> float:
    return max(0.0, float(difference @ difference) + spread - 2 * trace_of_root)


def _trace_of_root(s1: Float[np.ndarray, "D D"], s2: Float[np.ndarray, "D D"], spread: float) -> float:
    """The trace of (S1 S2)^(1/2)."""
    from scipy import linalg

    if not len(s1):
        return 0.0
    try:
        # the eigenvalues of S1 S2 are those of L^T S1 L with S2 = L L^T, a symmetric matrix
        eigenvalues = linalg.eigh(s1, s2, type=2, eigvals_only=True, driver="gv", check_finite=False)
        roots = np.sqrt(np.maximum(eigenvalues, 0.0))
        # each eigenvalue may be off by rounding of the largest, and the root of a small one by much more than that
        noise = np.finfo(float).eps * eigenvalues[-1]
        if float(np.sum(noise / (2 * np.maximum(roots, math.sqrt(noise))))) <= ROUNDING * spread:
            return float(np.sum(roots))
    except linalg.LinAlgError:
        pass  # S2 is singular
    return _singular_sum(_root(s1) @ _root(s2).T)


def _root(s: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "r D"]:
    """A matrix R of as many rows as the rank of S, with R^T R = S."""
    from scipy.linalg import lapack

    factor, order, rank, _ = lapack.dpstrf(s)  # Cholesky with pivoting; what rounding leaves of null directions is dropped
    root = np.empty((rank, len(s)))
    root[:, order - 1] = np.triu(factor)[:rank]
    return root


def _singular_sum(matrix: Float[np.ndarray, "r s"]) -> float:
    return float(np.sum(np.linalg.svd(matrix, compute_uv=False)))


def _mean_and_root(
    features: Float[np.ndarray, "n D"], origin: Float[np.ndarray, " D"]
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "r D"]]:
    """The mean from `origin` on, and a matrix R of at most n and at most D rows with R^T R the covariance."""
    n, width = features.shape
    mean = np.sum([(block - origin).sum(axis=0) for block in blocks(features)], axis=0) / n
    root = np.empty((0, width))
    for block in blocks(features):
        root = np.concatenate((root, block - origin - mean))
        if len(root) > width:
            root = np.asarray(np.linalg.qr(root, mode="r"))  # the triangular factor has the same scatter
    return mean, root / math.sqrt(n - 1)


def blocks(features: Float[np.ndarray, "n D"]) -> Iterator[Float[np.ndarray, "b D"]]:
    """The rows in order, so many at once, as float64 arrays of their own; ContractError for values that are no numbers."""
    for start in range(0, len(features), ROWS_AT_ONCE):
        block = np.array(features[start : start + ROWS_AT_ONCE], np.float64)
        bad = int(np.sum(~np.isfinite(block).all(axis=1)))
        if bad:
            raise ContractError(
                f"{bad} of the feature vectors {start} to {start + len(block) - 1} hold NaN or infinite values; "
                "look for the images behind them"
            )
        yield block


def _refuse_fewer_than_two(n: int) -> None:
    if n < 2:
        raise ContractError(f"a covariance needs at least two feature vectors, got {n}; give more images")


def _width(features: Float[np.ndarray, "n D"]) -> int:
    if features.ndim != 2 or features.dtype.kind != "f":
        raise ContractError(f"features are a matrix of floats (n, D), got {features.dtype} of shape {features.shape}")
    return features.shape[1]
