"""LEVIR-CD and LEVIR-CD+: two dates of towns in Texas, with maps of new and torn down buildings; date to date.

Source: the first date (A), 8-bit RGB of Google Earth, ground sample distance 0.5 m; 0..255 to [-1, 1].
Target: the second date (B), 5 to 14 years later, likewise.
Labels: `change`, 1 where a building was built or torn down, from masks of 0 and 255.
Splits: official: train = train, test = test or by `test_split=val` val (LEVIR-CD+ has none). Grouped by the image of 1024 px:
its cuts of 256 px, such as train_36_0512_0512, stay together. Which images lie side by side is not stated.
Size: LEVIR-CD 445 train, 64 val and 128 test pairs, LEVIR-CD+ 637 train and 348 test pairs, of 1024x1024 px.
Licence: academic use; imagery of Google Earth.
Reference: Chen and Shi, Remote Sensing 2020, https://doi.org/10.3390/rs12101662

Layouts, PNG of equal names, whole or cut:

    {train,val,test}/{A,B,label}/train_1.png
    A/, B/, label/ and list/{train,val,test}.txt, which name the files of a split, one a line
    A/, B/, label/ with names that begin with their split: train_1.png
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option, change_map, joined, listed
from sarbench.bench.images import Window, as_rgb, find_images, read_image

FOLDERS = {"source": "A", "target": "B", "change": "label"}
CORNER = re.compile(r"_\d{3,4}_\d{3,4}$")  # what the name of a cut adds to its image's: its top and left


class LevirCD(FolderDataset):
    """LEVIR-CD, LEVIR-CD+, and folders of that shape."""

    card = DatasetCard(
        title="LEVIR-CD",
        source="Google Earth RGB, first date, 0.5 m, 8 bit",
        target="Google Earth RGB, second date, 0.5 m, 8 bit",
        task="date to date",
        group="image of 1024 px",
        licence="academic use; imagery of Google Earth",
        reference="https://doi.org/10.3390/rs12101662",
        gsd_m=0.5,
        get="Unpack train, val and test of https://justchenhao.github.io/LEVIR/ into one folder.",
    )
    source_channels = target_channels = 3
    aux = ("change",)
    options = {"test_split": Option("test", "the official split to test on", ("val", "test"))}
    layout = (
        "  {train,val,test}/{A,B,label}/train_1.png ...\n"
        "  or {A,B,label}/train_1.png ... with list/{train,val,test}.txt, or with names that begin with their split"
    )

    def listing(self) -> Listing:
        """Every pair with its mask, from whichever layout the folder has."""
        flat = (self.root / "A").is_dir()
        official = {"train": "train", "test": self.option["test_split"]}
        found = {}
        for split, name in official.items():
            place = self.root if flat else self.root / name
            for folder in FOLDERS.values():
                if not (place / folder).is_dir():
                    raise self.wrong_layout(f"no folder {(place / folder).relative_to(self.root)}")
            sides = {part: find_images(place / folder) for part, folder in FOLDERS.items()}
            found[split] = self._of_split(name, sides) if flat else sides
        return {
            split: {name: Files(parts, _scene(official[split], name)) for name, parts in pairs.items()}
            for split, pairs in joined(found).items()
        }

    def _of_split(self, official: str, sides: Mapping[str, Mapping[str, Path]]) -> dict[str, dict[str, Path]]:
        """The files of one official split, by its list or by their names."""
        every = {name for files in sides.values() for name in files}
        file = self.root / "list" / f"{official}.txt"
        if (self.root / "list").is_dir():
            names = _lines(file)
            lost = sorted(names - every)
            if lost:
                raise ContractError(f"{file} names {len(lost)} images that are not there; download them again:{listed(lost)}")
        else:
            names = {name for name in every if name.startswith(f"{official}_")}
            strange = sorted(name for name in every if not name.startswith(("train_", "val_", "test_")))
            if strange:
                raise self.wrong_layout(f"no folder list, and {len(strange)} names that begin with no split:{listed(strange)}")
        return {part: {name: file for name, file in files.items() if name in names} for part, files in sides.items()}

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """A date in [-1, 1], or the change map."""
        if part == "change":
            return change_map(paths[0], window)
        return as_rgb(paths[0], read_image(paths[0], window=window))


def _lines(file: Path) -> set[str]:
    """The names, without suffix, that a list of files holds one a line."""
    try:
        return {Path(line.strip()).stem for line in file.read_text(encoding="utf-8").splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{file} can't be read as a list of file names ({error}); download it again") from error


def _scene(official: str, name: str) -> str:
    """The image of 1024 px; a whole one is told from one of the same number in another split."""
    return CORNER.sub("", name) if CORNER.search(name) else f"{official}/{name}"
