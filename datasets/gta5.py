"""GTA5 (Playing for Data): frames of a video game with label maps in the ids of Cityscapes; rendered to real.

Source: by default the frame, for translation into real photos; 8-bit RGB, 0..255 to [-1, 1]. `direction=labels2image` turns
the pair round.
Target: the label map, coloured by the 19 classes of Cityscapes, black elsewhere.
Labels: `labels`, train ids 0..18 from the label ids that the palette images hold, 255 for not labelled.
Splits: official, from split.mat: train = trainIds, test = valIds or by `test_split=test` testIds. Which frames are of one
drive through the game is not stated, so the split counts as unverified.
Size: 12,403 train, 6,382 val and 6,181 test pairs, mostly of 1052x1914 px (height x width). A pair whose two files differ in
size is refused by name; remove both files. Frames that were not downloaded (the set comes in ten parts) are left out.
Licence: research and education.
Reference: Richter et al., ECCV 2016, https://doi.org/10.1007/978-3-319-46475-6_7

Layout, as the archives unpack into one folder; split.mat is in read_mapping.zip of the same page:

    images/00001.png
    labels/00001.png
    split.mat
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Listing, Option, joined, listed
from sarbench.bench.images import find_images
from sarbench.datasets.families.street_scenes import DIRECTION, DIRECTIONS, StreetScenes

PAGE = "https://download.visinf.tu-darmstadt.de/data/from_games/"


class GTA5(StreetScenes):
    """Playing for Data."""

    card = DatasetCard(
        title="GTA5",
        source="RGB frame of a video game, 8 bit (direction=labels2image: the label map)",
        target="label map in the colours of 19 classes",
        task="rendered to real",
        group=None,
        licence="research and education",
        reference="https://doi.org/10.1007/978-3-319-46475-6_7",
        get="Unpack images, labels and read_mapping of https://download.visinf.tu-darmstadt.de/data/from_games/ in one folder.",
    )
    options = {
        "direction": Option("image2labels", DIRECTION, DIRECTIONS),
        "test_split": Option("val", "the official split to test on", ("val", "test")),
    }
    layout = "  images/00001.png ...\n  labels/00001.png ...\n  split.mat"

    def listing(self) -> Listing:
        """Every frame with its label map, in the split that split.mat gives its number."""
        for folder in ("images", "labels"):
            if not (self.root / folder).is_dir():
                raise self.wrong_layout(f"no folder {folder}")
        places = {part: find_images(self.root / folder) for part, folder in (("frame", "images"), ("label map", "labels"))}
        pairs = joined({"": places})[""]
        splits = _official(self.root / "split.mat")
        unknown = [str(*files["frame"]) for name, files in pairs.items() if name not in splits]
        if unknown:
            raise ContractError(f"{len(unknown)} frames are not in {self.root / 'split.mat'}; remove them:{listed(unknown)}")
        wanted = {"train": "train", self.option["test_split"]: "test"}
        found: Listing = {"train": {}, "test": {}}
        for name, files in pairs.items():
            if splits[name] in wanted:
                found[wanted[splits[name]]][name] = self.pair(*files["frame"], *files["label map"])
        return found


def _official(path: Path) -> dict[str, str]:
    """The official split, train, val or test, of every frame by its name of five digits."""
    from scipy.io import loadmat

    if not path.is_file():
        raise ContractError(f"{path} is missing: it holds the official split; unpack it from read_mapping.zip of {PAGE}")
    try:
        numbers = loadmat(path, variable_names=("trainIds", "valIds", "testIds"))
        return {f"{i:05d}": split for split in ("train", "val", "test") for i in np.ravel(numbers[f"{split}Ids"]).tolist()}
    except Exception as error:  # whatever a damaged file makes of the decoder
        raise ContractError(
            f"{path} can't be read as the official split ({str(error) or type(error).__name__}); unpack it again from "
            f"read_mapping.zip of {PAGE}"
        ) from error
