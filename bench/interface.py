"""The contract of a method: what it promises the harness, and what the harness promises it.

Images are float32 in [-1, 1], (B, C, H, W), from a dataset's door to the return of `translate`. The contract of a dataset
is in `bench.dataset`, that of a metric in `bench.metric`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sarbench.bench.errors import ContractError as ContractError
from sarbench.bench.keys import key as key

Supervision = Literal["paired", "unpaired", "semi", "none"]
Turn = tuple[str, dict[str, Tensor]]  # the player whose turn it is, and its losses by name


# --- Randomness is keyed, not consumed -------------------------------------------------------------------------------


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

    kind: Literal["constant", "linear", "cosine", "steps", "inverse", "poly"] = "constant"
    hold: float = 0.5  # linear: share of the budget before the decay to 0 begins
    warmup: float = 0.0  # share of the budget in which the factor rises linearly from 0 to 1
    every: float = 0.5  # steps: share of the budget between two drops
    drop: float = 0.5  # steps: what each drop multiplies the factor by
    rate: float = 1.0  # inverse: the factor is 1 / (1 + rate * progress); poly: it is (1 - progress)^rate

    def __call__(self, progress: float) -> float:
        """The factor at a progress in [0, 1]."""
        if self.warmup and progress < self.warmup:
            return progress / self.warmup
        if self.kind == "constant":
            return 1.0
        if self.kind == "linear":
            return 1.0 if progress <= self.hold else max(0.0, (1.0 - progress) / (1.0 - self.hold))
        if self.kind == "steps":
            return self.drop ** int(progress / self.every + 1e-9)  # 0.3 / 0.1 is a little less than 3
        if self.kind == "inverse":
            return 1.0 / (1.0 + self.rate * progress)
        if self.kind == "poly":
            return (1.0 - progress) ** self.rate
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
    fixed_size: int | None = None  # H and W must equal it (presets may be free: `Method.fixed_size`)
    stochastic: bool = False  # does the seed change the translation?
    evaluations: int = 1  # network evaluations for one translated image, paper preset
    aux: tuple[str, ...] = ()  # extra bands the training step reads from `Pairs.aux`
    pretrained: tuple[str, ...] = ()  # asset names; see `sarbench fetch --list`
    fidelity: Literal["paper", "adapted", "reconstruction"] = "paper"
    deviations: tuple[str, ...] = ()  # from the paper, one sentence each
    licence: str = ""  # of the official code, where one exists
    task: Literal["translation", "matching"] = "translation"  # "matching": the class is a `bench.matcher.Matcher`


def setting(default: Any, source: str, *, trains: bool = True) -> Any:
    """A hyperparameter of a frozen `Config`: its value and where it comes from, such as "Sec. 4.2".

    `trains=False` says that only translations depend on it, such as the steps of a sampler: runs that differ in it alone
    share their trained weights.
    """
    return field(default=default, metadata={"source": source, "trains": trains})


class Learner(nn.Module, ABC):
    """What the harness trains: networks, losses and their order, for whatever task. One file in `methods/`, one class.

    The harness owns devices, precision, optimiser steps, data parallelism, checkpoints, seeds, logs and progress bars.
    Networks are built in `__init__` from `config` and the channel counts, under a seed set by the harness.
    """

    card: ClassVar[Card]
    presets: ClassVar[Mapping[str, Any]]  # "paper", "bench", "tiny" -> a frozen config dataclass
    expected_failures: ClassVar[Mapping[str, str]] = {}  # check name -> reason; strict: keeping the promise fails too
    fitted: ClassVar[tuple[str, ...]] = ()  # buffers that `fit` fills, of any shape
    # The paper's ablations: table -> the row's name, as in leaderboards/published -> the settings that make it
    ablations: ClassVar[Mapping[str, Mapping[str, Mapping[str, str]]]] = {}

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
    def fixed_size(self) -> int | None:
        """What H and W must equal, with this config; None: any multiple of `size_multiple`."""
        return self.card.fixed_size

    @property
    def supervision(self) -> Supervision:
        """What it trains on, with this config."""
        return self.card.supervision

    @property
    def aux(self) -> tuple[str, ...]:
        """Extra bands the training step reads from `Pairs.aux`, with this config."""
        return self.card.aux

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The assets it starts from, with this config; the card names those of all presets."""
        return self.card.pretrained

    def players(self) -> dict[str, Player]:
        """The players by name; none for a method that does not learn by gradients."""
        return {}

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Take up the assets named in `pretrained`; `find(name)` is the file of one, or the folder of a model.

        The harness calls it once, before `fit` and training, with the networks on their device. It is not called where a
        run's own weights are loaded: these hold every network, frozen ones too, so that a trained run needs no asset.
        """
        if self.pretrained:
            raise NotImplementedError(f"{type(self).__name__} names pretrained assets, so it needs a load_pretrained")

    def training_step(self, batch: Any, progress: float) -> Iterator[Turn]:
        """Yield, turn by turn, (player, its losses by name); after each yield that player's parameters have moved.

        `batch` is a `Batch` where images are translated, a `bench.matcher.MatchBatch` where templates are matched.

        The harness runs the code of a turn under autocast, then sum(losses).backward(inputs=that player's parameters):
        no other player gets gradients, and nothing is ever frozen. `progress` is the used share of the budget in [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} has players, so it needs a training_step")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name in self.fitted:  # their shape depends on the data, so the stored one wins
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Method(Learner):
    """An image translation method. One file in `methods/`, one class."""

    maps: ClassVar[tuple[str, ...]] = ()  # what `show` can show of a translation

    @property
    def evaluations(self) -> int:
        """Network evaluations for one translated image, with this config."""
        return self.card.evaluations

    def fit(self, pairs: Iterable[Pairs]) -> None:
        """See the training split once, before training: statistics and memories go into the buffers named in `fitted`.

        `pairs` gives registered pairs at the size of the test images, a few at a time, in the order of their ids.
        """

    @abstractmethod
    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """Translate images: float32 in [-1, 1] on the same grid; row i depends on source[i] and seeds[i] alone.

        Runs in eval mode without gradients. No target can reach it.
        """

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """Target images to source images, under the rules of `translate`; for a method that learns this direction too.

        `sarbench translate --direction BtoA` calls it. The scores of a run are of `translate` alone.
        """
        raise ContractError(
            f"{self.card.title} learns no way back from targets to sources; train it on the data turned round, "
            "such as --data-option direction=BtoA"
        )

    def reconstruct(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_target H W"]:
        """Targets after the part of the method that every translation passes, such as an autoencoder: its upper bound.

        A run scores it beside the translations; `sarbench translate --direction BtoB` calls it.
        """
        raise ContractError(f"{self.card.title} has no part that a target could pass alone, so no upper bound to show")

    @property
    def has_upper_bound(self) -> bool:
        """Whether targets can pass a part of the method alone, with this config: `reconstruct`."""
        return type(self).reconstruct is not Method.reconstruct

    def show(self, name: str, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
        """The map of that name, one of `maps`, of translating these sources with these seeds, in [-1, 1].

        `sarbench translate --map NAME` calls it.
        """
        raise NotImplementedError(f"{type(self).__name__} names maps, so it needs a show")

    def refuse_bad_source(self, source: Tensor) -> None:
        """Raise ContractError for a source that this method can't take: channels, size, dtype."""
        title, (channels, height, width) = self.card.title, source.shape[1:]
        if source.dtype != torch.float32:
            raise ContractError(f"{title} takes float32 images, got {source.dtype}")
        if channels != self.source_channels:
            raise ContractError(f"{title} was built for {self.source_channels} source channels, got {channels}")
        if self.fixed_size and (height, width) != (self.fixed_size,) * 2:
            raise ContractError(f"{title} takes {self.fixed_size}x{self.fixed_size} images, got {height}x{width}")
        if height % self.size_multiple or width % self.size_multiple:
            raise ContractError(f"{title} takes sides that are multiples of {self.size_multiple} px, got {height}x{width}")
