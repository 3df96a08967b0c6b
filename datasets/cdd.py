"""CDD (season-varying images): one place in two seasons, with maps of what changed beside the season.

Source: the first date (A), 8-bit RGB of Google Earth, ground sample distance 0.03 to 1 m; 0..255 to [-1, 1].
Target: the second date (B), likewise.
Labels: `change`, 1 where the map OUT is 128 or more: a JPEG blurs its 0 and 255.
Licence: none stated; imagery of Google Earth.
Reference: Lebedev et al., ISPRS Archives 2018, https://doi.org/10.5194/isprs-archives-XLII-2-565-2018

`layout=tiles` (default), the public release; the root may be given at any of its levels:

    ChangeDetectionDataset/Real/subset/{train,val,test}/{A,B,OUT}/00000.jpg

Size: 10,000 train, 3,000 val and 3,000 test pairs of 256x256 px, cropped at random places and angles from 11 pairs of scenes.
Splits: official, train = train, test = test or by `test_split=val` val. Which scene a tile is from is not stated, and tiles of
all splits come from the same 11 scenes, so this split leaks by the way it was made; it counts as unverified.

`layout=scenes`, the whole scenes (seven of 4725x2700 or 4725x2200 px, four of 1900x1000 px, width x height):

    A/NAME.*, B/NAME.* and, where there is one, OUT/NAME.*   PNG, JPEG or TIFF of equal names

Which scenes show summer and autumn, and which summer and winter, their published names don't say: put the pairs of one kind
into a folder of their own with A, B and OUT, and name it by `season=FOLDER`, such as `season=summer_winter`.
Size: windows of `tile_px` (default 256), half a window apart, the last row and column pushed to the border: 36 x 21 = 756 for
one pair of 4725x2700 px, as in SRUIT (Fang et al.).
Splits, by `split`: `blocked` (default): of each scene the columns up to 60 % of its width are train, the next 20 % val and the
last 20 % test (`test_split` chooses); windows across a border are dropped, and the block is the scene. `paper`: all windows
are train and test, as in SRUIT, whose scores measure memory; records then say "leaking".

Listing the scenes reads one header a scene, since the windows follow from its size. A window of a PNG or JPEG needs its
whole scene decoded, so the last six files stay in memory; tiled TIFFs are read window by window.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option, joined, side_px
from sarbench.bench.images import Window, as_rgb, find_images, read_header, read_image, remembered

FOLDERS = {"source": "A", "target": "B", "change": "OUT"}
LEVELS = ("subset", "Real/subset", "ChangeDetectionDataset/Real/subset")
BLOCKS = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}  # per cent of a scene's width
THRESHOLD = 128
TILE_PX = 256

_read = remembered(6)


class CDD(FolderDataset):
    """Season-varying images as tiles, or as whole scenes."""

    card = DatasetCard(
        title="CDD (season-varying)",
        source="Google Earth RGB, first season, 0.03 to 1 m, 8 bit",
        target="Google Earth RGB, second season, 0.03 to 1 m, 8 bit",
        task="season",
        group="column block of a scene (layout=scenes; not known for tiles)",
        licence="none stated; imagery of Google Earth",
        reference="https://doi.org/10.5194/isprs-archives-XLII-2-565-2018",
        get="Unpack the archive of https://drive.google.com/file/d/1GX656JqqOyBi_Ef0w65kDGVto-nHrNs9.",
    )
    source_channels = target_channels = 3
    aux: tuple[str, ...] = ("change",)
    options = {
        "layout": Option("tiles", "tiles: the public release; scenes: folders of whole scenes", ("tiles", "scenes")),
        "test_split": Option("test", "the split to test on", ("val", "test")),
        "split": Option(None, "scenes: blocked (default), or paper: train and test on all", ("blocked", "paper")),
        "season": Option(None, "scenes: the folder below the root that holds A, B and OUT (default: the root)"),
        "tile_px": Option(None, "scenes: side of the windows (default: 256)", parse=side_px),
    }
    layout = (
        "  ChangeDetectionDataset/Real/subset/{train,val,test}/{A,B,OUT}/00000.jpg ... (layout=tiles)\n"
        "  or {A,B,OUT}/NAME.* (layout=scenes; below another folder: season=FOLDER)"
    )

    @property
    def keeps_official_leaks(self) -> bool:
        """SRUIT's protocol tests on what it trains on."""
        return self.option["split"] == "paper"

    def listing(self) -> Listing:
        """Every tile of the release, or every window of the scenes."""
        if self.option["layout"] == "scenes":
            return self._scenes()
        for name in ("split", "season", "tile_px"):
            if self.option[name] is not None:
                raise ContractError(f"{self.card.title}: {name}={self.option[name]} has a meaning for layout=scenes alone")
        root = self.inner("train", *LEVELS)
        found = {}
        for split, official in {"train": "train", "test": self.option["test_split"]}.items():
            for folder in FOLDERS.values():
                if not (root / official / folder).is_dir():
                    raise self.wrong_layout(f"no folder {(root / official / folder).relative_to(self.root)}")
            found[split] = {part: find_images(root / official / folder) for part, folder in FOLDERS.items()}
        return {split: {name: Files(parts) for name, parts in pairs.items()} for split, pairs in joined(found).items()}

    def _scenes(self) -> Listing:
        root = self.root / (self.option["season"] or "")
        folders = {part: root / folder for part, folder in FOLDERS.items()}
        if not folders["change"].is_dir():
            del folders["change"]
            self.aux = ()
        for folder in folders.values():
            if not folder.is_dir():
                raise self.wrong_layout(f"no folder {folder}")
        scenes = joined({"": {part: find_images(folder) for part, folder in folders.items()}})[""]
        found: Listing = {"train": {}, "test": {}}
        for name, parts in scenes.items():
            windows = self._windows(parts["source"][0])
            for split, official in {"train": "train", "test": self.option["test_split"]}.items():
                start, stop = (0, 100) if self.keeps_official_leaks else BLOCKS[official]
                width = windows[-1].left + windows[-1].width
                found[split] |= {
                    f"{name}/{window.top:04d}_{window.left:04d}": Files(parts, f"{name}, columns {start} to {stop} %", window)
                    for window in windows
                    if start * width <= 100 * window.left and 100 * (window.left + window.width) <= stop * width
                }
        return found

    def _windows(self, path: Path) -> list[Window]:
        """Every window of a scene, row by row."""
        tile = self.option["tile_px"] or TILE_PX
        header = read_header(path)
        if min(header.height, header.width) < tile:
            raise ContractError(
                f"{path} has {header.height}x{header.width} px, less than a window of {tile} px; choose a smaller "
                "--data-option tile_px"
            )
        return [Window(top, left, tile, tile) for top in _starts(header.height, tile) for left in _starts(header.width, tile)]

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """A date in [-1, 1], or the change map."""
        pixels = read_image(paths[0]) if window is None else _read(paths[0], window)
        if part != "change":
            return as_rgb(paths[0], pixels)
        if pixels.dtype != np.uint8:
            raise ContractError(f"{paths[0]} holds {pixels.dtype} values, expected a map of 8 bits; download it again")
        bands = [pixels[:, :, band].astype(np.uint16) for band in range(pixels.shape[2])]
        return (sum(bands) >= THRESHOLD * len(bands))[None].astype(np.int64)


def _starts(length: int, tile: int) -> list[int]:
    """Where windows begin along a side: half a window apart, the last one at the border."""
    stride = max(1, tile // 2)
    last = length - tile
    return [*range(0, last, stride), last]
