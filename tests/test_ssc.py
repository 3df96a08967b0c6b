from __future__ import annotations

from dataclasses import replace

import torch

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.cut_scc import CUTSCC
from sarbench.methods.src import SRC
from sarbench.methods.ssc import SSC

SMALL = {"width": 4, "blocks": 2, "discriminator_width": 4, "projector_width": 16, "patches": 8}


def test_its_losses_are_those_of_the_two_works_that_it_is_guessed_to_join():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(None, Pairs(images[:2], images[2:], torch.arange(2), ("a", "b"), ("a", "b")))
    found = []
    for cls in (SSC, SRC, CUTSCC):
        torch.manual_seed(0)
        found.append(dict(cls(replace(cls.presets["tiny"], **SMALL), 3, 3).training_step(batch, 0.4))["G"])
    ssc, src, scc = found
    for mine, theirs in {
        "gan": src["gan"],
        "hdce": src["hdce"],
        "hdce_same": src["hdce_same"],
        "semantic": src["src"],
        "structure": scc["scc"],
    }.items():
        assert torch.equal(ssc[mine], theirs), mine


def test_the_card_says_that_it_is_a_reconstruction_and_lists_its_guesses():
    assert SSC.card.fidelity == "reconstruction"
    assert sum("guessed" in deviation for deviation in SSC.card.deviations) == 3
