"""What SSIM, MS-SSIM and their twins share: the similarity of two images in every place of a sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metrics._parallel import each

STRIP_PX = 128 * 256  # a band is worked on in strips of about so many pixels, which stay in the processor's cache
LEAST_STRIP_ROWS = 16


@dataclass(frozen=True)
class Window:
    """A separable window, and the constants of Eq. 13 as shares of the peak; variances are those of the population."""

    weights: Float[np.ndarray, " side"]  # of one axis; they sum to 1; an odd number
    k1: float = 0.01
    k2: float = 0.03
    clip: bool = False  # does a negative contrast-structure term count as 0?

    @property
    def radius(self) -> int:
        """Pixels from the window's centre to its edge."""
        return len(self.weights) // 2


def gaussian(radius: int, sigma: float) -> Float[np.ndarray, " side"]:
    """The weights of a Gaussian, cut at `radius` px, that sum to 1."""
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


GAUSSIAN = Window(gaussian(5, 1.5))  # 11x11, sigma 1.5: the window of the SSIM paper


def mean_similarity(
    x: Shaped[np.ndarray, "B H W C"],
    y: Shaped[np.ndarray, "B H W C"],
    peak: float,
    window: Window = GAUSSIAN,
    luminance: bool = True,
) -> Float[np.ndarray, "B C"]:
    """Means over all windows that lie wholly inside the image, of each band of each pair, in float64.

    With `luminance`, of Eq. 13; without it, of its contrast-structure term alone. Images are uint8, uint16 or float64.
    """
    images, height, width, bands = x.shape
    inner_rows, inner_width = height - 2 * window.radius, width - 2 * window.radius
    strip_rows = min(inner_rows, max(LEAST_STRIP_ROWS, STRIP_PX // width))
    tops = range(0, inner_rows, strip_rows)
    tasks = [(i, band, top) for i in range(images) for band in range(bands) for top in tops]

    def work(task: tuple[int, int, int], strip: _Strip) -> float:
        i, band, top = task
        part = slice(top, top + strip_rows + 2 * window.radius)
        return float(strip.similarity(_plane(x[i, part], band), _plane(y[i, part], band), luminance).sum())

    sums = each(work, tasks, lambda: _Strip(strip_rows, width, x.dtype, peak, window))
    return np.reshape(sums, (images, bands, len(tops))).sum(2) / (inner_rows * inner_width)


def similarity_map(
    x: Shaped[np.ndarray, "H W C"], y: Shaped[np.ndarray, "H W C"], peak: float, window: Window = GAUSSIAN
) -> Float[np.ndarray, "H-2r W-2r C"]:
    """Eq. 13 at every place where the window lies wholly inside the image; its radius r is what is cut from each side."""
    height, width, bands = x.shape
    strip = _Strip(height - 2 * window.radius, width, x.dtype, peak, window)
    return np.stack([strip.similarity(_plane(x, i), _plane(y, i), luminance=True).copy() for i in range(bands)], axis=2)


def reflected(images: Shaped[np.ndarray, "B H W C"]) -> Shaped[np.ndarray, "B H+10 W+10 C"]:
    """Images with a border of the Gaussian window's radius, so that it has a place at every pixel, as torchmetrics does."""
    border = GAUSSIAN.radius
    return np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")


def _plane(image: Shaped[np.ndarray, "h W C"], band: int) -> Shaped[np.ndarray, "h W"]:
    return cv2.extractChannel(image, band)  # several times faster than numpy's strided copy


class _Strip:
    """The memory that a strip of a band needs, to be used again for the next one: fresh memory costs as much as the work."""

    def __init__(self, rows: int, width: int, dtype: np.dtype, peak: float, window: Window) -> None:
        outer = (rows + 2 * window.radius, width)
        # the product of two values of 8 bits fits into 16, exactly, and is multiplied much faster than in float64
        products = np.dtype(np.uint16 if dtype == np.uint8 else np.float64)
        self.difference = np.empty(outer, dtype)
        self.product, self.square = np.empty(outer, products), np.empty(outer, products)
        self.filtered = [np.empty(outer) for _ in range(4)]
        self.result = np.empty((rows, width))
        self.window = window
        self.c1, self.c2 = (window.k1 * peak) ** 2, (window.k2 * peak) ** 2

    def similarity(
        self, x: Shaped[np.ndarray, "h W"], y: Shaped[np.ndarray, "h W"], luminance: bool
    ) -> Float[np.ndarray, "h-2r W-2r"]:
        """Eq. 13, or its second factor alone, at every place of the window: memory that the next call overwrites.

        In float64: in float32 the variance of a flat bright area cancels, and SSIM is off by up to 3e-5. With
        d = x - y, E[x^2 + y^2] = E[d^2] + 2 E[xy], so that four filters do; and x = y gives exactly 1.
        """
        rows = len(x)
        difference, product, square = self.difference[:rows], self.product[:rows], self.square[:rows]
        cv2.absdiff(x, y, dst=difference)
        np.multiply(x, y, out=product, dtype=product.dtype)
        np.multiply(difference, difference, out=square, dtype=square.dtype)
        weights = self.window.weights
        mean_x, mean_y, structure, contrast = self._filter(
            (x, weights, 0), (y, weights, 0), (product, 2 * weights, self.c2), (square, weights, 0)
        )
        means = self.result[: len(mean_x)]
        np.multiply(mean_x, mean_y, out=means)
        means *= 2
        mean_x -= mean_y
        mean_x *= mean_x  # the squared difference of the means
        structure -= means  # 2 covariance + C2
        contrast -= mean_x  # the variance of the difference
        contrast += structure  # the sum of the variances + C2
        if self.window.clip:
            np.maximum(structure, 0, out=structure)
        if luminance:
            means += self.c1
            mean_x += means  # the sum of the squared means + C1
            means *= structure
            mean_x *= contrast
            means /= mean_x
        else:
            np.divide(structure, contrast, out=means)
        return means[:, self.window.radius : -self.window.radius]

    def _filter(self, *parts: tuple[Shaped[np.ndarray, "h W"], Float[np.ndarray, " side"], float]) -> Iterator[np.ndarray]:
        """Each image under a window whose rows have the weights given, plus an offset.

        Without the border rows, but with the border columns, which are cut off last: arithmetic on whole rows is four times
        as fast as on parts of them.
        """
        for (image, weights, offset), memory in zip(parts, self.filtered, strict=True):
            out = memory[: len(image)]
            cv2.sepFilter2D(image, cv2.CV_64F, weights, self.window.weights, dst=out, delta=offset)
            yield out[self.window.radius : -self.window.radius]
