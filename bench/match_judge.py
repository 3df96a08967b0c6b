"""Matching as a judge of translations: does correlation find a translated template in the true image better than the source?

A template is cut from each translated image and searched in its reference by a matcher that learns nothing, normalised
cross-correlation. The same template cut from the source is the floor, cut from the reference itself the ceiling: scores are
also given as shares of that gap. Nothing is trained, so there is no seed, and every number follows from the offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64

from sarbench.bench import registry, score_files
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image, scale
from sarbench.bench.match import BATCH_SIZE, best_places, cut_template, match, true_offset
from sarbench.bench.matched import SIDES, Matched, columns_of, scores_of
from sarbench.bench.material import centre_crop
from sarbench.bench.train import Hardware

MATCHER = "ncc"
LARGEST_PX = 256  # side of a search image
SMALLEST_PX = 16


@dataclass(frozen=True)
class MatchJudgement:
    """Where templates of translated images, of their sources and of their targets were found in the targets."""

    ids: tuple[str, ...]
    search_px: int
    true: Int64[np.ndarray, "n 2"]  # (top, left) in px
    found: Mapping[str, Int64[np.ndarray, "n 2"]]  # by what the template was cut from: one of SIDES

    @property
    def recorded(self) -> Matched:
        """What a record keeps."""
        signature = f"matching;{MATCHER};grey-mean;centre{self.search_px};template3/4;v1"
        return Matched(signature=signature, search_px=self.search_px, scores=scores_of(self.true, self.found))

    @property
    def columns(self) -> dict[str, Int64[np.ndarray, " n"]]:
        """What stands beside the metrics in the record's rows, in the order of `ids`."""
        return columns_of(self.true, self.found)


def judge_folder(translated: Path, source: Path, target: Path) -> MatchJudgement:
    """Judge a folder of translated images, given the folders of their sources and of the true images, by equal names.

    8- or 16-bit files. Search images are the centre crops, as large as fits into every image but 256 px at most, a multiple
    of 4; templates are three quarters of that, at an offset that depends on the image's name alone. ContractError names
    the images that have no partner or another size, bands or depth, and images that are too small.
    """
    names, files = score_files.match({"translated": translated, "source": source, "target": target}, None)
    found: dict[str, list[np.ndarray]] = {side: [] for side in SIDES}
    sizes = [(header.height, header.width) for header in score_files.read_headers(files)["translated"]]
    smallest = min(min(size) for size in sizes)
    search_px = min(LARGEST_PX, smallest) // 4 * 4
    if search_px < SMALLEST_PX:
        raise ContractError(
            f"{translated}: templates are cut from images of {SMALLEST_PX} px at least, the smallest side has {smallest}"
        )
    true = [true_offset(name, search_px) for name in names]
    for start in range(0, len(names), BATCH_SIZE):
        rows = range(start, min(start + BATCH_SIZE, len(names)))
        images = {side: [_read(files[side][i], search_px) for i in rows] for side in SIDES}
        search = _batch(images["target"])
        for side in SIDES:
            template = _batch([cut_template(image, true[i]) for i, image in zip(rows, images[side], strict=True)])
            found[side].append(_find(template, search))
    return MatchJudgement(
        tuple(names), search_px, np.array(true), {side: np.concatenate(places) for side, places in found.items()}
    )


def _read(file: Path, search_px: int) -> Float[np.ndarray, "1 H W"]:
    """The centre crop of an image in [-1, 1], as the mean of its bands."""
    pixels = read_image(file)
    grey = scale(pixels, 0.0, float(score_files.PEAKS[str(pixels.dtype)])).mean(2, dtype=np.float64)
    return centre_crop(grey[None].astype(np.float32), search_px)


def _batch(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


def _find(template: torch.Tensor, search: torch.Tensor) -> Int64[np.ndarray, "n 2"]:
    cls = registry.load_matcher(MATCHER)
    return best_places(match(cls(cls.presets["paper"], 1, 1), template, search, Hardware()))
