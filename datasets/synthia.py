"""SYNTHIA-RAND-CITYSCAPES: rendered street scenes with label maps in classes that match Cityscapes; rendered to real.

Source: by default the rendered image, for translation into real photos; 8-bit RGB, 0..255 to [-1, 1].
`direction=labels2image` turns the pair round.
Target: the label map, coloured by the classes of Cityscapes, black elsewhere.
Labels: `labels`, train ids of Cityscapes, 255 for not labelled. The files are 16-bit PNG of 3 channels: the first holds the
class, the second the instance. Papers score 16 classes here, without terrain, truck and train.
Splits: none official. Ours: blocks of 50 numbers in a row, a share of them (`test_share`) drawn for testing by a hash of the
block's number, so that images rendered one after the other stay together; 700 test images by default. Which images show one
place of the rendered city is not stated, so the split counts as unverified.
Size: 9,400 pairs of 760x1280 px (height x width).
Licence: CC BY-NC-SA 3.0 as far as we know; see the dataset's page.
Reference: Ros et al., CVPR 2016, https://doi.org/10.1109/CVPR.2016.352

Layout, as SYNTHIA_RAND_CITYSCAPES unpacks (the folder above RAND_CITYSCAPES may be given too):

    RGB/0000000.png
    GT/LABELS/0000000.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Listing, Option, drawn, joined, share
from sarbench.bench.images import Window, find_images, read_image
from sarbench.datasets.families.street_scenes import DIRECTION, DIRECTIONS, StreetScenes, train_id_table

BLOCK = 50  # images in a row that stay together

# SYNTHIA's class ids 0..22: the train id of the same class in Cityscapes
TRAIN_IDS = {
    1: 10,  # sky
    2: 2,  # building
    3: 0,  # road
    4: 1,  # sidewalk
    5: 4,  # fence
    6: 8,  # vegetation
    7: 5,  # pole
    8: 13,  # car
    9: 7,  # traffic sign
    10: 11,  # pedestrian
    11: 18,  # bicycle
    12: 17,  # motorcycle
    15: 6,  # traffic light
    16: 9,  # terrain
    17: 12,  # rider
    18: 14,  # truck
    19: 15,  # bus
    20: 16,  # train
    21: 3,  # wall
}


class Synthia(StreetScenes):
    """SYNTHIA-RAND-CITYSCAPES."""

    card = DatasetCard(
        title="SYNTHIA-RAND-CITYSCAPES",
        source="rendered RGB image, 8 bit (direction=labels2image: the label map)",
        target="label map in the colours of 19 classes",
        task="rendered to real",
        group=None,
        licence="CC BY-NC-SA 3.0 as far as we know",
        reference="https://doi.org/10.1109/CVPR.2016.352",
        get="Unpack SYNTHIA-RAND-CITYSCAPES of https://synthia-dataset.net.",
    )
    options = {
        "direction": Option("image2labels", DIRECTION, DIRECTIONS),
        "test_share": Option("0.1", "share of the blocks of 50 numbers to test on", parse=share),
    }
    layout = "  RGB/0000000.png ...\n  GT/LABELS/0000000.png ..."
    table = train_id_table(TRAIN_IDS, known=23)

    def listing(self) -> Listing:
        """Every rendered image with its label map, in the split that is drawn for its block of numbers."""
        root = self.inner("RGB", "RAND_CITYSCAPES")
        if not (root / "GT" / "LABELS").is_dir():
            raise self.wrong_layout("no folder GT/LABELS")
        pairs = joined({"": {"image": find_images(root / "RGB"), "label map": find_images(root / "GT" / "LABELS")}})[""]
        found: Listing = {"train": {}, "test": {}}
        for name, files in pairs.items():
            if not name.isdecimal():
                raise self.wrong_layout(f"the name of {files['image'][0]} is not a number")
            split = drawn("synthia", str(int(name) // BLOCK), self.option["test_share"])
            found[split][name] = self.pair(*files["image"], *files["label map"])
        return found

    def label_ids(self, path: Path, window: Window | None) -> Integer[np.ndarray, "H W"]:
        """The first channel of a 16-bit label map."""
        pixels = read_image(path, window=window)
        if pixels.dtype != np.uint16:
            raise ContractError(
                f"{path} holds {pixels.dtype} values, expected the 16-bit label map; a file saved again with 8 bits has "
                "lost its classes: replace it by the one that was downloaded"
            )
        return pixels[:, :, 0]
