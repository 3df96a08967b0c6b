from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.losses.patch_nce import hdce, relation_divergence
from sarbench.methods.src import SRC

TINY = replace(SRC.presets["tiny"], width=4, blocks=2, discriminator_width=4, projector_width=16, patches=8)


@pytest.fixture
def batch() -> Batch:
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    return Batch(None, Pairs(images[:2], 0.5 * images[2:].flip(1) + 0.2, torch.arange(2), ("a", "b"), ("a", "b")))


def of_g(batch: Batch, progress: float = 0.0, **changes: object) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(SRC(replace(TINY, **changes), 3, 3).training_step(batch, progress))["G"]  # type: ignore[arg-type]


@pytest.mark.parametrize(("progress", "gamma"), [(0.0, 50.0), (0.5, 30.0), (1.0, 10.0)])
@pytest.mark.parametrize("form", ["normalised", "source_code"])
def test_negatives_grow_harder_over_the_training_as_one_over_gamma(batch, progress, gamma, form):
    found = of_g(batch, progress, hdce_form=form)
    still = of_g(batch, 0.0, hdce_form=form, gamma_start=gamma, gamma_end=1.0)
    assert torch.equal(found["hdce"], still["hdce"])
    assert torch.equal(found["hdce_same"], still["hdce_same"])


def test_the_losses_are_means_over_the_layers_of_the_source_s_and_the_target_s_patches(batch):
    torch.manual_seed(0)
    method = SRC(TINY, 3, 3)
    found = dict(method.training_step(batch, 0.0))["G"]
    both = torch.cat([batch.unpaired.source, batch.unpaired.target])
    of_x, of_y = method.patches(both, method.G(both), batch.unpaired.seeds)
    for name, patches in (("hdce", of_x), ("hdce_same", of_y)):
        each = [hdce(w, z, beta=1 / 50) for w, z in zip(patches.w, patches.z, strict=True)]
        torch.testing.assert_close(found[name], 0.5 * 0.1 * sum(each) / 5)
    each = [relation_divergence(w, z) for w, z in zip(of_x.w, of_x.z, strict=True)]
    torch.testing.assert_close(found["src"], 0.05 * sum(each) / 5)


def test_the_form_of_the_official_code_changes_the_contrast_alone(batch):
    paper, code = of_g(batch), of_g(batch, hdce_form="source_code")
    assert {name for name in paper if not torch.equal(paper[name], code[name])} == {"hdce", "hdce_same"}
