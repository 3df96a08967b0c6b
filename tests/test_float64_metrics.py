"""Every pixel metric against a plain float64 version of its formula, on images that are hard for fast arithmetic."""

from itertools import product

import numpy as np
import pytest
from scipy.ndimage import convolve, correlate

from sarbench.bench import registry
from sarbench.bench.metric import ImageBatch

SIZE = (180, 191)  # odd, not square, and just large enough for MS-SSIM


def scene(shape=SIZE, bands=3, seed=0):
    """Blocks of even colour under a slope, with texture on half of them."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    blocks = rng.uniform(0.15, 0.85, (20, 20, bands))[y // 12 % 20, x // 12 % 20]
    texture = 0.08 * rng.standard_normal((*shape, bands)) * ((y // 30 + x // 30) % 2)[..., None]
    return blocks + texture + 0.1 * (x / shape[1] - 0.5)[..., None]


def pixels(image, peak=255):
    return np.clip(np.rint(image * peak), 0, peak).astype(np.uint8 if peak == 255 else np.uint16)


def noise(shape, sigma, seed=9):
    return sigma * np.random.default_rng(seed).standard_normal(shape)


def corpus():
    """Name -> (translated, reference), one image each."""
    image = scene()
    half = np.where(np.indices(SIZE)[1][..., None] < 90, 7.0, 250.0) / 255 * np.ones(3)
    step = np.where(half < 0.5, 4, -3) / 255
    left = pixels(half)
    return {
        "noisy": (pixels(image + noise(image.shape, 0.05)), pixels(image)),
        "very noisy": (pixels(image + noise(image.shape, 0.6)), pixels(image)),
        "shifted": (np.roll(pixels(image), (2, -1), (0, 1)), pixels(image)),
        "unlike": (pixels(scene(seed=5)), pixels(image)),
        "negative": (255 - pixels(image), pixels(image)),
        "one level off": (pixels(image) + np.uint8(1), pixels(image)),
        "dark": (pixels(image * 0.02), pixels(image * 0.02 + noise(image.shape, 0.01))),
        "saturated": (pixels(image * 3), pixels(image * 3 + noise(image.shape, 0.05))),
        "two flat halves": (pixels(half + step), left),
        "flat and bright": (np.full_like(left, 254), np.full_like(left, 251)),
        "flat reference": (pixels(image), np.full_like(left, 200)),
        "black reference": (pixels(image), np.zeros_like(left)),
        "black": (np.zeros_like(left), np.zeros_like(left)),
        "identical": (pixels(image), pixels(image)),
        "even sides": (pixels(scene((192, 208), seed=1)), pixels(scene((192, 208), seed=1) + noise((192, 208, 3), 0.1))),
        "tall": (pixels(scene((400, 177), seed=1)), pixels(scene((400, 177), seed=1) + noise((400, 177, 3), 0.1))),
        "one band": (pixels(image[..., :1]), pixels(image[..., :1] + noise((*SIZE, 1), 0.05))),
        "four bands": (pixels(scene(bands=4)), pixels(scene(bands=4) + noise((*SIZE, 4), 0.05))),
        "16 bits": (pixels(image, 65535), pixels(image + noise(image.shape, 0.001), 65535)),
        "16 bits, two bands": (pixels(image[..., :2], 65535), pixels(image[..., :2] + noise((*SIZE, 2), 0.2), 65535)),
    }


CORPUS = corpus()


def windowed(image, weights):
    """The weighted mean of the window around every pixel where it fits."""
    side = len(weights)
    rows = sum(w * image[i : len(image) - side + 1 + i] for i, w in enumerate(weights))
    return sum(w * rows[:, i : rows.shape[1] - side + 1 + i] for i, w in enumerate(weights))


def similarity(x, y, peak):
    """Means of SSIM and of its contrast-structure term over one band."""
    weights = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    weights /= weights.sum()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mx, my = windowed(x, weights), windowed(y, weights)
    # about the middle, where float64 loses least
    u, v = x - peak / 2, y - peak / 2
    mu, mv = windowed(u, weights), windowed(v, weights)
    sx, sy, sxy = (windowed(a * b, weights) - ma * mb for a, b, ma, mb in ((u, u, mu, mu), (v, v, mv, mv), (u, v, mu, mv)))
    contrast = (2 * sxy + c2) / (sx + sy + c2)
    return np.mean((2 * mx * my + c1) / (mx**2 + my**2 + c1) * contrast), np.mean(contrast)


def bands_of(x, y):
    return zip(np.moveaxis(x, 2, 0), np.moveaxis(y, 2, 0), strict=True)


def ssim(x, y, peak):
    return np.mean([similarity(a, b, peak)[0] for a, b in bands_of(x, y)])


def ms_ssim(x, y, peak):
    def of_band(a, b):
        value = 1.0
        for scale, power in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            whole, contrast = similarity(a, b, peak)
            value *= max(whole if scale == 4 else contrast, 0) ** power
            a, b = (c[: len(c) // 2 * 2, : c.shape[1] // 2 * 2] for c in (a, b))
            a, b = ((c[::2, ::2] + c[1::2, ::2] + c[::2, 1::2] + c[1::2, 1::2]) / 4 for c in (a, b))
        return value

    return np.mean([of_band(a, b) for a, b in bands_of(x, y)])


def mse(x, y):
    return np.mean((x - y) ** 2)


def psnr(x, y, peak):
    return 10 * np.log10(peak**2 / mse(x, y)) if mse(x, y) else np.inf


def rmse(x, y, peak):
    return np.sqrt(mse(x, y)) * 255 / peak


def accuracy(x, y, peak, delta):
    return 100 * np.mean(np.abs(x - y).max(2) < delta * peak / 255)


LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return np.sum(a * b) / power if power else 0.0


def scc(x, y, peak):
    high = [[convolve(band, LAPLACIAN)[1:-1, 1:-1] for band in pair] for pair in bands_of(x, y)]
    return np.mean([correlation(a, b) for a, b in high])


def scc_local(x, y, peak):
    def sums(image):
        return correlate(image, np.ones((8, 8)), mode="constant", origin=(0, 0))

    def of_band(a, b):
        a, b = convolve(a, LAPLACIAN, mode="reflect"), convolve(b, LAPLACIAN, mode="reflect")
        va, vb, cov = (64 * sums(p * q) - sums(p) * sums(q) for p, q in ((a, a), (b, b), (a, b)))
        defined = (va > 0) & (vb > 0)
        return np.where(defined, cov, 0).ravel() @ (1 / np.sqrt(np.where(defined, va * vb, 1))).ravel() / a.size

    return np.mean([of_band(a, b) for a, b in bands_of(x, y)])


def total_variation(x, peak):
    down, right = np.abs(np.diff(x, axis=0)), np.abs(np.diff(x, axis=1))
    return (down.sum() + right.sum()) / (down.size + right.size) * 255 / peak


def sam(x, y, peak):
    """The angle from the lengths of sum and difference of the unit vectors (Kahan)."""
    a, b = (np.linalg.norm(v, axis=2, keepdims=True) for v in (x, y))
    u, v = x / np.where(a, a, 1), y / np.where(b, b, 1)
    angles = 2 * np.arctan2(np.linalg.norm(u - v, axis=2), np.linalg.norm(u + v, axis=2))
    return np.degrees(angles).mean()


def ergas(x, y, peak):
    means = y.mean((0, 1))
    return 100 * np.sqrt(np.mean(np.mean((x - y) ** 2, (0, 1)) / means**2)) if means.all() else np.nan


def shifts(x, y):
    """((dy, dx), window of x) at every shift, and the interior of y."""
    h, w = y.shape[:2]
    moves = sorted(product(range(-3, 4), repeat=2), key=lambda s: (s[0] ** 2 + s[1] ** 2, s))
    return [x[3 + dy : h - 3 + dy, 3 + dx : w - 3 + dx] for dy, dx in moves], y[3:-3, 3:-3]


def psnr_shift(x, y, peak):
    windows, inside = shifts(x, y)
    return max(psnr(window, inside, peak) for window in windows)


def ssim_shift(x, y, peak):
    windows, inside = shifts(x, y)
    best = min(windows, key=lambda window: mse(window, inside))
    return max(ssim(best, inside, peak), ssim(windows[0], inside, peak))


PLAIN = {
    "psnr": psnr,
    "rmse": rmse,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "accuracy_delta5": lambda x, y, peak: accuracy(x, y, peak, 5),
    "accuracy_delta10": lambda x, y, peak: accuracy(x, y, peak, 10),
    "scc": scc,
    "scc_local": scc_local,
    "total_variation": lambda x, y, peak: total_variation(x, peak),
    "sam": sam,
    "ergas": ergas,
    "psnr_shift": psnr_shift,
    "ssim_shift": ssim_shift,
}


@pytest.mark.parametrize("pair", CORPUS)
@pytest.mark.parametrize("name", PLAIN)
def test_a_metric_is_its_plain_float64_self(name, pair):
    x, y = CORPUS[pair]
    if name == "sam" and x.shape[2] == 1:
        return
    peak = 255 if x.dtype == np.uint8 else 65535
    metric = registry.load_metric(name)
    images = {"translated": ImageBatch(x[None], peak), "reference": ImageBatch(y[None], peak)}
    rows = metric.rows(*(images[side] for side in metric.reads))
    expected = PLAIN[name](x.astype(np.float64), y.astype(np.float64), peak)
    np.testing.assert_allclose(rows, [expected], rtol=1e-9, atol=1e-9)
