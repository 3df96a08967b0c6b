"""Any folder of registered pairs: two folders of equal names, side-by-side images, or a CSV manifest.

Layouts, found from the folder:

1. `train/` and `test/`, each with two folders of equal file names: source+target, sar+opt, sar+optical, s1+s2 or A+B;
   other names by the options `source=NAME target=NAME`. Also `trainA trainB testA testB`. A is the source, unless
   `direction=BtoA`.
2. Side-by-side images below `train/` and `test/`, the left half being A: option `layout=ab`.
3. `pairs.csv` at the root with the columns source, target, split and, if known, scene; paths are relative to the root.

Without `train/` and `test/` no split is known: give `test_share=0.2`, which draws whole scenes where `scene` is given.

Files are PNG, JPEG (for data that never existed without loss), TIFF or GeoTIFF. Pixels of 8 bits map 0..255 to [-1, 1].
Every other type needs `source_range=LO,HI` or `target_range=LO,HI`, in the file's unit (dB, reflectance, counts): values
are clipped to it and mapped to [-1, 1]. No range is ever guessed.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from jaxtyping import Float

from sarbench.bench.dataset import BOTH, ContractError, Dataset, DatasetCard, Georeference, Sample, key
from sarbench.bench.images import SUFFIXES, TIFF, find_images, read_georeference, read_header, read_image, scale

FOLDERS = (("source", "target"), ("sar", "opt"), ("sar", "optical"), ("s1", "s2"), ("A", "B"))
MANIFEST = "pairs.csv"
OPTIONS = {
    "layout": "ab: side-by-side images",
    "direction": "AtoB (default) or BtoA, for layouts that name their sides A and B",
    "source": "name of the source folder",
    "target": "name of the target folder",
    "test_share": "share of the scenes to test on, where the folder has no split",
    "scene": "regular expression with one group: the scene in a file name",
    "source_range": "LO,HI: the source values that become -1 and 1",
    "target_range": "LO,HI: the target values that become -1 and 1",
    "source_bands": "bands of the source, counted from 1, such as 1,2,1",
    "target_bands": "bands of the target, counted from 1, such as 4,3,2",
    "channels": "none (default), or repeat: a source of one band is repeated to the target's channel count",
    "nodata": "error (default), or clip: scale a GeoTIFF's nodata value as any other value",
}
CHOICES = {"layout": ("ab",), "direction": ("AtoB", "BtoA"), "channels": ("none", "repeat"), "nodata": ("error", "clip")}
SHOWN = 20  # bad files listed in one error


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of one sample; one file for both sides where they lie side by side."""

    source: Path
    target: Path
    scene: str | None = None


Listing = dict[str, dict[str, Pair]]  # split ("" where none is known) -> name without suffix -> pair


@dataclass(frozen=True)
class Side:
    """How the source or the target images are read: what all files must share, and the range that becomes [-1, 1]."""

    name: str  # "source" or "target"
    example: Path  # the file whose header set `channels` and `dtype`
    channels: int
    dtype: str
    bands: tuple[int, ...] | None  # counted from 1; None: all
    range: tuple[float, float] | None  # None: not given
    clip_nodata: bool

    @property
    def channels_read(self) -> int:
        """How many channels come out."""
        return len(self.bands) if self.bands else self.channels

    def scale(self, path: Path, pixels: np.ndarray) -> Float[np.ndarray, "C H W"]:
        """Pixels (H, W, C) of a file to float32 in [-1, 1]; ContractError where they are not of this side's kind."""
        if pixels.dtype != self.dtype:
            raise ContractError(f"{path} holds {pixels.dtype} values, but {self.example} holds {self.dtype}; use one type")
        chosen = self.select(path, pixels)
        nodata = None if self.clip_nodata or path.suffix.lower() not in TIFF else read_header(path).nodata
        if nodata is not None and (chosen == nodata).any():
            raise ContractError(
                f"{path}: {int((chosen == nodata).sum())} of {chosen.size} values are nodata ({nodata:g}); cut them away, "
                "or say --data-option nodata=clip to scale them as any other value"
            )
        low, high = self.range or (0.0, 255.0)
        chosen = chosen.transpose(2, 0, 1)
        # 8 bits are 256 values: look them up
        scaled = scale(np.arange(256), low, high)[chosen] if chosen.dtype == np.uint8 else scale(chosen, low, high)
        return np.ascontiguousarray(scaled)

    def select(self, path: Path, pixels: np.ndarray) -> np.ndarray:
        """The bands of this side, (H, W, C)."""
        found = pixels.shape[2]
        if self.bands is None:
            if found != self.channels:
                raise ContractError(
                    f"{path} has {found} channels, but {self.example} has {self.channels}; "
                    f"choose common ones by --data-option {self.name}_bands=1 or such"
                )
            return pixels
        if max(self.bands) > found:
            raise ContractError(f"{path} has {found} bands; {self.name}_bands asks for band {max(self.bands)}")
        return pixels[:, :, [band - 1 for band in self.bands]]


class PairsFolder(Dataset):
    """Registered pairs in a folder of your own; layouts, scaling and options stand at the top of this file.

    The id of a sample is its split and its source's path without suffix. `scene` is searched in the path alone, never in
    the split's name, so that it can't make one scene look like two.
    """

    card = DatasetCard(
        title="Your own pairs",
        source="as the folder's; range by --data-option source_range",
        target="as the folder's; range by --data-option target_range",
        task="as the folder's",
        group="what the option scene or the manifest says",
        licence="as the folder's",
        reference="",
        get="Any folder of registered pairs of your own: see the layouts in datasets/pairs.py.",
    )

    def __init__(self, root: Path | None, **options: str) -> None:
        _refuse_bad_options(options)
        if root is None or not Path(root).is_dir():
            raise ContractError(f"the dataset 'pairs' needs a folder: --data FOLDER (got {root})")
        self.root = Path(root)
        self._swapped = options.get("direction") == "BtoA"
        listing = _with_scenes(_listing(self.root, options), options.get("scene"))
        if "" in listing:
            listing = _split(self.root, listing[""], options.get("test_share"))
        _refuse_empty_or_leaking(self.root, listing)
        self._ids = {split: tuple(sorted(f"{split}/{name}" for name in pairs)) for split, pairs in listing.items()}
        self._pairs = {f"{split}/{name}": pair for split, pairs in listing.items() for name, pair in pairs.items()}
        self._source, self._target = self._sides(options)
        self.target_channels = self._target.channels_read
        self._repeats = options.get("channels") == "repeat" and self._source.channels_read == 1
        self.source_channels = self.target_channels if self._repeats else self._source.channels_read

    def ids(self, split: str) -> tuple[str, ...]:
        """The sample ids of "train" or "test", sorted."""
        return self._ids[split]

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Decode one pair, always both images, since they must fit together.

        ContractError naming the file that is unreadable or does not fit, and what to do.
        """
        pair = self._pairs[sample_id]
        left = read_image(pair.source)
        if pair.source == pair.target:
            half = _half(pair.source, left.shape[1])
            left, right = left[:, :half], left[:, half:]
            if self._swapped:
                left, right = right, left
        else:
            right = read_image(pair.target)
        if left.shape[:2] != right.shape[:2]:
            one, two = ("{}x{} px".format(*image.shape[:2]) for image in (left, right))
            raise ContractError(
                f"{pair.source} has {one}, but {pair.target} has {two}; a pair needs one size: crop or resample it to one grid"
            )
        source = self._source.scale(pair.source, left)
        if self._repeats:
            source = np.repeat(source, self.target_channels, axis=0)
        return Sample(source, self._target.scale(pair.target, right))

    def scene(self, sample_id: str) -> str | None:
        """The scene by the option `scene` or the manifest; None where neither says one."""
        return self._pairs[sample_id].scene

    def files(self, sample_id: str) -> tuple[Path, ...]:
        """The source's and the target's file; one where both lie side by side."""
        pair = self._pairs[sample_id]
        return (pair.source,) if pair.source == pair.target else (pair.source, pair.target)

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, from the source's header."""
        pair = self._pairs[sample_id]
        header = read_header(pair.source)
        return header.height, _half(pair.source, header.width) if pair.source == pair.target else header.width

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the source GeoTIFF lies; None for side-by-side images, whose transform can hold for one half only."""
        pair = self._pairs[sample_id]
        return None if pair.source == pair.target else read_georeference(pair.source)

    def _sides(self, options: Mapping[str, str]) -> tuple[Side, Side]:
        """Both sides as the first pair with readable headers shows them; ContractError where a range is missing."""
        errors = []
        for sample_id in (*self._ids["train"], *self._ids["test"]):
            pair = self._pairs[sample_id]
            try:
                sides = tuple(_side(name, path, options) for name, path in (("source", pair.source), ("target", pair.target)))
            except ContractError as error:
                errors.append(str(error))
                continue
            missing = [_missing_range(side) for side in sides if side.range is None and side.dtype != "uint8"]
            if missing:
                raise ContractError("; ".join(missing))
            return sides[0], sides[1]
        raise ContractError(f"{self.root}: no pair is readable:{_listed(errors)}")


# --- Options ---------------------------------------------------------------------------------------------------------


def _refuse_bad_options(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS:
            known = "".join(f"\n  {option}: {meaning}" for option, meaning in OPTIONS.items())
            raise ContractError(f"the dataset 'pairs' has no option {name!r}; it knows:{known}")
        if value not in CHOICES.get(name, (value,)):
            raise ContractError(f"{name}={value}: choose from {', '.join(CHOICES[name])}")


def _refuse_unused(layout: str, options: Mapping[str, str], used: Collection[str]) -> None:
    unused = [
        name for name in ("layout", "direction", "source", "target", "test_share") if name in options and name not in used
    ]
    if unused:
        raise ContractError(f"the option {unused[0]}={options[unused[0]]} has no meaning for {layout}; drop it")


def _range(name: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ContractError(f"{name}_range={text}: give two numbers, the lower one first, such as {name}_range=-25,0")
    return low, high


def _bands(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    bands = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if min(bands) < 1:
        raise ContractError(f"{name}_bands={text}: give band numbers, counted from 1, such as {name}_bands=4,3,2")
    return bands


def _side(name: str, path: Path, options: Mapping[str, str]) -> Side:
    bands, limits = _bands(name, options.get(f"{name}_bands")), _range(name, options.get(f"{name}_range"))
    header = read_header(path)
    return Side(name, path, header.channels, header.dtype, bands, limits, options.get("nodata") == "clip")


def _missing_range(side: Side) -> str:
    values = side.select(side.example, read_image(side.example))
    return (
        f"{side.example} holds {side.dtype} values, whose range is never guessed: say --data-option {side.name}_range=LO,HI "
        f"(values in this file: {values.min():g} to {values.max():g})"
    )


# --- Layouts ---------------------------------------------------------------------------------------------------------


def _listing(root: Path, options: Mapping[str, str]) -> Listing:
    """The pairs by split and name, in whichever layout the folder has."""
    if (root / MANIFEST).is_file():
        _refuse_unused(f"the manifest {root / MANIFEST}", options, ())
        return _manifest(root)
    swap = options.get("direction") == "BtoA"
    if any((root / name).is_dir() for name in ("trainA", "trainB", "testA", "testB")):
        _refuse_unused("the layout trainA trainB testA testB", options, ("direction",))
        return _matched({split: (root / f"{split}A", root / f"{split}B") for split in ("train", "test")}, swap)
    present = [split for split in ("train", "test") if (root / split).is_dir()]
    if len(present) == 1:
        raise ContractError(f"{root} has a folder {present[0]} alone; expected train and test, or a manifest {MANIFEST}")
    folders = {split: root / split for split in present} or {"": root}
    split_options = () if present else ("test_share",)
    if options.get("layout") == "ab":
        _refuse_unused("layout=ab", options, ("layout", "direction", *split_options))
        return {
            split: {name: Pair(file, file) for name, file in find_images(folder).items()} for split, folder in folders.items()
        }
    names = _folder_names(root, folders, options)
    sides = ("direction",) if names == ("A", "B") and "source" not in options else ("source", "target")
    _refuse_unused(f"the folders {names[0]} and {names[1]}", options, (*sides, *split_options))
    return _matched({split: (folder / names[0], folder / names[1]) for split, folder in folders.items()}, swap)


def _folder_names(root: Path, folders: Mapping[str, Path], options: Mapping[str, str]) -> tuple[str, str]:
    """The names of the source's and the target's folder."""
    if ("source" in options) != ("target" in options):
        raise ContractError("give both options, source=NAME and target=NAME")
    known = ((options["source"], options["target"]),) if "source" in options else FOLDERS
    fitting = [names for names in known if all((folder / name).is_dir() for folder in folders.values() for name in names)]
    if len(fitting) == 1:
        return fitting[0]
    places = {f"{split}/" if split else "": folder for split, folder in folders.items()}
    found = sorted(place + entry.name + "/" * entry.is_dir() for place, folder in places.items() for entry in folder.iterdir())
    shown = ", ".join(found[:SHOWN]) + (f", ... and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    wanted = ", ".join(f"{source}+{target}" for source, target in (fitting or known))
    if fitting:
        raise ContractError(f"{root} has more than one pair of folders: {wanted}; choose by source=NAME target=NAME")
    raise ContractError(
        f"{root}: no pairs found. Expected one of: train/ and test/ with the folders {wanted} (other names by the options "
        f"source=NAME target=NAME); trainA, trainB, testA, testB; side-by-side images with the option layout=ab; {MANIFEST}. "
        f"Found: {shown or 'nothing'}"
    )


def _matched(folders: Mapping[str, tuple[Path, Path]], swap: bool) -> Listing:
    """Pairs of equal names; one ContractError that lists every image without a partner."""
    listing: Listing = {}
    alone = []
    for split, (first, second) in folders.items():
        one, two = find_images(first), find_images(second)
        alone += [f"{one[name]} has no partner in {second}" for name in one.keys() - two.keys()]
        alone += [f"{two[name]} has no partner in {first}" for name in two.keys() - one.keys()]
        sources, targets = (two, one) if swap else (one, two)
        listing[split] = {name: Pair(sources[name], targets[name]) for name in one.keys() & two.keys()}
    if alone:
        raise ContractError(
            f"{len(alone)} images have no partner of the same name; rename or remove them, or pair them in {MANIFEST}:"
            + _listed(sorted(alone))
        )
    return listing


def _manifest(root: Path) -> Listing:
    """The pairs of `pairs.csv`; one ContractError that lists every bad line."""
    path = root / MANIFEST
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            if not {"source", "target", "split"} <= set(columns):
                raise ContractError(
                    f"{path}: expected the columns source,target,split,scene (scene may be left out), found {','.join(columns)}"
                )
            reader.fieldnames = columns
            rows = [(reader.line_num, {name: (row[name] or "").strip() for name in columns}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContractError(f"{path} can't be read as CSV in UTF-8 ({error})") from error
    listing: Listing = {"train": {}, "test": {}}
    used: dict[Path, str] = {}  # the split in which a file stands
    bad = []
    for line, row in rows:
        problem = _row_problem(root, row)
        if not problem:
            source, target, split = root / row["source"], root / row["target"], row["split"]
            name = PurePosixPath(row["source"]).with_suffix("").as_posix()
            twice = [file for file in (source, target) if used.setdefault(file, split) != split]
            if twice:
                problem = f"{twice[0].relative_to(root)} stands in train and in test"
            elif name in listing[split]:
                problem = f"{row['source']} stands there twice"
            elif source == target:
                problem = f"{row['source']} is its own target"
            else:
                listing[split][name] = Pair(source, target, row.get("scene") or None)
        if problem:
            bad.append(f"line {line}: {problem}")
    if bad:
        raise ContractError(f"{path} has {len(bad)} bad lines:{_listed(bad)}")
    return listing


def _row_problem(root: Path, row: Mapping[str, str]) -> str | None:
    if row["split"] not in ("train", "test"):
        return f"split {row['split']!r}; write train or test"
    for column in ("source", "target"):
        text = row[column]
        if not text:
            return f"no {column}"
        if PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or ".." in re.split(r"[/\\]", text):
            return f"{text} leaves the folder; write paths relative to {root}"
        if PurePosixPath(text).suffix.lower() not in SUFFIXES:
            return f"{text} is not a {', '.join(SUFFIXES)} file"
        if not (root / text).is_file():
            return f"{text} does not exist"
    return None


# --- Scenes and splits -----------------------------------------------------------------------------------------------


def _with_scenes(listing: Listing, pattern: str | None) -> Listing:
    """Every pair with the scene that the pattern finds in its name."""
    if pattern is None:
        return listing
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise ContractError(f"scene={pattern}: not a regular expression ({error})") from error
    if rule.groups != 1:
        raise ContractError(f"scene={pattern}: needs one group in parentheses, has {rule.groups}")
    if any(pair.scene for pairs in listing.values() for pair in pairs.values()):
        raise ContractError(f"the option scene={pattern} and the column scene of {MANIFEST} both name scenes; drop one")
    matches = {split: {name: rule.search(name) for name in pairs} for split, pairs in listing.items()}
    misses = [name for found in matches.values() for name, match in found.items() if match is None or not match[1]]
    if misses:
        raise ContractError(f"scene={pattern} finds no scene in {len(misses)} names:{_listed(sorted(misses))}")
    return {
        split: {name: replace(pair, scene=matches[split][name][1]) for name, pair in pairs.items()}  # type: ignore[index]
        for split, pairs in listing.items()
    }


def _split(root: Path, pairs: Mapping[str, Pair], test_share: str | None) -> Listing:
    """A share of the scenes (of the names, where no scene is known) to test on, drawn by a hash of what they are called."""
    if test_share is None:
        raise ContractError(
            f"{root} has no train/ and test/, so its split is not known; list it in {MANIFEST} (source,target,split,scene), "
            "or say --data-option test_share=0.2, if possible with scene=REGEX, so that no scene is cut by the split"
        )
    try:
        share = float(test_share)
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise ContractError(f"test_share={test_share}: give a number between 0 and 1, such as 0.2")
    groups = sorted({pair.scene or name for name, pair in pairs.items()}, key=lambda group: (key("test_share", group), group))
    tested = set(groups[: max(1, round(share * len(groups)))])
    listing: Listing = {"train": {}, "test": {}}
    for name, pair in pairs.items():
        listing["test" if (pair.scene or name) in tested else "train"][name] = pair
    return listing


def _refuse_empty_or_leaking(root: Path, listing: Listing) -> None:
    for split in ("train", "test"):
        if not listing[split]:
            raise ContractError(f"{root}: no {split} pairs; each split needs at least one")
    scenes = {split: {pair.scene for pair in pairs.values() if pair.scene} for split, pairs in listing.items()}
    common = sorted(scenes["train"] & scenes["test"])
    if common:
        raise ContractError(
            f"{root}: {len(common)} scenes are in train and in test, so scores would measure memory:{_listed(common)}\n"
            "move each to one side"
        )


def _half(path: Path, width: int) -> int:
    if width % 2:
        raise ContractError(f"{path} is {width} px wide; two images side by side have an even width")
    return width // 2


def _listed(lines: list[str]) -> str:
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in lines[:SHOWN] + more)
