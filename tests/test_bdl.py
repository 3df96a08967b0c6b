"""BDL's stages, and its backward direction: F learns from what M sees, and M does not move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sarbench.bench.interface import Batch, Pairs
from sarbench.bench.judges._translator import Change, Cycle, perceptual, windows
from sarbench.bench.judges.bdl import BDL, Config, plan
from sarbench.bench.train import Game, Hardware

CLASSES = ("a", "b", "c")
TRANSLATING = {"translators": 1, "rounds": 1, "labels_alone": 0.2, "translating": 0.5, "first": 0.5}  # 0, 0.2, 0.6, 0.8
PERCEPTUAL = {"per_S", "per_T", "per_recon_S", "per_recon_T"}
MAKING = {"gan_S", "gan_T", "recon_S", "recon_T"}


def bdl(seed: int = 0, **changes: Any) -> BDL:
    torch.manual_seed(seed)
    small = {"width": 4, "crop_px": 32, "batch_size": 2, "translator_blocks": 1}
    return BDL(replace(BDL.presets["tiny"], **small, **changes), 3, CLASSES).train()


def batch(step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, 3, (2, 1, 4, 4), generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    source, target = (torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    ids = ("x", "y")
    return Batch(None, Pairs(source, target, torch.tensor([1, 2]) + 2 * step, ids, ids, {"labels": labels}))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(module: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


# --- Stages ---


def test_stages_follow_algorithm_1() -> None:
    c = replace(Config(), translators=2, rounds=2, labels_alone=0.2, translating=0.5, first=0.5)
    begins, names = zip(*plan(c), strict=True)
    turn = ("translation", "alignment", "self_training", "self_training")
    assert names == ("labels", *turn, *turn)
    assert begins == pytest.approx((0.0, 0.2, 0.4, 0.5, 0.55, 0.6, 0.8, 0.9, 0.95))


def test_without_f_there_is_only_alignment_and_then_self_training() -> None:
    c = replace(Config(), translators=0, rounds=2, first=0.25)
    assert plan(c) == ((0.0, "alignment"), (0.25, "self_training"), (0.625, "self_training"))
    judge = bdl(translators=0, rounds=0)
    assert set(judge.players()) == {"M", "D"}
    assert judge.translator is None
    assert set(dict(judge.training_step(batch(), 0.9))["M"]) == {"segmentation", "adversarial"}


def test_without_f_first_weights_are_those_that_m_and_d_have_with_it() -> None:
    alone, whole = bdl(translators=0).state_dict(), bdl(translators=2).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in alone.items())


def test_stages_of_the_papers_lengths_add_up() -> None:
    c = BDL.presets["paper"]
    ends = [*[begin for begin, _ in plan(c)[1:]], 1.0]
    images = [(stage, (end - begin) * c.budget_images) for (begin, stage), end in zip(plan(c), ends, strict=True)]
    expected = {"labels": 80_000, "translation": 20 * 24_966, "alignment": 80_000, "self_training": 120_000}
    assert all(n == pytest.approx(expected[stage], rel=0.01) for stage, n in images)


def test_each_stage_trains_its_own_players() -> None:
    judge = bdl(**TRANSLATING)
    players = {0.1: ["M"], 0.3: ["F", "D_images"], 0.7: ["M", "D"], 0.9: ["M", "D"]}
    found = {progress: [name for name, _ in judge.training_step(batch(), progress)] for progress in players}
    assert found == players
    turns = {progress: dict(judge.training_step(batch(), progress)) for progress in players}
    assert set(turns[0.1]["M"]) == {"segmentation"}
    assert set(turns[0.3]["F"]) == MAKING | PERCEPTUAL
    assert set(turns[0.7]["M"]) == {"segmentation", "adversarial"}
    assert set(turns[0.9]["M"]) == {"segmentation", "adversarial", "self_training"}


def test_bdl_labels_anew_at_each_round_and_not_before() -> None:
    judge = bdl(translators=0, rounds=2, first=0.25)
    first = judge.before.network.head.branches[0].weight.clone()
    game = Game(judge, Hardware())
    game.step(batch(), 0, 0.0, 0)
    assert torch.equal(judge.before.network.head.branches[0].weight, first)
    here = judge.network.head.branches[0].weight.clone()
    game.step(batch(), 1, 0.25, 0)
    game.step(batch(), 2, 0.5, 0)
    assert torch.equal(judge.before.network.head.branches[0].weight, here)


# --- The backward direction ---


def test_f_that_says_a_change_begins_nearer_to_an_image_and_stays_in_its_range() -> None:
    changes, paints = (bdl(translator_residual=residual).translator for residual in (True, False))
    x = batch().unpaired.source
    assert changes is not None
    assert paints is not None
    assert (changes(x) - x).abs().mean() < 0.5 * (paints(x) - x).abs().mean()
    assert isinstance(changes.F, Change)
    nn.init.constant_(changes.F.generator.head.bias, 10.0)  # adds 1
    assert torch.allclose(changes.F(x), (x + 1).clamp(max=1))


def test_m_gets_no_gradient_from_what_it_sees_of_translations_and_f_does() -> None:
    judge = bdl(**TRANSLATING)
    assert judge.translator is not None
    (name, losses) = next(judge.training_step(batch(), 0.3))
    assert name == "F"
    for term in sorted(PERCEPTUAL):
        judge.zero_grad()
        losses[term].backward(retain_graph=True)  # into everything that can take one
        assert all(p.grad is None for p in judge.network.parameters())
        assert all(p.grad is None for p in judge.before.parameters())
        assert all(p.grad is None for D in judge.translator.discriminators for p in D.parameters())
        reached = [any(p.grad is not None and p.grad.any() for p in G.parameters()) for G in judge.translator.generators]
        both = "recon" in term
        assert reached == [both or term == "per_S", both or term == "per_T"]


def test_m_is_still_while_f_learns_and_f_while_m_learns() -> None:
    judge = bdl(**TRANSLATING)
    assert judge.translator is not None
    game = Game(judge, Hardware())
    game.step(batch(0), 0, 0.0, 0)
    M, D, translator = state(judge.network), state(judge.D), state(judge.translator)
    game.step(batch(1), 1, 0.3, 0)
    game.step(batch(2), 2, 0.4, 0)
    assert not moved(judge.network, M)
    assert not moved(judge.before.network, M)  # M of the stage before is what F is overseen by
    assert not moved(judge.D, D)
    assert moved(judge.translator, translator)
    translator = state(judge.translator)
    game.step(batch(3), 3, 0.7, 0)
    assert not moved(judge.translator, translator)
    assert moved(judge.network, M)


def test_m_learns_from_translations_once_there_is_f() -> None:
    judge = bdl(**TRANSLATING)
    seen: list[torch.Tensor] = []
    judge.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for progress in (0.1, 0.7):
        next(judge.training_step(batch(), progress))
    assert judge.translator is not None
    given = batch().unpaired
    assert torch.equal(seen[0], given.source)
    assert torch.equal(seen[1], torch.cat([judge.translator(given.source), given.target]))
    assert not seen[1].requires_grad


@pytest.mark.parametrize("term", ["lambda_gan", "lambda_recon", "lambda_per", "lambda_per_recon"])
def test_no_loss_of_f_is_dead(term: str) -> None:
    def translated(**changes: float) -> torch.Tensor:
        judge = bdl(**TRANSLATING, **changes)
        Game(judge, Hardware()).step(batch(), 0, 0.3, 0)
        assert judge.translator is not None
        return judge.translator(batch().unpaired.source)

    assert not torch.equal(translated(), translated(**{term: 0.0}))


def test_a_training_killed_while_f_learns_goes_on_to_the_same_bytes() -> None:
    progress = (0.0, 0.25, 0.35, 0.45, 0.55, 0.7, 0.9)  # 0.25 to 0.55: F
    changes = {**TRANSLATING, "pool_size": 1}  # full, so that its images come back

    def run(game: Game, steps: range) -> Game:
        for step in steps:
            game.step(batch(step), step, progress[step], seed=3)
        return game

    whole = run(Game(bdl(**changes), Hardware()), range(7)).state()
    killed = run(Game(bdl(**changes), Hardware()), range(3)).state()
    resumed = Game(bdl(seed=9, **changes), Hardware())
    resumed.load_state(killed)
    found = run(resumed, range(3, 7)).state()
    assert found.keys() == whole.keys()
    assert all(torch.equal(value, found[name]) for name, value in whole.items())


def test_what_m_sees_differently_is_measured_on_normalised_scores() -> None:
    def scores(images: torch.Tensor) -> torch.Tensor:  # one class, whose score is three times the first band, and 5
        return 3 * images[:, :1] + 5

    right, left = torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, 1.0]])
    half = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    S, T = right.expand(2, 2)[None, None], left.expand(2, 2)[None, None]
    turned = half.t()[None, None]  # two of four values have the other sign
    cycle = Cycle(S, T, S_translated=T, T_translated=0.1 * T, S_again=0.5 * S - 0.2, T_again=turned)
    found = perceptual(scores, cycle, weight=0.1, weight_recon=10.0)
    assert found["per_S"].item() == pytest.approx(0.1 * 2, rel=1e-4)  # +1 and -1 lie 2 apart everywhere
    assert found["per_T"].item() == pytest.approx(0.0, abs=1e-4)  # contrast does not count
    assert found["per_recon_S"].item() == pytest.approx(0.0, abs=1e-3)  # nor does brightness
    assert found["per_recon_T"].item() == pytest.approx(10 * 1, rel=1e-4)  # half of the pixels lie 2 apart


def test_windows_lie_inside_and_are_the_same_for_a_seed_in_any_batch() -> None:
    images = torch.arange(2 * 24 * 40, dtype=torch.float32).view(2, 1, 24, 40)
    found = windows(images, torch.tensor([5, 6]), 18, "window")
    assert found.shape == (2, 1, 16, 16)
    assert torch.equal(found[1:], windows(images[1:], torch.tensor([6]), 18, "window"))
    top, left = divmod(int(found[0, 0, 0, 0]), 40)
    assert torch.equal(found[0], images[0, :, top : top + 16, left : left + 16])
    assert torch.equal(windows(images, torch.tensor([5, 6]), 452, "window"), images)
