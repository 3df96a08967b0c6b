"""Training batches: a pure function of (seed, step), so that resuming, worker counts and rank counts change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as StepDataset

from sarbench.bench.dataset import BOTH
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Learner, Method, Pairs, key
from sarbench.bench.material import LISTED, Material, centre_crop, shuffled
from sarbench.bench.protocols import Augmentation

AUGMENTATIONS: tuple[Augmentation, ...] = ("flip_left_right", "flip_up_down", "rotate_90")  # both flips and a turn: all 8 ways


class Steps(StepDataset[Batch]):
    """The training batches by step: rows keyed by (seed, purpose, global row), shuffled anew every pass.

    With several ranks, rank r gets rows [r b, (r + 1) b) of every global batch: all ranks together see what one would.
    """

    def __init__(
        self,
        material: Material,
        method: Method,
        *,
        batch_size: int,
        crop_px: int | None,
        augment: Sequence[Augmentation],
        n_paired: int | None,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch_size % ranks:
            raise ContractError(f"a batch of {batch_size} can't be shared by {ranks} ranks; choose a multiple of {ranks}")
        supervision, title = method.supervision, method.card.title
        refuse_unpaired(material, title, supervision)
        self.paired = material.train if supervision == "paired" else None
        self.unpaired = (material.train, material.train_targets) if supervision == "unpaired" else None
        if supervision == "semi":
            self.paired, rest = material.semi(n_paired)
            self.unpaired = (rest, rest)
        missing = [name for name in method.aux if name not in material.dataset.aux]
        if missing:
            raise ContractError(
                f"{title} needs {', '.join(missing)} beside the images, which {material.dataset.card.title} has not"
            )
        self.images = material.images
        self.aux = method.aux
        self.augment = tuple(augment)
        self.batch_size, self.seed, self.rank, self.ranks = batch_size, seed, rank, ranks
        self.crop = crop_size(material, method, crop_px)

    def __getitem__(self, step: int) -> Batch:
        local = self.batch_size // self.ranks
        first = step * self.batch_size + self.rank * local
        rows = range(first, first + local)
        paired = self._registered(self.paired, rows) if self.paired else None
        unpaired = self._independent(*self.unpaired, rows) if self.unpaired else None
        return Batch(paired, unpaired)

    def _registered(self, ids: Sequence[str], rows: range) -> Pairs:
        """Pairs of one place, cut and turned alike."""
        drawn = tuple(self._draw(ids, row, "paired") for row in rows)
        parts = (*BOTH, *self.aux)
        cut = [self._cut(sample_id, parts, row, "paired") for sample_id, row in zip(drawn, rows, strict=True)]
        images = {name: _stack([found[name] for found in cut]) for name in parts}
        aux = {name: images[name] for name in self.aux}
        return Pairs(images["source"], images["target"], self._seeds(rows, "paired"), drawn, drawn, aux)

    def _independent(self, source_ids: Sequence[str], target_ids: Sequence[str], rows: range) -> Pairs:
        """Sources from one shuffled stream, targets from another; what goes with an image is the source's."""
        sources = tuple(self._draw(source_ids, row, "source") for row in rows)
        targets = tuple(self._draw(target_ids, row, "target") for row in rows)
        cut = [self._cut(sample_id, ("source", *self.aux), row, "source") for sample_id, row in zip(sources, rows, strict=True)]
        target = [self._cut(sample_id, ("target",), row, "target") for sample_id, row in zip(targets, rows, strict=True)]
        images = {name: _stack([found[name] for found in cut]) for name in ("source", *self.aux)}
        return Pairs(
            images["source"],
            _stack([found["target"] for found in target]),
            self._seeds(rows, "source"),
            sources,
            targets,
            {name: images[name] for name in self.aux},
        )

    def _seeds(self, rows: range, stream: str) -> torch.Tensor:
        return torch.tensor([key(self.seed, "row", stream, row) for row in rows])

    def _draw(self, ids: Sequence[str], row: int, stream: str) -> str:
        epoch, position = divmod(row, len(ids))
        return ids[_permutation(len(ids), key(self.seed, "shuffle", stream, epoch))[position]]

    def _cut(self, sample_id: str, parts: Sequence[str], row: int, stream: str) -> dict[str, np.ndarray]:
        """The parts of a sample under the row's random crop, flips and quarter turns."""
        images = self.images.packed(sample_id, parts)
        height, width = images[parts[0]].values.shape[1:]
        crop_h, crop_w = self.crop
        random = np.random.default_rng(key(self.seed, "augment", stream, row))
        top = int(random.integers(height - crop_h + 1))
        left = int(random.integers(width - crop_w + 1))
        mirror, upside_down, turn = random.integers(2, size=3).astype(bool) & [a in self.augment for a in AUGMENTATIONS]
        window = slice(top, top + crop_h), slice(left, left + crop_w)

        def turned(image: np.ndarray) -> np.ndarray:
            image = image[..., ::-1] if mirror else image
            image = image[..., ::-1, :] if upside_down else image
            return np.rot90(image, axes=(-2, -1)) if turn and crop_h == crop_w else image

        return {name: turned(packed.array(window)) for name, packed in images.items()}


@lru_cache(maxsize=16)
def _permutation(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n)


def _stack(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


def refuse_unpaired(material: Material, title: str, supervision: str) -> None:
    """Raise ContractError where a method needs pairs and the dataset has none."""
    if supervision in ("paired", "semi") and not material.paired:
        raise ContractError(f"{title} learns from pairs; the domains of {material.dataset.card.title} have none")


def crop_size(material: Material, method: Learner, crop_px: int | None) -> tuple[int, int]:
    """The training crop's height and width; ContractError where an image is too small for it, or sizes differ without one."""
    sizes = {material.dataset.size(sample_id) for sample_id in material.train + material.train_targets}
    smallest = min(h for h, _ in sizes), min(w for _, w in sizes)
    multiple = method.size_multiple
    if method.fixed_size:
        crop = (method.fixed_size,) * 2
    elif crop_px is not None:
        crop = (crop_px, crop_px)
    else:
        crop = (smallest[0] // multiple * multiple, smallest[1] // multiple * multiple)
    if crop[0] % multiple or crop[1] % multiple or 0 in crop:
        raise ContractError(
            f"{method.card.title} trains on sides that are multiples of {multiple} px; the track's crop is "
            f"{crop[0]}x{crop[1]}; choose another --preset or cut the images"
        )
    refuse_smaller(material, crop)
    return crop


def refuse_smaller(material: Material, crop: tuple[int, int]) -> None:
    """Raise ContractError naming the training images that a crop (height, width) does not fit into."""
    sizes = {sample_id: material.dataset.size(sample_id) for sample_id in material.train + material.train_targets}
    small = [f"{name} has {h}x{w}" for name, (h, w) in sizes.items() if h < crop[0] or w < crop[1]]
    if small:
        listed = "\n  ".join(small[:LISTED] + [f"... and {len(small) - LISTED} more"] * (len(small) > LISTED))
        raise ContractError(
            f"the training crop is {crop[0]}x{crop[1]} px, but {len(small)} training images are smaller; "
            f"remove them, or choose a --preset of a smaller crop:\n  {listed}"
        )


class _Caught(StepDataset[Batch | ContractError]):
    """Batches, or the error in place of one: raised in a worker process, it would arrive with a traceback as its text."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> Batch | ContractError:
        try:
            return self.steps[step]
        except ContractError as error:
            return error


def step_batches(steps: Steps, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps [start, stop), prepared ahead by worker processes; 0 workers: in this process."""
    loader = DataLoader(
        _Caught(steps),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, ContractError):
            raise batch
        yield batch


def all_pairs(material: Material, *, broken: bool, crop_px: int | None, rows: int = 8) -> Iterator[Pairs]:
    """Every training image once at the size of the test images, a few at a time.

    `broken`: targets in an order of their own; of two domains of unequal size, the smaller begins again.
    """
    sources, targets = list(material.train), list(material.train_targets)
    if broken or not material.paired:
        targets = shuffled(targets, "fit")
    n = max(len(sources), len(targets))
    waiting: list[tuple[str, str, np.ndarray, np.ndarray]] = []
    for i in range(n):
        source_id, target_id = sources[i % len(sources)], targets[i % len(targets)]
        source = centre_crop(material.images.source(source_id), crop_px)
        target = centre_crop(material.images.target(target_id), crop_px)
        if waiting and (len(waiting) == rows or (waiting[0][2].shape, waiting[0][3].shape) != (source.shape, target.shape)):
            yield _as_pairs(waiting)
            waiting = []
        waiting.append((source_id, target_id, source, target))
    if waiting:
        yield _as_pairs(waiting)


def _as_pairs(rows: list[tuple[str, str, np.ndarray, np.ndarray]]) -> Pairs:
    sources, targets, source_images, target_images = zip(*rows, strict=True)
    seeds = torch.tensor([key("fit", sample_id) for sample_id in sources])
    return Pairs(_stack(list(source_images)), _stack(list(target_images)), seeds, sources, targets)
