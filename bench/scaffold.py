"""`sarbench new-method`: a method that works as written, and the test that holds it to the contract."""

from __future__ import annotations

import argparse
from pathlib import Path

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.storage import write_text

METHOD = '''"""{title}: one line on what it does.

Who, where, when, https://example.org/paper
Differs from the paper: in nothing known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sarbench.bench.interface import Batch, Card, Method, Player, Schedule, Turn, adam, setting
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, each with where it comes from."""

    batch_size: int = setting(4, "choose: a section of the paper")
    learning_rate: float = setting(1e-3, "choose: a section of the paper")
    width: int = setting(64, "choose: a section of the paper")
    lambda_l1: float = setting(1.0, "choose: an equation of the paper")


class {cls}(Method):
    """A small convolutional network that regresses the target; put your own in its place."""

    card = Card(
        title="{title}",
        paper="https://example.org/paper",
        year=2026,
        supervision="paired",
        channels="any",
    )
    presets = {{"paper": Config(), "bench": Config(), "tiny": Config(width=16)}}

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        self.G = nn.Sequential(
            nn.Conv2d(source_channels, config.width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(config.width, config.width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(config.width, target_channels, 5, padding=2),
            nn.Tanh(),
        )

    def players(self) -> dict[str, Player]:
        """One player: the translator."""
        return {{"G": Player(self.G, adam(self.config.learning_rate, schedule=Schedule("linear")))}}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Pull the translation towards the target."""
        x, y = batch.paired.source, batch.paired.target
        yield "G", {{"l1": self.config.lambda_l1 * (self.G(x) - y).abs().mean()}}

    def translate(self, source: Tensor, seeds: Tensor) -> Tensor:
        """One pass of G."""
        return self.G(source)
'''

TEST = '''"""{name} keeps every promise of sarbench's contract."""

from pathlib import Path

import pytest
from sarbench.bench import checks, registry

FILE = Path(__file__).parent / "{file}"


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__)
def test_{name}(check):
    registry.add_plugin(FILE)
    checks.run_check(check, checks.Case("{name}"))
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench new-method`."""
    parser.add_argument("name", help="lower case, as in my_method: the file's name and the method's")
    parser.add_argument("--into", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")


def command(args: argparse.Namespace) -> int:
    """Write NAME.py and test_NAME.py; ContractError for a bad or taken name, or a file that is there already."""
    name: str = args.name
    if not registry.NAME.fullmatch(name):
        raise ContractError(f"{name!r} is no method name: {registry.NAME_RULE}")
    if name in registry.names("methods"):
        raise ContractError(f"the method name {name!r} is taken; choose another")
    words = {
        "name": name,
        "file": f"{name}.py",
        "title": name.replace("_", " "),
        "cls": "".join(word.capitalize() for word in name.split("_")),
    }
    texts = {args.into / f"{name}.py": METHOD, args.into / f"test_{name}.py": TEST}
    for path in texts:
        if path.exists():
            raise ContractError(f"{path} exists already; nothing was written")
    for path, text in texts.items():
        write_text(path, text.format(**words))
        print(path)
    print(f"\nthen: pytest {args.into / f'test_{name}.py'}")
    print(f"and:  pytest bench --plugin {args.into / f'{name}.py'} --method {name}")
    return 0
