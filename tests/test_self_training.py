"""The losses, labels and views of segmenters that adapt themselves, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.judges._prototypes import Prototypes, denoised, structure
from sarbench.bench.judges._self_training import (
    SMALLEST,
    Still,
    confident_labels,
    cross_entropy,
    labels_at,
    mixed_by_class,
    strong_view,
    symmetric_cross_entropy,
)

NONE = 255


def scores_of(*probabilities: tuple[float, ...]) -> Tensor:
    """Scores (1, classes, 1, n) whose softmax is these probabilities, one row a pixel."""
    return torch.tensor(probabilities).T[None, :, None].log()


def row(*labels: int) -> Tensor:
    return torch.tensor(labels)[None, None]


# --- Losses ---


def test_cross_entropy_is_the_mean_over_what_is_labelled() -> None:
    scores = scores_of((0.5, 0.5), (0.25, 0.75), (0.9, 0.1))
    assert cross_entropy(scores, row(0, 1, NONE)).item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    assert cross_entropy(scores, row(NONE, NONE, NONE)).item() == 0.0


def test_a_pixels_weight_counts_in_the_sum_alone() -> None:
    scores = scores_of((0.5, 0.5), (0.25, 0.75))
    weights = torch.tensor([[[1.0, 0.0]]])
    assert cross_entropy(scores, row(0, 1), weights).item() == pytest.approx(-math.log(0.5) / 2)


def test_symmetric_cross_entropy_adds_what_goes_to_other_classes() -> None:
    scores, alpha, beta = scores_of((0.7, 0.2, 0.1), (0.1, 0.8, 0.1)), 0.1, 1.0
    forward = -(math.log(0.7) + math.log(0.1)) / 2
    reverse = -math.log(SMALLEST) * (0.3 + 0.9) / 2
    assert symmetric_cross_entropy(scores, row(0, 2), alpha, beta).item() == pytest.approx(alpha * forward + beta * reverse)
    assert symmetric_cross_entropy(scores, row(NONE, NONE), alpha, beta).item() == 0.0


# --- Labels ---


def test_a_pseudo_label_needs_more_than_the_threshold() -> None:
    said = scores_of((0.95, 0.05), (0.5, 0.5), (0.1, 0.9)).exp()
    assert confident_labels(said, 0.9).flatten().tolist()[:2] == [0, NONE]
    assert confident_labels(said, 0.8).flatten().tolist() == [0, NONE, 1]


def test_a_coarse_label_needs_its_share_of_the_cell() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, NONE], [2, 2, NONE, NONE], [2, 2, NONE, NONE]]])
    assert labels_at(labels, (2, 2), 3, 0.75).tolist() == [[[0, 1], [2, NONE]]]
    assert labels_at(labels, (2, 2), 3, 0.8).tolist() == [[[NONE, NONE], [2, NONE]]]


# --- Prototypes ---


def prototypes(mean: list[list[float]], count: list[float]) -> Prototypes:
    made = Prototypes(len(mean), len(mean[0]))
    made.mean.copy_(torch.tensor(mean))
    made.count.copy_(torch.tensor(count))
    return made


def test_gathered_prototypes_are_the_mean_of_all_pixels_of_a_class() -> None:
    made = Prototypes(3, 1)
    made.gather(torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2), row(0, 1))
    made.gather(torch.tensor([3.0, 5.0, 9.0]).reshape(1, 1, 1, 3), row(0, 0, NONE))
    assert made.mean.flatten().tolist() == [3.0, 3.0, 0.0]
    assert made.known.tolist() == [True, True, False]


def test_prototypes_move_by_their_decay_and_a_first_one_is_taken_as_it_is() -> None:
    made = prototypes([[1.0], [1.0], [0.0]], [1.0, 1.0, 0.0])
    made.move(torch.tensor([3.0, 7.0, 9.0]).reshape(1, 1, 1, 3), row(0, 2, 2), decay=0.75)
    assert made.mean.flatten().tolist() == [1.5, 1.0, 8.0]


def test_assignments_are_a_softmax_over_minus_distances() -> None:
    made = prototypes([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [1.0, 1.0, 0.0])
    found = made.assignments(torch.zeros(1, 2, 1, 1), tau=2.0).flatten().tolist()
    whole = 1 + math.exp(-2.5)
    assert found == pytest.approx([1 / whole, math.exp(-2.5) / whole, 0.0])


def test_without_prototypes_all_classes_are_alike() -> None:
    assert Prototypes(4, 2).assignments(torch.randn(1, 2, 2, 2), 1.0).flatten().tolist() == pytest.approx([0.25] * 16)


def test_a_near_prototype_overrules_what_was_said_first() -> None:
    said = torch.tensor([0.6, 0.4]).reshape(1, 2, 1, 1)
    assert denoised(said, torch.tensor([0.5, 0.5]).reshape(1, 2, 1, 1)).item() == 0
    assert denoised(said, torch.tensor([0.3, 0.7]).reshape(1, 2, 1, 1)).item() == 1  # 0.18 against 0.28


def test_the_structure_loss_is_a_divergence() -> None:
    weak, strong = torch.tensor([0.5, 0.5]).reshape(1, 2, 1, 1), torch.tensor([0.9, 0.1]).reshape(1, 2, 1, 1)
    assert structure(weak, weak).item() == 0.0
    assert structure(weak, strong).item() == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    sure = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    assert structure(sure, strong).item() == pytest.approx(-math.log(0.9))


def test_a_distance_of_zero_has_a_gradient() -> None:
    made, features = prototypes([[0.0], [1.0]], [1.0, 1.0]), torch.zeros(1, 1, 1, 2, requires_grad=True)
    made.assignments(features, 1.0)[:, 0].sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


# --- Copies ---


def test_a_still_copy_follows_weights_and_statistics_and_stays_in_eval_mode() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    still = Still(network)
    before = still.network[0].weight.item()
    with torch.no_grad():
        network[0].weight.fill_(before + 1.0)
        network[1].running_mean.fill_(2.0)
        network[1].num_batches_tracked.fill_(7)
    still.follow(network, 0.75)
    assert still.network[0].weight.item() == pytest.approx(before + 0.25)
    assert still.network[1].running_mean.item() == 0.5
    assert still.network[1].num_batches_tracked.item() == 7
    still.take(network)
    assert still.network[0].weight.item() == before + 1.0
    assert not still.train().network[1].training
    assert not any(p.requires_grad for p in still.parameters())


# --- Views ---


def test_a_strong_view_depends_on_the_seed_alone_and_stays_an_image() -> None:
    images, seeds = torch.rand(2, 3, 16, 16) * 2 - 1, torch.tensor([3, 4])
    seen = strong_view(images, seeds, 0.3, 0.05, 0.25)
    assert torch.equal(seen[1:], strong_view(images[1:], seeds[1:], 0.3, 0.05, 0.25))
    assert seen.abs().max() <= 1
    assert torch.equal(strong_view(images, seeds, 0.0, 0.0, 0.0), images)
    holed = strong_view(images.clamp(min=0.1), seeds, 0.0, 0.0, 0.25)
    assert ((holed == 0).all(1).sum((1, 2)) == 16).all()


def test_half_of_the_classes_are_pasted_with_their_labels() -> None:
    labels = torch.tensor([[[0, 1], [2, NONE]]])
    images, onto = torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2)
    mixed, mixed_labels, mask = mixed_by_class(images, labels, onto, torch.full((1, 2, 2), 3), torch.tensor([5]), 4)
    assert mask.sum() == 2  # of three classes, one pixel each
    assert mask[0, 1, 1] == 0
    assert torch.equal(mixed, torch.where(mask[:, None] > 0, images, onto))
    assert torch.equal(mixed_labels, torch.where(mask > 0, labels, 3))


def test_an_image_without_labels_pastes_nothing() -> None:
    labels = torch.full((1, 2, 2), NONE)
    _, mixed_labels, mask = mixed_by_class(
        torch.ones(1, 1, 2, 2), labels, torch.zeros(1, 1, 2, 2), labels * 0, torch.tensor([1]), 3
    )
    assert mask.sum() == 0
    assert (mixed_labels == 0).all()
