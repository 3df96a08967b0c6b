"""SePiCo's contrasts and its sampling of rare classes, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sarbench.bench.judges._pixel_contrast import (
    Statistics,
    bank_contrast,
    centroid_contrast,
    distribution_contrast,
    diversity,
)
from sarbench.bench.judges.sepico import rare_class_sampling

ALL = torch.tensor([True, True])
MEAN = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
Q, LABELS = torch.tensor([[0.6, 0.8]]), torch.tensor([1])


def test_centroid_contrast_is_cross_entropy_of_similarities() -> None:
    expected = -math.log(math.exp(0.8 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5)))
    assert centroid_contrast(Q, LABELS, MEAN, ALL, 0.5).item() == pytest.approx(expected)


def test_classes_that_are_not_known_are_no_negatives_and_their_pixels_are_left_out() -> None:
    mean, known = torch.cat([MEAN, 9 * torch.ones(1, 2)]), torch.tensor([True, True, False])
    assert centroid_contrast(Q, LABELS, mean, known, 0.5).item() == pytest.approx(
        centroid_contrast(Q, LABELS, MEAN, ALL, 0.5).item()
    )
    with_stranger = torch.cat([Q, Q]), torch.tensor([1, 2])
    for found in (
        centroid_contrast(*with_stranger, mean, known, 0.5),
        distribution_contrast(*with_stranger, mean, torch.zeros(3, 2), known, 0.5),
    ):
        assert found.item() == pytest.approx(centroid_contrast(Q, LABELS, MEAN, ALL, 0.5).item())


def test_without_spread_a_distribution_is_its_mean() -> None:
    found = distribution_contrast(Q, LABELS, MEAN, torch.zeros(2, 2), ALL, 0.5)
    assert found.item() == pytest.approx(centroid_contrast(Q, LABELS, MEAN, ALL, 0.5).item())


def test_distribution_contrast_is_its_formula_and_bounds_the_contrast_with_samples() -> None:
    variance, tau = torch.tensor([[0.10, 0.02], [0.05, 0.08]]), 0.5
    spread = [(0.36 * a + 0.64 * b) / (2 * tau**2) for a, b in variance.tolist()]
    terms = [0.6 / tau + spread[0], 0.8 / tau + spread[1]]
    expected = math.log(sum(map(math.exp, terms))) - 0.8 / tau
    found = distribution_contrast(Q, LABELS, MEAN, variance, ALL, tau).item()
    assert found == pytest.approx(expected)
    drawn = MEAN + variance.sqrt() * torch.randn(100_000, 2, 2, generator=torch.Generator().manual_seed(0))
    similar = torch.einsum("a,nka->nk", Q[0], drawn) / tau
    sampled = (
        (torch.logaddexp(similar[:, 1], torch.tensor(terms[0])) - similar[:, 1]).mean().item()
    )  # infinitely many negatives
    assert sampled < found < sampled + 0.1


def test_bank_contrast_is_a_mean_over_the_positives_that_are_there() -> None:
    bank = torch.zeros(2, 3, 2)
    bank[0, 0], bank[0, 1] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])  # mean similarity 0.3
    bank[1, 0], bank[1, 1] = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    negative = math.exp(0.3 / 0.5)
    expected = np.mean([-math.log(math.exp(s / 0.5) / (math.exp(s / 0.5) + negative)) for s in (0.8, 0.6)])
    found = bank_contrast(Q, LABELS, bank, torch.tensor([2, 2]), 0.5)
    assert found.item() == pytest.approx(expected)


def test_a_bank_of_equal_features_is_a_centroid() -> None:
    bank = MEAN[:, None].expand(-1, 4, -1)
    assert bank_contrast(Q, LABELS, bank, torch.tensor([4, 9]), 0.5).item() == pytest.approx(
        centroid_contrast(Q, LABELS, MEAN, ALL, 0.5).item()
    )


def test_diversity_is_1_where_all_classes_are_alike_and_more_elsewhere() -> None:
    alike = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)]])
    assert diversity(alike, MEAN, ALL, 0.5).item() == pytest.approx(1.0)
    assert diversity(Q, MEAN, ALL, 0.5).item() > 1.0
    assert diversity(Q, MEAN, torch.tensor([True, False]), 0.5).item() == 0.0


def test_statistics_of_batches_are_those_of_everything_together() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(6, 3, 4, 4, generator=generator), torch.randint(0, 2, (6, 4, 4), generator=generator)
    labels[0, 0] = 255
    made = Statistics(3, 3, memory=4)
    for start in (0, 2, 5):
        made.see(features[start : start + {0: 2, 2: 3, 5: 1}[start]], labels[start : start + {0: 2, 2: 3, 5: 1}[start]])
    for k in range(2):
        mine = features.movedim(1, 3)[labels == k]
        assert torch.allclose(made.mean[k], mine.mean(0), atol=1e-5)
        assert torch.allclose(made.variance[k], mine.var(0, unbiased=False), atol=1e-4)
        assert made.count[k] == len(mine)
        newest = features[5].movedim(0, 2)[labels[5] == k].mean(0)
        assert torch.allclose(made.bank[k, (int(made.filled[k]) - 1) % 4], newest, atol=1e-5)
    assert made.known.tolist() == [True, True, False]
    assert made.filled.tolist() == [6, 6, 0]


def test_contrast_of_no_pixels_is_0_and_has_a_gradient() -> None:
    q = F.normalize(torch.randn(0, 2), dim=1).requires_grad_()
    for lost in (
        centroid_contrast(q, LABELS[:0], MEAN, ALL, 0.5),
        distribution_contrast(q, LABELS[:0], MEAN, MEAN, ALL, 0.5),
        bank_contrast(q, LABELS[:0], MEAN[:, None], torch.tensor([1, 1]), 0.5),
        diversity(q, MEAN, ALL, 0.5),
    ):
        assert lost.item() == 0.0
        lost.backward()


# --- Rare classes ---


def test_rare_classes_are_looked_for_first() -> None:
    pixels = np.array([[90, 10, 0], [100, 0, 0], [100, 0, 0]])
    found = rare_class_sampling(pixels, temperature=0.5, least=1)
    share = np.array([290, 10]) / 300
    of_class = np.exp((1 - share) / 0.5)
    of_class /= of_class.sum()
    assert found == pytest.approx([of_class[0] / 3 + of_class[1], of_class[0] / 3, of_class[0] / 3])
    assert rare_class_sampling(pixels, temperature=0.01, least=1)[0] == pytest.approx(1.0)


def test_a_class_that_no_image_has_enough_of_is_looked_for_wherever_it_is() -> None:
    pixels = np.array([[50, 2], [50, 0]])
    assert rare_class_sampling(pixels, 0.01, least=10) == pytest.approx([1.0, 0.0])


def test_images_without_any_label_are_drawn_evenly() -> None:
    assert rare_class_sampling(np.zeros((4, 2), int), 0.01, 10).tolist() == [0.25] * 4
