from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.semi_i2i import SemiI2I

TINY = replace(SemiI2I.presets["tiny"], width=4, discriminator_width=4)
TERMS = {
    "G": ["cycle_x", "cycle_y", "gan_F", "gan_G", "paired_gan_F", "paired_gan_G", "paired_x", "paired_y"],
    "D": ["D_X", "D_Xp", "D_Y", "D_Yp"],
}


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> SemiI2I:
    torch.manual_seed(0)
    return SemiI2I(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def rows(n: int, seed: int, source_channels: int = 1) -> Pairs:
    images = torch.rand(n, 4, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Pairs(images[:, :source_channels], images[:, 1:], torch.arange(n), ids, ids)


def batch(n: int = 2) -> Batch:
    return Batch(rows(n, seed=1), rows(n, seed=2))


def losses(method: SemiI2I, given: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_the_turns_are_the_generators_then_all_four_discriminators():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(batch(), 0.0)]
    assert turns == list(TERMS.items())


def test_each_loss_of_the_generators_reaches_the_generators_that_it_names():
    method = build()
    found = losses(method, batch())["G"]
    reach = {"gan_G": "G", "gan_F": "F", "cycle_x": "GF", "cycle_y": "GF"}
    reach |= {"paired_gan_G": "G", "paired_gan_F": "F", "paired_y": "G", "paired_x": "F"}
    for name, generators in reach.items():
        assert {g for g in "GF" if reaches(found[name], getattr(method, g))} == set(generators), name


def test_each_discriminator_is_moved_by_its_own_loss_alone():
    method = build()
    found = losses(method, batch())["D"]
    for name, loss in found.items():
        assert [other for other in found if reaches(loss, getattr(method, other))] == [name]
        assert not reaches(loss, method.G)
        assert not reaches(loss, method.F)


def test_pairs_have_no_cycle_and_unpaired_images_no_l1():
    method, given = build(), batch()
    before = losses(method, given)["G"]
    other_pairs = losses(method, Batch(rows(2, seed=3), given.unpaired))["G"]
    other_images = losses(method, Batch(given.paired, rows(2, seed=3)))["G"]
    for name in ("cycle_x", "cycle_y", "gan_G", "gan_F"):
        torch.testing.assert_close(other_pairs[name], before[name])
    for name in ("paired_x", "paired_y", "paired_gan_G", "paired_gan_F"):
        torch.testing.assert_close(other_images[name], before[name])


def test_the_weights_of_the_losses_are_those_of_the_config():
    given = batch()
    once = losses(build(lambda_cycle=1.0, lambda_l1=1.0), given)["G"]
    paper = losses(build(), given)["G"]
    torch.testing.assert_close(paper["cycle_x"], 10 * once["cycle_x"])
    torch.testing.assert_close(paper["paired_y"], 50 * once["paired_y"])


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for terms in losses(build(), batch(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = SemiI2I(SemiI2I.presets["paper"], 3, 3)
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in method.named_children()}
    assert count["G"] == count["F"] == 11_378_179
    assert [count[name] for name in ("D_X", "D_Y", "D_Xp", "D_Yp")] == [2_764_737] * 4
