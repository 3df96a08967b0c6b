"""The contracts of sarbench: what a method, a dataset and a metric promise, and what the harness promises them.

Images are float32 in [-1, 1], (B, C, H, W), from a dataset's door to the return of `translate`. Decibels and reflectance
exist only in `datasets/`; 8-bit pixels exist only behind `translate` (files, metrics).
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from sarbench.bench.errors import ContractError as ContractError

Supervision = Literal["paired", "unpaired", "semi", "none"]
Turn = tuple[str, dict[str, Tensor]]  # the player whose turn it is, and its losses by name


# --- Randomness is keyed, not consumed -------------------------------------------------------------------------------


def key(*parts: object) -> int:
    """An integer in [0, 2^63) that depends on every part and on nothing else: not on time, process or rank."""
    text = "\x1f".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one sample and one purpose; CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(key(int(seed), purpose))


def normal(seeds: Int64[Tensor, " B"] | Sequence[int], shape: Sequence[int], purpose: str) -> Float[Tensor, "B ..."]:
    """Standard normal noise (B, *shape), one seed a sample: the same for a sample in any batch, on any device."""
    return _keyed(torch.randn, seeds, shape, purpose)


def uniform(seeds: Int64[Tensor, " B"] | Sequence[int], shape: Sequence[int], purpose: str) -> Float[Tensor, "B ..."]:
    """Uniform numbers in [0, 1), (B, *shape), one seed a sample."""
    return _keyed(torch.rand, seeds, shape, purpose)


def _keyed(draw: Callable[..., Tensor], seeds: Tensor | Sequence[int], shape: Sequence[int], purpose: str) -> Tensor:
    device = seeds.device if isinstance(seeds, Tensor) else torch.device("cpu")
    rows = [draw(tuple(shape), generator=generator(int(seed), purpose)) for seed in seeds]
    return torch.stack(rows).to(device)


# --- Batches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Source and target images of one step.

    In `Batch.paired` row i of both shows the same place; in `Batch.unpaired` the two come from independent shuffles.
    """

    source: Float[Tensor, "B C_source H W"]
    target: Float[Tensor, "B C_target H W"]
    seeds: Int64[Tensor, " B"]  # one a row, from (run seed, step, row): for `normal` and `uniform`
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    aux: Mapping[str, Tensor] = field(default_factory=dict)  # what `card.aux` asked for, as the dataset gives it

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, start: int, stop: int) -> Pairs:
        """Rows [start, stop) of this batch."""
        return Pairs(
            self.source[start:stop],
            self.target[start:stop],
            self.seeds[start:stop],
            self.source_ids[start:stop],
            self.target_ids[start:stop],
            {name: value[start:stop] for name, value in self.aux.items()},
        )

    def to(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> Pairs:
        """The same rows on a device; images in the memory format given."""

        def image(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True, memory_format=memory_format)

        aux = {name: value.to(device, non_blocking=True) for name, value in self.aux.items()}
        seeds = self.seeds.to(device, non_blocking=True)
        return Pairs(image(self.source), image(self.target), seeds, self.source_ids, self.target_ids, aux)


@dataclass(frozen=True)
class Batch:
    """One training step's data: what `card.supervision` asked for; the other field raises when it is read."""

    _paired: Pairs | None = None
    _unpaired: Pairs | None = None

    @property
    def paired(self) -> Pairs:
        """Registered pairs ("paired" and "semi" methods)."""
        if self._paired is None:
            raise ContractError("this batch has no pairs: declare supervision='paired' or 'semi' on the card")
        return self._paired

    @property
    def unpaired(self) -> Pairs:
        """Independent shuffles of both domains ("unpaired" and "semi" methods)."""
        if self._unpaired is None:
            raise ContractError("this batch has no unpaired images: declare supervision='unpaired' or 'semi' on the card")
        return self._unpaired

    def parts(self, n: int) -> list[Batch]:
        """This batch cut into n equal parts along its rows, for gradient accumulation and ranks."""

        def cut(pairs: Pairs | None, i: int) -> Pairs | None:
            if pairs is None:
                return None
            if len(pairs) % n:
                raise ContractError(f"a batch of {len(pairs)} can't be cut into {n} equal parts; choose a multiple of {n}")
            rows = len(pairs) // n
            return pairs.rows(i * rows, (i + 1) * rows)

        return [Batch(cut(self._paired, i), cut(self._unpaired, i)) for i in range(n)]

    def to(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> Batch:
        """The same batch on a device."""
        return Batch(
            self._paired.to(device, memory_format) if self._paired else None,
            self._unpaired.to(device, memory_format) if self._unpaired else None,
        )


# --- Players: whose turn it is, and how its parameters move ----------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """The factor on a learning rate as a function of progress in [0, 1]."""

    kind: Literal["constant", "linear", "cosine"] = "constant"
    hold: float = 0.5  # linear: share of the budget before the decay to 0 begins
    warmup: float = 0.0  # share of the budget in which the factor rises linearly from 0 to 1

    def __call__(self, progress: float) -> float:
        """The factor at a progress in [0, 1]."""
        if self.warmup and progress < self.warmup:
            return progress / self.warmup
        if self.kind == "constant":
            return 1.0
        if self.kind == "linear":
            return 1.0 if progress <= self.hold else max(0.0, (1.0 - progress) / (1.0 - self.hold))
        return 0.5 * (1.0 + math.cos(math.pi * (progress - self.warmup) / (1.0 - self.warmup)))


@dataclass(frozen=True)
class Optimizer:
    """How the harness steps a player; made by `adam` or `adamw`."""

    kind: Literal["adam", "adamw"]
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    schedule: Schedule
    clip_norm: float | None  # largest gradient norm over the player's parameters; None: no clipping


def adam(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    *,
    weight_decay: float = 0.0,
    schedule: Schedule = Schedule(),
    clip_norm: float | None = None,
) -> Optimizer:
    """Adam (Kingma and Ba, 2015) with L2 weight decay."""
    return Optimizer("adam", lr, betas, weight_decay, schedule, clip_norm)


def adamw(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    *,
    weight_decay: float = 0.01,
    schedule: Schedule = Schedule(),
    clip_norm: float | None = None,
) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019): decoupled weight decay."""
    return Optimizer("adamw", lr, betas, weight_decay, schedule, clip_norm)


@dataclass(frozen=True)
class Ema:
    """An exponential moving average of a player's parameters; `translate` then runs on the average."""

    decay: float
    every: int = 1  # steps between two updates
    start: float = 0.0  # progress at which averaging begins; before it the average is a copy


@dataclass(frozen=True)
class Player:
    """One side of the game: the modules that move in its turn, and how."""

    modules: nn.Module | Sequence[nn.Module]
    optimizer: Optimizer
    ema: Ema | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The player's trainable parameters, each once, in definition order."""
        modules = [self.modules] if isinstance(self.modules, nn.Module) else list(self.modules)
        unique = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
        return list(unique.values())


# --- Methods ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What a method is and needs. Written as literals in the class body, so that listing methods imports nothing."""

    title: str
    paper: str  # where it comes from: a URL or DOI; for a floor, the reason it is on the board
    year: int
    supervision: Supervision  # what this code trains on, not what a paper's table says
    channels: Literal["any", "same"]  # "same": source and target need equal channel counts
    role: Literal["method", "floor"] = "method"
    size_multiple: int = 1  # H and W must be multiples of it (presets may need less: `Method.size_multiple`)
    fixed_size: int | None = None  # H and W must equal it
    stochastic: bool = False  # does the seed change the translation?
    evaluations: int = 1  # network evaluations for one translated image, paper preset
    aux: tuple[str, ...] = ()  # extra bands the training step reads from `Pairs.aux`
    pretrained: tuple[str, ...] = ()  # asset names; see `sarbench fetch --list`
    fidelity: Literal["paper", "adapted", "reconstruction"] = "paper"
    deviations: tuple[str, ...] = ()  # from the paper, one sentence each
    licence: str = ""  # of the official code, where one exists


def setting(default: Any, source: str) -> Any:
    """A hyperparameter of a frozen `Config`: its value and where it comes from, such as "Sec. 4.2"."""
    return field(default=default, metadata={"source": source})


class Method(nn.Module, ABC):
    """An image translation method: its networks, its losses and their order. One file in `methods/`, one class.

    The harness owns devices, precision, optimiser steps, data parallelism, checkpoints, seeds, logs and progress bars.
    Networks are built in `__init__` from `config` and the channel counts, under a seed set by the harness.
    """

    card: ClassVar[Card]
    presets: ClassVar[Mapping[str, Any]]  # "paper", "bench", "tiny" -> a frozen config dataclass
    expected_failures: ClassVar[Mapping[str, str]] = {}  # check name -> reason; strict: keeping the promise fails too
    fitted: ClassVar[tuple[str, ...]] = ()  # buffers that `fit` fills, of any shape

    def __init__(self, config: Any, source_channels: int, target_channels: int) -> None:
        super().__init__()
        if self.card.channels == "same" and source_channels != target_channels:
            raise ContractError(
                f"{self.card.title} needs equal channel counts, got {source_channels} in and {target_channels} out; "
                "choose a channel adapter of the dataset, such as --data-option channels=repeat"
            )
        self.config = config
        self.source_channels = source_channels
        self.target_channels = target_channels
        for name in self.fitted:
            self.register_buffer(name, torch.empty(0))

    @property
    def size_multiple(self) -> int:
        """What H and W must be multiples of, with this config."""
        return self.card.size_multiple

    @property
    def evaluations(self) -> int:
        """Network evaluations for one translated image, with this config."""
        return self.card.evaluations

    def players(self) -> dict[str, Player]:
        """The players by name; none for a method that does not learn by gradients."""
        return {}

    def fit(self, pairs: Iterable[Pairs]) -> None:
        """See the training split once, before training: statistics and memories go into the buffers named in `fitted`.

        `pairs` gives registered pairs at the size of the test images, a few at a time, in the order of their ids.
        """

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """Yield, turn by turn, (player, its losses by name); after each yield that player's parameters have moved.

        The harness runs the code of a turn under autocast, then sum(losses).backward(inputs=that player's parameters):
        no other player gets gradients, and nothing is ever frozen. `progress` is the used share of the budget in [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} has players, so it needs a training_step")

    @abstractmethod
    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """Translate images: float32 in [-1, 1] on the same grid; row i depends on source[i] and seeds[i] alone.

        Runs in eval mode without gradients. No target can reach it.
        """

    def refuse_bad_source(self, source: Tensor) -> None:
        """Raise ContractError for a source that this method can't take: channels, size, dtype."""
        title, (channels, height, width) = self.card.title, source.shape[1:]
        if source.dtype != torch.float32:
            raise ContractError(f"{title} takes float32 images, got {source.dtype}")
        if channels != self.source_channels:
            raise ContractError(f"{title} was built for {self.source_channels} source channels, got {channels}")
        if self.card.fixed_size and (height, width) != (self.card.fixed_size,) * 2:
            raise ContractError(f"{title} takes {self.card.fixed_size}x{self.card.fixed_size} images, got {height}x{width}")
        if height % self.size_multiple or width % self.size_multiple:
            raise ContractError(f"{title} takes sides that are multiples of {self.size_multiple} px, got {height}x{width}")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name in self.fitted:  # their shape depends on the data, so the stored one wins
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


# --- Datasets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DatasetCard:
    """What a dataset is. Literals, as for `Card`."""

    title: str
    source: str  # sensor, bands, ground sample distance in m, value range before scaling
    target: str
    task: str  # "sar to optical", "season", "rendered to real"
    group: str | None  # what a scene is: the unit that a split must not cut; None: unverified split
    licence: str
    reference: str  # DOI or URL
    paired: bool = True  # False: two domains whose images do not correspond
    gsd_m: float | None = None  # ground sample distance; None: unknown, or no remote sensing
    get: str = ""  # how to get the data, in one sentence; empty: made by code


BOTH = ("source", "target")


@dataclass(frozen=True)
class Sample:
    """What a dataset gives for one id: images float32 in [-1, 1], (C, H, W), finite; `aux` by name, on the same grid.

    A sample of an unpaired dataset has one image of the two; reading the other raises.
    """

    _source: Float[np.ndarray, "C_source H W"] | None = None
    _target: Float[np.ndarray, "C_target H W"] | None = None
    aux: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def source(self) -> Float[np.ndarray, "C_source H W"]:
        """The image of the source domain."""
        if self._source is None:
            raise ContractError("this sample has no source image: it was not asked for, or belongs to the target domain")
        return self._source

    @property
    def target(self) -> Float[np.ndarray, "C_target H W"]:
        """The image of the target domain."""
        if self._target is None:
            raise ContractError("this sample has no target image: it was not asked for, or belongs to the source domain")
        return self._target

    def parts(self) -> dict[str, np.ndarray]:
        """Every array that is there, by name."""
        images = {"source": self._source, "target": self._target}
        return {**{name: image for name, image in images.items() if image is not None}, **self.aux}


@dataclass(frozen=True)
class Georeference:
    """Where an image lies: coordinate reference system as WKT, and the affine transform's six numbers."""

    crs: str
    transform: tuple[float, float, float, float, float, float]  # x = a column + b row + c, y = d column + e row + f

    def moved(self, top: int, left: int) -> Georeference:
        """The reference of a window that begins `top` rows down and `left` columns right."""
        a, b, c, d, e, f = self.transform
        return Georeference(self.crs, (a, b, c + a * left + b * top, d, e, f + d * left + e * top))


class Dataset(ABC):
    """A dataset in its official layout. One file in `datasets/`, one class, numpy only; read-only and picklable.

    The constructor takes the root folder (None for a dataset made by code) and named options, each a string; it lists
    files, and raises ContractError for a wrong layout, saying what it expected and what it found.
    """

    card: ClassVar[DatasetCard]
    source_channels: int
    target_channels: int
    aux: tuple[str, ...] = ()  # what can be read beside the images, such as "labels", "change", "nir"
    classes: tuple[str, ...] = ()  # the names behind the values 0, 1, ... of "labels"; 255 is "not labelled"

    def __init__(self, root: Path | None = None, **options: str) -> None:
        if options:
            raise ContractError(f"{self.card.title} has no option {', '.join(sorted(options))}")
        self.root = root

    @abstractmethod
    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of "train" or "test": sorted, unique, disjoint between splits; a relative path without suffix.

        Of an unpaired dataset, the ids of the source domain.
        """

    def target_ids(self, split: str) -> tuple[str, ...]:
        """The ids of the target domain: those of `ids`, unless the card says that the domains are unpaired."""
        return self.ids(split)

    @abstractmethod
    def read(self, sample_id: str, parts: Collection[str] = BOTH) -> Sample:
        """Decode what `parts` names: "source", "target", names of `aux`; what the id does not have is left out.

        Raises ContractError naming the file, what is wrong with it and what to do.
        """

    def scene(self, sample_id: str) -> str | None:
        """The group that this sample belongs to; None where the grouping is not known."""
        return None

    @property
    def keeps_official_leaks(self) -> bool:
        """Does the split that was asked for cut scenes, as the published one does? Records then say "leaking"."""
        return False

    def files(self, sample_id: str) -> tuple[Path, ...]:
        """The files behind a sample; empty for a dataset made by code."""
        return ()

    def size(self, sample_id: str) -> tuple[int, int]:
        """Height and width in px, without decoding where the format allows."""
        return next(iter(self.read(sample_id).parts().values())).shape[1:]  # type: ignore[return-value]

    def georeference(self, sample_id: str) -> Georeference | None:
        """Where the image lies, if its file says so; translations are then written as GeoTIFF."""
        return None


# --- Metrics ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageBatch:
    """Decoded images of one size, as every metric reads them. The range is typed, never guessed from the values."""

    pixels: UInt8[np.ndarray, "B H W C"]  # uint8, or uint16 for 16-bit files
    peak: int = 255  # the value of white; black is 0

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Features:
    """What a network says of one image, shared by every metric that names it: one forward an image, references kept on disk."""

    name: str
    signature: str  # network, weights, preprocessing, layer, and a version
    width: int
    of: Callable[[ImageBatch], Float[np.ndarray, "B D"]]  # float32; AssetMissing without the weights
    assets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A score of an image, of an image against its reference, or of two sets of images. One file in `bench/metrics/`.

    The file's `metric` is the suite's own definition; `compat`, where there is one, maps the name of another convention
    (such as "torchmetrics") to the metric that reproduces it, which is asked for as `ssim@torchmetrics`.
    """

    name: str
    signature: str  # every parameter that changes the number, and a version
    unit: str
    higher_is_better: bool
    rows: Callable[..., Float[np.ndarray, " B"]] | None = (
        None  # of what `reads` names, in that order -> one value a sample; NaN: undefined
    )
    reads: tuple[Literal["translated", "source", "reference"], ...] = ("translated", "reference")
    features: Features | None = None  # of both sets, for `statistic`
    statistic: Callable[[Float[np.ndarray, "n D"], Float[np.ndarray, "m D"]], float] | None = None  # (translated, reference)
    ranked_from: int = 1  # samples below which a board shows the value and does not rank by it
    assets: tuple[str, ...] = ()  # weights it needs; absent weights give "not measured", never other weights
    decimals: int = 4  # shown on a board
    undefined: str = ""  # what a NaN in `rows` means
