"""Every promise of a method as one function, `check_<promise>`; third parties run them by `sarbench check-method NAME`.

A check takes a `Case` and raises AssertionError, or the method's own error, where the promise is broken. A method that
cannot keep one declares it in `expected_failures` with the reason; a promise that is kept after all then fails too.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Method, Pairs, key, normal
from sarbench.bench.train import Game, Hardware, read_weights, write_weights
from sarbench.bench.translate import backwards, map_of, translate, upper_bound

CPU = Hardware()
OVERFIT_STEPS = 300  # at most; the check ends as soon as the loss has fallen
FALL = 0.9  # the share of its first value that a loss must fall below


@dataclass(frozen=True)
class Case:
    """A method at its `tiny` preset, with made-up images that it can learn from."""

    name: str

    @property
    def cls(self) -> type[Method]:
        """The method's class."""
        return registry.load_method(self.name)

    @property
    def channels(self) -> tuple[int, int]:
        """Source and target channels: unequal where the card allows."""
        return (3, 3) if self.cls.card.channels == "same" else (1, 3)

    def build(self, seed: int = 0, config: Any = None) -> Method:
        """The method as the harness builds it; with its `tiny` config, unless told otherwise."""
        torch.manual_seed(key(seed, "init"))
        return self.cls(self.cls.presets["tiny"] if config is None else config, *self.channels)

    def fitted(self) -> Method:
        """The method, after it has seen three pairs once."""
        method = self.build()
        method.fit(iter([self.pairs(3, self.side, self.side)]))
        return method

    @property
    def side(self) -> int:
        """The smallest allowed side of at least 64 px."""
        method = self.build()
        return method.fixed_size or method.size_multiple * -(-64 // method.size_multiple)

    def pairs(self, n: int, height: int, width: int, seed: int = 0) -> Pairs:
        """Smooth random sources, and targets that are a fixed function of them."""
        seeds = torch.tensor([key("check", seed, i) for i in range(n)])
        coarse = normal(seeds, (1, max(1, height // 8), max(1, width // 8)), "source")
        source = torch.tanh(F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False))
        target = torch.cat([0.8 * source, -0.5 * source + 0.2, source.square() - 0.3], dim=1)
        ids = tuple(f"check/{i}" for i in range(n))
        aux = dict.fromkeys(self.cls.card.aux, target[:, :1])
        return Pairs(source.expand(-1, self.channels[0], -1, -1).contiguous(), target, seeds, ids, ids, aux)

    def batch(self, n: int | None = None, seed: int = 0) -> Batch:
        """A training batch of the method's own size, holding what its supervision asks for."""
        n = n or self.cls.presets["tiny"].batch_size
        pairs = self.pairs(n, self.side, self.side, seed)
        supervision = self.cls.card.supervision
        other = self.pairs(n, self.side, self.side, seed + 1)
        unpaired = Pairs(pairs.source, other.target, pairs.seeds, pairs.source_ids, other.target_ids, pairs.aux)
        return Batch(
            pairs if supervision in ("paired", "semi") else None, unpaired if supervision in ("unpaired", "semi") else None
        )

    def ready(self, steps: int = 2, seed: int = 0, config: Any = None) -> Method:
        """The method fitted and trained for a few steps, in eval mode."""
        method = self.build(seed, config)
        method.fit(iter([self.pairs(3, self.side, self.side)]))
        if method.players():
            game = Game(method, CPU)
            for step in range(steps):
                game.step(self.batch(seed=step), step, step / steps, seed)
        return method.eval()

    def translate(self, method: Method, pairs: Pairs) -> Tensor:
        """The method's translation, held to the contract."""
        return translate(method, pairs.source, pairs.seeds, CPU)


def all_checks() -> list[Callable[[Case], None]]:
    """Every check of this file, in order."""
    module = sys.modules[__name__]
    return [value for name, value in vars(module).items() if name.startswith("check_") and inspect.isfunction(value)]


def case_of(name: str) -> Any:
    """The case of a method: a `Case`, or for a matcher a `match_checks.MatchCase`."""
    from sarbench.bench.match_checks import MatchCase

    return MatchCase(name) if registry.task_of(name) == "matching" else Case(name)


def checks_of(name: str) -> Sequence[Callable[[Any], None]]:
    """The checks that a method of that name is held to."""
    from sarbench.bench import match_checks

    return match_checks.all_checks() if registry.task_of(name) == "matching" else all_checks()


def run_check(check: Callable[[Any], None], case: Any) -> None:
    """Run one check; an expected failure that does not come is an AssertionError."""
    reason = case.cls.expected_failures.get(check.__name__)
    if reason is None:
        check(case)
        return
    try:
        check(case)
    except Exception:
        return
    raise AssertionError(f"{case.name} keeps {check.__name__} after all; drop it from expected_failures ({reason})")


# --- The card and the configuration ----------------------------------------------------------------------------------


def check_card_is_complete(case: Case) -> None:
    """The card is made of literals, names its source, and the docstring says how the code differs from the paper."""
    card = case.cls.card
    literal = dict(registry.card_of("methods", case.name))
    assert literal, "write `card = Card(...)` with literal keyword arguments in the class body"
    assert all(asdict(card)[name] == value for name, value in literal.items()), "the card must be made of literals alone"
    assert card.title, "the card needs a title"
    assert card.paper, "the card needs the paper's URL, or for a floor the reason it is on the board"
    assert 1950 < card.year < 2100, f"the year {card.year} is not one of a paper"
    assert card.role == "floor" or card.paper.startswith("http"), "a method's card names its paper by URL"
    assert card.size_multiple >= 1
    assert card.evaluations >= (0 if card.role == "floor" else 1), "evaluations counts the network evaluations of one image"
    unknown = set(case.cls.expected_failures) - {check.__name__ for check in checks_of(case.name)}
    assert not unknown, f"expected_failures names unknown checks: {unknown}"
    text = inspect.getdoc(sys.modules[case.cls.__module__]) or ""
    if card.role == "method":
        assert "Differs from the paper" in text, 'the module docstring needs a line "Differs from the paper: ..."'
        assert card.paper in text, "the module docstring names the card's paper"


def check_config_is_frozen_and_sourced(case: Case) -> None:
    """Each preset is a frozen dataclass of one class, and every value says where it comes from."""
    presets = case.cls.presets
    assert set(presets) == {"paper", "bench", "tiny"}, f"presets are paper, bench and tiny, found {sorted(presets)}"
    assert len({type(config) for config in presets.values()}) == 1, "all presets are of one class"
    for name, config in presets.items():
        assert is_dataclass(config), f"the preset {name} is not a dataclass"
        assert not isinstance(config, type), f"the preset {name} is a class; write Config()"
        for field in fields(config):
            assert field.metadata.get("source"), f"{field.name} has no source: write setting(value, 'Sec. 4.2')"
            try:
                setattr(config, field.name, None)
            except FrozenInstanceError:
                continue
            raise AssertionError("the config is not frozen: write @dataclass(frozen=True)")
        json.dumps(asdict(config), allow_nan=False)
    if case.build().players():
        assert presets["tiny"].batch_size >= 1, "a method that learns has a batch_size"


def check_paper_preset_builds_without_memory(case: Case) -> None:
    """The paper preset can be built on the meta device, where counting parameters costs nothing."""
    with torch.device("meta"):
        method = case.cls(case.cls.presets["paper"], *case.channels)
    assert all(parameter.is_meta for parameter in method.parameters())


# --- Translation -----------------------------------------------------------------------------------------------------


def check_translation_keeps_the_grid(case: Case) -> None:
    """Square and non-square images of every allowed kind keep their height and width."""
    method, side = case.ready(), case.side
    shapes = [(side, side)] if method.fixed_size else [(side, side), (side, side + method.size_multiple), (2 * side, side)]
    for height, width in shapes:
        assert case.translate(method, case.pairs(2, height, width)).shape == (2, case.channels[1], height, width)


def check_bad_sources_are_refused(case: Case) -> None:
    """A side, a channel count or a dtype that the card does not allow is a ContractError."""
    method, side = case.ready(), case.side
    good = case.pairs(1, side, side).source
    bad = {"double": good.double(), "channels": torch.cat([good, good], dim=1)}
    if method.size_multiple > 1 or method.fixed_size:
        bad["side"] = case.pairs(1, side, side + 1).source
    for what, source in bad.items():
        try:
            translate(method, source, torch.zeros(1, dtype=torch.int64), CPU)
        except ContractError:
            continue
        raise AssertionError(f"a source of the wrong {what} was not refused")


def check_translation_is_an_image(case: Case) -> None:
    """Float32 in [-1, 1] and finite, also for black, white and flat sources."""
    method, pairs = case.ready(), case.pairs(3, case.side, case.side)
    flat = torch.stack([torch.full_like(pairs.source[0], value) for value in (-1.0, 0.0, 1.0)])
    for source in (pairs.source, flat):
        output = translate(method, source, pairs.seeds, CPU)
        assert output.dtype == torch.float32


def check_batch_composition_does_not_matter(case: Case) -> None:
    """An image is the same alone, in a batch, and in any order, given its seed."""
    method, pairs = case.ready(), case.pairs(3, case.side, case.side)
    together = case.translate(method, pairs)
    alone = torch.cat([case.translate(method, pairs.rows(i, i + 1)) for i in range(3)])
    order = torch.tensor([2, 0, 1])
    moved = translate(method, pairs.source[order], pairs.seeds[order], CPU)
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)
    torch.testing.assert_close(moved, together[order], atol=1e-4, rtol=0)


def check_seeds_are_all_the_randomness(case: Case) -> None:
    """Equal seeds give equal images whatever the global generator; other seeds change them only if the card says so."""
    method, pairs = case.ready(), case.pairs(2, case.side, case.side)
    first = case.translate(method, pairs)
    torch.manual_seed(1)
    assert torch.equal(first, case.translate(method, pairs)), "the same seeds gave another image"
    other = translate(method, pairs.source, pairs.seeds + 1, CPU)
    assert torch.equal(first, other) != case.cls.card.stochastic, f"card.stochastic is {case.cls.card.stochastic}"


def check_translation_changes_nothing(case: Case) -> None:
    """Translating moves no weight, buffer or statistic."""
    method = case.ready()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    case.translate(method, case.pairs(2, case.side, case.side))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def check_the_other_directions_are_translations(case: Case) -> None:
    """The way back and the upper bound, where a method has them, keep the grid and do not depend on the batch."""
    pairs, ready, (c_source, c_target) = case.pairs(2, case.side, case.side), case.ready(), case.channels
    has_way_back = case.cls.translate_back is not Method.translate_back
    for view, channels, there in ((backwards, c_source, has_way_back), (upper_bound, c_target, ready.has_upper_bound)):
        if not there:
            continue
        method = view(ready)
        together = translate(method, pairs.target, pairs.seeds, CPU)
        assert together.shape == (2, channels, case.side, case.side)
        alone = torch.cat([translate(method, pairs.target[i : i + 1], pairs.seeds[i : i + 1], CPU) for i in range(2)])
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)


def check_maps_are_images(case: Case) -> None:
    """Each map that a method names can be shown: one channel, the grid of the source, values in [-1, 1]."""
    pairs = case.pairs(2, case.side, case.side)
    for name in case.cls.maps:
        shown = translate(map_of(case.ready(), name), pairs.source, pairs.seeds, CPU)
        assert shown.shape == (2, 1, case.side, case.side)


def check_no_target_reaches_translate(case: Case) -> None:
    """A fresh process that holds only the weights, the source and the seeds gives the same images."""
    assert list(inspect.signature(case.cls.translate).parameters) == ["self", "source", "seeds"]
    method, pairs = case.ready(), case.pairs(2, case.side, case.side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_weights(folder / "weights.safetensors", method.state_dict(), "check")
        np.savez(folder / "source.npz", source=pairs.source.numpy(), seeds=pairs.seeds.numpy())
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
        assert done.returncode == 0, f"translating in a fresh process failed:\n{done.stderr}"
        alone = torch.from_numpy(np.load(folder / "translated.npy"))
    torch.testing.assert_close(alone, case.translate(method, pairs), atol=1e-5, rtol=0)


def _translate_alone() -> None:
    """What the fresh process of `check_no_target_reaches_translate` runs, in a folder that holds no target."""
    described = json.loads(Path("case.json").read_text())
    for plugin in described["plugins"]:
        registry.add_plugin(plugin)
    method = Case(described["name"]).build(seed=1)
    state = read_weights(Path("weights.safetensors"))
    assert state is not None
    method.load_state_dict(state)
    given = np.load("source.npz")
    output = translate(method, torch.from_numpy(given["source"]), torch.from_numpy(given["seeds"]), CPU)
    np.save("translated.npy", output.numpy())


# --- Training --------------------------------------------------------------------------------------------------------


def check_every_loss_reaches_its_player(case: Case) -> None:
    """Every declared loss has a non-zero gradient in its player's parameters, and every parameter gets a gradient.

    Looked at over the whole of training, since schedules switch terms on and off.
    """
    method = case.fitted().train()
    players = method.players()
    reached: dict[str, bool] = {}
    moved: dict[str, set[int]] = {name: set() for name in players}
    for step, progress in enumerate((0.0, 0.3, 0.6, 0.95) if players else ()):
        torch.manual_seed(step)
        for name, losses in method.training_step(case.batch(seed=step), progress):
            parameters = players[name].parameters()
            for term, loss in losses.items():
                label = f"{name}.{term}"
                assert torch.isfinite(loss), f"{label} is {loss.item()}"
                assert loss.ndim == 0, f"{label} is not a scalar"
                grads = (
                    torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) if loss.requires_grad else ()
                )
                touched = {i for i, grad in enumerate(grads) if grad is not None}
                moved[name] |= touched
                reached[label] = reached.get(label, False) or any(bool(grad.any()) for grad in grads if grad is not None)
    dead = [label for label, alive in reached.items() if not alive]
    assert not dead, f"losses without a gradient: {', '.join(dead)}"
    for name, player in players.items():
        assert moved[name], f"the player {name!r} never had a turn"
        owned = {id(p): path for path, p in method.named_parameters()}
        still = [owned.get(id(p), "?") for i, p in enumerate(player.parameters()) if i not in moved[name]]
        assert not still, f"parameters of {name!r} without a gradient: {', '.join(still[:10])}"


def check_every_parameter_belongs_to_one_player(case: Case) -> None:
    """A trainable parameter is moved by one player alone, and none is left without."""
    method = case.build()
    owners: dict[int, list[str]] = {}
    for name, player in method.players().items():
        for parameter in player.parameters():
            owners.setdefault(id(parameter), []).append(name)
    for path, parameter in method.named_parameters():
        if parameter.requires_grad:
            found = owners.get(id(parameter), [])
            assert len(found) == 1, f"{path} belongs to {found or 'no player'}; freeze it with requires_grad_(False) or name it"


def check_state_dict_round_trip(case: Case) -> None:
    """The state of a trained method makes a fresh one translate alike."""
    method, pairs = case.ready(), case.pairs(2, case.side, case.side)
    fresh = case.build(seed=1)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(case.translate(fresh.eval(), pairs), case.translate(method, pairs))


def check_same_seed_same_bytes(case: Case) -> None:
    """Two trainings of one seed end in the same bytes."""
    first, second = (case.ready(steps=2, seed=3).state_dict() for _ in range(2))
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"the same seed gave other values in {', '.join(different[:10])}"


def check_settings_of_translations_do_not_train(case: Case) -> None:
    """What a setting with `trains=False` changes is no weight: the same seed ends in the same bytes."""
    config = case.cls.presets["tiny"]
    changed = {
        f.name: _another(getattr(config, f.name), get_type_hints(type(config))[f.name])
        for f in fields(config)
        if not f.metadata.get("trains", True)
    }
    if not changed:
        return
    before, after = (case.ready(config=c).state_dict() for c in (config, replace(config, **changed)))
    assert before.keys() == after.keys(), f"{', '.join(changed)} change which weights there are; leave out trains=False"
    different = [name for name in before if not torch.equal(before[name], after[name])]
    assert not different, f"{', '.join(changed)} change {', '.join(different[:10])} in training; leave out trains=False"


def _another(value: Any, hint: Any) -> Any:
    """A value that a setting may have as well."""
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return value[:-1]
    return value + 1 if isinstance(value, int) else value / 2


def check_loss_falls_on_four_pairs(case: Case) -> None:
    """Over-fitting four pairs: the distance to the target falls (pairs are seen), or else the sum of all losses."""
    method = case.build()
    method.fit(iter([case.pairs(4, case.side, case.side)]))
    if not method.players():
        return
    four = case.pairs(4, case.side, case.side)
    sees_pairs = case.cls.card.supervision in ("paired", "semi")
    game = Game(method, CPU)
    batches = _four_pairs(case, four)
    history: list[float] = []
    for step in range(OVERFIT_STEPS):
        method.train()
        losses = game.step(next(batches), step, 0.0, 0)
        if sees_pairs and step % 20 == 0:
            history.append(float((case.translate(method, four) - four.target).abs().mean()))
        elif not sees_pairs:
            history.append(float(sum(losses.values())))
        recent = history[-1] if sees_pairs else float(np.mean(history[-10:]))
        if len(history) > (1 if sees_pairs else 20) and recent < FALL * float(np.mean(history[: 1 if sees_pairs else 5])):
            return
    raise AssertionError(f"after {OVERFIT_STEPS} steps on four pairs: {history[0]:.4g} -> {history[-1]:.4g}")


def _four_pairs(case: Case, four: Pairs) -> Iterator[Batch]:
    """The four pairs again and again, in batches of the method's own size, but no pair twice in one."""
    size: int = min(4, case.cls.presets["tiny"].batch_size)
    supervision, at = case.cls.card.supervision, 0
    while True:
        rows = [(at + i) % 4 for i in range(size)]
        at += size

        def pick(order: list[int], rows: list[int] = rows) -> Any:
            targets = [order[i] for i in rows]
            return Pairs(
                four.source[rows],
                four.target[targets],
                four.seeds[rows],
                tuple(four.source_ids[i] for i in rows),
                tuple(four.target_ids[i] for i in targets),
                {name: value[rows] for name, value in four.aux.items()},
            )

        yield Batch(
            pick([0, 1, 2, 3]) if supervision in ("paired", "semi") else None,
            pick([2, 3, 0, 1]) if supervision in ("unpaired", "semi") else None,
        )


# --- The command -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one check said."""

    check: str
    passed: bool
    message: str  # empty, the failure, or the reason of an expected failure


def run_checks(name: str) -> Iterator[Outcome]:
    """All checks of one method, one after the other."""
    case = case_of(name)
    for check in checks_of(name):
        expected = case.cls.expected_failures.get(check.__name__, "")
        try:
            run_check(check, case)
        except Exception as error:
            text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
            yield Outcome(check.__name__, False, f"{type(error).__name__}: {text}")
        else:
            yield Outcome(check.__name__, True, f"expected failure: {expected}" if expected else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench check-method`."""
    parser.add_argument("name", nargs="?", help="the method; not needed with one --plugin")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file that holds the method")


def command(args: argparse.Namespace) -> int:
    """Print a line for each check; 1 if any failed."""
    added = [registry.add_plugin(plugin) for plugin in args.plugin]
    if args.name is None and len(added) != 1:
        raise ContractError("name the method to check, or give one --plugin FILE")
    failed = 0
    for outcome in run_checks(args.name or added[0]):
        failed += not outcome.passed
        promise = outcome.check.removeprefix("check_").replace("_", " ")
        print(f"{'ok  ' if outcome.passed else 'FAIL'}  {promise}  {outcome.message}")
    return 1 if failed else 0


if __name__ == "__main__":
    _translate_alone()
