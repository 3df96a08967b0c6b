"""Runs `translate` over images, holds it to its contract, and writes each translated image once, losslessly."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench import ranks
from sarbench.bench.errors import ContractError
from sarbench.bench.images import lossless_suffix, quantise, write_image
from sarbench.bench.interface import Method, key
from sarbench.bench.material import Images, centre_crop, crop_corner
from sarbench.bench.progress import Progress
from sarbench.bench.storage import read_json, write_json
from sarbench.bench.train import Hardware

BATCH_SIZE = 8  # fixed, the last batch filled up: an image is then the same to the last bit whatever comes with it
Function = Callable[[Tensor, Tensor], Tensor]
TOLERANCE = 1e-4  # by which an output may leave [-1, 1] through rounding


def translate(method: Method, source: Tensor, seeds: Tensor, hardware: Hardware) -> Tensor:
    """One batch through a method, checked on both sides: float32 in [-1, 1], (B, C_target, H, W), finite.

    Raises ContractError for a source that the method can't take, and for an output that breaks the contract.
    """
    method.refuse_bad_source(source)
    method.eval()
    source = source.to(hardware.device, memory_format=hardware.memory_format)
    with torch.inference_mode(), hardware.autocast():
        output = method.translate(source, seeds.to(hardware.device))
    expected = (len(source), method.target_channels, *source.shape[2:])
    title = method.card.title
    if not isinstance(output, Tensor):
        raise ContractError(f"{title}: translate gave {type(output).__name__}, expected a tensor of shape {expected}")
    output = output.float().cpu().contiguous()
    if output.shape != expected:
        raise ContractError(
            f"{title} gave images of shape {tuple(output.shape)} for {tuple(source.shape)}, expected {expected}"
        )
    if not torch.isfinite(output).all():
        raise ContractError(f"{title}: translate gave NaN or infinite values; look for a division by 0 or a loss that grew")
    if output.abs().max() > 1 + TOLERANCE:
        raise ContractError(f"{title} left [-1, 1]: {output.min():.4g} to {output.max():.4g}; end in tanh or clamp")
    return output.clamp(-1, 1)


class View(Method):
    """Another function of a method, called as `translate` is and held to the same contract."""

    def __init__(self, method: Method, source_channels: int, target_channels: int, function: Function) -> None:
        self.card = replace(method.card, channels="any")  # type: ignore[misc]
        super().__init__(method.config, source_channels, target_channels)
        self.method, self.function = method, function

    @property
    def size_multiple(self) -> int:
        """As that of the method."""
        return self.method.size_multiple

    @property
    def fixed_size(self) -> int | None:
        """As that of the method."""
        return self.method.fixed_size

    def translate(self, source: Tensor, seeds: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(source, seeds)


def backwards(method: Method) -> Method:
    """The way back of a method, from targets to sources; ContractError where it has none."""
    if type(method).translate_back is Method.translate_back:
        method.translate_back(torch.empty(0), torch.empty(0))
    return View(method, method.target_channels, method.source_channels, method.translate_back)


def upper_bound(method: Method) -> Method:
    """Targets after what every translation of the method passes; ContractError where there is no such part."""
    if not method.has_upper_bound:
        method.reconstruct(torch.empty(0), torch.empty(0))
    return View(method, method.target_channels, method.target_channels, method.reconstruct)


def map_of(method: Method, name: str) -> Method:
    """A map of the method's translations, such as its confidence; ContractError for one that it does not have."""
    if name not in method.maps:
        raise ContractError(
            f"{method.card.title} has no map {name!r} of its translations; it has: {', '.join(method.maps) or 'none'}"
        )
    return View(method, method.source_channels, 1, partial(method.show, name))


def translate_padded(method: Method, source: Tensor, seeds: Tensor, hardware: Hardware) -> Tensor:
    """`translate` for sides that the method can't take: reflected up to its multiple, and cut back."""
    height, width = source.shape[2:]
    multiple = method.size_multiple
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return translate(method, source, seeds, hardware)
    padded = source
    while bottom or right:  # a reflection is shorter than the side, so a large one takes several
        down, across = min(bottom, padded.shape[2] - 1), min(right, padded.shape[3] - 1)
        padded = F.pad(padded, (0, across, 0, down), mode="reflect")
        bottom, right = bottom - down, right - across
    return translate(method, padded, seeds, hardware)[:, :, :height, :width]


@dataclass(frozen=True)
class Translated:
    """What translating a split cost."""

    images: int  # made by this process; a resumed run counts only its own part
    seconds: float


def translate_split(
    method: Method,
    images: Images,
    ids: Sequence[str],
    folder: Path,
    *,
    seed: int,
    translation_key: str,
    crop_px: int | None,
    hardware: Hardware,
    quiet: bool = False,
) -> Translated:
    """Translate images by id into a folder of 8-bit files; images that a killed run of the same key left are kept.

    translation_key   a hash of everything that the images depend on

    Ranks share the ids out, none twice.
    """
    state = folder / "stage.json"
    if ranks.rank() == 0 and not (state.exists() and read_json(state) == {"translation_key": translation_key}):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(state, {"translation_key": translation_key})
    places = {sample_id: images.dataset.georeference(sample_id) for sample_id in ids}
    names = {i: folder / (i + lossless_suffix(method.target_channels, where)) for i, where in places.items()}
    ranks.barrier()
    mine = ids[ranks.rank() :: ranks.count()]
    left = [sample_id for sample_id in mine if not names[sample_id].exists()]
    seconds = 0.0
    with Progress(f"translate {method.card.title}", len(mine), len(mine) - len(left), "images", quiet) as progress:
        for group in _groups_of_one_size(images, left, crop_px):
            source = torch.from_numpy(np.stack([image for _, image in group]))
            seeds = torch.tensor([key(seed, "translate", sample_id) for sample_id, _ in group])
            filled = F.pad(seeds, (0, BATCH_SIZE - len(group)))
            began = time.perf_counter()
            batch = torch.cat([source, source[:1].expand(BATCH_SIZE - len(group), -1, -1, -1)])
            output = translate_padded(method, batch, filled, hardware)[: len(group)]
            seconds += time.perf_counter() - began
            for (sample_id, _), image in zip(group, output.numpy(), strict=True):
                where = places[sample_id]
                if where is not None:
                    where = where.moved(*crop_corner(images.dataset.size(sample_id), crop_px))
                write_image(names[sample_id], quantise(image).transpose(1, 2, 0), where)
            progress.advance(len(group))
    ranks.barrier()
    return Translated(len(left), seconds)


def _groups_of_one_size(images: Images, ids: Sequence[str], crop_px: int | None) -> Iterator[list[tuple[str, np.ndarray]]]:
    group: list[tuple[str, np.ndarray]] = []
    for sample_id in ids:
        image = centre_crop(images.source(sample_id), crop_px)
        if group and (len(group) == BATCH_SIZE or group[0][1].shape != image.shape):
            yield group
            group = []
        group.append((sample_id, image))
    if group:
        yield group
