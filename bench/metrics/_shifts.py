"""By how many whole pixels an image lies off its reference: what the shift-tolerant twins of metrics share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs, squared_error
from sarbench.bench.metrics._parallel import each

RADIUS_PX = 3
Errors = Float[np.ndarray, "B 2k+1 2k+1"]


def squared_errors(translated: ImageBatch, reference: ImageBatch, k: int = RADIUS_PX) -> Errors:
    """The mean squared error of each pair at every shift of -k to k px: element (k + dy, k + dx), in squared levels.

    It compares the reference's interior, k px from the border, with the window of the translated image that lies dy px
    further down and dx px further right: every shift is judged by the same reference pixels, and no border is invented.
    ContractError for unlike sides, and for images without an interior (2 k + 1 px).
    """
    check_pairs(translated, reference, "a search for shifts", least_px=2 * k + 1)
    height, width = reference.pixels.shape[1:3]
    inside = slice(k, height - k), slice(k, width - k)

    def work(pair: tuple[Shaped[np.ndarray, "H W C"], Shaped[np.ndarray, "H W C"]], _: None) -> list[float]:
        x, y = pair[0], pair[1][inside]
        # all shifts of an image take less time than one SSIM, so that nothing is gained by a transform that rounds
        return [squared_error(moved(x, dy, dx, k), y) / y.size for dy in _shifts(k) for dx in _shifts(k)]

    pairs = list(zip(translated.pixels, reference.pixels, strict=True))
    return np.reshape(each(work, pairs, lambda: None), (len(pairs), 2 * k + 1, 2 * k + 1))


def moved(image: Shaped[np.ndarray, "H W C"], dy: int, dx: int, k: int) -> Shaped[np.ndarray, "H-2k W-2k C"]:
    """The window of an image that lies dy px further down and dx px further right than its interior."""
    height, width = image.shape[:2]
    return image[k + dy : height - k + dy, k + dx : width - k + dx]


def best_shift(
    translated: ImageBatch, reference: ImageBatch, k: int = RADIUS_PX, errors: Errors | None = None
) -> Int64[np.ndarray, "B 2"]:
    """(dy, dx) of each pair: how many px further down and right the translated image shows what the reference shows.

    The shift of least squared error, of -k to k px on each axis; of equal ones the shortest, then the first by row.
    `errors`: what `squared_errors` gave for this k; None: computed here.
    """
    rows = (squared_errors(translated, reference, k) if errors is None else errors).reshape(len(translated), -1)
    shifts = np.array([(dy, dx) for dy in _shifts(k) for dx in _shifts(k)])
    by_length = np.argsort((shifts**2).sum(1), kind="stable")
    return shifts[by_length[np.argmin(rows[:, by_length], axis=1)]]


def _shifts(k: int) -> range:
    return range(-k, k + 1)


SHIFT = Metric(
    name="shift",
    signature=f"shift;least-squares-of-k{RADIUS_PX};interior;v1",
    unit="px",
    higher_is_better=False,
    rows=best_shift,
    shared={"errors": squared_errors},
    ranked=False,
)
