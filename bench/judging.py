"""Asks the judges of a protocol about a run: what they are shown, which networks answer, and what goes into the record.

Change detection is asked by two protocols. "own": one network for each method, trained on its translations of the training
split, as SRUIT does it; such a network may learn a method's quirks. "fixed": one network for all, trained on real images alone;
to it translations are foreign. Segmentation is fixed. Beside each translation stand, from the same networks,

source        the image before translation: the floor
ceiling       what a right translation would show: the real target (segmentation), or the land of the source as the target
              shows it (change detection, only where the data set can make it)
erased        change detection: the target in place of the translation, which shows no change at all. It matches the target
              perfectly and is worth nothing: no ceiling
checkerboard, noise   the source with a planted artefact: a judge that likes it better than the source is flagged. Of fixed
              networks only: one that is trained on the artefact can learn nothing from it

Adaptation turns this round: networks learn from labelled images and are tested on real target images. Floor, translation and
ceiling are what they learn from, so a network is a method's own; an artefact that raises the score here has truly helped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarbench.bench import assets, ranks, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise
from sarbench.bench.interface import Method
from sarbench.bench.judged import Direction, Judged, Kind, Subject, Verdicts, judged_images
from sarbench.bench.judges import _artefacts as artefacts
from sarbench.bench.judges._domains import Domains
from sarbench.bench.judges._shown import Plant, Shown, Side
from sarbench.bench.judges._training import Bank
from sarbench.bench.match_judge import SMALLEST_PX, MatchJudgement, judge_folder
from sarbench.bench.material import Images, centre_crop
from sarbench.bench.protocols import asks_matching
from sarbench.bench.storage import value_digest
from sarbench.bench.tracks import Track
from sarbench.bench.translate import backwards, translate_split

if TYPE_CHECKING:
    from sarbench.bench.pipeline import Bench

SPECTRUM_IMAGES = 16  # training targets whose mean spectrum the planted noise has
COUNTERPARTS: Mapping[Direction, str] = {"forward": "source_as_target", "back": "target_as_source"}  # aux, where there is one


@dataclass(frozen=True)
class Run:
    """The trained method that judges are asked about."""

    method: Method
    folder: Path  # of the run: its test translations lie in `translated`
    seed: int
    translation_key: str


def judges_of(track: Track) -> tuple[str, ...]:
    """The judges of a track that this version has."""
    return tuple(name for name in track.protocol.judges if name in registry.names("judges"))


def knows_way_back(method: type[Method]) -> bool:
    """Does a method translate targets too?"""
    return method.translate_back is not Method.translate_back


def missing_weights(track: Track) -> list[str]:
    """Why a judge of the track can't be trained on this machine, one line each."""
    lines = []
    for name in judges_of(track):
        cls = registry.load_judge(name)
        for asset in cls.needs(cls.presets[track.preset]):
            try:
                assets.find(asset)
            except assets.AssetMissing as error:
                lines.append(f"judge {name}: not measured: {error}")
    return lines


def ask(bench: Bench, method: Method, folder: Path, seed: int, translation_key: str) -> Verdicts:
    """What the judges of the track say of a run whose test images are translated; for all ranks: what is missing is trained."""
    run = Run(method, folder, seed, translation_key)
    judged: dict[str, Judged] = {}
    matrices: dict[tuple[str, Subject, int], np.ndarray] = {}
    for name in judges_of(bench.track):
        court = _Court(bench, name, run)
        reason = court.why_not()
        if reason:
            judged[name] = Judged(signature=court.signature, reason=reason)
            continue
        images = []
        for subject, trained_on, asked in court.cases():
            found = court.bank.verdicts(trained_on, asked, court.cls.seeds())
            images.append(judged_images(subject, list(found), court.classes))
            matrices |= {(name, subject, seed): found[i] for i, seed in enumerate(court.cls.seeds())}
        judged[name] = Judged(
            signature=court.signature,
            classes=court.classes,
            gsd_m=bench.material.dataset.card.gsd_m,
            seeds=court.cls.seeds(),
            images=tuple(images),
        )
    return Verdicts(judged, bench.material.test, matrices, _matching(bench, folder))


def _matching(bench: Bench, folder: Path) -> MatchJudgement | None:
    """Where templates of the run's test images are found; None on the ranks that only help, and where it is not asked."""
    protocol, crop_px = bench.track.protocol, bench.track.size.test_crop_px
    smallest = min(min(bench.material.dataset.size(sample_id)) for sample_id in bench.material.test)
    asked = asks_matching(protocol.task, protocol.paired) and min(smallest, crop_px or smallest) >= SMALLEST_PX
    if ranks.rank() != 0 or not asked:
        return None
    return judge_folder(folder / "translated", bench.sources, bench.reference)


class _Court:
    """One judge and one run."""

    def __init__(self, bench: Bench, name: str, run: Run) -> None:
        self.bench, self.name, self.run = bench, name, run
        self.material, self.crop_px = bench.material, bench.track.size.test_crop_px
        self.cls = registry.load_judge(name)
        config = self.cls.presets[bench.track.preset]
        dataset = self.material.dataset
        self.bank = Bank(
            self.cls,
            config,
            dataset.target_channels,
            self.cls.tells_apart(dataset.classes),
            self.material,
            bench.hardware,
            bench.runs / "cache" / "judges" / name,
            bench.quiet or ranks.rank() != 0,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """What the judge tells apart."""
        return self.bank.classes

    @property
    def signature(self) -> str:
        """Judges of different signatures are never compared."""
        config = value_digest(asdict(self.bank.config))[:12]
        parts = (self.name, self.bench.track.preset, f"config-{config}", artefacts.SIGNATURE, self.cls.version)
        return ";".join(parts)

    def why_not(self) -> str:
        """Why this judge can say nothing of this run; empty where it can."""
        dataset = self.material.dataset
        if self.cls.answer not in dataset.aux:
            return f"not measured: these data have no {self.cls.answer}"
        if self.cls.sees == "pairs" and not self.material.paired:
            return "not measured: these data have no pairs"
        if self.cls.sees == "pairs" and dataset.source_channels != dataset.target_channels:
            return "not measured: the images of both dates need the same bands"
        if self.cls.sees != "pairs" and len(dataset.classes) < 2:
            return "not measured: the classes of these data have no names"
        if self.cls.knows and dataset.classes != self.cls.knows:
            return "not measured: it knows other classes than these data have"
        if self.cls.sees == "domains" and len(self.material.test) != len(self.material.test_targets):
            return "not measured: a record holds one verdict a test image, and there are more of one domain than of the other"
        lacking = [name for name in self.cls.needs(self.bank.config) if not _is_here(name)]
        return f"not measured: no {', '.join(lacking)} weights here" if lacking else ""

    def cases(self) -> Iterator[tuple[Subject, Shown | Domains, Shown]]:
        """Everything that is judged: what, what its judge is trained on, and what it is asked."""
        return {"pairs": self._changes, "images": self._labels, "domains": self._adaptation}[self.cls.sees]()

    # --- Change detection ---

    def _changes(self) -> Iterator[tuple[Subject, Shown, Shown]]:
        real = self._pairs(Side("source"), Side("target"))
        translated = self._pairs(self._translations(), Side("target"))
        counterparts = {way: name for way, name in COUNTERPARTS.items() if name in self.material.dataset.aux}
        planted = {kind: self._pairs(Side("source", plant=plant), Side("target")) for kind, plant in self._plants().items()}
        forward: dict[Kind, Shown] = {"translated": translated, "source": real}
        if "forward" in counterparts:
            forward["ceiling"] = self._pairs(Side(counterparts["forward"]), Side("target"))
        for kind, shown in forward.items():
            yield Subject("own", kind, "forward"), shown, shown
            yield Subject("fixed", kind, "forward"), real, shown
        for kind, shown in {"erased": self._pairs(Side("target"), Side("target")), **planted}.items():
            yield Subject("fixed", kind, "forward"), real, shown
        if not knows_way_back(type(self.run.method)):
            return
        back: dict[Kind, Shown] = {"translated": self._pairs(self._translations_back(), Side("source"))}
        if "back" in counterparts:
            back["ceiling"] = self._pairs(Side(counterparts["back"]), Side("source"))
        for kind, shown in back.items():
            yield Subject("own", kind, "back"), shown, shown
            yield Subject("fixed", kind, "back"), real, shown

    def _pairs(self, first: Side, second: Side) -> Shown:
        splits = {"train": self.material.train, "test": self.material.test}
        return Shown(self.material.images, splits, first, second, self.cls.answer, self.crop_px)

    def _translations(self) -> Side:
        """The run's translations of both splits; those of the training split are made now."""
        run, train = self.run, self.run.folder / "translated_train"
        self._translate(run.method, self.material.images, self.material.train, train, "train")
        return Side(folders={"train": train, "test": run.folder / "translated"})

    def _translations_back(self) -> Side:
        """Targets of both splits, translated back to the source domain."""
        folders = {split: self.run.folder / f"translated_back_{split}" for split in ("train", "test")}
        turned = self._pairs(Side("target"), Side("source"))
        for split, folder in folders.items():
            ids = self.material.train if split == "train" else self.material.test
            self._translate(backwards(self.run.method), Images(turned), ids, folder, f"back {split}")
        return Side(folders=folders)

    def _translate(self, method: Method, images: Images, ids: tuple[str, ...], folder: Path, what: str) -> None:
        bench = self.bench
        translate_split(
            method,
            images,
            ids,
            folder,
            seed=self.run.seed,
            translation_key=f"{self.run.translation_key} {what}",
            crop_px=self.crop_px,
            hardware=bench.hardware,
            quiet=bench.quiet,
        )
        ranks.barrier()

    # --- Segmentation ---

    def _labels(self) -> Iterator[tuple[Subject, Shown, Shown]]:
        material, dataset = self.material, self.material.dataset
        targets = {"train": material.train_targets, "test": material.test_targets}
        real = self._single(Side("target"), targets)
        asked: dict[Kind, Shown] = {
            "translated": self._single(Side(folders={"test": self.run.folder / "translated"})),
            "ceiling": real,
        }
        if dataset.source_channels == dataset.target_channels:
            asked["source"] = self._single(Side("source"))
            asked |= {kind: self._single(Side("source", plant=plant)) for kind, plant in self._plants().items()}
        for kind, shown in asked.items():
            yield Subject("fixed", kind, "forward"), real, shown

    def _single(self, side: Side, splits: Mapping[str, tuple[str, ...]] | None = None) -> Shown:
        splits = splits or {"train": (), "test": self.material.test}
        return Shown(self.material.images, splits, side, side, self.cls.answer, self.crop_px)

    # --- Adaptation ---

    def _adaptation(self) -> Iterator[tuple[Subject, Shown | Domains, Shown]]:
        material = self.material
        real = self._single(Side("target"), {"train": material.train_targets, "test": material.test_targets})
        sources = {"train": material.train, "test": material.test}
        labelled: dict[Kind, Shown] = {"translated": self._single(self._translations(), sources)}
        if material.dataset.source_channels == material.dataset.target_channels:
            labelled["source"] = self._single(Side("source"), sources)
        adapts = self.cls.card.supervision == "unpaired"
        for kind, shown in labelled.items():
            yield Subject("own", kind, "forward"), Domains(shown, real) if adapts else shown, real
        if not adapts:
            yield Subject("own", "ceiling", "forward"), real, real

    # --- Artefacts ---

    def _plants(self) -> dict[Kind, Plant]:
        images, ids = self.material.images, self.material.train_targets[:SPECTRUM_IMAGES]
        targets = (quantise(centre_crop(images.target(i), self.crop_px)).transpose(1, 2, 0) for i in ids)
        return {"checkerboard": artefacts.checkerboard, "noise": artefacts.SpectralNoise.of(targets)}


def _is_here(name: str) -> bool:
    try:
        assets.find(name)
    except ContractError:
        return False
    return True
