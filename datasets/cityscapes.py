"""Cityscapes: photos of German streets from a car, with fine label maps; parsing to image.

Source: the label map, coloured by the 19 classes that are scored, black elsewhere; or by `direction=image2labels` the photo.
Target: the photo; 8-bit RGB of a front camera, 0..255 to [-1, 1].
Labels: `labels`, train ids 0..18 from the label ids of the files, 255 for not labelled.
Splits: official, grouped by city: train = train, test = val, since the labels of the official test are not public.
Size: 2,975 and 500 pairs of 1024x2048 px (height x width).
Licence: non-commercial research and teaching; no redistribution.
Reference: Cordts et al., CVPR 2016, https://doi.org/10.1109/CVPR.2016.350

Layout, as leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip unpack; what else lies there is left alone:

    leftImg8bit/{train,val}/CITY/CITY_000000_000019_leftImg8bit.png
    gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelIds.png
"""

from __future__ import annotations

from pathlib import Path

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.folders import Listing, Option, joined
from sarbench.datasets.families.street_scenes import DIRECTION, DIRECTIONS, StreetScenes

FOLDERS = {"train": "train", "test": "val"}
PHOTO, LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"


class Cityscapes(StreetScenes):
    """Cityscapes with its fine annotations."""

    card = DatasetCard(
        title="Cityscapes",
        source="label map in the colours of 19 classes (direction=image2labels: the photo)",
        target="RGB photo of a front camera, 8 bit",
        task="labels to photo",
        group="city",
        licence="non-commercial, no redistribution (Cityscapes licence)",
        reference="https://doi.org/10.1109/CVPR.2016.350",
        get="Register at https://www.cityscapes-dataset.com and unpack leftImg8bit_trainvaltest and gtFine_trainvaltest.",
    )
    options = {"direction": Option("labels2image", DIRECTION, DIRECTIONS)}
    layout = (
        "  leftImg8bit/{train,val}/CITY/CITY_000000_000019_leftImg8bit.png\n"
        "  gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelIds.png"
    )

    def listing(self) -> Listing:
        """Every photo with its label map, by city."""
        for name in (f"{kind}/{folder}" for kind in ("leftImg8bit", "gtFine") for folder in FOLDERS.values()):
            if not (self.root / name).is_dir():
                raise self.wrong_layout(f"no folder {name}")
        pairs = joined(
            {
                split: {
                    "photo": _by_name(self.root / "leftImg8bit" / folder, PHOTO),
                    "label map": _by_name(self.root / "gtFine" / folder, LABELS),
                }
                for split, folder in FOLDERS.items()
            }
        )
        return {
            split: {
                name: self.pair(*files["photo"], *files["label map"], scene=name.partition("/")[0])
                for name, files in found.items()
            }
            for split, found in pairs.items()
        }


def _by_name(folder: Path, ending: str) -> dict[str, Path]:
    return {
        f"{file.parent.name}/{file.name.removesuffix(ending)}": file for file in sorted(folder.glob(f"[!.]*/[!.]*{ending}"))
    }
