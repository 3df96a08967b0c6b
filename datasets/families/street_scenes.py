"""What the datasets of street scenes share: the classes and colours of Cityscapes, and the two directions of translation.

Cityscapes numbers its classes twice: label ids as in the files, and train ids 0..18 for the classes that are scored; every
other label id is 255, not labelled. Source: Cordts et al., CVPR 2016, https://doi.org/10.1109/CVPR.2016.350, and the labels
page of https://www.cityscapes-dataset.com.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int64, Integer, UInt8

from sarbench.bench.errors import ContractError
from sarbench.bench.folders import Files, FolderDataset
from sarbench.bench.images import LEVELS, Window, as_rgb, read_image, read_labels

IGNORED = 255

# train id = place in this list; the colours are those of the dataset's own colour maps
COLOURS = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
CLASSES = tuple(COLOURS)

# train id 0, 1, ... 18: its label id in Cityscapes and GTA5
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

DIRECTIONS = ("labels2image", "image2labels")
DIRECTION = "labels2image: from the label map's colours to the photo; image2labels: the other way round"


def train_id_table(train_ids: Mapping[int, int], known: int) -> UInt8[np.ndarray, " known"]:
    """The train id of each label id 0..known - 1; 255 for those that are not in the mapping."""
    table = np.full(known, IGNORED, np.uint8)
    table[list(train_ids)] = list(train_ids.values())
    return table


CITYSCAPES_TABLE = train_id_table({label_id: train_id for train_id, label_id in enumerate(LABEL_IDS)}, known=35)


def coloured(train_ids: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "3 H W"]:
    """The label map as a colour image in [-1, 1]; what is not labelled is black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASSES)] = list(COLOURS.values())
    return np.stack([np.take(LEVELS[palette[:, band]], train_ids) for band in range(3)])


class StreetScenes(FolderDataset):
    """Photos and label maps of one size. A subclass lists pairs by `pair`; its options hold `direction`."""

    source_channels = target_channels = 3
    aux = ("labels",)
    classes = CLASSES
    table: ClassVar[np.ndarray] = CITYSCAPES_TABLE  # the train id of each label id

    def pair(self, photo: Path, labels: Path, scene: str | None = None) -> Files:
        """The files of one sample in the direction that was asked for."""
        sides = (labels, photo) if self.option["direction"] == "labels2image" else (photo, labels)
        return Files({"source": (sides[0],), "target": (sides[1],), "labels": (labels,)}, scene)

    def label_ids(self, path: Path, window: Window | None) -> Integer[np.ndarray, "H W"]:
        """The label map as its file holds it."""
        return read_labels(path, window)

    def decode(
        self, part: str, paths: tuple[Path, ...], window: Window | None
    ) -> Float[np.ndarray, "3 H W"] | Int64[np.ndarray, "1 H W"]:
        """The photo, the label map's colours, or for the part "labels" its train ids with 255 for not labelled."""
        path = paths[0]
        if part == ("target" if self.option["direction"] == "labels2image" else "source"):
            return as_rgb(path, read_image(path, window=window))
        ids = self.label_ids(path, window)
        if ids.max() >= len(self.table):
            raise ContractError(
                f"{path} holds the label id {ids.max()}; expected 0 to {len(self.table) - 1}: replace the file by the one that "
                "was downloaded (train ids, with 255 for not labelled, are made here)"
            )
        train_ids = self.table[ids]
        return train_ids[None].astype(np.int64) if part == "labels" else coloured(train_ids)
