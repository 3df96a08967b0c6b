from __future__ import annotations

from dataclasses import replace
from math import cos, pi

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.losses.patch_nce import patch_nce
from sarbench.methods.networks.patch_features import matched_patches
from sarbench.methods.scenimefy import Scenimefy
from sarbench.methods.src import SRC

SMALL = {"width": 4, "blocks": 2, "discriminator_width": 4, "projector_width": 16, "patches": 8}


@pytest.fixture
def batch() -> Batch:
    noise = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = ("a", "b")
    paired = Pairs(images[4:], 0.5 * images[4:].flip(1) + 0.2, torch.arange(2) + 7, ids, ids)
    return Batch(paired, Pairs(images[:2], 0.5 * images[2:4].flip(1) + 0.2, torch.arange(2), ids, ids))


def build(**changes: object) -> Scenimefy:
    torch.manual_seed(0)
    return Scenimefy(replace(Scenimefy.presets["tiny"], **SMALL, **changes), 3, 3)  # type: ignore[arg-type]


def of_g(batch: Batch, progress: float = 0.0, **changes: object) -> dict[str, Tensor]:
    return dict(build(**changes).training_step(batch, progress))["G"]


def test_the_unpaired_branch_is_src(batch):
    torch.manual_seed(0)
    src = dict(SRC(replace(SRC.presets["tiny"], **SMALL), 3, 3).training_step(batch, 0.4))["G"]
    found = of_g(batch, 0.4)
    assert set(found) - set(src) == {"pair", "style"}
    assert all(torch.equal(found[name], value) for name, value in src.items())


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.95])
def test_the_paired_branch_falls_as_a_cosine_and_the_other_does_not(batch, progress):
    start, found, still = of_g(batch), of_g(batch, progress), of_g(batch, progress, decays=False)
    for name in ("pair", "style"):
        torch.testing.assert_close(found[name], cos(pi / 2 * progress) * start[name])
        assert torch.equal(still[name], start[name])
    assert torch.equal(found["gan"], start["gan"])


def test_the_style_loss_picks_the_target_s_patch_at_the_same_place_among_its_others(batch):
    method = build()
    found = dict(method.training_step(batch, 0.0))["G"]["style"]
    x, y, seeds = batch.paired.source, batch.paired.target, batch.paired.seeds
    before, after = method.G.encode(y), method.G.encode(method.G(x).image)
    patches = matched_patches(method.F_style, before, after, 8, seeds, "style")
    each = [patch_nce(w, z) for w, z in zip(patches.w, patches.z, strict=True)]
    torch.testing.assert_close(found, 0.05 * sum(each) / 5)  # its weight counts once


def test_the_conditional_discriminator_sees_pairs_and_the_other_one_translations_alone(batch):
    method, seen = build(), {"D": [], "D_pair": []}
    for name, inputs in seen.items():
        getattr(method, name).register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given))
    next(method.training_step(batch, 0.0))
    assert [len(given) for given in seen["D"]] == [1, 1]
    assert torch.equal(seen["D"][0][0], batch.unpaired.target)
    assert torch.equal(seen["D_pair"][0][1], batch.paired.target)
    assert all(torch.equal(x, batch.paired.source) for x, _ in seen["D_pair"])


def test_each_loss_of_the_pairs_reaches_the_networks_that_it_names(batch):
    method = build()
    found = dict(method.training_step(batch, 0.0))["G"]
    for term, network, expected in (
        ("style", "F_style", True),
        ("style", "F", False),
        ("pair", "F_style", False),
        ("pair", "G", True),
    ):
        parameters = list(getattr(method, network).parameters())
        gradients = torch.autograd.grad(found[term], parameters, retain_graph=True, allow_unused=True)
        assert any(g is not None and bool(g.any()) for g in gradients) == expected, (term, network)
