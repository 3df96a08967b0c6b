"""The options that `pytest bench` and `sarbench run` share, and what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.settings import config_of

if TYPE_CHECKING:
    from sarbench.bench.tracks import Track
    from sarbench.bench.train import Hardware

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--method",
        {"action": "append", "default": [], "metavar": "NAME", "help": "method to run; give it again for more; all: all"},
    ),
    ("--protocol", {"default": "synthetic", "metavar": "NAME", "help": "what to run it on (default: synthetic)"}),
    ("--data", {"default": None, "metavar": "FOLDER", "help": "the data folder, for a protocol that needs one"}),
    ("--data-option", {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "an option of the dataset"}),
    ("--set", {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "change a hyperparameter of the methods"}),
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
    settings: Mapping[str, str]  # of --set


def floors(task: str = "translation") -> list[str]:
    """The methods of a task whose card says that they are floors, read without importing them."""
    return [name for name in registry.methods_for(task) if registry.card_of("methods", name).get("role") == "floor"]


def needs_pairs(name: str) -> bool:
    """Does a method learn from pairs, or a floor look them up? Read without importing it."""
    return registry.card_of("methods", name).get("supervision") in ("paired", "semi")


def what_could_run() -> str:
    """The text shown when no method is asked for."""
    from sarbench.bench.protocols import EMBEDDED

    known = [name for name in registry.methods_for("translation") if name not in floors()]
    matchers = [name for name in registry.methods_for("matching") if name not in floors("matching")]
    protocols = "\n".join(f"  --protocol {p.name:<16} {p.about}" for p in EMBEDDED)
    return (
        "say which method to run, for example: pytest bench --method pix2pix\n"
        f"methods: {', '.join(known)}\nalways run beside them: {', '.join(floors())}\n"
        f"matchers: {', '.join(matchers)}\nalways run beside them: {', '.join(floors('matching'))}\nprotocols:\n{protocols}\n"
        "and one for each table of the papers and each dataset: sarbench list protocols"
    )


def request(options: Mapping[str, Any], *, planned: bool = False) -> Request:
    """Turn parsed options (names with underscores) into a request; ContractError for a value that can't be.

    `planned`: data that is missing is no error.
    """
    for plugin in options["plugin"]:
        registry.add_plugin(plugin)
    asked = list(dict.fromkeys(options["method"]))
    if not asked:
        raise ContractError(what_could_run())
    for name in asked if asked != ["all"] else []:
        registry.find("methods", name)
    for seed in options["seed"]:
        if not 0 <= seed < 1 << 63:
            raise ContractError(f"--seed {seed}: give a number from 0 to {(1 << 63) - 1}")

    from sarbench.bench.tracks import track
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
        options=dict(pair(text) for text in options["data_option"]),
        planned=planned,
    )
    task = "matching" if chosen.protocol.task == "matching" else "translation"
    possible = [name for name in registry.methods_for(task) if chosen.protocol.paired or not needs_pairs(name)]
    if asked == ["all"]:
        asked = possible
    if strangers := [name for name in asked if registry.task_of(name) != task]:
        made, wanted = ("translate", "matchers") if task == "matching" else ("match", "methods that translate")
        raise ContractError(
            f"{', '.join(strangers)}: made to {made}; the protocol {chosen.protocol.name!r} ranks {wanted}: "
            f"{', '.join(possible)}"
        )
    if impossible := [name for name in asked if name not in possible]:
        raise ContractError(f"{', '.join(impossible)} need pairs, which the protocol {chosen.protocol.name!r} has not")
    beside = [name for name in floors(task) if name in possible]
    chosen_methods = beside + [name for name in asked if name not in beside]
    settings = dict(pair(text) for text in options["set"])
    for name in chosen_methods:
        _refuse_bad_method(name, chosen, settings, hardware.accumulate)
    return Request(
        tuple(chosen_methods),
        chosen,
        tuple(options["seed"]) or chosen.protocol.seeds,
        hardware,
        Path(options["runs"]),
        Path(options["leaderboards"]),
        settings,
    )


def _refuse_bad_method(name: str, chosen: Track, settings: Mapping[str, str], accumulate: int) -> None:
    """Raise ContractError for what would otherwise be found when the method's turn comes, or when it is recorded."""
    from sarbench.bench.ceiling import NAME as CEILING
    from sarbench.bench.honeypots import HONEYPOTS
    from sarbench.bench.records import config_hash, recorded_card

    if name in (*HONEYPOTS, CEILING, "reference"):
        raise ContractError(f"a method can't be named {name!r}: the benchmark has images of that name; rename its file")
    cls = registry.load_learner(name)
    presets = getattr(cls, "presets", {})
    if chosen.preset not in presets:
        raise ContractError(f"{name} has no preset {chosen.preset!r} among its presets ({', '.join(presets)}); write one")
    config = cls.presets[chosen.preset]
    if not is_dataclass(config) or isinstance(config, type):
        raise ContractError(f"the preset {chosen.preset!r} of {name} is {config!r}; make it an instance of a frozen dataclass")
    config = config_of(name, chosen.preset, settings)
    recorded_card(asdict(cls.card))
    config_hash(asdict(config))
    refuse_uneven_batch(name, config, accumulate)


def refuse_uneven_batch(name: str, config: Any, parts: int) -> None:
    """Raise ContractError where a method's batch can't be cut into so many equal parts: ranks times --accumulate."""
    batch_size = getattr(config, "batch_size", None)
    if batch_size is not None and batch_size % parts:
        raise ContractError(
            f"the batch of {name} is {batch_size}, which {parts} parts (ranks times --accumulate) "
            "can't share equally; choose another number of them"
        )


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE as its two halves; ContractError for anything else."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ContractError(f"{text}: write KEY=VALUE, such as --data-option source_range=-25,0 or --set lambda_l1=10")
    return name, value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench run`."""
    for flag, words in OPTIONS:
        parser.add_argument(flag, **words)
    parser.add_argument("--dry-run", action="store_true", help="say what would run, how long and how large, and run nothing")


def command(args: argparse.Namespace) -> int:
    """Run what was asked for, one method after the other, and print the board; or only say what would be done."""
    asked = request(vars(args), planned=args.dry_run)
    if args.dry_run:
        from sarbench.bench.plan import plan

        print(plan(asked))
        return 0

    from sarbench.bench.runs import run_all

    return run_all(asked)
