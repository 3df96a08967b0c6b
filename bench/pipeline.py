"""One run, top to bottom: data -> train -> translate -> score -> record.

Every stage leaves its key, a hash of all that its result depends on: a stage that is done is not done again, one whose
inputs changed is. What a run makes lies in `runs/<track>/<method>/<seed>/`; what it proves lies in `leaderboards/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarbench.bench import assets, ceiling, judging, leaderboard, ranks, registry, strip
from sarbench.bench.cost import device_name, peak_memory_bytes, translation_cost
from sarbench.bench.errors import ContractError
from sarbench.bench.honeypots import HONEYPOTS
from sarbench.bench.images import find_images, lossless_suffix, quantise, read_image, scale, write_image
from sarbench.bench.interface import Learner, Method, key
from sarbench.bench.judged import Verdicts
from sarbench.bench.loader import Steps, all_pairs, refuse_smaller
from sarbench.bench.material import Material, centre_crop, load
from sarbench.bench.per_class import UNLABELLED
from sarbench.bench.provenance import HARNESS, code_hash, git_state, versions
from sarbench.bench.records import (
    Budget,
    Cost,
    Git,
    Record,
    RecordedClass,
    RecordedDataset,
    Replicates,
    Score,
    Store,
    config_hash,
    label,
    protocol_hash,
    recorded_card,
)
from sarbench.bench.score import missing_weights, score_folders, signature, why_unmeasured
from sarbench.bench.scores import KEPT, Scores
from sarbench.bench.settings import config_of, trained_by, variant_of
from sarbench.bench.storage import (
    copy,
    digest,
    file_digest,
    read_json,
    refuse_unwritable,
    remove_partial,
    value_digest,
    write_bytes,
    write_json,
)
from sarbench.bench.tracks import Track
from sarbench.bench.train import Hardware, read_weights, train, write_weights
from sarbench.bench.translate import BATCH_SIZE, translate_padded, translate_split, upper_bound

SHOWN = 4  # test images in a picture strip
WEIGHTS, REPORT = "weights.safetensors", "train.json"  # of a run whose training has ended
COST = ("run_key", "steps", "images", "seconds", "seconds_per_step")  # what the report holds


@dataclass(frozen=True)
class Bench:
    """A track on this machine: its verified data, its folders, and everything that can run on it."""

    track: Track
    hardware: Hardware
    runs: Path
    leaderboards: Path
    settings: Mapping[str, str] = field(default_factory=dict)  # changed hyperparameters
    quiet: bool = False
    say: Callable[[str], None] = lambda line: None

    @cached_property
    def data(self) -> Material:
        """The verified data."""
        return load(self.track, self.runs / "cache", self.say)

    @cached_property
    def material(self) -> Material:
        """The verified data as a run uses it; its test images stand beside the runs as 8-bit files.

        Raises ContractError, before anything runs, for bad data, and for folders that could not take the results.
        """
        if ranks.rank() == 0:
            refuse_unwritable(self.runs)
            refuse_unwritable(self.leaderboards)
            leaderboard.refuse_bad_pages(self.leaderboards)
            material = self.data
        ranks.barrier()  # what the first rank has read, the others find in the cache
        material = self.data
        if self.track.size.train_crop_px is not None:
            refuse_smaller(material, (self.track.size.train_crop_px,) * 2)
        if ranks.rank() == 0:
            self._write_references(material)
        ranks.barrier()
        return material

    @cached_property
    def signatures(self) -> dict[str, str]:
        """The signature of each metric of the protocol."""
        channels = self.material.dataset.target_channels
        return {name: signature(registry.load_metric(name), channels, 255) for name in self.track.metrics}

    @property
    def folder(self) -> Path:
        """What this track's runs leave."""
        return self.runs / self.track.slug

    @property
    def reference(self) -> Path:
        """The targets of the test images, as 8-bit files."""
        return self.folder / "reference" / "target"

    @property
    def sources(self) -> Path:
        """The sources of the test images, as 8-bit files."""
        return self.folder / "reference" / "source"

    @property
    def labels(self) -> Path | None:
        """The class maps of the test images, as 8-bit files; None where the dataset has none, or no pair to score by class."""
        dataset = self.data.dataset
        known = self.data.paired and "labels" in dataset.aux and bool(dataset.classes)
        return self.folder / "reference" / "labels" if known else None

    @property
    def protocol_hash(self) -> str:
        """Equal for records that may stand on one board."""
        return protocol_hash(self.track.terms(), self.material.identity.content_hash, self.signatures)

    def has_records(self) -> bool:
        """Does this track have a board yet?"""
        return self.track.slug in Store(self.leaderboards).slugs()

    def _write_references(self, material: Material) -> None:
        """Quantise the test images' targets and sources once; the scorer and the pictures read these files, and class maps."""
        labelled = self.labels is not None
        root, stage = self.folder / "reference", {"content_hash": material.identity.content_hash, "labels": labelled}
        if (root / "stage.json").exists() and read_json(root / "stage.json") == stage:
            return
        shutil.rmtree(root, ignore_errors=True)
        for sample_id in material.test:
            self._write_reference(root / "source", sample_id, material.images.source(sample_id))
        for sample_id in material.test_targets:
            self._write_reference(root / "target", sample_id, material.images.target(sample_id))
        for sample_id in material.test if labelled else ():
            classes = centre_crop(material.images.parts(sample_id, ("labels",))["labels"], self.track.size.test_crop_px)
            if classes.min() < 0 or classes.max() > UNLABELLED:
                raise ContractError(f"{sample_id}: labels are 0 to {UNLABELLED}, got {classes.min()} to {classes.max()}")
            write_image(root / "labels" / f"{sample_id}.png", classes.astype(np.uint8).transpose(1, 2, 0))
        write_json(root / "stage.json", stage)

    def _write_reference(self, folder: Path, sample_id: str, image: np.ndarray) -> None:
        pixels = quantise(centre_crop(image, self.track.size.test_crop_px)).transpose(1, 2, 0)
        write_image(folder / (sample_id + lossless_suffix(pixels.shape[2])), pixels)

    # --- A method ---

    def build(self, name: str, seed: int) -> Learner:
        """The method at the track's preset, its weights drawn under the run's seed, on the device."""
        cls = registry.load_learner(name)
        torch.manual_seed(key(seed, "init"))
        dataset = self.material.dataset
        return self.hardware.prepare(cls(self.config(name), dataset.source_channels, dataset.target_channels))

    def config(self, name: str) -> Any:
        """The method's hyperparameters: those of the preset, with this run's settings."""
        return config_of(name, self.track.preset, self.settings)

    def code_hash(self, name: str) -> str:
        """The hash of every source file that decides what the method gives."""
        return code_hash(name)

    def folder_of(self, name: str, seed: int) -> Path:
        """What one run leaves."""
        return self.folder / label(name, variant_of(name, self.settings)) / str(seed)

    def steps(self, method: Learner, seed: int) -> Steps:
        """The run's training batches."""
        assert isinstance(method, Method)
        return Steps(
            self.material,
            method,
            batch_size=method.config.batch_size,
            crop_px=self.track.size.train_crop_px,
            augment=self.track.protocol.augment,
            n_paired=self.track.size.n_paired,
            seed=seed,
            rank=ranks.rank(),
            ranks=ranks.count(),
        )

    def run_key(self, name: str, seed: int) -> str:
        """A hash of everything that the trained weights depend on."""
        config = trained_by(self.config(name))
        hardware = [self.hardware.device.partition(":")[0], self.hardware.precision, self.hardware.compile, torch.__version__]
        return value_digest(
            [name, self.code_hash(name), config, self.track.terms(), self.data.identity.content_hash, seed, hardware]
        )

    def translation_key(self, name: str, seed: int) -> str:
        """A hash of everything that the translations depend on."""
        return value_digest([self.run_key(name, seed), asdict(self.config(name))])

    def is_trained(self, name: str, seed: int) -> bool:
        """Whether the trained weights of this very run are on disk."""
        try:
            return read_weights(self.folder_of(name, seed) / WEIGHTS, self.run_key(name, seed)) is not None
        except ContractError:
            return False

    def missing_assets(self, name: str, channels: tuple[int, int]) -> list[str]:
        """The assets that a method starts from and that are not on this machine, each with how to get it."""
        cls = registry.load_learner(name)
        if not cls.card.pretrained:  # it names those of all presets
            return []
        with registry.blaming(name), torch.device("meta"):
            needed = cls(self.config(name), *channels).pretrained
        missing = []
        for asset in needed:
            try:
                assets.find(asset)
            except assets.AssetMissing as error:
                missing.append(f"{name}: {error}")
        return missing

    def refuse_missing_assets(self, names: Iterable[str], seeds: Iterable[int]) -> None:
        """Raise one ContractError for all assets that runs yet to be trained start from and that are not here."""
        dataset, seeds, missing = self.track.open_dataset(), tuple(seeds), []
        for name in names:
            found = self.missing_assets(name, (dataset.source_channels, dataset.target_channels))
            if found and not all(self.is_trained(name, seed) for seed in seeds):
                missing += found
        if missing:
            raise ContractError("\n".join(missing))

    def trained(self, name: str, seed: int) -> tuple[Any, dict[str, Any]]:
        """The trained method and what training cost, from disk if this run was trained before.

        Raises ContractError for whatever the method's own code raises.
        """
        with registry.blaming(name):
            return self._trained(name, seed)

    def _trained(self, name: str, seed: int) -> tuple[Learner, dict[str, Any]]:
        folder, run_key = self.folder_of(name, seed), self.run_key(name, seed)
        method, twin = self.build(name, seed), self._twin(name, seed)
        if ranks.rank() == 0:
            remove_partial(folder)
            if twin is not None:
                for file in (WEIGHTS, REPORT):  # the report last: it vouches for the weights
                    copy(twin / file, folder / file)
            self._describe(method, name, folder, run_key)
        ranks.barrier()
        weights, report = read_weights(folder / WEIGHTS, run_key), folder / REPORT
        known = read_json(report, *COST) if report.exists() else {}
        if ranks.agreed(weights is not None and known.get("run_key") == run_key) and weights is not None:
            method.load_state_dict(weights)
            return method.eval(), known
        cost: dict[str, Any] = dict(zip(COST, (run_key, 0, 0, None, None), strict=True)) | {"threads": torch.get_num_threads()}
        method.load_pretrained(assets.find)
        self._fit(method)
        if method.players():
            done = train(
                method,
                self.steps(method, seed),
                folder,
                budget_images=self.track.size.budget_images,
                seed=seed,
                run_key=run_key,
                hardware=self.hardware,
                picture=lambda step: self._picture(method, folder / "samples" / f"step_{step:09d}.jpg", seed),
                quiet=self.quiet,
            )
            cost |= {
                "steps": done.steps,
                "images": done.images,
                "seconds": done.seconds,
                "seconds_per_step": done.seconds_per_step,
            }
        elif ranks.rank() == 0:
            write_weights(folder / WEIGHTS, method.state_dict(), run_key)
        if ranks.rank() == 0:
            write_json(report, cost)
        ranks.barrier()
        return method.eval(), cost

    def _twin(self, name: str, seed: int) -> Path | None:
        """A run that this one differs from in its translations alone, and whose training has ended; None if it has itself."""
        folder, run_key = self.folder_of(name, seed), self.run_key(name, seed)
        others = [self.folder / name / str(seed), *sorted(self.folder.glob(f"{name}-*/{seed}"))]
        found = next((other for other in (folder, *others) if _trained_as(other) == run_key), folder)
        return None if found == folder else found

    def _describe(self, method: Learner, name: str, folder: Path, run_key: str) -> None:
        """What `sarbench translate` needs to build the method again, and to know its weights from older ones."""
        described = {"method": name, "preset": self.track.preset, "settings": dict(self.settings), "run_key": run_key}
        described["options"] = dict(self.track.options)
        channels = {"source_channels": method.source_channels, "target_channels": method.target_channels}
        write_json(folder / "run.json", described | channels)

    def _fit(self, method: Learner) -> None:
        if not isinstance(method, Method) or type(method).fit is Method.fit:
            return
        broken = method.card.role != "floor" and method.supervision != "paired"
        pairs = all_pairs(self.material, broken=broken, crop_px=self.track.size.test_crop_px)
        method.fit(p.to(self.hardware.device, self.hardware.memory_format) for p in pairs)

    def _picture(self, method: Learner, path: Path, seed: int) -> None:
        """Source, translation and target of a few training images."""
        assert isinstance(method, Method)
        material, crop_px = self.material, self.track.size.test_crop_px
        rows: dict[str, list[np.ndarray]] = {"source": [], method.card.title: [], "target": []}
        for sample_id, target_id in zip(material.train[:SHOWN], material.train_targets[:SHOWN], strict=False):
            source = centre_crop(material.images.source(sample_id), crop_px)
            output = translate_padded(
                method, torch.from_numpy(source)[None], torch.tensor([key(seed, "picture", sample_id)]), self.hardware
            )
            target = centre_crop(material.images.target(target_id), crop_px)
            for image, row in zip((source, output[0].numpy(), target), rows.values(), strict=True):
                row.append(quantise(image).transpose(1, 2, 0))
        write_bytes(path, strip.compose([(label, strip.tiles(images)) for label, images in rows.items()]))

    def run(self, name: str, seed: int) -> Record | None:
        """Train, translate, score and record one method; None on the ranks that only help."""
        folder = self.folder_of(name, seed)
        method, cost = self.trained(name, seed)
        with registry.blaming(name):
            translation_key = self.translation_key(name, seed)
            seconds = self._translated(method, folder / "translated", seed, translation_key)
            verdicts = judging.ask(self, method, folder, seed, translation_key)
        if ranks.rank() != 0:
            return None
        if method.has_upper_bound and self.material.paired and not variant_of(name, self.settings):
            self._run_upper_bound(method, name, seed)
        source = torch.from_numpy(centre_crop(self.material.images.source(self.material.test[0]), self.track.size.test_crop_px))
        with registry.blaming(name):
            parameters, flops = translation_cost(method, source[None], self.hardware)
        return self._record(
            name,
            {
                **asdict(method.card),
                "fixed_size": method.fixed_size,
                "evaluations": method.evaluations,
                "supervision": method.supervision,
                "aux": method.aux,
                "pretrained": method.pretrained,
            },
            seed,
            folder,
            role=method.card.role,
            config=asdict(method.config),
            code=self.code_hash(name),
            cost={**cost, "parameters": parameters, "flops_per_image": flops, "seconds_per_image": seconds},
            verdicts=verdicts,
        )

    def _translated(self, method: Method, folder: Path, seed: int, translation_key: str) -> float | None:
        """Translate what is not yet translated; the seconds an image took when the whole split was made at once."""
        done = translate_split(
            method,
            self.material.images,
            self.material.test,
            folder,
            seed=seed,
            translation_key=translation_key,
            crop_px=self.track.size.test_crop_px,
            hardware=self.hardware,
            quiet=self.quiet,
        )
        report = folder.parent / "translate.json"
        if done.images:
            write_json(report, {"translation_key": translation_key, "seconds_per_image": done.seconds / done.images})
        known = read_json(report, "translation_key", "seconds_per_image") if report.exists() else {}
        return known.get("seconds_per_image") if known.get("translation_key") == translation_key else None

    @property
    def test_batch_size(self) -> int:
        """How many test images a method gets at once."""
        return BATCH_SIZE

    def one_batch(self, method: Learner) -> Callable[[], object]:
        """A call that translates one batch of test images."""
        assert isinstance(method, Method)
        source = torch.from_numpy(self.material.images.source(self.material.test[0]))
        batch, seeds = source.expand(BATCH_SIZE, -1, -1, -1).contiguous(), torch.arange(BATCH_SIZE)
        return lambda: translate_padded(method, batch, seeds, self.hardware)

    # --- Images made from the targets: honeypots and the ceiling ---

    def run_honeypot(self, name: str) -> Record | None:
        """Make a honeypot's images from the targets, score and record them."""
        honeypot = HONEYPOTS[name]
        code = file_digest(HARNESS / "honeypots.py")
        return self._run_made(name, honeypot.about, "honeypot", honeypot.make, code=code, config={})

    def run_ceiling(self, name: str = ceiling.NAME) -> Record | None:
        """Make a second look at each target, score and record it: what a right answer scores."""
        code, config = file_digest(HARNESS / "ceiling.py"), {"signature": ceiling.SIGNATURE}
        return self._run_made(name, ceiling.ABOUT, "ceiling", ceiling.second_look, code=code, config=config)

    def _run_upper_bound(self, method: Method, name: str, seed: int) -> None:
        """Pass the targets through the part of a method that every translation passes, score and record them."""
        alone = upper_bound(method)

        def make(pixels: np.ndarray, sample_id: str) -> np.ndarray:
            target = torch.from_numpy(np.ascontiguousarray(scale(pixels, 0, 255).transpose(2, 0, 1)))[None]
            seeds = torch.tensor([key(seed, "translate", sample_id)])
            return quantise(translate_padded(alone, target, seeds, self.hardware)[0].numpy()).transpose(1, 2, 0)

        about = f"the target image after the part of {method.card.title} that every translation passes"
        config = {"signature": f"upper-bound;of-{name};v1", "run_key": self.run_key(name, seed)}
        with registry.blaming(name):
            self._run_made(f"{name}_upper_bound", about, "ceiling", make, code=code_hash(name), config=config, seed=seed)

    def _run_made(
        self,
        name: str,
        about: str,
        role: str,
        make: Callable[[np.ndarray, str], np.ndarray],
        *,
        code: str,
        config: dict[str, Any],
        seed: int = 0,
    ) -> Record | None:
        """Make images by `make(target, sample_id)`, which `code` and `config` stand for; score and record them."""
        if ranks.rank() != 0:
            return None
        folder = self.folder / name / str(seed)
        stage = {role: digest(code, value_digest(config), self.material.identity.content_hash)}
        if not ((folder / "stage.json").exists() and read_json(folder / "stage.json") == stage):
            shutil.rmtree(folder, ignore_errors=True)
            for sample_id, file in find_images(self.reference).items():
                write_image(folder / "translated" / f"{sample_id}{file.suffix}", make(read_image(file), sample_id))
            write_json(folder / "stage.json", stage)
        card = {"title": name, "paper": about, "year": None, "supervision": "none", "channels": "any"}
        cost = dict.fromkeys(("seconds", "seconds_per_step", "seconds_per_image", "flops_per_image"))
        cost |= {"images": 0, "steps": 0, "parameters": 0}
        return self._record(name, card, seed, folder, role=role, config=config, code=code, cost=cost)

    # --- Scores and the record ---

    def scores(self, folder: Path) -> Scores:
        """The scores of the images in `folder/translated`, kept beside them until an image or a metric changes."""
        translated = folder / "translated"
        unmeasured = {name: why_unmeasured(registry.load_metric(name)) for name in self.track.metrics}
        classes = {} if self.labels is None else _contents(self.labels)
        stage = value_digest([_contents(translated), _contents(self.reference), classes, self.signatures, unmeasured, KEPT])
        kept = folder / "scores.json"
        if kept.exists() and read_json(kept, "stage")["stage"] == stage:
            return Scores.from_kept(read_json(kept, *KEPT))
        scores = score_folders(
            translated,
            self.reference,
            self.track.metrics,
            source=self.sources if self.material.paired else None,
            paired=self.material.paired,
            progress=not self.quiet,
            cache=self.runs / "cache",
            labels=self.labels,
            classes=self.material.dataset.classes if self.labels else (),
            scene=self.material.dataset.scene,
        )
        write_json(kept, {"stage": stage, **scores.to_kept()})
        return scores

    def _record(
        self,
        name: str,
        card: Mapping[str, Any],
        seed: int,
        folder: Path,
        *,
        role: str,
        config: dict[str, Any],
        code: str,
        cost: Mapping[str, Any],
        verdicts: Verdicts = Verdicts({}),
    ) -> Record:
        """Score a run's images and keep its record, its rows and its strip."""
        scores, material = self.scores(folder), self.material
        rows = verdicts.beside(scores.to_frame())
        rows.insert(1, "scene", [material.dataset.scene(sample_id) for sample_id in rows["id"]])
        found = {
            "scores": self._summaries(scores),
            "by_class": recorded_classes(scores),
            "shifts": scores.shift_counts() or None,
            "judged": dict(verdicts.judged) or None,
            "matched": verdicts.matching.recorded if verdicts.matching else None,
        }
        record = self._described(name, card, seed, role=role, config=config, code=code, cost=cost, **found)
        store = Store(self.leaderboards)
        store.write(record, rows, strip.tiles(self._shown(folder / "translated")), verdicts.to_csv())
        store.write_reference_tiles(
            self.track.slug,
            strip.tiles(self._shown(self.sources)),
            strip.tiles(self._shown(self.reference)),
        )
        return record

    def _described(
        self,
        name: str,
        card: Mapping[str, Any],
        seed: int,
        *,
        role: str,
        config: dict[str, Any],
        code: str,
        cost: Mapping[str, Any],
        **found: Any,
    ) -> Record:
        """The record of a run: what ran, on which data, at what cost, and what was `found` of it."""
        material = self.material
        return Record(
            method=name,
            variant=variant_of(name, self.settings) if role == "method" else "",
            role=role,  # type: ignore[arg-type]
            seed=seed,
            slug=self.track.slug,
            terms=self.track.terms(),  # type: ignore[arg-type]
            protocol_hash=self.protocol_hash,
            card=recorded_card(card),
            config=config,
            config_hash=config_hash(config),
            preset=self.track.preset,
            dataset=RecordedDataset(
                name=self.track.protocol.dataset,
                title=material.dataset.card.title,
                content_hash=material.identity.content_hash,
                n_train=len(material.train),
                n_test=len(material.test),
                split_hash=material.identity.split_hash,
                split=material.identity.verdict,
                split_reasons=material.identity.reasons,
                scenes_train=material.identity.scenes_train,
                scenes_test=material.identity.scenes_test,
                options=dict(self.track.options),
            ),
            budget=Budget(images=cost["images"], steps=cost["steps"], batch_size=config.get("batch_size", 0)),
            **found,
            cost=Cost(
                parameters=cost["parameters"],
                train_seconds=cost["seconds"],
                seconds_per_step=cost["seconds_per_step"],
                seconds_per_image=cost["seconds_per_image"],
                peak_memory_bytes=peak_memory_bytes(self.hardware) if role == "method" else None,
                flops_per_image=cost["flops_per_image"],
                device=device_name(self.hardware),
                threads=cost.get("threads", torch.get_num_threads()),  # of the training, not of a later scoring
            ),
            code_hash=code,
            versions=versions(),
            git=Git(**git_state()),
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _summaries(self, scores: Scores) -> dict[str, Score]:
        found, reasons = {}, scores.reasons()
        for name, summary in scores.summary().items():
            metric = registry.load_metric(name)
            missing = missing_weights(metric) if name in scores.unmeasured else {}
            found[name] = Score(
                **summary._asdict(),
                # how to get weights names folders of this machine, and is not for the public
                reason=f"not measured: no {', '.join(missing)} weights here" if missing else reasons.get(name, ""),
                signature=scores.signatures[name],
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                decimals=metric.decimals,
                of_set=metric.statistic is not None,
                ranked=metric.ranked,
                ranked_from=metric.ranked_from,
                replicates=Replicates(**asdict(scores.halved[name])) if name in scores.halved else None,
            )
        return found

    def _shown(self, folder: Path) -> list[np.ndarray]:
        """A few test images, evenly spread over the ids."""
        files = list(find_images(folder).values())
        chosen = np.linspace(0, len(files) - 1, min(SHOWN, len(files))).round().astype(int)
        return [read_image(files[i]) for i in chosen]


def recorded_classes(scores: Scores) -> dict[str, RecordedClass] | None:
    """Scores by class as a record keeps them."""
    found = {
        name: RecordedClass(
            pixels=score.pixels,
            psnr=score.psnr if np.isfinite(score.psnr) else None,
            ssim=score.ssim if np.isfinite(score.ssim) else None,
        )
        for name, score in scores.by_class().items()
    }
    return found or None


def _trained_as(folder: Path) -> str | None:
    """The key of the training that ended in a folder; None where none did."""
    if not all((folder / file).exists() for file in (WEIGHTS, REPORT)):
        return None
    return str(read_json(folder / REPORT, *COST)["run_key"])


def _contents(folder: Path) -> dict[str, str]:
    return {name: file_digest(file) for name, file in find_images(folder).items()}
