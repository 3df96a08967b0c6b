"""Each check finds the bug it is there for: an honest little method passes, and one planted fault at a time does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sarbench.bench import checks, registry, scaffold

HONEST = scaffold.METHOD.format(title="honest", cls="Honest")
STEP = 'yield "G", {"l1": self.config.lambda_l1 * (self.G(x) - y).abs().mean()}'
OUT = "return self.G(source)"


def case_of(folder: Path, text: str, name: str) -> checks.Case:
    (folder / f"{name}.py").write_text(text)
    registry.add_plugin(folder / f"{name}.py")
    return checks.Case(name)


@pytest.fixture(autouse=True)
def _no_added_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__)
def test_the_honest_method_passes(tmp_path: Path, check: Callable[[checks.Case], None]) -> None:
    checks.run_check(check, case_of(tmp_path, HONEST, "honest"))


FAULTS = {
    # the published faults that the checks are named for
    "a loss computed without gradient": ("every_loss_reaches", STEP, STEP.replace("self.G(x)", "self.G(x).detach()") + "\n"),
    "a cycle under no_grad beside a live loss": (
        "every_loss_reaches",
        STEP,
        "dead = (self.G(x) - y).square().mean().detach()\n"
        '        yield "G", {"l1": (self.G(x) - y).abs().mean(), "cycle": dead}',
    ),
    "a term that is multiplied away": (
        "every_loss_reaches",
        STEP,
        'fake = self.G(x)\n        yield "G", {"l1": (fake - y).abs().mean(), "extra": 0.0 * fake.square().mean()}',
    ),
    "a network that no loss moves": (
        "every_loss_reaches",
        "    def players",
        "        self.unused = nn.Conv2d(1, 1, 1)\n\n    def players",
        ("Player(self.G,", "Player((self.G, self.unused),"),
    ),
    "a network that no player owns": (
        "every_parameter_belongs",
        "    def players",
        "        self.unused = nn.Conv2d(1, 1, 1)\n\n    def players",
    ),
    "a step that leaves its player still": ("loss_falls", "adam(self.config.learning_rate,", "adam(0.0,"),
    "noise from the global generator": (
        "seeds_are_all",
        OUT,
        "import torch\n        return (0.9 * self.G(source) + 0.1 * torch.rand_like(source[:, :1]))",
    ),
    "noise in training from the clock": (
        "same_seed_same_bytes",
        STEP,
        "import time\n        x = x + time.perf_counter_ns() % 997 / 997\n        " + STEP,
    ),
    "a statistic of the batch": ("batch_composition", OUT, "return self.G(source - source.mean())"),
    "a mean of the batch by batch norm in train mode": (
        "batch_composition",
        OUT,
        "return nn.functional.batch_norm(self.G(source), None, None, training=True).tanh()",
    ),
    "a picture cut by a border": ("keeps_the_grid", OUT, "return self.G(source)[:, :, 1:, 1:]"),
    "an unbounded output": ("is_an_image", OUT, "return 3 * self.G(source)"),
    "a NaN on flat images": ("is_an_image", OUT, "return self.G(source / source.std(dim=(2, 3), keepdim=True))"),
    "a config that can change": ("config_is_frozen", "@dataclass(frozen=True)", "@dataclass"),
    "a value without a source": ("config_is_frozen", 'setting(1.0, "choose: an equation of the paper")', "1.0"),
    "no word on deviations": ("card_is_complete", "Differs from the paper: in nothing known.", ""),
    "a card that is computed": ("card_is_complete", "year=2026", "year=2000 + 26"),
    "a way back that stays where it is": (
        "the_other_directions",
        OUT,
        OUT + "\n\n    def translate_back(self, target, seeds):\n        return target",
    ),
    "a map outside its range": (
        "maps_are_images",
        OUT,
        OUT + "\n\n    def show(self, name, source, seeds):\n        return source[:, :1] + 3",
        ("    presets =", '    maps = ("depth",)\n    presets ='),
    ),
    "a state that is not in the state dict": (
        "state_dict_round_trip",
        OUT,
        "return self.G(source) * self.gain",
        ("    def players", "        import torch\n        self.gain = float(torch.rand(()))\n\n    def players"),
    ),
    "a counter that translate moves": (
        "translation_changes_nothing",
        OUT,
        "self.count += 1\n        return self.G(source)",
        ("    def players", '        import torch\n        self.register_buffer("count", torch.zeros(()))\n\n    def players'),
    ),
    "a setting of translations that trains": (
        "settings_of_translations",
        'setting(1.0, "choose: an equation of the paper")',
        'setting(1.0, "choose: an equation of the paper", trains=False)',
    ),
    "a target smuggled through the object": (
        "no_target_reaches",
        OUT,
        "y = self.G(source)\n        return (y + self.seen.mean()).clamp(-1, 1) if hasattr(self, 'seen') else y",
        ("        x, y = ", "        self.seen = batch.paired.target\n        x, y = "),
    ),
    "weights that need memory to be counted": (
        "paper_preset_builds",
        "    def players",
        '        import torch\n        self.scale = nn.Parameter(torch.ones(3, device="cpu"))\n\n    def players',
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "OVERFIT_STEPS", 60)
    promise, old, new, *more = FAULTS[fault]
    name = "faulty_" + "".join(c if c.isalnum() else "_" for c in fault.lower())
    text = HONEST
    for before, after in [(old, new), *more]:
        assert before in text
        text = text.replace(before, after, 1)
    case = case_of(tmp_path, text, name)
    check = next(check for check in checks.all_checks() if promise in check.__name__)
    with pytest.raises(Exception):  # noqa: B017  an AssertionError, or the method's own error
        checks.run_check(check, case)


def test_a_method_that_takes_any_side_where_its_card_does_not_is_found(tmp_path: Path) -> None:
    text = HONEST.replace('channels="any",', 'channels="any", size_multiple=4,')
    lenient = "    def refuse_bad_source(self, source):\n        super().refuse_bad_source(source[:, :, :64, :64])\n\n"
    text = text.replace("    def players", lenient + "    def players")
    with pytest.raises(AssertionError, match="was not refused"):
        checks.run_check(checks.check_bad_sources_are_refused, case_of(tmp_path, text, "lenient"))


def test_an_expected_failure_that_does_not_come_fails(tmp_path: Path) -> None:
    line = '    expected_failures = {"check_translation_keeps_the_grid": "it shrinks"}\n'
    case = case_of(tmp_path, HONEST.replace("    presets =", line + "    presets ="), "pessimist")
    with pytest.raises(AssertionError, match="keeps check_translation_keeps_the_grid after all"):
        checks.run_check(checks.check_translation_keeps_the_grid, case)


def test_an_expected_failure_that_comes_passes(tmp_path: Path) -> None:
    line = '    expected_failures = {"check_translation_keeps_the_grid": "it shrinks"}\n'
    text = HONEST.replace("    presets =", line + "    presets =").replace(OUT, "return self.G(source)[:, :, 1:]")
    checks.run_check(checks.check_translation_keeps_the_grid, case_of(tmp_path, text, "shrinker"))
