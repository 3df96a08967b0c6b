"""Scores by land cover: what a metric says of the pixels of each class, where a data set has labels.

A map of errors, one value a pixel, is summed by class; sums and counts are added up over images, and turned into a score
once, at the end. In a mean of the images' own class scores, a class that fills ten pixels of an image would weigh as much as
one that fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Integer

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._structure import GAUSSIAN, similarity_map

UNLABELLED = 255
MOST_CLASSES = 255  # what 8-bit labels can tell apart, besides "not labelled"


@dataclass(frozen=True)
class Tally:
    """Sums and counts of one quantity by class; tallies of images, or of parts of a split, are added."""

    sums: Float[np.ndarray, " classes"]
    counts: Int64[np.ndarray, " classes"]

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.sums + other.sums, self.counts + other.counts)

    def mean(self) -> Float[np.ndarray, " classes"]:
        """The mean over all pixels of a class; NaN where it has none."""
        return np.divide(self.sums, self.counts, out=np.full(len(self.sums), np.nan), where=self.counts > 0)


def per_class(values: Float[np.ndarray, "*shape"], labels: Integer[np.ndarray, "*shape"], n_classes: int) -> Tally:
    """Sum a map by class. Pixels of label 255 (not labelled) and of value NaN (not defined there) take no part.

    Raises ContractError for labels on another grid, and for a label that is no class.
    """
    if values.shape != labels.shape:
        raise ContractError(f"scores by class need labels on the grid of the map, got {labels.shape} and {values.shape}")
    known = labels != UNLABELLED
    if labels.size and (int(labels.min()) < 0 or int(labels[known].max(initial=0)) >= n_classes):
        wrong = sorted(set(np.unique(labels[known]).tolist()) - set(range(n_classes)))
        raise ContractError(f"labels {', '.join(map(str, wrong))} are no class: there are {n_classes}, and 255 for unlabelled")
    counted = known & ~np.isnan(values)
    classes = labels[counted].astype(np.int64)
    sums = np.bincount(classes, weights=values[counted], minlength=n_classes)
    return Tally(sums, np.bincount(classes, minlength=n_classes))


@dataclass(frozen=True)
class ClassScore:
    """What a set of images scores on the pixels of one class, pooled over the set."""

    pixels: int
    psnr: float  # dB, of the pooled error; inf for none
    ssim: float  # the mean over the windows whose centre is of the class; NaN where none fits into its image


def pooled(tallies: Float[np.ndarray, "n 2 2 classes"], classes: Sequence[str] = ()) -> dict[str, ClassScore]:
    """The scores of every class that has a pixel, by its name, from the tallies of single images (`tallies_of`).

    `classes`: the names of the classes 0, 1, ...; without them, a class is called by its number.
    """
    errors, similarities = (Tally(tallies[:, i, 0].sum(0), tallies[:, i, 1].sum(0).astype(np.int64)) for i in range(2))
    decibels, means = psnr(errors), similarities.mean()
    return {
        classes[int(i)] if classes else str(i): ClassScore(int(errors.counts[i]), float(decibels[i]), float(means[i]))
        for i in np.flatnonzero(errors.counts)
    }


def by_class(n_classes: int) -> Metric:
    """What the one pass computes of an image for scores by class: `tallies_of`, in the form of a metric."""

    def rows(translated: ImageBatch, reference: ImageBatch, labels: ImageBatch) -> Float[np.ndarray, "B 2 2 classes"]:
        return tallies_of(translated, reference, labels.pixels[..., 0], n_classes)

    signature = f"by_class;squared-error;gauss11s1.5;{n_classes};v1"
    return Metric("by_class", signature, "", True, rows, ("translated", "reference", "labels"), ranked=False)


def tallies_of(
    translated: ImageBatch, reference: ImageBatch, labels: Integer[np.ndarray, "B H W"], n_classes: int
) -> Float[np.ndarray, "B 2 2 classes"]:
    """Of each image: [squared error, similarity] x [sums, counts] by class. Those of many images are pooled by addition.

    Raises ContractError for unlike sides, images below the window of SSIM (11 px), and labels that are no class.
    """
    quantities = (squared_error(translated, reference), similarity(translated, reference))
    tallies = np.empty((len(labels), 2, 2, n_classes))
    for i, classes in enumerate(labels):
        for j, values in enumerate(quantities):
            tally = per_class(values[i], classes, n_classes)
            tallies[i, j] = tally.sums, tally.counts
    return tallies


def squared_error(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, "B H W"]:
    """The squared error of each pixel, averaged over the bands, as a share of the squared peak."""
    check_pairs(translated, reference, "squared error by class")
    difference = translated.pixels / translated.peak - reference.pixels / reference.peak
    return np.mean(difference**2, axis=3)


def similarity(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, "B H W"]:
    """SSIM of the 11x11 window around each pixel, averaged over the bands; NaN on the border of 5 px, where none fits.

    A window belongs to the class of its centre, and sees what lies around it.
    """
    check_pairs(translated, reference, "ssim by class", least_px=len(GAUSSIAN.weights))
    maps = np.full(translated.pixels.shape[:3], np.nan)
    inside = slice(GAUSSIAN.radius, -GAUSSIAN.radius)
    for out, x, y in zip(maps, translated.pixels, reference.pixels, strict=True):
        out[inside, inside] = similarity_map(x, y, translated.peak).mean(2)
    return maps


def psnr(errors: Tally) -> Float[np.ndarray, " classes"]:
    """PSNR of each class in dB, from its pooled `squared_error`; inf for none, NaN for a class without pixels."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(errors.mean())


def rmse(errors: Tally) -> Float[np.ndarray, " classes"]:
    """RMSE of each class in grey levels of 255, from its pooled `squared_error`; NaN for a class without pixels."""
    return 255 * np.sqrt(errors.mean())
