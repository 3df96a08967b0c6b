"""The command `sarbench`. Nothing heavy is imported before it is known which part is needed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from sarbench.bench.errors import ContractError


@dataclass(frozen=True)
class Command:
    """One word after `sarbench`: its module has `add_arguments(parser)` and `command(args) -> exit code`."""

    about: str
    module: str


COMMANDS = {
    "list": Command("show what there is: methods, datasets, metrics, protocols", "listing"),
    "run": Command("train, translate, score and record methods, and write the board", "options"),
    "ablate": Command("run the ablation of a method's paper, and write its board beside the published one", "ablate"),
    "score": Command("score a folder of images against a folder of references", "score"),
    "explain": Command("show what a metric measures, its formula and numbers, and when it misleads", "explain"),
    "certify": Command("hold every metric to its formula and to other packages, and write the certificates", "certify"),
    "translate": Command("translate a folder of images with a trained run", "apply"),
    "submit": Command("pack translated images with a filled record into one file, for review", "submit"),
    "verify": Command("score a record's images again, and say cell by cell: agree, differ, or cannot check", "verify"),
    "export": Command("write a translated data set in the source's layout, with its labels, for use elsewhere", "export"),
    "leaderboard": Command("write the boards from the records, or check that they are true", "leaderboard"),
    "report": Command("write a board as one HTML file, with pictures, plots and a sample browser", "report.command"),
    "check": Command("say whether scores have drifted: records against older ones, metrics against frozen values", "check"),
    "noise": Command("measure how much a method's scores move with its seed, for `check`", "noise"),
    "blame": Command("say in what two records differ, and try each difference alone", "blame"),
    "history": Command("show a method's scores commit by commit, as a table and a picture", "history"),
    "data": Command("look hard at a dataset: leaks between its splits, misregistered pairs, bad images", "audit"),
    "check-method": Command("hold a method to every promise of the contract", "checks"),
    "check-dataset": Command("hold a dataset to every promise of the contract", "dataset_checks"),
    "new-method": Command("write a method file and its test to start from", "scaffold"),
    "fetch": Command("download weights by their sha256; the only command that uses the network", "assets"),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 for success, 1 for a clear error, 2 for a wrong command line."""
    try:
        code = _run(sys.argv[1:] if words is None else list(words))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"sarbench {version('sarbench')}")
        return 0
    if words[0] not in COMMANDS:
        print(f"sarbench: unknown command {words[0]!r}; choose from: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    chosen = COMMANDS[words[0]]
    parser = argparse.ArgumentParser(f"sarbench {words[0]}", description=chosen.about)
    module = import_module(f"sarbench.bench.{chosen.module}")
    module.add_arguments(parser)
    try:
        return int(module.command(parser.parse_args(words[1:])))
    except ContractError as error:
        print(f"sarbench {words[0]}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:  # the system refused: no bug of ours, and no half-written file counts as a result
        print(f"sarbench {words[0]}: {error}; mend that and run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.about}" for name, command in COMMANDS.items()]
    return (
        "usage: sarbench COMMAND [options]\n\n"
        "Train, score and rank image translation methods for remote sensing.\n\n"
        + "\n".join(lines)
        + "\n\n`sarbench COMMAND --help` says more. The benchmark itself: pytest bench --method NAME"
    )


if __name__ == "__main__":
    sys.exit(main())
