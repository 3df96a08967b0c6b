"""The protocols: what is compared with what. A protocol is a dataset, a task, metrics and, per preset, sizes and a budget.

A protocol at one preset, budget and data folder is a track; a board ranks one track, and records of different tracks
never meet. What stands in `Track.terms` is hashed into every record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sarbench.bench import registry
from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    from sarbench.bench.interface import Dataset

MAX_SLUG, MAX_OPTION = 160, 300  # characters that a record keeps
Preset = Literal["tiny", "bench", "paper"]


@dataclass(frozen=True)
class Size:
    """How large one preset of a protocol is."""

    budget_images: int  # images seen by the translator in training
    train_crop_px: int | None  # side of the random training crop; None: whole images
    test_crop_px: int | None  # side of the centre crop of test images; crop, never resize
    n_train: int | None = None  # the first so many training ids of a keyed shuffle; None: all
    n_test: int | None = None
    options: tuple[tuple[str, str], ...] = ()  # of the dataset


@dataclass(frozen=True)
class Protocol:
    """A frozen, named rule of comparison."""

    name: str
    about: str
    task: str
    dataset: str
    sizes: Mapping[Preset, Size]
    options: tuple[tuple[str, str], ...] = ()  # of the dataset, at every preset
    metrics: tuple[str, ...] = ("psnr", "ssim", "scc", "lpips", "total_variation")
    main_metric: str = "ssim"  # orders the rows of a board
    flip: bool = False  # random left-right flips in training
    semi_share: float = 0.1  # share of the training ids whose pairs a semi-supervised method sees
    seeds: tuple[int, ...] = (0,)
    needs_data: bool = False


# One SAR band is fed three times to an RGB translator, for every method alike; named here, so that every record says so.
REPEAT = (("channels", "repeat"),)
SYNTHETIC_256 = (("size_px", "256"), ("n_train", "6000"), ("n_test", "1000"))

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="synthetic",
            about="a procedural landscape seen by SAR and optical sensors; needs no download",
            task="sar to optical",
            dataset="synthetic",
            sizes={
                "tiny": Size(8_000, 64, None, options=(("size_px", "128"), ("n_train", "384"), ("n_test", "48"))),
                "bench": Size(400_000, None, None, options=SYNTHETIC_256),
                "paper": Size(1_200_000, None, None, options=SYNTHETIC_256),
            },
            options=REPEAT,
        ),
        Protocol(
            name="pairs",
            about="your own folder of registered pairs, given by --data",
            task="as the folder's",
            dataset="pairs",
            sizes={
                "tiny": Size(12_000, 64, None),
                "bench": Size(400_000, 256, None),
                "paper": Size(1_200_000, 256, None),
            },
            options=REPEAT,
            flip=True,
            needs_data=True,
        ),
    )
}


@dataclass(frozen=True)
class Track:
    """A protocol at one preset and budget, on one data folder: the terms under which scores may be compared."""

    protocol: Protocol
    preset: Preset
    size: Size
    data: Path | None
    options: tuple[tuple[str, str], ...]

    @property
    def slug(self) -> str:
        """The name of its board and folders: protocol[.data].preset[.budget]."""
        parts = [self.protocol.name]
        if self.data is not None:
            parts.append(re.sub(r"[^A-Za-z0-9_-]+", "-", self.data.name).strip("-") or "data")
        parts.append(self.preset)
        if self.size.budget_images != self.protocol.sizes[self.preset].budget_images:
            parts.append(str(self.size.budget_images))
        return ".".join(parts)

    def open_dataset(self) -> Dataset:
        """The track's dataset; ContractError for a wrong layout."""
        return registry.load_dataset(self.protocol.dataset)(self.data, **dict(self.options))  # type: ignore[call-arg]

    def terms(self) -> dict[str, Any]:
        """Everything that changes a score, as JSON; the data folder's path does not, its content's hash does."""
        protocol = {
            k: v for k, v in asdict(self.protocol).items() if k not in ("sizes", "options", "about", "seeds", "needs_data")
        }
        return {**protocol, "preset": self.preset, "size": asdict(self.size), "options": dict(self.options)}


def track(
    name: str,
    preset: Preset,
    *,
    budget: int | None = None,
    data: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Track:
    """The track of a protocol's name; ContractError for an unknown name, data that is missing or not wanted, bad options."""
    if name not in PROTOCOLS:
        raise ContractError(f"unknown protocol {name!r}; choose from: {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if protocol.needs_data and data is None:
        raise ContractError(f"the protocol {name!r} needs --data FOLDER: {protocol.about}")
    if data is not None and not protocol.needs_data:
        raise ContractError(f"the protocol {name!r} makes its own data; drop --data, or say --protocol pairs")
    if data is not None and not data.is_dir():
        raise ContractError(f"--data {data}: no such folder")
    size = protocol.sizes[preset]
    if budget is not None:
        if budget < 1:
            raise ContractError(f"--budget {budget}: give the number of training images, at least 1")
        size = replace(size, budget_images=budget)
    defaults = {**dict(protocol.options), **dict(size.options)}
    size = replace(size, options=tuple(sorted(defaults.items())))
    merged = {**defaults, **(options or {})}
    made = Track(protocol, preset, size, data.resolve() if data else None, tuple(sorted(merged.items())))
    if len(made.slug) > MAX_SLUG:
        raise ContractError(f"--data {data}: the folder's name is too long for a board's name; rename the folder")
    for option, value in merged.items():
        if len(option) > MAX_OPTION or len(value) > MAX_OPTION:
            raise ContractError(f"--data-option {option}={value}: longer than {MAX_OPTION} characters; shorten it")
    return made
