"""What the datasets of downloaded files share: options, the listing of files, splits by group, and clear errors.

A dataset file says what its options are, which tree it expects, which files belong together, and how a part is decoded;
everything that `Dataset` promises follows from that here.
"""

from __future__ import annotations

import fnmatch
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64

from sarbench.bench.dataset import BOTH, Dataset, Georeference, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import Window, read_georeference, read_header, read_labels
from sarbench.bench.keys import key

SHOWN = 20  # lines of one error
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Option:
    """A named option of a dataset, given as text."""

    default: str | None
    about: str
    choices: tuple[str, ...] = ()  # empty: any text that `parse` takes
    parse: Callable[[str], Any] = str  # raises ValueError, whose text says what to write


def numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    """A parser of so many finite numbers with commas between them."""

    def parse(text: str) -> tuple[float, ...]:
        try:
            found = tuple(float(part) for part in text.split(","))
        except ValueError:
            found = ()
        if len(found) != count or not all(map(math.isfinite, found)):
            raise ValueError(f"give {count} numbers with commas between them")
        return found

    return parse


def value_range(text: str) -> tuple[float, float]:
    """The parser of LO,HI: the values that become -1 and 1."""
    low, high = numbers(2)(text)
    if not low < high:
        raise ValueError("give the lower number first")
    return low, high


def share(text: str) -> float:
    """The parser of a number between 0 and 1, both excluded."""
    (value,) = numbers(1)(text)
    if not 0.0 < value < 1.0:
        raise ValueError("give a number between 0 and 1, such as 0.2")
    return value


def side_px(text: str) -> int:
    """The parser of a side in px, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("give a number of pixels, such as 256")
    return int(text)


REPEAT = Option("none", "repeat: a source of one band becomes three equal channels", ("none", "repeat"))


@dataclass(frozen=True, slots=True)
class Files:
    """What lies behind one sample id: the files of each part, the scene, and the part of the files that is meant."""

    parts: Mapping[str, tuple[Path, ...]]  # "source", "target", names of aux; several files where each holds some bands
    scene: str | None = None
    window: Window | None = None  # None: the whole image


Listing = dict[str, dict[str, Files]]  # split -> id without the split's name -> files


def drawn(dataset: str, group: str, test_share: float) -> str:
    """The split of a group where no official one exists: a hash of what the group is called decides, and nothing else.

    So a group stays on its side whatever other groups have been downloaded.
    """
    return "test" if key("split", dataset, group) / 2**63 < test_share else "train"


def listed(lines: Iterable[str]) -> str:
    """Lines of an error, one below the other, with a count where they are too many."""
    every = list(lines)
    more = [f"... and {len(every) - SHOWN} more"] if len(every) > SHOWN else []
    return "".join(f"\n  {line}" for line in every[:SHOWN] + more)


def find(folder: Path, pattern: str) -> list[Path]:
    """The files right in a folder whose names fit a pattern such as "*.png", sorted; hidden files left out.

    ContractError where the folder does not exist.
    """
    if not folder.is_dir():
        raise ContractError(f"{folder} is not a folder")
    with os.scandir(folder) as entries:  # which knows what is a file without asking the disk for each, as large sets need
        names = [entry.name for entry in entries if fnmatch.fnmatch(entry.name, pattern) and entry.is_file()]
    return sorted(folder / name for name in names if not name.startswith("."))


def joined(found: Mapping[str, Mapping[str, Mapping[str, Path]]]) -> dict[str, dict[str, dict[str, tuple[Path, ...]]]]:
    """The files that belong together: from split -> part -> name -> file to split -> name -> part -> (file,), names sorted.

    Raises one ContractError that lists every sample of which a part is missing.
    """
    alone = []
    whole: dict[str, dict[str, dict[str, tuple[Path, ...]]]] = {}
    for split, parts in found.items():
        whole[split] = {}
        for name in sorted(set().union(*parts.values())):
            missing = [part for part, files in parts.items() if name not in files]
            present: dict[str, tuple[Path, ...]] = {part: (files[name],) for part, files in parts.items() if name in files}
            if missing:
                alone.append(f"{next(iter(present.values()))[0]} has no {' and no '.join(missing)}")
            whole[split][name] = present
    if alone:
        raise ContractError(f"{len(alone)} files have no partner; download what is missing, or remove them:{listed(alone)}")
    return whole


def matched(parts: Mapping[str, Mapping[str, Path]]) -> dict[str, dict[str, tuple[Path, ...]]]:
    """As `joined`, for files of no split: from part -> name -> file to name -> part -> (file,)."""
    return joined({"": parts})[""]


def change_map(
    path: Path, window: Window | None = None, *, unchanged: int = 0, changed: int = 255
) -> Int64[np.ndarray, "1 H W"]:
    """A map of two values as 0 (unchanged) and 1 (changed); ContractError naming the file for any other value."""
    values = read_labels(path, window)
    other = np.setdiff1d(values, (unchanged, changed))
    if other.size:
        raise ContractError(
            f"{path} holds the value {other[0]}; expected {unchanged} (unchanged) and {changed} (changed) alone: "
            "replace the file by the one that was downloaded"
        )
    return (values == changed)[None].astype(np.int64)


class FolderDataset(Dataset):
    """A dataset in a folder. A subclass gives `options`, `layout`, `listing` and `decode`; ids begin with the split's name."""

    root: Path
    options: ClassVar[Mapping[str, Option]] = {}
    layout: ClassVar[str]  # the tree that is expected, for errors: one line a level

    def __init__(self, root: Path | None, **options: str) -> None:
        self.option = self._parsed(options)
        if self.option.get("channels") == "repeat":
            self.source_channels = 3
        title = self.card.title
        if root is None or not Path(root).is_dir():
            raise ContractError(f"{title} needs its folder: --data FOLDER (got {root}). {self.card.get}")
        self.root = Path(root)
        listing = self.listing()
        if not any(listing.values()):
            raise self.wrong_layout("no images found")
        for split in SPLITS:
            if not listing[split]:
                raise ContractError(f"{self.root}: no {split} images; download more of {title}, or choose another split")
        self._files = {f"{split}/{name}": files for split, found in listing.items() for name, files in found.items()}
        self._refuse_cut_scenes()

    @classmethod
    def _parsed(cls, given: Mapping[str, str]) -> dict[str, Any]:
        title = cls.card.title
        for name, text in given.items():
            if name not in cls.options:
                known = listed(f"{option}: {meaning.about}" for option, meaning in cls.options.items())
                raise ContractError(f"{title} has no option {name!r}; it knows:{known or ' none'}")
            choices = cls.options[name].choices
            if choices and text not in choices:
                raise ContractError(f"{title}: {name}={text}: choose from {', '.join(choices)}")
        parsed = {}
        for name, option in cls.options.items():
            value = given[name] if name in given else option.default  # noqa: SIM401 - `get` would lose that it may be None
            try:
                parsed[name] = None if value is None else option.parse(value)
            except ValueError as error:
                raise ContractError(f"{title}: {name}={value}: {error}") from error
        return parsed

    @abstractmethod
    def listing(self) -> Listing:
        """The files of every sample by split and name, from `self.root` and `self.option`."""

    @abstractmethod
    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """A part of a sample: images float32 (C, H, W) in [-1, 1]; labels int64 (1, H, W)."""

    def wrong_layout(self, problem: str) -> ContractError:
        """The error for a folder that is not the dataset's: what was expected, and what was found."""
        entries = sorted(self.root.iterdir())
        found = ", ".join(entry.name + "/" * entry.is_dir() for entry in entries[:SHOWN])
        more = f", ... and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
        return ContractError(
            f"{self.root} is not {self.card.title} as downloaded: {problem}.\nexpected:\n{self.layout.rstrip()}\n"
            f"found: {found + more or 'nothing'}\n{self.card.get}"
        )

    def inner(self, holds: str, *below: str) -> Path:
        """The first of the root and these folders below it that holds a folder of that name; the layout is wrong without."""
        for folder in (self.root, *(self.root / name for name in below)):
            if (folder / holds).is_dir():
                return folder
        raise self.wrong_layout(f"no folder {holds}")

    # --- What `Dataset` promises ---

    @cached_property
    def _ids(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {
            (split, part): tuple(
                sorted(i for i, files in self._files.items() if i.startswith(f"{split}/") and part in files.parts)
            )
            for split in SPLITS
            for part in BOTH
        }

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test" that have a source image, sorted."""
        return self._ids[split, "source"]

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test" that have a target image, sorted."""
        return self._ids[split, "target"]

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Decode the parts that are asked for and there; ContractError naming the file that is unreadable or does not fit."""
        files = self._files[sample_id]
        arrays = {name: self.decode(name, files.parts[name], files.window) for name in parts if name in files.parts}
        self._refuse_uneven(files, arrays)
        if "source" in arrays and len(arrays["source"]) == 1 < self.source_channels:  # channels=repeat
            arrays["source"] = np.repeat(arrays["source"], self.source_channels, axis=0)
        return Sample(
            arrays.get("source"), arrays.get("target"), {name: array for name, array in arrays.items() if name not in BOTH}
        )

    def scene(self, sample_id: str) -> str | None:
        """The group that the split does not cut; None where it is not known."""
        return self._files[sample_id].scene

    def files(self, sample_id: str) -> tuple[Path, ...]:
        """Every file behind a sample, each once."""
        return tuple(dict.fromkeys(path for paths in self._files[sample_id].parts.values() for path in paths))

    def source_file(self, sample_id: str) -> Path | None:
        """The source's file; None for several files, for a window of one, and where it is another part's file too."""
        files = self._files[sample_id]
        found = files.parts.get("source", ())
        rest = {path for part, paths in files.parts.items() if part != "source" for path in paths}
        return found[0] if len(found) == 1 and files.window is None and found[0] not in rest else None

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, from the first file's header."""
        files = self._files[sample_id]
        if files.window is not None:
            return files.window.height, files.window.width
        header = read_header(next(iter(files.parts.values()))[0])
        return header.height, header.width

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the first image lies, if its file says so."""
        files = self._files[sample_id]
        where = read_georeference(next(iter(files.parts.values()))[0])
        return where.moved(files.window.top, files.window.left) if where and files.window else where

    # --- Checks ---

    def _refuse_uneven(self, files: Files, arrays: Mapping[str, np.ndarray]) -> None:
        sizes = {name: array.shape[1:] for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{files.parts[name][0]} has {h}x{w} px" for name, (h, w) in sizes.items())
            raise ContractError(f"{shown}; the parts of a sample need one size: replace the file that is not as downloaded")

    def _refuse_cut_scenes(self) -> None:
        scenes: dict[str, set[str]] = {split: set() for split in SPLITS}
        for sample_id, files in self._files.items():
            if files.scene is not None:
                scenes[sample_id.partition("/")[0]].add(files.scene)
        common = sorted(scenes["train"] & scenes["test"])
        if common and self.card.group is not None and not self.keeps_official_leaks:
            raise ContractError(f"{self.root}: {len(common)} scenes are in train and in test:{listed(common)}")
