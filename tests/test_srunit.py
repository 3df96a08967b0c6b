from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Pairs, normal, uniform
from sarbench.methods.networks.patch_features import at_positions, draw_positions
from sarbench.methods.srunit import SRUNIT

TINY = replace(SRUNIT.presets["tiny"], width=4, blocks=2, discriminator_width=4, projector_width=16, patches=8)


@pytest.fixture
def batch() -> Batch:
    noise = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = tuple("abcdef")
    return Batch(None, Pairs(images[:6], 0.5 * images[6:].flip(1) + 0.2, torch.arange(6), ids, ids))


def build(**changes: object) -> SRUNIT:
    torch.manual_seed(0)
    return SRUNIT(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def of_g(method: SRUNIT, batch: Batch, progress: float) -> dict[str, Tensor]:
    return dict(method.training_step(batch, progress))["G"]


def test_the_robustness_loss_starts_after_a_quarter_and_until_then_the_others_train(batch):
    method = build()
    early, late = of_g(method, batch, 0.2), of_g(method, batch, 0.25)
    assert set(late) - set(early) == {"robust"}
    for name, value in early.items():
        assert torch.equal(late[name], value)
        gradients = torch.autograd.grad(value, [*method.G.parameters()], retain_graph=True, allow_unused=True)
        assert any(g is not None and g.any() for g in gradients)


def test_each_row_perturbs_one_layer_and_in_time_every_layer_is_perturbed(batch):
    method, seen = build(), []
    resume = method.G.resume
    method.G.resume = lambda h, tap: seen.append((tap, len(h))) or resume(h, tap)
    for step in range(6):
        seeds = torch.arange(6) + 6 * step
        method.robustness([h[:6] for h in method.G(batch.unpaired.source).features], seeds)
        assert sum(rows for _, rows in seen) == 6 * (step + 1)
    assert {tap for tap, _ in seen} == {0, 1, 2, 3, 4}


def test_what_is_injected_is_what_is_divided_by(batch):
    """The length of the noise at each position, which the official code replaces by the largest."""
    method = build()
    seeds, x = torch.tensor([3]), batch.unpaired.source[:1]
    features = method.G(x).features
    layer = int(uniform(seeds, (1,), "layer").item() * 5)
    perturbed, resume = [], method.G.resume
    method.G.resume = lambda h, tap: perturbed.append(h) or resume(h, tap)
    found = method.robustness(features, seeds)
    noise = perturbed[0] - features[layer]
    length = noise.norm(dim=1, keepdim=True)  # (1, 1, h, w)
    assert length.max() <= 0.001 * 1.01
    direction = normal(seeds, features[layer].shape[1:], "direction")
    assert (F.cosine_similarity(direction, noise, dim=1) > 0.99)[length[:, 0] > 1e-4].all()
    where = draw_positions(features, TINY.patches, seeds, "robust")[layer]
    before = method.F.project(layer, features[layer], where)
    after = method.F.project(layer, method.G.encode(resume(perturbed[0], layer))[layer], where)
    expected = ((after - before).norm(dim=2) / at_positions(length, where)[:, :, 0]).mean()
    torch.testing.assert_close(found, expected / 5, rtol=0.02, atol=0)


def test_a_generator_that_gives_the_input_back_pays_next_to_nothing(batch):
    method, seeds = build(), torch.arange(6)
    x = batch.unpaired.source[:1].expand(6, -1, -1, -1)
    features = method.G(x).features
    found = method.robustness(features, seeds)
    method.G.resume = lambda h, tap: x[: len(h)]
    assert method.robustness(features, seeds) < 1e-3 * found
