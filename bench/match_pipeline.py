"""One run of a matcher, top to bottom: data -> train -> match -> score -> record; the rest is `pipeline.Bench`'s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarbench.bench import match_scores, ranks, registry, strip
from sarbench.bench.cost import matching_cost
from sarbench.bench.errors import ContractError
from sarbench.bench.images import quantise
from sarbench.bench.interface import Learner
from sarbench.bench.loader import Steps
from sarbench.bench.match import BATCH_SIZE, best_places, match, match_split, template_and_search, true_offset
from sarbench.bench.match_loader import MatchSteps
from sarbench.bench.match_picture import framed, places_shown
from sarbench.bench.matcher import Matcher, template_px
from sarbench.bench.material import LISTED, Material
from sarbench.bench.pipeline import SHOWN, Bench
from sarbench.bench.provenance import code_hash
from sarbench.bench.records import Record, Score, Store
from sarbench.bench.storage import read_json, write_bytes, write_json
from sarbench.bench.summary import summarise

MATCHING = ("interface", "matcher", "material", "loader", "match_loader", "train", "match")  # harness files that decide a match


class MatchBench(Bench):
    """A track of matching on this machine."""

    @property
    def search_px(self) -> int:
        """The side of the search images."""
        side = self.track.size.test_crop_px
        assert side is not None, "a protocol of matching says how large its search images are"
        return side

    @property
    def train_px(self) -> int:
        """The side of the search images in training."""
        side = self.track.size.train_crop_px
        assert side is not None, "a protocol of matching says how large its training crops are"
        return side

    @cached_property
    def signatures(self) -> dict[str, str]:
        """The signature of each score of the protocol."""
        sides = f"{template_px(self.search_px)}in{self.search_px}"
        return {name: f"{match_scores.SCORES[name].signature};{sides}" for name in self.track.metrics}

    def _write_references(self, material: Material) -> None:
        """Nothing is scored from files; but every test image must be large enough to search in."""
        sizes = {sample_id: material.dataset.size(sample_id) for sample_id in material.test}
        small = [f"{name} has {h}x{w}" for name, (h, w) in sizes.items() if min(h, w) < self.search_px]
        if small:
            listed = "\n  ".join(small[:LISTED] + [f"... and {len(small) - LISTED} more"] * (len(small) > LISTED))
            raise ContractError(
                f"templates are searched in images of {self.search_px} px, and {len(small)} test images are smaller; "
                f"remove them, or cut larger tiles:\n  {listed}"
            )

    def code_hash(self, name: str) -> str:
        """The hash of every source file that decides where a template is found."""
        return code_hash(name, MATCHING)

    def steps(self, method: Learner, seed: int) -> Steps:
        """The run's training batches."""
        assert isinstance(method, Matcher)
        return MatchSteps(
            self.material,
            method,
            crop_px=self.train_px,
            augment=self.track.protocol.augment,
            n_labelled=self.track.size.n_paired,
            seed=seed,
            rank=ranks.rank(),
            ranks=ranks.count(),
        )

    def run(self, name: str, seed: int) -> Record | None:
        """Train, match, score and record one matcher; None on the ranks that only help."""
        registry.load_matcher(name)
        folder = self.folder_of(name, seed)
        matcher, cost = self.trained(name, seed)
        with registry.blaming(name):
            found = match_split(
                matcher,
                self.material.images,
                self.material.test,
                folder / "matches",
                run_key=cost["run_key"],
                search_px=self.search_px,
                hardware=self.hardware,
                quiet=self.quiet,
            )
            if ranks.rank() != 0:
                return None
            parameters, flops = self._cost_of(matcher)
        seconds = self._seconds(folder / "match.json", cost["run_key"], found.seconds, found.images)
        cost |= {"parameters": parameters, "flops_per_image": flops, "seconds_per_image": seconds}
        return self._record_matches(name, seed, matcher, found.offsets, cost)

    def _seconds(self, report: Path, run_key: str, seconds: float, images: int) -> float | None:
        """The seconds a template took, in the last matching that found any."""
        if images:
            write_json(report, {"run_key": run_key, "seconds_per_image": seconds / images})
        known = read_json(report, "run_key", "seconds_per_image") if report.exists() else {}
        return known.get("seconds_per_image") if known.get("run_key") == run_key else None

    def _cost_of(self, matcher: Matcher) -> tuple[int, int]:
        """Parameters of the matcher, and FLOPs for one template."""
        template, search = (
            torch.from_numpy(image)[None].to(self.hardware.device)
            for image in template_and_search(self.material.images, self.material.test[0], self.search_px)
        )
        return matching_cost(matcher, template, search)

    def _record_matches(
        self, name: str, seed: int, matcher: Matcher, found: dict[str, tuple[int, int]], cost: dict[str, Any]
    ) -> Record:
        """Score where the templates were found, and keep the record, its rows and its strip."""
        import pandas as pd

        material, ids = self.material, list(self.material.test)
        true = np.array([true_offset(sample_id, self.search_px) for sample_id in ids])
        places = np.array([found[sample_id] for sample_id in ids])
        columns = {metric: row for metric, row in match_scores.rows(places, true).items() if metric in self.track.metrics}
        record = self._described(
            name,
            {**asdict(matcher.card), "supervision": matcher.supervision, "pretrained": matcher.pretrained},
            seed,
            role=matcher.card.role,
            config=asdict(matcher.config),
            code=self.code_hash(name),
            cost=cost,
            scores={metric: self._score(metric, values) for metric, values in columns.items()},
        )
        offsets = dict(zip(match_scores.OFFSET_COLUMNS, (*true.T, *places.T), strict=True))
        scenes = [material.dataset.scene(sample_id) for sample_id in ids]
        store = Store(self.leaderboards)
        shown = [ids[i] for i in np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).round().astype(int)]
        pairs = [template_and_search(material.images, sample_id, self.search_px) for sample_id in shown]
        answers = [
            places_shown(search, true_offset(i, self.search_px), found[i]) for i, (_, search) in zip(shown, pairs, strict=True)
        ]
        store.write(
            record, pd.DataFrame({"id": ids, "scene": scenes, **columns, **offsets}), strip.tiles(answers, self.search_px)
        )
        store.write_reference_tiles(
            self.track.slug,
            strip.tiles([framed(template, self.search_px) for template, _ in pairs], self.search_px),
            strip.tiles([quantise(search).transpose(1, 2, 0) for _, search in pairs], self.search_px),
        )
        return record

    def _score(self, metric: str, values: np.ndarray) -> Score:
        score = match_scores.SCORES[metric]
        return Score(
            **summarise(values, score.aggregate)._asdict(),
            reason="",
            signature=self.signatures[metric],
            unit=score.unit,
            higher_is_better=score.higher_is_better,
            decimals=score.decimals,
            aggregate=score.aggregate,
        )

    def _picture(self, method: Learner, path: Path, seed: int) -> None:
        """A few training images: the template, and where it was found, while training goes on."""
        assert isinstance(method, Matcher)
        side = self.train_px
        rows: dict[str, list[np.ndarray]] = {"template": [], method.card.title: []}
        for sample_id in self.material.train[:SHOWN]:
            template, search = template_and_search(self.material.images, sample_id, side)
            surface = match(method, torch.from_numpy(template)[None], torch.from_numpy(search)[None], self.hardware)
            (found,) = best_places(surface).tolist()
            rows["template"].append(framed(template, side))
            rows[method.card.title].append(places_shown(search, true_offset(sample_id, side), (found[0], found[1])))
        write_bytes(path, strip.compose([(label, strip.tiles(images, side)) for label, images in rows.items()]))

    @property
    def test_batch_size(self) -> int:
        """How many templates a matcher gets at once."""
        return BATCH_SIZE

    def one_batch(self, method: Learner) -> Callable[[], object]:
        """A call that matches one batch of test images."""
        assert isinstance(method, Matcher)
        pair = template_and_search(self.material.images, self.material.test[0], self.search_px)
        template, search = (torch.from_numpy(image).expand(BATCH_SIZE, -1, -1, -1).contiguous() for image in pair)
        return lambda: match(method, template, search, self.hardware)
