"""OSCD (Onera Satellite Change Detection): Sentinel-2 at two dates over 24 cities, with maps of urban change; date to date.

Source: the first date (imgs_1_rect), Sentinel-2 L1C bands B04, B03, B02 as RGB at 10 m, uint16 of reflectance times 10,000;
`value_range` (default 0,3000) is clipped to and mapped to [-1, 1].
Target: the second date (imgs_2_rect), likewise.
Labels: `change`, 1 where a building or road is new; `nir`, band B08 of the second date in the same value range.
Splits: official, grouped by city: 14 cities of the folder Train Labels, 10 of Test Labels.
Size: 24 pairs of about 600x600 px, each cut into windows of `tile_px` (default 256) that do not overlap; what is left at the
right and bottom border is dropped.
Licence: CC BY-NC-SA as far as we know; contains modified Copernicus Sentinel data.
Reference: Daudt et al., IGARSS 2018, https://doi.org/10.1109/IGARSS.2018.8518015

Layout, as the three archives unpack into one folder:

    Onera Satellite Change Detection dataset - Images/CITY/imgs_{1,2}_rect/{B02,B03,B04,B08}.tif
    Onera Satellite Change Detection dataset - Train Labels/CITY/cm/{CITY-cm.tif,cm.png}
    Onera Satellite Change Detection dataset - Test Labels/CITY/cm/{CITY-cm.tif,cm.png}

The change map is CITY-cm.tif (1 unchanged, 2 changed); where only cm.png lies there (0 and 255), that one is read. In some
cities the PNG has an alpha channel, which is why the TIFF comes first.
Listing reads the header of one band a city, since the windows follow from the city's size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset, Listing, Option, change_map, listed, side_px, value_range
from sarbench.bench.images import Window, read_header, read_image, scale

IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = {
    "train": "Onera Satellite Change Detection dataset - Train Labels",
    "test": "Onera Satellite Change Detection dataset - Test Labels",
}
RGB, NIR = ("B04", "B03", "B02"), ("B08",)
FOLDERS = {"source": ("imgs_1_rect", RGB), "target": ("imgs_2_rect", RGB), "nir": ("imgs_2_rect", NIR)}


class OSCD(FolderDataset):
    """Onera Satellite Change Detection."""

    card = DatasetCard(
        title="OSCD",
        source="Sentinel-2 L1C RGB, first date, 10 m, uint16",
        target="Sentinel-2 L1C RGB, second date, 10 m, uint16",
        task="date to date",
        group="city",
        licence="CC BY-NC-SA as far as we know; modified Copernicus Sentinel data",
        reference="https://doi.org/10.1109/IGARSS.2018.8518015",
        gsd_m=10.0,
        get="Unpack Images, Train Labels and Test Labels of https://rcdaudt.github.io/oscd/ into one folder.",
    )
    source_channels = target_channels = 3
    aux = ("change", "nir")
    options = {
        "tile_px": Option("256", "side of the windows that a city is cut into", parse=side_px),
        "value_range": Option("0,3000", "LO,HI: the reflectances times 10,000 that become -1 and 1", parse=value_range),
    }
    layout = "\n".join(
        [f"  {IMAGES}/CITY/imgs_1_rect/B04.tif ... imgs_2_rect/B04.tif ..."]
        + [f"  {folder}/CITY/cm/CITY-cm.tif" for folder in LABELS.values()]
    )

    def listing(self) -> Listing:
        """The windows of every city, in the split whose label folder has it."""
        for folder in (IMAGES, *LABELS.values()):
            if not (self.root / folder).is_dir():
                raise self.wrong_layout(f"no folder {folder}")
        labelled = {split: _folders(self.root / folder) for split, folder in LABELS.items()}
        cities = {city: self._parts(city, labels) for found in labelled.values() for city, labels in found.items()}
        missing = [str(path) for parts in cities.values() for paths in parts.values() for path in paths if not path.is_file()]
        missing += [f"a change map of {place}" for city, place in _folders(self.root / IMAGES).items() if city not in cities]
        if missing:
            raise ContractError(f"{len(missing)} files are missing; unpack the three archives again:{listed(missing)}")
        return {
            split: {name: files for city in found for name, files in self._windows(city, cities[city]).items()}
            for split, found in labelled.items()
        }

    def _parts(self, city: str, labels: Path) -> dict[str, tuple[Path, ...]]:
        folder = self.root / IMAGES / city
        parts = {part: tuple(folder / date / f"{band}.tif" for band in bands) for part, (date, bands) in FOLDERS.items()}
        tiff, png = labels / "cm" / f"{city}-cm.tif", labels / "cm" / "cm.png"
        return {**parts, "change": (png if png.is_file() and not tiff.is_file() else tiff,)}

    def _windows(self, city: str, parts: dict[str, tuple[Path, ...]]) -> dict[str, Files]:
        tile = self.option["tile_px"]
        header = read_header(parts["source"][0])
        if min(header.height, header.width) < tile:
            raise ContractError(
                f"{parts['source'][0]} has {header.height}x{header.width} px, less than a window of {tile} px; "
                "choose a smaller --data-option tile_px"
            )
        return {
            f"{city}/{top:04d}_{left:04d}": Files(parts, city, Window(top, left, tile, tile))
            for top in range(0, header.height - tile + 1, tile)
            for left in range(0, header.width - tile + 1, tile)
        }

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """A window: bands of reflectance in [-1, 1], or the change map."""
        if part == "change":
            tiff = paths[0].suffix == ".tif"
            return change_map(paths[0], window, unchanged=1 if tiff else 0, changed=2 if tiff else 255)
        return np.stack([self._band(path, window) for path in paths])

    def _band(self, path: Path, window: Window | None) -> np.ndarray:
        values = read_image(path, window=window)
        if values.dtype != np.uint16 or values.shape[2] != 1:
            raise ContractError(
                f"{path} holds {values.shape[2]} bands of {values.dtype}, expected 1 of uint16; replace it by the one that was "
                "downloaded"
            )
        return scale(values[:, :, 0], *self.option["value_range"])


def _folders(folder: Path) -> dict[str, Path]:
    return {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")}
