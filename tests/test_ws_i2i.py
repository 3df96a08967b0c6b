from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.ws_i2i import WSI2I

TINY = replace(WSI2I.presets["tiny"], width=4, discriminator_width=4)
BOTH = ["cycle_x", "cycle_y", "gan_F", "gan_G", "identity_x", "identity_y"]


def build(**changes: object) -> WSI2I:
    torch.manual_seed(0)
    return WSI2I(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def rows(n: int, seed: int) -> Pairs:
    images = torch.rand(2 * n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Pairs(images[:n], images[n:], torch.arange(n), ids, ids)


def batch(n: int = 2) -> Batch:
    return Batch(rows(n, seed=1), rows(n, seed=2))


def turns(method: WSI2I, given: Batch) -> list[tuple[str, dict[str, Tensor]]]:
    return list(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_pairs_come_first_and_alone_have_l1():
    found = [(player, sorted(terms)) for player, terms in turns(build(), batch())]
    assert found == [
        ("D", ["paired_D_X", "paired_D_Y"]),
        ("G", [f"paired_{name}" for name in sorted([*BOTH, "l1_x", "l1_y"])]),
        ("D", ["unpaired_D_X", "unpaired_D_Y"]),
        ("G", [f"unpaired_{name}" for name in BOTH]),
    ]


def test_the_cycle_moves_both_generators():
    """In the official code, it moves none."""
    method = build()
    for player, terms in method.training_step(batch(), 0.0):
        for name in [name for name in terms if "cycle" in name]:
            assert player == "G"
            assert reaches(terms[name], method.G)
            assert reaches(terms[name], method.F)


def test_the_discriminators_leave_the_generators_alone():
    method = build()
    for player, terms in method.training_step(batch(), 0.0):
        if player == "D":
            assert not any(reaches(loss, network) for loss in terms.values() for network in (method.G, method.F))
            assert reaches(sum(terms.values()), method.D_X)  # type: ignore[arg-type]
            assert reaches(sum(terms.values()), method.D_Y)  # type: ignore[arg-type]


def test_generators_that_do_nothing_pay_no_cycle_and_no_identity():
    method = build()
    method.G, method.F = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    for _, terms in turns(method, batch()):
        assert all(loss == 0.0 for name, loss in terms.items() if "cycle" in name or "identity" in name)


def test_the_weights_of_the_losses_are_those_of_the_config():
    paper = turns(build(), batch())[1][1]
    once = turns(build(lambda_l1=1.0, lambda_cycle=1.0, lambda_identity=1.0), batch())[1][1]
    for name, weight in (("l1_y", 150), ("cycle_x", 10), ("identity_y", 10), ("gan_G", 1)):
        torch.testing.assert_close(paper[f"paired_{name}"], weight * once[f"paired_{name}"])


def test_real_images_are_pooled_too_and_pairs_in_pools_of_their_own():
    method = build(pool_size=5, paired_pool_size=2)
    for _ in range(3):
        turns(method, batch())
    assert {pool.images.shape[0] for pool in method.paired_pools.values()} == {2 * 2}  # type: ignore[union-attr]
    assert {pool.images.shape[0] for pool in method.unpaired_pools.values()} == {2 * 5}  # type: ignore[union-attr]
    seen = method.paired_pools["real_y"].images
    assert all(any(torch.equal(image, real) for real in batch().paired.target) for image in seen)  # type: ignore[union-attr]


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for _, terms in turns(build(), batch(1)):
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = WSI2I(WSI2I.presets["paper"], 3, 3)
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in method.named_children()}
    assert count["G"] == count["F"] == 11_378_179
    assert count["D_X"] == count["D_Y"] == 2_764_737
