from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.cut import CUT
from sarbench.methods.cut_scc import CUTSCC
from sarbench.methods.networks.antialiased_resnet import Translation

SMALL = {"width": 4, "blocks": 2, "discriminator_width": 4, "projector_width": 16, "patches": 8}


@pytest.fixture
def batch() -> Batch:
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))
    return Batch(None, Pairs(images[:2], 0.5 * images[2:].flip(1) + 0.2, torch.arange(2), ("a", "b"), ("a", "b")))


def build(**changes: object) -> CUTSCC:
    torch.manual_seed(0)
    return CUTSCC(replace(CUTSCC.presets["tiny"], **SMALL, **changes), 3, 3)  # type: ignore[arg-type]


def test_it_is_cut_and_one_loss_more(batch):
    torch.manual_seed(0)
    cut = dict(CUT(replace(CUT.presets["tiny"], **SMALL), 3, 3).training_step(batch, 0.0))
    both = dict(build().training_step(batch, 0.0))
    assert torch.equal(both["D"]["gan"], cut["D"]["gan"])
    assert set(both["G"]) - set(cut["G"]) == {"scc"}
    for name, value in cut["G"].items():
        assert torch.equal(both["G"][name], value)


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_image_and_its_negative_tell_as_much_of_the_source_and_another_image_less(batch, sign):
    method = build(kernel_sign=sign)
    found = {}
    x, other = batch.unpaired.source, batch.unpaired.target
    for name, image in {"same": x, "negative": -x, "other": other}.items():
        made = torch.cat([image, other])
        method.G.forward = lambda inputs, made=made: Translation(made, method.G.encode(inputs), inputs)
        found[name] = dict(method.training_step(batch, 0.0))["G"]["scc"].item()
    assert found["same"] == pytest.approx(found["negative"], rel=1e-3)
    assert found["same"] < found["other"] - 0.02  # minus the information


def test_the_loss_alone_makes_the_translation_tell_more_of_its_source(batch):
    method = build()
    optimizer = torch.optim.Adam(method.G.parameters(), 2e-3)

    def information() -> Tensor:
        return -dict(method.training_step(batch, 0.0))["G"]["scc"]

    before = information().item()
    for _ in range(15):
        optimizer.zero_grad()
        (-information()).backward()
        optimizer.step()
    assert information().item() > before + 0.01
