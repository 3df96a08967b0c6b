"""A procedural landscape seen by a SAR, by an optical sensor at two dates, and by a game engine; no download.

Made by code from (seed, scene), to the same bytes on every machine (`world/exact.py` says how). A sample is a scene of its own:
hills; a river or a lake; fields in strips with hedges and tracks; forest; villages, farms, halls; 3 m a pixel.

Tasks, by the option `task`; every image is float32 in [-1, 1] on the 256 levels of an 8-bit product:

sar      SAR to optical. Source: C-band VV intensity of `looks` looks, 40 degrees of incidence from the left, dB clipped to
         [-25, 5], with local incidence, layover, double bounce, shadow and speckle (`world/sar.py`); it does not depend on the
         season. Target: RGB of a season, with the sun's light and shadows (`world/optical.py`). aux: labels.
season   Optical at a first date (`season`) to optical at a second one (`season_2`): for season translation, and for change
         detection after it. Between them the sun, the colours and the snow change, and some of the land really does: houses
         are built and torn down, forest is felled, water rises (`world/change.py`). aux: labels (first date), labels_2
         (second date), change, which is 1 exactly where the two differ, and two images that no real sensor gives:
         source_as_target, the land of the first date as the second one shows it, so the right translation of the source,
         and target_as_source.
render   Rendered to real, unpaired: the flat colours of a game, whose land has more houses and roads (`world/rendered.py`),
         and optical images of other scenes. aux: labels, of both.

Splits are ours: every sample is a scene of its own, and the test scenes are the same for every n_train. What a preset is chosen
by are other scenes, `split=validation`: no board may show a number of the images that its methods were tuned on. Licence:
Apache-2.0.

What a source does not tell: in `sar`, a parcel's hue (crops of one backscatter differ in colour), grass against some crops, the
colours of roofs; in `season`, where snow lies and what has really changed. No translation can be perfect.

`unpaired=yes` makes sources and targets of `sar` and `season` show disjoint scenes. `misregistration_px=M` moves each source
by a vector of its own, up to M px long (`offset_px`); the land reaches beyond the image, so no border is invented. aux lies on
the grid of the target, unless the id is a source's alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from sarbench.bench.dataset import BOTH, ContractError, Dataset, DatasetCard, Sample
from sarbench.bench.folders import SPLITS, Option
from sarbench.datasets.world.exact import direction, stream
from sarbench.datasets.world.materials import CLASSES, SEASONS
from sarbench.datasets.world.scene import MOST_OFFSET_PX, Offset, Scene

SCENES = 1_000_000  # of a split and a domain, at most; fixed, so that the test scenes are the same for every n_train
VALIDATION, TEST = 1, 5  # blocks of SCENES; the targets of disjoint scenes are two blocks further
SEASON_AUX = ("labels", "labels_2", "change", "source_as_target", "target_as_source")
LEVELS = (np.arange(256) / 127.5 - 1.0).astype(np.float32)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"give an integer from {least} to {most}")
        return int(text)

    return parse


def _offset(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= MOST_OFFSET_PX:
        raise ValueError(f"give a number from 0 to {MOST_OFFSET_PX:g}")
    return value


OPTIONS: Mapping[str, Option] = {
    "size_px": Option("128", "side of an image", parse=_whole(16, 4096)),
    "n_train": Option("384", "training scenes, of each domain", parse=_whole(1, SCENES)),
    "n_test": Option("48", "test scenes, of each domain", parse=_whole(1, SCENES)),
    "seed": Option("0", "each is another world", parse=_whole(0, 2**63)),
    "split": Option("test", "validation: other scenes are scored, to choose presets by", choices=("test", "validation")),
    "task": Option("sar", "what becomes what", choices=("sar", "season", "render")),
    "season": Option("summer", "of the optical image, or of the first of two", choices=(*SEASONS, "any")),
    "season_2": Option("winter", "of the second optical image", choices=(*SEASONS, "any")),
    "looks": Option("4", "of the SAR image", parse=_whole(1, 64)),
    "misregistration_px": Option("0", "how far a source is off its place, at most", parse=_offset),
    "unpaired": Option("no", "yes: sources and targets show other scenes", choices=("no", "yes")),
    "channels": Option("none", "repeat: a source of one band three times", choices=("none", "repeat")),
}
TASKS_OF = {"looks": ("sar",), "season_2": ("season",), "misregistration_px": ("sar", "season"), "unpaired": ("sar", "season")}
CARDS: Mapping[str, Mapping[str, str]] = {  # what differs from the card of `sar`
    "sar": {},
    "season": {
        "title": "Synthetic landscape at two dates",
        "source": "simulated RGB, 3 m, 8 bit, first date",
        "target": "simulated RGB, 3 m, 8 bit, second date",
        "task": "season",
    },
    "render": {"title": "Synthetic landscape, rendered", "source": "rendered RGB, 3 m, 8 bit", "task": "rendered to real"},
}


class Synthetic(Dataset):
    """The embedded dataset; tasks and options stand at the top of this file."""

    card = DatasetCard(
        title="Synthetic landscape",
        source="simulated C-band VV intensity, 3 m, -25 to 5 dB",
        target="simulated RGB, 3 m, 8 bit",
        task="sar to optical",
        group="scene",
        licence="Apache-2.0",
        reference="",
        gsd_m=3.0,
    )
    classes = CLASSES
    target_channels = 3

    def __init__(self, root: Path | None = None, **options: str) -> None:
        if root is not None:
            raise ContractError(f"the dataset 'synthetic' is made by code and reads no folder; drop {root}")
        self.option = _parsed(options)
        self.task: str = self.option["task"]
        paired = self.task != "render" and self.option["unpaired"] == "no"
        # Each task has a card of its own, though the class, which knows no task yet, shows the default one's.
        self.card = replace(type(self).card, paired=paired, **CARDS[self.task])  # type: ignore[misc, arg-type]
        self.source_channels = 1 if self.task == "sar" and self.option["channels"] == "none" else 3
        self.aux = SEASON_AUX if self.task == "season" and paired else ("labels",)
        domains = {"": BOTH} if paired else {"source_": ("source",), "target_": ("target",)}
        blocks = {"train": 0, "test": VALIDATION if self.option["split"] == "validation" else TEST}
        self._scenes = {
            f"{split}/{prefix}{i:07d}": ((2 * d + blocks[split]) * SCENES + i, images)
            for split in SPLITS
            for d, (prefix, images) in enumerate(domains.items())
            for i in range(self.option[f"n_{split}"])
        }

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test" that have a source image, sorted; one sample is one scene."""
        return self._ids(split, "source")

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test" that have a target image, sorted."""
        return self._ids(split, "target")

    def _ids(self, split: str, image: str) -> tuple[str, ...]:
        return tuple(i for i, (_, images) in self._scenes.items() if i.startswith(f"{split}/") and image in images)

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Make what `parts` names of one scene, and nothing else; "labels" (1, H, W) int64 are indices into CLASSES."""
        index, images = self._scenes[sample_id]
        is_source = "source" in images
        scene = Scene(self.option["seed"], index, self.option["size_px"], self.task == "render" and is_source)
        source = self._source(scene, sample_id) if "source" in parts and is_source else None
        target = self._target(scene) if "target" in parts and "target" in images else None
        aux = {}
        if "labels" in parts:
            aux["labels"] = scene.labels(1 if is_source else self._target_date)
        if "labels_2" in parts and "labels_2" in self.aux:
            aux["labels_2"] = scene.labels(2)
        if "change" in parts and "change" in self.aux:
            aux["change"] = (scene.labels(1) != scene.labels(2)).astype(np.int64)
        if "source_as_target" in parts and "source_as_target" in self.aux:
            aux["source_as_target"] = _on_8_bits(scene.as_on(1, 2, self.option["season_2"]))
        if "target_as_source" in parts and "target_as_source" in self.aux:
            aux["target_as_source"] = _on_8_bits(scene.as_on(2, 1, self.option["season"]))
        return Sample(source, target, aux)

    @property
    def _target_date(self) -> int:
        return 2 if self.task == "season" else 1

    def _source(self, scene: Scene, sample_id: str) -> Float32[np.ndarray, "C H W"]:
        offset_px = self.offset_px(sample_id)
        if self.task == "render":
            return _on_8_bits(scene.rendered())
        if self.task == "season":
            return _on_8_bits(scene.optical(1, self.option["season"], offset_px))
        image = _on_8_bits(scene.sar(self.option["looks"], offset_px))
        return np.repeat(image, self.source_channels, axis=0)

    def _target(self, scene: Scene) -> Float32[np.ndarray, "3 H W"]:
        date = self._target_date
        return _on_8_bits(scene.optical(date, self.option["season_2" if date == 2 else "season"]))

    def offset_px(self, sample_id: str) -> Offset:
        """How far the source of a sample is moved down and to the right against its target, in px: evenly over a disc."""
        most_px = self.option["misregistration_px"]
        rng = stream("synthetic", self.option["seed"], self._scenes[sample_id][0], "misregistration")
        right, down = direction(rng.uniform(0.0, 2.0 * math.pi))
        length_px = most_px * math.sqrt(rng.random())
        return length_px * down, length_px * right

    def scene(self, sample_id: str) -> str:
        """Each sample is a scene of its own."""
        return f"scene {self._scenes[sample_id][0]}"

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px."""
        return self.option["size_px"], self.option["size_px"]


def _parsed(given: Mapping[str, str]) -> dict[str, Any]:
    """The value of every option; ContractError for one that is unknown, wrong, or does nothing in the task."""
    if unknown := sorted(given.keys() - OPTIONS.keys()):
        known = "".join(f"\n  {name}: {option.about}" for name, option in OPTIONS.items())
        raise ContractError(f"the dataset 'synthetic' has no option {unknown[0]!r}; it knows: {', '.join(OPTIONS)}{known}")
    values = {}
    for name, option in OPTIONS.items():
        text = given.get(name, str(option.default))
        if option.choices and text not in option.choices:
            raise ContractError(f"{name}={text}: choose from {', '.join(option.choices)}")
        try:
            values[name] = option.parse(text)
        except ValueError as error:
            raise ContractError(f"{name}={text}: {error}") from error
    for name, tasks in TASKS_OF.items():
        if name in given and values["task"] not in tasks:
            raise ContractError(f"{name}={given[name]} does nothing with task={values['task']}; drop it")
    if values["misregistration_px"] and values["unpaired"] == "yes":
        raise ContractError("misregistration_px needs pairs: sources and targets of unpaired=yes show other scenes")
    return values


def _on_8_bits(image: Float[np.ndarray, "C H W"]) -> Float32[np.ndarray, "C H W"]:
    """[0, 1] to the nearest of the 256 levels between -1 and 1."""
    return LEVELS.take(np.rint(image * np.float32(255.0)).astype(np.intp))
