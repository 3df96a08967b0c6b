from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.fg_gan import FGGAN, Config

TINY = replace(FGGAN.presets["tiny"], width=4, middle=16, decoder=(8, 8, 4, 4), discriminator_width=4)
REACH = {"gan_G": "G", "gan_F": "F", "cycle_x": "GF", "cycle_y": "GF"}


def build(source_channels: int = 1, target_channels: int = 3, **changes: object) -> FGGAN:
    torch.manual_seed(0)
    return FGGAN(replace(TINY, **changes), source_channels, target_channels)  # type: ignore[arg-type]


def batch(n: int = 2, seed: int = 0) -> Batch:
    images = torch.rand(n, 4, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Batch(None, Pairs(images[:, :1], images[:, 1:], torch.arange(n), ids, ids))


def losses(method: FGGAN, given: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_the_turns_are_g_then_d_of_a_cycle_without_identity():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(batch(), 0.0)]
    assert turns == [("G", sorted(REACH)), ("D", ["D_X", "D_Y"])]


def test_each_loss_reaches_the_generators_that_it_names():
    method = build()
    found = losses(method, batch())["G"]
    for name, generators in REACH.items():
        assert {g for g in "GF" if reaches(found[name], getattr(method, g))} == set(generators), name


def test_every_scale_of_the_discriminators_learns_and_leaves_the_generators_alone():
    method = build(discriminator_scales=2)
    for name, loss in losses(method, batch())["D"].items():
        assert all(reaches(loss, scale) for scale in getattr(method, name).scales)
        assert not any(reaches(loss, network) for network in (method.G, method.F))


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for terms in losses(build(), batch(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_the_generators_are_those_of_our_s3oil_and_heavier_before_the_middle_than_behind_it():
    with torch.device("meta"):
        method = FGGAN(FGGAN.presets["paper"], 1, 3)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.G.named_children()}
    assert count["encoder"] > 5 * (count["up"] + count["head"])
    assert abs(sum(count.values()) - 30.6e6) < 0.1e6
    assert len(method.D_Y.scales) == 3


def test_every_value_says_whether_it_is_s3oil_s_account_or_a_guess():
    assert all(f.metadata["source"].startswith(("S3OIL: ", "guess")) for f in fields(Config))
    assert FGGAN.card.fidelity == "reconstruction"
    assert FGGAN.card.deviations
