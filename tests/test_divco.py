from __future__ import annotations

from dataclasses import fields, replace
from math import exp, log

import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.divco import Config, DivCo

TINY = replace(DivCo.presets["tiny"], width=4, discriminator_width=4)


def build(**changes: object) -> DivCo:
    torch.manual_seed(0)
    return DivCo(replace(TINY, **changes), 1, 3).train()  # type: ignore[arg-type]


def rows(n: int = 2) -> Batch:
    noise = torch.randn(n, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcd"[:n])
    return Batch(None, Pairs(images[:, :1], images[:, 1:] * 0.5 + 0.2, torch.arange(n), ids, ids))


def random_turn(method: DivCo, batch: Batch) -> dict[str, Tensor]:
    *_, (_, losses) = method.training_step(batch, 0.0)
    return losses


def test_the_random_branch_has_the_contrast_and_by_default_no_latent_regression():
    assert sorted(random_turn(build(), rows())) == ["contrast_x", "contrast_y", "random_gan_x", "random_gan_y"]
    assert {"latent_x", "latent_y"} <= set(random_turn(build(lambda_latent=10.0), rows()))


def test_the_contrast_reaches_generator_and_contents_and_not_the_attribute_encoder():
    method = build()
    loss = random_turn(method, rows())["contrast_y"]
    for module, reached in (
        (method.G.own["y"], True),
        (method.E_c.own["x"], True),
        (method.E_a, False),
        (method.G.own["x"], False),
    ):
        gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
        assert any(g is not None and bool(g.any()) for g in gradients) == reached


def test_the_contrast_worked_by_hand():
    """Two negatives, one row: the query's products are 2 with the positive, 0 and 1 with the negatives; tau is 2."""
    encoded = torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]], [[1.0, -1.0]], [[0.0, 1.0]]])
    loss = build(tau=2.0, lambda_contrast=3.0).diversity(encoded, encoded, encoded)["contrast"]
    assert loss.item() == pytest.approx(3 * -log(exp(1) / (exp(1) + exp(0) + exp(0.5))))


def test_the_contrast_of_features_that_tell_nothing_is_the_log_of_their_number():
    same = torch.ones(4, 3, 5)
    assert build().diversity(same, same, same)["contrast"].item() == pytest.approx(log(3))


def test_the_positive_lies_within_the_radius_and_every_negative_beyond_it_in_every_number():
    method = build(attributes=8, negatives=10, radius=0.1)  # a draw of 8 numbers in two is too near
    query, positive, *negatives = method.random_attributes(torch.arange(200)).unbind(dim=0)
    assert (positive - query).abs().max() <= 0.1
    assert (positive - query).abs().max() > 0.09
    assert len(negatives) == 10
    apart = torch.stack([(negative - query).abs().min(dim=1).values for negative in negatives])
    assert (apart >= 0.1).float().mean() > 0.97  # with so wide a radius a few rows run out of draws
    at_default = build(attributes=8, negatives=10).random_attributes(torch.arange(200))
    assert (at_default[2:] - at_default[0]).abs().min() >= 0.01


def test_attributes_of_a_row_depend_on_its_seed_alone():
    method = build()
    together = method.random_attributes(torch.tensor([5, 6, 7]))
    assert torch.equal(together[:, 1:2], method.random_attributes(torch.tensor([6])))


def test_the_discriminators_see_the_query_and_a_negative_which_are_independent():
    attributes = build().random_attributes(torch.arange(300))[list(DivCo.judged)]
    correlation = torch.corrcoef(attributes.flatten(1))[0, 1]
    assert correlation.abs() < 0.1


def test_a_batch_of_one_trains_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        for _, found in build().training_step(rows(1), 0.0):
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in found.values())


def test_the_paper_preset_is_drits_networks_with_ten_negatives():
    with torch.device("meta"):
        method = DivCo(DivCo.presets["paper"], 3, 3)
    counts = [sum(p.numel() for p in n.parameters()) for n in (method.E_c, method.E_a, method.G, method.D_c)]
    assert counts == [9_018_112, 2_688_160, 9_564_710, 10_683_649]
    assert (method.config.negatives, method.config.radius, method.config.tau) == (10, 0.01, 1.0)


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "divco")["title"] == "DivCo"
