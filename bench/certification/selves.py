"""The float64 self of every metric that needs no network: its formula, written down as plainly as NumPy allows.

Nothing here is shared with the metrics, and nothing is fast. A self takes the images that its metric reads, (H, W, C) float64
in levels, and their peak; that of a set metric takes two matrices of features. Those of networks are in `certify_networks`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from jaxtyping import Float, Shaped
from scipy.ndimage import convolve, correlate

from sarbench.bench.certification import structure
from sarbench.bench.certification.structure import Image, Plane, bands_of, stretched

Self = Callable[..., float]

LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


# --- Squared errors --------------------------------------------------------------------------------------------------


def mse(x: Image, y: Image) -> float:
    """The mean squared difference over pixels and bands."""
    return float(np.mean((x - y) ** 2))


def psnr(x: Image, y: Image, peak: float, epsilon: float = 0.0) -> float:
    """`epsilon` is what piq and pyiqa add to the error of images in [0, 1]."""
    error = mse(x, y) / peak**2 + epsilon
    return float(10 * np.log10(1 / error)) if error else np.inf


def psnr_cdiffset(x: Image, y: Image, peak: float) -> float:
    """Of the stretched images."""
    return psnr(stretched(x, peak), stretched(y, peak), 1)


def rmse(x: Image, y: Image, peak: float) -> float:
    """In grey levels of 255."""
    return float(np.sqrt(mse(x, y)) * 255 / peak)


def rmse_gcgan(x: Image, y: Image, peak: float) -> float:
    """The squares of all bands over the number of pixels alone."""
    return float(np.sqrt(np.sum((x - y) ** 2) / (x.shape[0] * x.shape[1])) * 255 / peak)


def accuracy(x: Image, y: Image, peak: float, delta: int) -> float:
    """The share of pixels in % whose largest error is below delta."""
    return float(100 * np.mean(np.abs(x - y).max(2) < delta * peak / 255))


def ergas(x: Image, y: Image, peak: float) -> float:
    """NaN where a band of the reference is black."""
    return 4 * ergas_of_libraries(x, y, peak) if y.mean((0, 1)).all() else np.nan


def ergas_of_libraries(x: Image, y: Image, peak: float) -> float:
    """At h / l = 1 / 4; what a black band makes of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(25 * np.sqrt(np.mean(np.mean((x - y) ** 2, (0, 1)) / y.mean((0, 1)) ** 2)))


# --- Fine structure --------------------------------------------------------------------------------------------------


def correlation(a: Plane, b: Plane) -> float:
    """Pearson's; 0 where a side is flat."""
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / power) if power else 0.0


def scc(x: Image, y: Image, peak: float) -> float:
    """One correlation a band of what the Laplacian leaves inside."""
    high = [[convolve(band, LAPLACIAN)[1:-1, 1:-1] for band in pair] for pair in bands_of(x, y)]
    return float(np.mean([correlation(a, b) for a, b in high]))


def scc_local(x: Image, y: Image, peak: float) -> float:
    """The mean of correlations in windows of 8 px, 4 up and left; of whole levels, so that flat is exactly flat."""

    def sums(image: Plane) -> Plane:
        return correlate(image, np.ones((8, 8)), mode="constant", origin=(0, 0))

    def of_band(a: Plane, b: Plane) -> float:
        a, b = convolve(a, LAPLACIAN, mode="reflect"), convolve(b, LAPLACIAN, mode="reflect")
        va, vb, cov = (64 * sums(p * q) - sums(p) * sums(q) for p, q in ((a, a), (b, b), (a, b)))
        defined = (va > 0) & (vb > 0)
        return float(np.where(defined, cov, 0).ravel() @ (1 / np.sqrt(np.where(defined, va * vb, 1))).ravel() / a.size)

    return float(np.mean([of_band(a, b) for a, b in bands_of(x, y)]))


def scc_local_cdiffset(x: Image, y: Image, peak: float) -> float:
    """Of the stretched images: 4 v - peak between 0 and 2 peak, in half levels."""
    x, y = (np.clip(4 * z - peak, 0, 2 * peak) for z in (x, y))
    return scc_local(x, y, 2 * peak)


# --- One image, spectra, the source ----------------------------------------------------------------------------------


def _steps(x: Image) -> Float[np.ndarray, " n"]:
    return np.concatenate([np.diff(x, axis=axis).ravel() for axis in (0, 1)])


def total_variation(x: Image, peak: float) -> float:
    """The mean difference of neighbours in levels of 255."""
    return float(np.abs(_steps(x)).mean() * 255 / peak)


def sam(x: Image, y: Image, peak: float) -> float:
    """The angle from the lengths of sum and difference of the unit vectors (Kahan)."""
    a, b = (np.linalg.norm(v, axis=2, keepdims=True) for v in (x, y))
    u, v = x / np.where(a, a, 1), y / np.where(b, b, 1)
    angles = 2 * np.arctan2(np.linalg.norm(u - v, axis=2), np.linalg.norm(u + v, axis=2))
    return float(np.degrees(angles).mean())


def _radians(x: Image, y: Image) -> Float[np.ndarray, " n"]:
    """The angle of each pixel; NaN where a side is black."""
    dot, lengths = np.sum(x * y, axis=2), np.linalg.norm(x, axis=2) * np.linalg.norm(y, axis=2)
    cosines = np.divide(dot, lengths, out=np.full(dot.shape, np.nan), where=lengths > 0)
    return np.arccos(np.clip(cosines, -1, 1)).ravel()


def sam_sewar(x: Image, y: Image, peak: float) -> float:
    """Black pixels are left out."""
    angles = _radians(x, y)
    angles = angles[~np.isnan(angles)]
    return float(angles.mean()) if angles.size else np.nan


def copy_ratio(x: Image, source: Image, y: Image, peak: float) -> float:
    """The mean distance from the source over that from the target."""
    if source.shape[2] != y.shape[2]:
        x, source, y = (z.mean(axis=2) for z in (x, source, y))
    to_source, to_target = np.mean(np.abs(x - source)), np.mean(np.abs(x - y))
    return float(to_source / to_target) if to_target else np.nan


# --- Shifts ----------------------------------------------------------------------------------------------------------


def shifts(x: Image, y: Image) -> tuple[list[Image], Image]:
    """The window of x at every shift, the shortest first, and the interior of y."""
    h, w = y.shape[:2]
    moves = sorted(product(range(-3, 4), repeat=2), key=lambda s: (s[0] ** 2 + s[1] ** 2, s))
    return [x[3 + dy : h - 3 + dy, 3 + dx : w - 3 + dx] for dy, dx in moves], y[3:-3, 3:-3]


def psnr_shift(x: Image, y: Image, peak: float) -> float:
    """The best of all shifts."""
    windows, inside = shifts(x, y)
    return max(psnr(window, inside, peak) for window in windows)


def ssim_shift(x: Image, y: Image, peak: float) -> float:
    """At the shift of least squared error, or unshifted."""
    windows, inside = shifts(x, y)
    best = min(windows, key=lambda window: mse(window, inside))
    return max(structure.ssim(best, inside, peak), structure.ssim(windows[0], inside, peak))


# --- Sets of features ------------------------------------------------------------------------------------------------


def frechet(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> float:
    """Exact for any rank: singular values of the product of the centred rows' triangular factors."""
    r1, r2 = (np.linalg.qr(z - z.mean(0), mode="r") / np.sqrt(len(z) - 1) for z in (x, y))
    trace = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum()
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(r1**2) + np.sum(r2**2) - 2 * trace)


def kid(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> float:
    """The mean kernel over all pairs of different vectors of a set, twice, less that across."""

    def kernel(a: Shaped[np.ndarray, "n D"], b: Shaped[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
        return (a @ b.T / x.shape[1] + 1) ** 3

    def within(z: Shaped[np.ndarray, "n D"]) -> float:
        return float(kernel(z, z)[~np.eye(len(z), dtype=bool)].mean())

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def kid_of_subsets(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"], size: int, seed: int, y_first: bool) -> float:
    """The mean over 100 pairs of subsets, drawn in turn; NaN for sets smaller than a subset."""
    if min(len(x), len(y)) < size:
        return np.nan
    random, values = np.random.RandomState(seed), []
    for _ in range(100):
        a, b = (z[random.choice(len(z), size, replace=False)] for z in ((y, x) if y_first else (x, y)))
        values.append(kid(a, b))
    return float(np.mean(values))


def kid_clean_fid(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> float:
    """The reference is drawn first; subsets are as large as the sets allow."""
    return kid_of_subsets(x, y, min(len(x), len(y), 1000), seed=0, y_first=True)


OF_PAIRS: dict[str, Self] = {
    "psnr": psnr,
    "psnr@torchmetrics": psnr,
    "psnr@piq": lambda x, y, peak: psnr(x, y, peak, 1e-8),
    "psnr@pyiqa": lambda x, y, peak: psnr(x, y, peak, 1e-8),
    "psnr@cdiffset": psnr_cdiffset,
    "rmse": rmse,
    "rmse@gcgan": rmse_gcgan,
    "accuracy_delta5": lambda x, y, peak: accuracy(x, y, peak, 5),
    "accuracy_delta10": lambda x, y, peak: accuracy(x, y, peak, 10),
    "ergas": ergas,
    "ergas@torchmetrics": ergas_of_libraries,
    "ergas@sewar": ergas_of_libraries,
    "ssim": structure.ssim,
    "ssim@torchmetrics": structure.ssim_torchmetrics,
    "ssim@piq": structure.ssim_piq,
    "ssim@pyiqa": structure.ssim_pyiqa,
    "ssim@skimage": structure.ssim_skimage,
    "ssim@cdiffset": structure.ssim_cdiffset,
    "ms_ssim": structure.ms_ssim,
    "ms_ssim@piq": structure.ms_ssim_piq,
    "ms_ssim@torchmetrics": structure.ms_ssim_torchmetrics,
    "scc": scc,
    **{f"{name}@{other}": scc_local for name in ("scc", "scc_local") for other in ("torchmetrics", "sewar")},
    "scc@cdiffset": scc_local_cdiffset,
    "scc_local": scc_local,
    "scc_local@cdiffset": scc_local_cdiffset,
    "total_variation": total_variation,
    "total_variation@torchmetrics": lambda x, peak: float(np.abs(_steps(x)).sum() / peak),
    "total_variation@piq": lambda x, peak: float(np.sqrt(np.sum((_steps(x) / peak) ** 2))),
    "sam": sam,
    "sam@torchmetrics": lambda x, y, peak: float(_radians(x, y).mean()),
    "sam@sewar": sam_sewar,
    "copy_ratio": copy_ratio,
    "psnr_shift": psnr_shift,
    "ssim_shift": ssim_shift,
}
OF_SETS: dict[str, Self] = {
    **dict.fromkeys(("fid", "fid@clean-fid", "fid@pytorch-fid", "fid@torch-fidelity"), frechet),
    "kid": kid,
    "kid@clean-fid": kid_clean_fid,
    "kid@torch-fidelity": lambda x, y: kid_of_subsets(x, y, 1000, seed=2020, y_first=False),
}
