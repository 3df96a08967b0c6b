"""Runs `match` over a split: cuts each template, holds the matcher to its contract, and keeps where each was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench import ranks
from sarbench.bench.errors import ContractError
from sarbench.bench.match_loader import keyed_offset
from sarbench.bench.matcher import Matcher, template_px
from sarbench.bench.material import Images, centre_crop
from sarbench.bench.progress import Progress
from sarbench.bench.storage import read_json, write_json
from sarbench.bench.train import Hardware

BATCH_SIZE = 4  # fixed, the last batch filled up: a surface is then the same to the last bit whatever comes with it
OFFSET_SEED = 0  # of the test templates: where they lie is part of the protocol, the same for every matcher and seed
KEEP_EVERY = 8  # batches between two writings of what was found


def match(matcher: Matcher, template: Tensor, search: Tensor, hardware: Hardware) -> Float[Tensor, "B P Q"]:
    """One batch through a matcher, checked on both sides: float32, (B, H - h + 1, W - w + 1), finite.

    Raises ContractError for images that the matcher can't take, and for surfaces that break the contract.
    """
    matcher.refuse_bad_pair(template, search)
    matcher.eval()
    images = (x.to(hardware.device, memory_format=hardware.memory_format) for x in (template, search))
    with torch.inference_mode(), hardware.autocast():
        surface = matcher.match(*images)
    places = (outer - inner + 1 for inner, outer in zip(template.shape[2:], search.shape[2:], strict=True))
    title, expected = matcher.card.title, (len(template), *places)
    if not isinstance(surface, Tensor) or tuple(surface.shape) != expected:
        got = f"the shape {tuple(surface.shape)}" if isinstance(surface, Tensor) else type(surface).__name__
        raise ContractError(f"{title}: match gave {got}, expected a tensor of the shape {expected}")
    surface = surface.float().cpu().contiguous()
    if not torch.isfinite(surface).all():
        raise ContractError(f"{title}: match gave NaN or infinite values; look for a division by the range of a flat image")
    return surface


def best_places(surface: Float[Tensor, "B P Q"]) -> Int64[np.ndarray, "B 2"]:
    """(top, left) of the largest element of each surface; of equal ones the first, row by row."""
    flat = surface.flatten(1).numpy()
    return np.stack(np.unravel_index(flat.argmax(1), surface.shape[1:]), axis=1).astype(np.int64)


def true_offset(sample_id: str, search_px: int) -> tuple[int, int]:
    """Where the template of an image is cut for a test: (top, left) in px, by the image's id."""
    return keyed_offset(search_px, OFFSET_SEED, sample_id)


def cut_template(image: Float[np.ndarray, "C H W"], offset: tuple[int, int]) -> Float[np.ndarray, "C h w"]:
    """The template of a square image at an offset."""
    (top, left), side = offset, template_px(image.shape[1])
    return image[:, top : top + side, left : left + side]


def template_and_search(images: Images, sample_id: str, search_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The template and the search image of an image by its id: from the centre crops of its source and its target."""
    source, target = (centre_crop(image, search_px) for image in images.parts(sample_id, ("source", "target")).values())
    return cut_template(source, true_offset(sample_id, search_px)), target


@dataclass(frozen=True)
class Found:
    """Where the templates of a split were found."""

    offsets: dict[str, tuple[int, int]]  # by id, (top, left) in px
    images: int  # matched by this process; a resumed run counts only its own part
    seconds: float


def match_split(
    matcher: Matcher,
    images: Images,
    ids: Sequence[str],
    folder: Path,
    *,
    run_key: str,
    search_px: int,
    hardware: Hardware,
    quiet: bool = False,
) -> Found:
    """Find every template; what a killed run of the same key has found, kept in `folder`, is not looked for again.

    Ranks share the ids out, none twice; each keeps a file of its own.
    """
    done: dict[str, tuple[int, int]] = {}
    for file in sorted(folder.glob("rank*.json")):
        kept = read_json(file, "run_key", "found")
        if kept["run_key"] == run_key:
            done |= {sample_id: (int(place[0]), int(place[1])) for sample_id, place in kept["found"].items()}
    ranks.barrier()
    own_file = folder / f"rank{ranks.rank()}.json"
    mine = ids[ranks.rank() :: ranks.count()]
    own = {sample_id: done[sample_id] for sample_id in mine if sample_id in done}
    left = [sample_id for sample_id in mine if sample_id not in done]
    seconds = 0.0
    with Progress(f"match {matcher.card.title}", len(mine), len(mine) - len(left), "images", quiet) as progress:
        for number, start in enumerate(range(0, len(left), BATCH_SIZE), start=1):
            group = left[start : start + BATCH_SIZE]
            filled = group + group[:1] * (BATCH_SIZE - len(group))
            pairs = [template_and_search(images, sample_id, search_px) for sample_id in filled]
            template, search = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
            began = time.perf_counter()
            places = best_places(match(matcher, template, search, hardware))
            seconds += time.perf_counter() - began
            own |= {sample_id: (int(y), int(x)) for sample_id, (y, x) in zip(group, places.tolist(), strict=False)}
            if number % KEEP_EVERY == 0 or start + BATCH_SIZE >= len(left):
                write_json(own_file, {"run_key": run_key, "found": own})
            progress.advance(len(group))
    for part in ranks.gather(own):
        done |= part
    return Found({sample_id: done[sample_id] for sample_id in ids}, len(left), seconds)
