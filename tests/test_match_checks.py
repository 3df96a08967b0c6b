"""Each check of a matcher finds the bug it is there for: an honest one passes, one planted fault at a time does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sarbench.bench import checks, match_checks, registry

HONEST = '''"""A convolution of each image, correlated.

Nobody, 2026, https://example.org/paper
Differs from the paper: in nothing known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sarbench.bench.interface import Card, Player, Turn, adam, setting
from sarbench.bench.matcher import MatchBatch, Matcher
from sarbench.methods.losses.match_heatmaps import against_pseudo_label, at_place, pseudo_label
from sarbench.methods.networks.correlation import similarity
from torch import nn


@dataclass(frozen=True)
class Config:
    """Two values."""

    batch_size: int = setting(3, "ours")
    learning_rate: float = setting(1e-2, "ours")


class Honest(Matcher):
    """One convolution a sensor."""

    card = Card(
        title="honest", paper="https://example.org/paper", year=2026, supervision="semi", channels="any", task="matching"
    )
    presets = {"paper": Config(), "bench": Config(), "tiny": Config()}

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        self.A = nn.Sequential(nn.Conv2d(source_channels, 4, 3, padding=1), nn.Tanh())
        self.B = nn.Sequential(nn.Conv2d(target_channels, 4, 3, padding=1), nn.Tanh())

    def players(self) -> dict[str, Player]:
        """One player."""
        return {"M": Player((self.A, self.B), adam(self.config.learning_rate))}

    def training_step(self, batch: MatchBatch, progress: float) -> Iterator[Turn]:
        """Towards the labels, and towards itself."""
        known, rest = batch.labelled, batch.unlabelled
        found = self.surface(rest.template, rest.search)
        yield (
            "M",
            {
                "labelled": at_place(20 * self.surface(known.template, known.search), known.offset),
                "pseudo": 0.1 * against_pseudo_label(10 * found, pseudo_label(found, 20)),
            },
        )

    def surface(self, template, search):
        """Coefficients."""
        return similarity(self.A(template), self.B(search), "ncc")

    def match(self, template, search):
        """Coefficients."""
        return self.surface(template, search)
'''
OUT = "        return self.surface(template, search)\n"


def case_of(folder: Path, text: str, name: str) -> match_checks.MatchCase:
    (folder / f"{name}.py").write_text(text)
    registry.add_plugin(folder / f"{name}.py")
    return match_checks.MatchCase(name)


@pytest.fixture(autouse=True)
def _no_added_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})


@pytest.mark.parametrize("check", match_checks.all_checks(), ids=lambda check: check.__name__)
def test_the_honest_matcher_passes(tmp_path: Path, check: Callable[[match_checks.MatchCase], None]) -> None:
    case = case_of(tmp_path, HONEST, "honest")
    assert check in checks.checks_of("honest")
    assert checks.case_of("honest") == case
    checks.run_check(check, case)


FAULTS = {
    "a surface of fewer places": ("every_place", OUT, OUT.replace("search)\n", "search)[:, 1:]\n")),
    "a statistic of the batch": ("batch_composition", OUT, OUT.replace("(template,", "(template - template.mean(),") + ""),
    "noise at test time": (
        "deterministic",
        OUT,
        "        s = self.surface(template, search)\n        return s + torch.rand_like(s)\n",
    ),
    "a NaN on flat images": (
        "flat_images",
        OUT,
        OUT.replace("(template,", "(template / template.std(dim=(2, 3), keepdim=True),"),
    ),
    "a counter that match moves": (
        "matching_changes_nothing",
        OUT,
        "        self.count += 1\n" + OUT,
        ("        self.A =", '        self.register_buffer("count", torch.zeros(()))\n        self.A ='),
    ),
    "a state that is not in the state dict": (
        "state_dict_round_trip",
        OUT,
        OUT.replace("search)\n", "search) * self.gain\n"),
        ("        self.A =", "        self.gain = float(torch.rand(()))\n        self.A ="),
    ),
    "an answer kept from training": (
        "no_answer_reaches",
        OUT,
        "        s = self.surface(template, search)\n        return s + self.seen if hasattr(self, 'seen') else s\n",
        ("        known, rest =", "        self.seen = batch.labelled.offset.float().mean() + 1\n        known, rest ="),
    ),
    "a match that asks for the answer": (
        "no_answer_reaches",
        "def match(self, template, search)",
        "def match(self, template, search, offset=None)",
    ),
    "labels of unlabelled pairs": (
        "stay_unlabelled",
        "against_pseudo_label(10 * found, pseudo_label(found, 20)),",
        "against_pseudo_label(10 * found, pseudo_label(found, 20))"
        " + (0 if rest._offset is None else at_place(found, rest._offset)),",
    ),
    "a step that leaves its player still": ("four_pairs", "adam(self.config.learning_rate)", "adam(0.0)"),
    "a loss without gradient": (
        "every_loss",
        "at_place(20 * self",
        "at_place(20 * self.surface(known.template, known.search).detach() + 0 * self",
    ),
    "a network that no player owns": (
        "every_parameter",
        "        self.A =",
        "        self.C = nn.Conv2d(1, 1, 1)\n        self.A =",
    ),
    "training noise from the clock": (
        "same_seed",
        "        known, rest =",
        "        import time\n        torch.manual_seed(time.perf_counter_ns() % 2**31)\n        known, rest =",
        ("self.surface(rest.template,", "self.surface(rest.template + 0.1 * torch.rand_like(rest.template),"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match_checks, "OVERFIT_STEPS", 20)
    promise, old, new, *more = FAULTS[fault]
    text = HONEST
    for before, after in [(old, new), *more]:
        assert before in text
        text = text.replace(before, after, 1)
    case = case_of(tmp_path, text, "faulty_" + "".join(c if c.isalnum() else "_" for c in fault.lower()))
    check = next(check for check in match_checks.all_checks() if promise in check.__name__)
    with pytest.raises(Exception):  # noqa: B017  an AssertionError, or the matcher's own error
        checks.run_check(check, case)


def test_a_matcher_that_takes_any_channels_is_found(tmp_path: Path) -> None:
    lenient = "    def refuse_bad_pair(self, template, search):\n        pass\n\n    def surface"
    text = HONEST.replace("    def surface", lenient).replace(
        OUT,
        "        n = template.shape[2]\n        return search.new_zeros(len(search), *(s - n + 1 for s in search.shape[2:]))\n",
    )
    with pytest.raises(AssertionError, match="was not refused"):
        checks.run_check(match_checks.check_bad_pairs_are_refused, case_of(tmp_path, text, "lenient"))


def test_a_card_of_another_task_than_its_class_is_refused(tmp_path: Path) -> None:
    case = case_of(tmp_path, HONEST.replace(', task="matching"', ""), "confused")
    with pytest.raises(Exception, match="its card says task='translation', so Honest must be a Method"):
        _ = case.cls
