from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.networks.stego_generators import ReceivingGenerator, SplittingGenerator
from sarbench.methods.stegogan import StegoGAN

TINY = replace(StegoGAN.presets["tiny"], width=4, discriminator_width=4)
REACH = {
    "gan_G": "G",
    "gan_F": "F",
    "cycle_x": "GF",
    "cycle_y": "GF",
    "identity_y": "G",
    "identity_x": "F",
    "mask_y": "F",
    "mask_stego": "GF",
    "consistency_y": "GF",
    "consistency_stego": "GF",
}


def build(**changes: object) -> StegoGAN:
    torch.manual_seed(0)
    return StegoGAN(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def batch(n: int = 2, seed: int = 0) -> Batch:
    images = torch.rand(2 * n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = tuple(map(str, range(n)))
    return Batch(None, Pairs(images[:n], images[n:], torch.arange(n), ids, ids))


def losses(method: StegoGAN, given: Batch) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(given, 0.0))


def reaches(loss: Tensor, module: torch.nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def open_mask(method: StegoGAN, logit: float) -> None:
    """Set how matchable F finds everything: 0 is undecided, large is all of it."""
    last = method.F.mask[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.constant_(last.bias, logit)  # type: ignore[arg-type]


def test_the_turns_are_g_then_d_with_all_terms_of_the_paper():
    turns = [(player, sorted(terms)) for player, terms in build().training_step(batch(), 0.0)]
    assert turns == [("G", sorted(REACH)), ("D", ["D_X", "D_Y"])]


def test_each_loss_reaches_the_generators_that_it_names():
    """The message that G is told of an unrelated y is fixed, so fooling D_Y does not teach F what to hide."""
    method = build()
    found = losses(method, batch())["G"]
    for name, generators in REACH.items():
        assert {g for g in "GF" if reaches(found[name], getattr(method, g))} == set(generators), name


def test_the_discriminators_leave_the_generators_alone():
    method = build()
    found = losses(method, batch())["D"]
    assert not any(reaches(loss, network) for loss in found.values() for network in (method.G, method.F))


def test_only_the_clean_output_leaves_translate(monkeypatch: pytest.MonkeyPatch):
    """F makes all messages, and G reads them with its fusion block: without both, `translate` gives the same."""
    method = build().eval()
    source, seeds = batch().unpaired.source, torch.arange(2)
    expected = method.translate(source, seeds)
    told: list[object] = []
    forward = method.G.forward
    monkeypatch.setattr(method.G, "forward", lambda x, message=None: told.append(message) or forward(x, message))
    del method.F, method.G.fusion
    assert torch.equal(method.translate(source, seeds), expected)
    assert told == [None]


def test_d_y_judges_what_was_told_and_translate_gives_what_was_not():
    torch.manual_seed(0)
    G = ReceivingGenerator(3, 3, width=4, blocks=2, place=1)
    x, message = torch.randn(1, 3, 16, 16), torch.randn(1, 16, 4, 4)
    assert not torch.allclose(G(x, message), G(x))
    calm = G.blocks[1](G.blocks[0](G.down(G.stem(x))))
    torch.testing.assert_close(G(x), G.decode(calm))


def test_what_matches_and_what_does_not_are_parts_of_one_whole():
    torch.manual_seed(0)
    F = SplittingGenerator(3, 3, width=4, blocks=2, place=1)
    x = torch.randn(1, 3, 16, 16)
    h = F.blocks[0](F.down(F.stem(x)))
    split = F(x)
    matchable = h - split.message
    torch.testing.assert_close(split.image, F.decode(F.blocks[1](matchable)))
    ratio = split.message / h
    torch.testing.assert_close(split.unmatchable, ratio.amax(dim=1, keepdim=True), atol=1e-4, rtol=1e-4)
    assert 0 <= split.unmatchable.min() <= split.unmatchable.max() <= 1


def test_where_all_is_matchable_the_masks_are_free_and_there_is_no_message():
    method = build()
    open_mask(method, 100.0)
    split = method.F(batch().unpaired.target)
    assert not split.message.any()
    found = losses(method, batch())["G"]
    assert found["mask_y"].item() == pytest.approx(0, abs=1e-4)
    assert found["consistency_y"] > 0


def test_where_nothing_is_matchable_consistency_is_free_and_the_masks_cost_their_weight():
    method = build()
    open_mask(method, -100.0)
    found = losses(method, batch())["G"]
    assert found["consistency_y"] == found["consistency_stego"] == 0
    assert found["mask_y"].item() == pytest.approx(TINY.lambda_reg)


def test_the_noise_on_the_way_back_comes_from_the_seeds():
    first, again = (losses(build(noise=1.0), batch())["G"]["cycle_y"] for _ in range(2))
    given = batch().unpaired
    other = Pairs(given.source, given.target, given.seeds + 9, given.source_ids, given.target_ids)
    assert first == again
    assert losses(build(noise=1.0), Batch(None, other))["G"]["cycle_y"] != first


def test_one_row_and_bfloat16_give_finite_float32_losses():
    with torch.autocast("cpu", torch.bfloat16):
        for terms in losses(build(), batch(1)).values():
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_the_paper_preset_has_the_published_networks():
    with torch.device("meta"):
        method = StegoGAN(StegoGAN.presets["paper"], 3, 3)
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in method.named_children()}
    assert [count[name] for name in ("G", "F", "D_X", "D_Y")] == [12_558_339, 13_148_419, 2_764_737, 2_764_737]
