"""The options that `pytest bench` and `sarbench run` share, and what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench import registry
from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    from sarbench.bench.protocols import Track
    from sarbench.bench.train import Hardware

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--method",
        {"action": "append", "default": [], "metavar": "NAME", "help": "method to run; give it again for more; all: all"},
    ),
    ("--protocol", {"default": "synthetic", "metavar": "NAME", "help": "what to run it on (default: synthetic)"}),
    ("--data", {"default": None, "metavar": "FOLDER", "help": "the data folder, for a protocol that needs one"}),
    ("--data-option", {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "an option of the dataset"}),
    ("--preset", {"default": None, "choices": ("tiny", "bench", "paper"), "help": "default: bench on a GPU, tiny on a CPU"}),
    ("--budget", {"default": None, "type": int, "metavar": "IMAGES", "help": "training images, in place of the preset's"}),
    ("--seed", {"action": "append", "default": [], "type": int, "metavar": "N", "help": "run seed, several times for several"}),
    ("--device", {"default": None, "metavar": "NAME", "help": "cpu, cuda or cuda:N (default: a GPU where there is one)"}),
    ("--precision", {"default": None, "choices": ("float32", "bfloat16"), "help": "of training (default: bfloat16 on a GPU)"}),
    ("--compile", {"action": "store_true", "help": "compile the networks before training"}),
    ("--accumulate", {"default": 1, "type": int, "metavar": "N", "help": "cut each batch into N parts to save memory"}),
    ("--workers", {"default": None, "type": int, "metavar": "N", "help": "processes that prepare batches"}),
    ("--plugin", {"action": "append", "default": [], "metavar": "FILE", "help": "a Python file that holds a method"}),
    ("--runs", {"default": "runs", "metavar": "FOLDER", "help": "checkpoints, images and logs (default: ./runs)"}),
    (
        "--leaderboards",
        {"default": "leaderboards", "metavar": "FOLDER", "help": "records and boards (default: ./leaderboards)"},
    ),
)


@dataclass(frozen=True)
class Request:
    """What a command line asks for, checked."""

    methods: tuple[str, ...]  # floors included: they are on every board
    track: Track
    seeds: tuple[int, ...]
    hardware: Hardware
    runs: Path
    leaderboards: Path


def floors() -> list[str]:
    """The methods whose card says that they are floors, read without importing them."""
    return [name for name in registry.names("methods") if registry.card_of("methods", name).get("role") == "floor"]


def what_could_run() -> str:
    """The text shown when no method is asked for."""
    from sarbench.bench.protocols import PROTOCOLS

    known = [name for name in registry.names("methods") if name not in floors()]
    protocols = "\n".join(f"  --protocol {p.name:<12} {p.about}" for p in PROTOCOLS.values())
    return (
        "say which method to run, for example: pytest bench --method pix2pix\n"
        f"methods: {', '.join(known)}\nalways run beside them: {', '.join(floors())}\nprotocols:\n{protocols}"
    )


def request(options: Mapping[str, Any]) -> Request:
    """Turn parsed options (names with underscores) into a request; ContractError for a value that can't be."""
    for plugin in options["plugin"]:
        registry.add_plugin(plugin)
    asked = list(dict.fromkeys(options["method"]))
    if not asked:
        raise ContractError(what_could_run())
    if asked == ["all"]:
        asked = registry.names("methods")
    for name in asked:
        registry.find("methods", name)
    for seed in options["seed"]:
        if not 0 <= seed < 1 << 63:
            raise ContractError(f"--seed {seed}: give a number from 0 to {(1 << 63) - 1}")

    from sarbench.bench.protocols import track
    from sarbench.bench.train import Hardware

    changes = {name: options[name] for name in ("precision", "workers") if options[name] is not None}
    if options["accumulate"] < 1:
        raise ContractError(f"--accumulate {options['accumulate']}: give 1 or more")
    hardware = Hardware.choose(options["device"], compile=options["compile"], accumulate=options["accumulate"], **changes)
    chosen = track(
        options["protocol"],
        options["preset"] or ("bench" if hardware.device.startswith("cuda") else "tiny"),
        budget=options["budget"],
        data=Path(options["data"]) if options["data"] else None,
        options=dict(key_value(text) for text in options["data_option"]),
    )
    chosen_methods = floors() + [name for name in asked if name not in floors()]
    for name in chosen_methods:
        _refuse_bad_method(name, chosen, hardware.accumulate)
    return Request(
        tuple(chosen_methods),
        chosen,
        tuple(options["seed"]) or chosen.protocol.seeds,
        hardware,
        Path(options["runs"]),
        Path(options["leaderboards"]),
    )


def _refuse_bad_method(name: str, chosen: Track, accumulate: int) -> None:
    """Raise ContractError for what would otherwise be found when the method's turn comes, or when it is recorded."""
    from sarbench.bench.honeypots import HONEYPOTS
    from sarbench.bench.records import config_hash, recorded_card

    if name in (*HONEYPOTS, "reference"):
        raise ContractError(f"a method can't be named {name!r}: the benchmark has images of that name; rename its file")
    cls = registry.load_method(name)
    presets = getattr(cls, "presets", {})
    if chosen.preset not in presets:
        raise ContractError(f"{name} has no preset {chosen.preset!r} among its presets ({', '.join(presets)}); write one")
    config = cls.presets[chosen.preset]
    if not is_dataclass(config) or isinstance(config, type):
        raise ContractError(f"the preset {chosen.preset!r} of {name} is {config!r}; make it an instance of a frozen dataclass")
    recorded_card(asdict(cls.card))
    config_hash(asdict(config))
    refuse_uneven_batch(name, chosen.preset, accumulate)


def refuse_uneven_batch(name: str, preset: str, parts: int) -> None:
    """Raise ContractError where a method's batch can't be cut into so many equal parts: ranks times --accumulate."""
    batch_size = getattr(registry.load_method(name).presets[preset], "batch_size", None)
    if batch_size is not None and batch_size % parts:
        raise ContractError(
            f"the batch of {name} is {batch_size} at preset {preset}, which {parts} parts (ranks times --accumulate) "
            "can't share equally; choose another number of them"
        )


def key_value(text: str) -> tuple[str, str]:
    """An option of a dataset as the command line gives it, KEY=VALUE; ContractError for anything else."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ContractError(f"--data-option {text}: write KEY=VALUE, such as source_range=-25,0")
    return name, value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench run`."""
    for flag, words in OPTIONS:
        parser.add_argument(flag, **words)


def command(args: argparse.Namespace) -> int:
    """Run what was asked for, one method after the other, and print the board."""
    asked = request(vars(args))

    from sarbench.bench.pipeline import run_all

    return run_all(asked)
