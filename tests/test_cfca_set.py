from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.cfca_set import CFCASET

TINY = replace(CFCASET.presets["tiny"], width=4, fine_width=4, discriminator_width=4)


def build(**changes: object) -> CFCASET:
    torch.manual_seed(0)
    return CFCASET(replace(TINY, **changes), 1, 3)  # type: ignore[arg-type]


def batch(n: int = 2, seed: int = 0) -> Batch:
    images = torch.rand(n, 5, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Batch(Pairs(images[:, :1], images[:, 1:4], torch.arange(n), ids, ids, {"nir": images[:, 4:]}), None)


def losses(method: CFCASET, given: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_the_turns_are_d_then_g_with_a_loss_for_each_stage():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(batch(), 0.0)]
    assert turns == [("D", ["gan"]), ("G", ["auxiliary", "coarse", "fine", "gan"])]


def test_each_stage_learns_from_its_own_loss_and_from_those_behind_it():
    method = build()
    found = losses(method, batch())
    stages = ("auxiliary", "coarse", "fine")
    reach = {name: [s for s in stages if reaches(found["G"][name], method.G.get_submodule(s))] for name in found["G"]}
    assert reach == {"auxiliary": ["auxiliary"], "coarse": ["auxiliary", "coarse"], "fine": [*stages], "gan": [*stages]}
    assert not reaches(found["D"]["gan"], method.G)
    assert reaches(found["D"]["gan"], method.D)


def test_near_infrared_is_learned_where_it_is_asked_for():
    given = batch()
    p = given.paired
    without = Batch(Pairs(p.source, p.target, p.seeds, p.source_ids, p.target_ids), None)
    assert build(auxiliary="nir").aux == CFCASET(CFCASET.presets["paper"], 1, 3).aux == ("nir",)
    assert build().aux == ()
    losses(build(), without)
    with pytest.raises(KeyError):
        losses(build(auxiliary="nir"), without)
    band, mean = (losses(build(auxiliary=kind), given)["G"]["auxiliary"] for kind in ("nir", "mean"))
    assert band != mean


def test_the_coarse_stages_are_of_half_the_size_and_guide_the_fine_one():
    method, x = build(), batch().paired.source
    made = method.G(x)
    assert (made.fine.shape, made.coarse.shape, made.auxiliary.shape) == ((2, 3, 32, 32), (2, 3, 16, 16), (2, 1, 16, 16))
    assert torch.equal(method.translate(x, torch.arange(2)), made.fine)
    torch.nn.init.normal_(method.G.coarse.head.weight, std=1.0)
    assert not torch.allclose(method.G(x).fine, made.fine)


def test_a_target_that_lies_two_pixels_off_costs_the_fine_stage_what_an_aligned_one_does():
    """Away from the border, where what comes into view differs."""
    method, given = build(reach=2, patch=32), batch()
    made = method.G(given.paired.source).fine.detach()
    off = torch.roll(made, (2, -1), dims=(2, 3))
    p = given.paired
    shifted = Batch(Pairs(p.source, off, p.seeds, p.source_ids, p.target_ids), None)
    tolerant, strict = (losses(build(reach=reach, patch=32), shifted)["G"]["fine"] for reach in (2, 0))
    assert tolerant < 0.5 * strict


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for terms in losses(build(), batch(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_the_guesses_are_declared():
    assert CFCASET.card.fidelity == "reconstruction"
    assert len(CFCASET.card.deviations) >= 5
