"""What an adapter is shown: labelled images of one domain, and target images of which it sees no label."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from sarbench.bench.dataset import BOTH, Dataset, Sample
from sarbench.bench.judges._shown import Shown
from sarbench.bench.material import Images, Material
from sarbench.bench.storage import digest


class Domains(Dataset):
    """Sources and their labels from one side, targets from the other, for the loader of unpaired batches."""

    def __init__(self, labelled: Shown, unlabelled: Shown) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled
        self.aux = labelled.aux
        self.source_channels, self.target_channels = labelled.source_channels, unlabelled.target_channels
        self.card = replace(labelled.card, paired=False)  # type: ignore[misc]

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of the labelled images."""
        return self.labelled.ids(split)

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of the target images."""
        return self.unlabelled.ids(split)

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """A labelled image and its labels, or a target image and nothing else."""
        of_target = self.unlabelled.read(sample_id, ("target",)) if "target" in parts else None
        rest = [name for name in parts if name != "target"]
        found = self.labelled.read(sample_id, rest).parts() if rest else {}
        aux = {name: array for name, array in found.items() if name not in BOTH}
        return Sample(found.get("source"), of_target.target if of_target else None, aux)

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, which are those of the track's own images on both sides."""
        return self.labelled.size(sample_id)

    def content(self, split: str) -> str:
        """The hash of all that is shown: labels of target images are not."""
        targets = (np.ascontiguousarray(self.unlabelled.pixels("target", i)).tobytes() for i in self.target_ids(split))
        return digest(self.labelled.content(split), *self.target_ids(split), *targets)

    def material(self, like: Material) -> Material:
        """The same as material of the training loop."""
        found = {split: (self.ids(split), self.target_ids(split)) for split in ("train", "test")}
        return Material(Images(self), found["train"][0], found["test"][0], found["train"][1], found["test"][1], like.identity)
