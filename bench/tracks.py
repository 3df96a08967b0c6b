"""A protocol at one preset and budget, on one data folder: the terms under which scores may be compared.

A board ranks one track, and records of different tracks never meet. What stands in `Track.terms` is hashed into every
record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench import match_scores, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.protocols import PROTOCOLS, Preset, Protocol, Size

if TYPE_CHECKING:
    from sarbench.bench.dataset import Dataset

MAX_SLUG, MAX_OPTION = 160, 300  # characters that a record keeps
DATA_HOME = "SARBENCH_DATA"  # environment variable: the folder in which datasets lie under their names


@dataclass(frozen=True)
class Track:
    """What one board ranks."""

    protocol: Protocol
    preset: Preset
    size: Size
    data: Path | None  # the dataset's folder; of two joined datasets, the folder that holds both; None: made by code
    options: tuple[tuple[str, str], ...]

    @property
    def slug(self) -> str:
        """The name of its board and folders: protocol[.data].preset[.budget]."""
        parts = [self.protocol.name]
        if self.protocol.any_folder and self.data is not None:
            parts.append(re.sub(r"[^A-Za-z0-9_-]+", "-", self.data.name).strip("-") or "data")
        parts.append(self.preset)
        if self.size.budget_images != self.protocol.sizes[self.preset].budget_images:
            parts.append(str(self.size.budget_images))
        return ".".join(parts)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The protocol's metrics that this version of the suite has."""
        known = metrics_for(self.protocol.task)
        return tuple(name for name in self.protocol.metrics if name in known)

    @property
    def main_metric(self) -> str:
        """The metric that orders the rows of the board."""
        return self.protocol.main_metric if self.protocol.main_metric in self.metrics else self.metrics[0]

    def open_dataset(self) -> Dataset:
        """The track's dataset; ContractError for a wrong layout."""
        names, options = self.protocol.datasets, dict(self.options)
        if self.protocol.target is None:
            return registry.load_dataset(names[0])(self.data, **options)

        from sarbench.bench.domains import Joined

        own = {name: {k.partition(".")[2]: v for k, v in options.items() if k.startswith(f"{name}.")} for name in names}
        unknown = [key for key in options if key.partition(".")[0] not in names]
        if unknown:
            raise ContractError(
                f"--data-option {unknown[0]}: the protocol {self.protocol.name!r} joins {' and '.join(names)}; say whose "
                f"option it is: {names[0]}.{unknown[0]}=..."
            )
        opened = [registry.load_dataset(name)((self.data or Path()) / name, **own[name]) for name in names]
        return Joined(names[0], opened[0], names[1], opened[1])

    def terms(self) -> dict[str, Any]:
        """Everything that changes a score, as JSON; the data folder's path does not, its content's hash does."""
        left_out = ("sizes", "options", "about", "seeds", "any_folder", "metrics", "main_metric")
        protocol = {name: value for name, value in asdict(self.protocol).items() if name not in left_out}
        chosen = {"metrics": self.metrics, "main_metric": self.main_metric}
        return {**protocol, **chosen, "preset": self.preset, "size": asdict(self.size), "options": dict(self.options)}


def metrics_for(task: str) -> list[str]:
    """The names of the metrics that this version of the suite has for a task."""
    return list(match_scores.SCORES) if task == "matching" else registry.names("metrics")


def not_yet(protocol: Protocol) -> list[str]:
    """What a protocol asks for that this version of the suite does not have."""
    known = metrics_for(protocol.task)
    lacking = [f"metric {name}" for name in protocol.metrics if name not in known]
    return lacking + [f"judge {name}" for name in protocol.judges if name not in registry.names("judges")]


def find_data(protocol: Protocol, given: Path | None = None) -> Path | None:
    """The folder of a protocol's data: the one given, or the one of its name in $SARBENCH_DATA; None where there is none."""
    home = os.environ.get(DATA_HOME)
    if given is None and home and not protocol.any_folder and protocol.needs_data:
        given = Path(home) if protocol.target else Path(home) / protocol.dataset
    if given is None or not given.is_dir():
        return None
    return given if protocol.target is None or all((given / name).is_dir() for name in protocol.datasets) else None


def how_to_get(protocol: Protocol) -> str:
    """What data a protocol needs, where it may lie, and where it comes from."""
    names = protocol.datasets
    get = " ".join(str(registry.card_of("datasets", name).get("get", "")) for name in names)
    if protocol.any_folder:
        return f"--data FOLDER. {get}".strip()
    if protocol.target:
        return f"--data FOLDER with the folders {names[0]} and {names[1]} in it, or both in ${DATA_HOME}. {get}"
    return f"--data FOLDER, or the folder {names[0]} in ${DATA_HOME}. {get}"


def track(
    name: str,
    preset: Preset,
    *,
    budget: int | None = None,
    data: Path | None = None,
    options: Mapping[str, str] | None = None,
    planned: bool = False,
) -> Track:
    """The track of a protocol's name; ContractError for an unknown name, data that is missing or not wanted, bad options.

    `planned`: data that is missing is no error.
    """
    if name not in PROTOCOLS:
        raise ContractError(f"unknown protocol {name!r}; choose from: {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if data is not None and not protocol.needs_data:
        raise ContractError(f"the protocol {name!r} makes its own data; drop --data, or say --protocol pairs")
    if data is not None and not data.is_dir():
        raise ContractError(f"--data {data}: no such folder")
    found = find_data(protocol, data)
    if protocol.needs_data and found is None and not planned:
        raise ContractError(f"the protocol {name!r} needs {how_to_get(protocol)}")
    size = protocol.sizes[preset]
    if budget is not None:
        if budget < 1:
            raise ContractError(f"--budget {budget}: give the number of training images, at least 1")
        size = replace(size, budget_images=budget)
    defaults = {**dict(protocol.options), **dict(size.options)}
    size = replace(size, options=tuple(sorted(defaults.items())))
    merged = {**defaults, **(options or {})}
    made = Track(protocol, preset, size, found.resolve() if found else None, tuple(sorted(merged.items())))
    if len(made.slug) > MAX_SLUG:
        raise ContractError(f"--data {data}: the folder's name is too long for a board's name; rename the folder")
    for option, value in merged.items():
        if len(option) > MAX_OPTION or len(value) > MAX_OPTION:
            raise ContractError(f"--data-option {option}={value}: longer than {MAX_OPTION} characters; shorten it")
    return made
