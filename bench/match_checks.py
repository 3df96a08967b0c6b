"""Every promise of a matcher as one function, `check_<promise>`; `sarbench check-method NAME` runs them.

What matchers share with translation methods is checked by the functions of `bench.checks`, named in SHARED.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench import checks, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import key, normal
from sarbench.bench.match import match
from sarbench.bench.match_loader import keyed_offset
from sarbench.bench.matcher import MatchBatch, Matcher, Patches, template_px
from sarbench.bench.train import Game, Hardware, read_weights, write_weights

CPU = Hardware()
OVERFIT_STEPS = 100  # at most; the check ends as soon as templates are found better
SHARED = (
    checks.check_card_is_complete,
    checks.check_config_is_frozen_and_sourced,
    checks.check_paper_preset_builds_without_memory,
    checks.check_every_loss_reaches_its_player,
    checks.check_every_parameter_belongs_to_one_player,
)


@dataclass(frozen=True)
class MatchCase:
    """A matcher at its `tiny` preset, with made-up ground that it can learn to match."""

    name: str

    @property
    def cls(self) -> type[Matcher]:
        """The matcher's class."""
        return registry.load_matcher(self.name)

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of template and search image: unequal where the card allows."""
        return (3, 3) if self.cls.card.channels == "same" else (1, 3)

    def build(self, seed: int = 0) -> Matcher:
        """The matcher as the harness builds it."""
        torch.manual_seed(key(seed, "init"))
        return self.cls(self.cls.presets["tiny"], *self.channels)

    fitted = build

    @property
    def side(self) -> int:
        """The smallest side of a search image of at least 64 px that the matcher takes, and its template's too."""
        least = 4 * self.build().size_multiple
        return least * -(-64 // least)

    def patches(self, n: int, search_px: int, seed: int = 0, *, labelled: bool = True) -> Patches:
        """Templates and search images of random ground: two different functions of it, as of two sensors."""
        seeds = torch.tensor([key("check", seed, i) for i in range(n)])
        ground = normal(seeds, (1, search_px // 4, search_px // 4), "ground")
        ground = torch.tanh(F.interpolate(ground, (search_px, search_px), mode="bilinear", align_corners=False))
        search = torch.cat([0.8 * ground, -0.5 * ground + 0.2, ground.square() - 0.3], dim=1)
        inner, offsets = template_px(search_px), [keyed_offset(search_px, seed, i) for i in range(n)]
        template = torch.stack([g[:, y : y + inner, x : x + inner] for g, (y, x) in zip(ground, offsets, strict=True)])
        ids = tuple(f"check/{i}" for i in range(n))
        template = (-template.abs() + 0.5).expand(-1, self.channels[0], -1, -1).contiguous()
        return Patches(template, search, seeds, ids, torch.tensor(offsets) if labelled else None)

    def batch(self, seed: int = 0) -> MatchBatch:
        """A training batch of the matcher's own size, holding what its supervision asks for."""
        matcher = self.build()
        n = matcher.labelled_rows
        rest = matcher.config.batch_size - n
        return MatchBatch(
            self.patches(n, self.side, seed) if n else None,
            self.patches(rest, self.side, seed + 1000, labelled=False) if rest else None,
        )

    def ready(self, steps: int = 2, seed: int = 0) -> Matcher:
        """The matcher trained for a few steps, in eval mode."""
        matcher = self.build(seed)
        if matcher.players():
            game = Game(matcher, CPU)
            for step in range(steps):
                game.step(self.batch(seed=step), step, step / steps, seed)
        return matcher.eval()

    def match(self, matcher: Matcher, patches: Patches) -> Tensor:
        """The matcher's surfaces, held to the contract."""
        return match(matcher, patches.template, patches.search, CPU)


def all_checks() -> list[Callable[[MatchCase], None]]:
    """Every check of a matcher, in order."""
    own = [value for name, value in globals().items() if name.startswith("check_") and inspect.isfunction(value)]
    return [*SHARED, *own]  # type: ignore[list-item]


# --- Matching --------------------------------------------------------------------------------------------------------


def check_a_surface_has_every_place(case: MatchCase) -> None:
    """One finite number for each offset at which the template fits, also for sides other than those of training."""
    matcher = case.ready()
    for search_px in (case.side, 2 * case.side):
        places = search_px - template_px(search_px) + 1
        assert case.match(matcher, case.patches(2, search_px)).shape == (2, places, places)


def check_bad_pairs_are_refused(case: MatchCase) -> None:
    """A dtype, a channel count or a side that the card does not allow, or a template that does not fit, is a ContractError."""
    matcher, good = case.ready(), case.patches(1, case.side)
    bad = {
        "double": replace(good, template=good.template.double()),
        "template channels": replace(good, template=torch.cat([good.template, good.template], dim=1)),
        "search channels": replace(good, search=good.search[:, :2]),
        "template that does not fit": replace(good, template=F.pad(good.template, (0, case.side, 0, 0))),
    }
    if matcher.size_multiple > 1:
        bad["side"] = replace(good, search=F.pad(good.search, (0, 1)))
    for what, patches in bad.items():
        try:
            case.match(matcher, patches)
        except ContractError:
            continue
        raise AssertionError(f"a pair was not refused: {what}")


def check_flat_images_give_numbers(case: MatchCase) -> None:
    """Black, white and grey images without any texture have a finite surface too."""
    matcher, patches = case.ready(), case.patches(3, case.side)
    levels = torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None]
    flat = replace(patches, template=levels.expand_as(patches.template), search=levels.expand_as(patches.search))
    case.match(matcher, flat)
    case.match(matcher, replace(patches, template=flat.template))


def check_batch_composition_does_not_matter(case: MatchCase) -> None:
    """A surface is the same alone, in a batch, and in any order."""
    matcher, patches = case.ready(), case.patches(3, case.side)
    together = case.match(matcher, patches)
    alone = torch.cat([case.match(matcher, patches.rows(i, i + 1)) for i in range(3)])
    order = torch.tensor([2, 0, 1])
    moved = match(matcher, patches.template[order], patches.search[order], CPU)
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved, together[order], atol=1e-4, rtol=1e-4)


def check_matching_is_deterministic(case: MatchCase) -> None:
    """Equal images give equal surfaces, whatever the global generator."""
    matcher, patches = case.ready(), case.patches(2, case.side)
    first = case.match(matcher, patches)
    torch.manual_seed(1)
    assert torch.equal(first, case.match(matcher, patches)), "the same images gave another surface"


def check_matching_changes_nothing(case: MatchCase) -> None:
    """Matching moves no weight, buffer or statistic."""
    matcher = case.ready()
    before = {name: value.clone() for name, value in matcher.state_dict().items()}
    case.match(matcher, case.patches(2, case.side))
    assert all(torch.equal(value, before[name]) for name, value in matcher.state_dict().items())


def check_no_answer_reaches_match(case: MatchCase) -> None:
    """A fresh process that holds only the weights and the images gives the same surfaces."""
    assert list(inspect.signature(case.cls.match).parameters) == ["self", "template", "search"]
    matcher, patches = case.ready(), case.patches(2, case.side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_weights(folder / "weights.safetensors", matcher.state_dict(), "check")
        np.savez(folder / "pair.npz", template=patches.template.numpy(), search=patches.search.numpy())
        plugins = [str(path) for path in registry.added_plugins()]
        (folder / "case.json").write_text(json.dumps({"name": case.name, "plugins": plugins}))
        hidden = {"SARBENCH_DATA", "PYTEST_CURRENT_TEST"}
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in hidden},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"matching in a fresh process failed:\n{done.stderr}"
        alone = torch.from_numpy(np.load(folder / "surface.npy"))
    torch.testing.assert_close(alone, case.match(matcher, patches), atol=1e-5, rtol=1e-5)


def _match_alone() -> None:
    """What the fresh process of `check_no_answer_reaches_match` runs, in a folder that holds no offset."""
    described = json.loads(Path("case.json").read_text())
    for plugin in described["plugins"]:
        registry.add_plugin(plugin)
    matcher = MatchCase(described["name"]).build(seed=1)
    state = read_weights(Path("weights.safetensors"))
    assert state is not None
    matcher.load_state_dict(state)
    given = np.load("pair.npz")
    surface = match(matcher, torch.from_numpy(given["template"]), torch.from_numpy(given["search"]), CPU)
    np.save("surface.npy", surface.numpy())


# --- Training --------------------------------------------------------------------------------------------------------


def check_unlabelled_pairs_stay_unlabelled(case: MatchCase) -> None:
    """Offsets planted where none should be, in unlabelled pairs, change nothing that is learned."""
    if not case.build().players() or case.batch()._unlabelled is None:
        return
    states = []
    for planted in (False, True):
        matcher = case.build()
        game = Game(matcher, CPU)
        for step in range(2):
            batch = case.batch(seed=step)
            rest = case.patches(len(batch.unlabelled), case.side, step + 1000, labelled=planted)
            game.step(replace(batch, _unlabelled=rest), step, step / 2, 0)
        states.append(matcher.state_dict())
    different = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    assert not different, f"labels of unlabelled pairs reach {', '.join(different[:10])}"


def check_state_dict_round_trip(case: MatchCase) -> None:
    """The state of a trained matcher makes a fresh one match alike."""
    matcher, patches = case.ready(), case.patches(2, case.side)
    fresh = case.build(seed=1)
    fresh.load_state_dict(matcher.state_dict())
    assert torch.equal(case.match(fresh, patches), case.match(matcher, patches))


def check_same_seed_same_bytes(case: MatchCase) -> None:
    """Two trainings of one seed end in the same bytes."""
    first, second = (case.ready(steps=2, seed=3).state_dict() for _ in range(2))
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"the same seed gave other values in {', '.join(different[:10])}"


def check_four_pairs_can_be_learned(case: MatchCase) -> None:
    """Over-fitting four pairs: fewer places are preferred to the right one than before."""
    matcher = case.build()
    if not matcher.players():
        return
    four, rows = case.patches(4, case.side), matcher.labelled_rows
    game, first = Game(matcher, CPU), _preferred(case, matcher, four)
    for step in range(OVERFIT_STEPS):
        matcher.train()
        order = [(step * max(1, rows) + i) % 4 for i in range(max(1, rows))]
        chosen = [four.rows(i, i + 1) for i in order]
        labelled = Patches(
            torch.cat([p.template for p in chosen]),
            torch.cat([p.search for p in chosen]),
            torch.cat([p.seeds for p in chosen]),
            tuple(four.ids[i] for i in order),
            torch.cat([p.offset for p in chosen]),
        )
        game.step(replace(case.batch(seed=step), _labelled=labelled if rows else None), step, 0.0, 0)
        if step % 5 == 4 and _preferred(case, matcher, four) < checks.FALL * first:
            return
    raise AssertionError(f"after {OVERFIT_STEPS} steps on four pairs: {first:.3g} -> {_preferred(case, matcher, four):.3g}")


def _preferred(case: MatchCase, matcher: Matcher, patches: Patches) -> float:
    """The share of places that score at least as high as the right one, over some pairs."""
    surface = case.match(matcher, patches)
    y, x = patches.offset.T
    right = surface[torch.arange(len(surface)), y, x]
    return float((surface >= right[:, None, None]).double().mean())


if __name__ == "__main__":
    _match_alone()
