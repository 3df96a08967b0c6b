"""Two datasets joined: the sources of one and the targets of the other, two domains whose images do not correspond."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sarbench.bench.dataset import BOTH, Dataset, Georeference, Sample
from sarbench.bench.errors import ContractError


class Joined(Dataset):
    """Ids are <split>/<dataset's name>/<id>; labels are those of whichever dataset the image comes from."""

    def __init__(self, source_name: str, source: Dataset, target_name: str, target: Dataset) -> None:
        if source.classes != target.classes:
            raise ContractError(f"{source.card.title} and {target.card.title} name other classes; they can't be joined")
        self.names = {"source": source_name, "target": target_name}
        self.sides = {"source": source, "target": target}
        self.source_channels, self.target_channels = source.source_channels, target.target_channels
        self.aux = tuple(name for name in source.aux if name in target.aux)
        self.classes = source.classes
        self.card = replace(  # type: ignore[misc]
            source.card,
            title=f"{source.card.title} to {target.card.title}",
            target=target.card.target,
            paired=False,
            group=" and ".join(card.group for card in (source.card, target.card) if card.group) or None,
            licence=f"{source.card.licence}; {target.card.licence}",
            reference=f"{source.card.reference} {target.card.reference}",
            gsd_m=None,
        )

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of the first dataset's sources."""
        return self._named("source", self.sides["source"].ids(split))

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of the second dataset's targets."""
        return self._named("target", self.sides["target"].target_ids(split))

    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """The source image of the first dataset or the target image of the second, and its labels."""
        side, inner = self._inner(sample_id)
        wanted = [name for name in parts if name == side or name not in BOTH]
        found = self.sides[side].read(inner, wanted).parts()
        return Sample(
            found.get("source") if side == "source" else None,
            found.get("target") if side == "target" else None,
            {name: array for name, array in found.items() if name not in BOTH},
        )

    def scene(self, sample_id: str) -> str | None:
        """The scene in its own dataset."""
        side, inner = self._inner(sample_id)
        scene = self.sides[side].scene(inner)
        return None if scene is None else f"{self.names[side]}/{scene}"

    def files(self, sample_id: str) -> tuple[Path, ...]:
        """The files in its own dataset."""
        side, inner = self._inner(sample_id)
        return self.sides[side].files(inner)

    def source_file(self, sample_id: str) -> Path | None:
        """The file in its own dataset."""
        side, inner = self._inner(sample_id)
        return self.sides[side].source_file(inner)

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px."""
        side, inner = self._inner(sample_id)
        return self.sides[side].size(inner)

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the image lies, if its file says so."""
        side, inner = self._inner(sample_id)
        return self.sides[side].georeference(inner)

    @property
    def keeps_official_leaks(self) -> bool:
        """Does either split cut scenes?"""
        return any(side.keeps_official_leaks for side in self.sides.values())

    def _named(self, side: str, ids: tuple[str, ...]) -> tuple[str, ...]:
        split_and_rest = (sample_id.partition("/") for sample_id in ids)
        return tuple(f"{split}/{self.names[side]}/{rest}" for split, _, rest in split_and_rest)

    def _inner(self, sample_id: str) -> tuple[str, str]:
        """The side that an id belongs to, and its id there."""
        split, name, rest = sample_id.split("/", 2)
        return next(side for side, known in self.names.items() if known == name), f"{split}/{rest}"
