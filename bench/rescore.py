"""A record's track on this machine, and images from elsewhere scored on it: what `sarbench verify` and `submit` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.images import find_images, read_header
from sarbench.bench.match_pipeline import MatchBench
from sarbench.bench.material import Material, load
from sarbench.bench.one_pass import some
from sarbench.bench.pipeline import Bench, recorded_classes
from sarbench.bench.protocols import PROTOCOLS, Preset
from sarbench.bench.records import Record, Terms
from sarbench.bench.score import score_folders
from sarbench.bench.scores import Scores
from sarbench.bench.tracks import Track, track
from sarbench.bench.train import Hardware

if TYPE_CHECKING:
    import pandas as pd

LOSSLESS = (".png", ".tif", ".tiff")


def track_of(terms: Terms, data: Path | None, options: Mapping[str, str]) -> Track:
    """The track of this version of the suite that a record names; ContractError where there is none, or its data is not here.

    Only the protocol's name, preset and budget are taken from the record; the data's folder and options are the caller's, so
    that a record chooses nothing that a dataset would run, such as a regular expression.
    """
    if terms.name not in PROTOCOLS or terms.preset not in PROTOCOLS[terms.name].sizes:
        raise ContractError(f"this version of sarbench has no protocol {terms.name!r} with the preset {terms.preset!r}")
    preset = cast(Preset, terms.preset)
    usual = PROTOCOLS[terms.name].sizes[preset].budget_images
    budget = None if terms.size.budget_images == usual else terms.size.budget_images
    return track(terms.name, preset, budget=budget, data=data, options=options)


@dataclass(frozen=True)
class Review(Bench):
    """A track on this machine, for images from elsewhere: references are made here, nothing of theirs is trusted."""

    cache: Path = Path("runs/cache")  # what is known of this machine's data

    @cached_property
    def data(self) -> Material:
        """The verified data."""
        return load(self.track, self.cache, self.say)

    @cached_property
    def material(self) -> Material:
        """The verified data; its test images stand beside the work as 8-bit files."""
        self._write_references(self.data)
        return self.data

    def expected(self, sample_id: str) -> tuple[int, int, int]:
        """Height, width and bands of a translated image."""
        height, width = self.material.dataset.size(sample_id)
        side = self.track.size.test_crop_px
        height, width = (height, width) if side is None else (min(height, side), min(width, side))
        return height, width, self.material.dataset.target_channels

    def refuse_bad_images(self, folder: Path) -> dict[str, Path]:
        """The images of a folder by id; one ContractError for all that are missing, too many, lossy, or of another kind.

        Only headers are read, so that what claims to be huge is never decoded.
        """
        found, wanted = find_images(folder), set(self.material.test)
        missing, extra = sorted(wanted - set(found)), sorted(set(found) - wanted)
        lines = [f"{len(missing)} are missing: {some(missing)}"] * bool(missing)
        lines += [f"{len(extra)} are of no test image: {some(extra)}"] * bool(extra)
        for sample_id in sorted(wanted & set(found)):
            path = found[sample_id]
            if path.is_symlink() or path.suffix.lower() not in LOSSLESS:
                lines.append(f"{path} is a link, or lossy; give the file itself, as PNG or TIFF")
                continue
            try:
                header = read_header(path)
            except ContractError as error:
                lines.append(str(error))
                continue
            kind, expected = (header.height, header.width, header.channels), self.expected(sample_id)
            if (kind, header.dtype) != (expected, "uint8"):
                lines.append(f"{path} is {_words(kind)} {header.dtype}, expected {_words(expected)} uint8")
        if lines:
            raise ContractError(f"{folder} does not hold the images of {self.track.slug}:\n  " + some_lines(lines))
        return {sample_id: found[sample_id] for sample_id in self.material.test}

    def rescore(self, folder: Path, metrics: Sequence[str], ids: Sequence[str] | None = None) -> Scores:
        """The scores of a folder of images, by these metrics; of `ids` alone, without scores by class, where they are given."""
        material = self.material
        return score_folders(
            folder,
            self.reference,
            metrics,
            source=self.folder / "reference" / "source" if material.paired else None,
            paired=material.paired,
            ids=list(self.material.test) if ids is None else list(ids),
            progress=not self.quiet,
            labels=None if ids is not None else self.labels,
            classes=material.dataset.classes if self.labels and ids is None else (),
        )

    def recorded(
        self, name: str, card: Mapping[str, Any], seed: int, scores: Scores, **told: Any
    ) -> tuple[Record, pd.DataFrame]:
        """The record of a method of which only images are here, and its rows; `told`: config, code and cost."""
        rows = scores.to_frame()
        rows.insert(1, "scene", [self.material.dataset.scene(sample_id) for sample_id in rows["id"]])
        found = {
            "scores": self._summaries(scores),
            "by_class": recorded_classes(scores),
            "shifts": scores.shift_counts() or None,
        }
        return self._described(name, card, seed, role="method", **told, **found), rows


class MatchReview(Review, MatchBench):
    """A track of matching on this machine."""


def review_of(track: Track, hardware: Hardware, work: Path, cache: Path, say: Callable[[str], None]) -> Review:
    """The review of a track: what it writes lies in `work`, what is known of this machine's data in `cache`."""
    kind = MatchReview if track.protocol.task == "matching" else Review
    return kind(track, hardware, work, work, quiet=True, say=say, cache=cache)


def differing(recorded: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The names of the terms that two records do not share, with dots between the levels."""
    names = []
    for name in sorted({*recorded, *here}):
        a, b = recorded.get(name), here.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += differing(a, b, f"{prefix}{name}.")
        elif a != b or (name in recorded) != (name in here):
            names.append(f"{prefix}{name}")
    return names


def is_of_sets(metric: str) -> bool:
    """Is it a score of the whole set of images, without rows?"""
    return registry.load_metric(metric).statistic is not None


def some_lines(lines: Sequence[str], most: int = 20) -> str:
    """The first lines, and how many more there are."""
    return "\n  ".join([*lines[:most], *[f"... and {len(lines) - most} more"] * (len(lines) > most)])


def _words(kind: tuple[int, int, int]) -> str:
    return "x".join(map(str, kind))
