"""The contract of a judge: a network that is trained on a downstream task and says what a translation is worth for it.

A judge is trained by the suite's one training loop, as methods are: so it is keyed by its seed, resumable, and never
half-written. It leaves confusion matrices, one a sample, and `bench.judges._confusion` makes every number of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Method, setting
from sarbench.bench.material import Material
from sarbench.bench.protocols import Augmentation

JUDGE_SEEDS = (0, 1, 2)  # a judge is trained anew with each: what it says depends on its own first weights too


@dataclass(frozen=True)
class JudgeConfig:
    """What every judge's training needs; each judge adds its own."""

    epochs: int | None = setting(None, "passes over the training images; None: `budget_images` says how many are seen")
    budget_images: int = setting(100_000, "ours: images seen in training, where no number of epochs is given")
    crop_px: int | None = setting(256, "side of the random training crop; None: whole images")
    batch_size: int = setting(16, "ours: no paper gives it")
    learning_rate: float = setting(1e-3, "SRUIT, Sec. 4.1")
    power: float = setting(0.9, "SRUIT, Sec. 4.1: poly decay of the learning rate")

    def images(self, n_train: int) -> int:
        """The images seen in training, of so many that there are."""
        return self.budget_images if self.epochs is None else self.epochs * n_train


class Judge(Method):
    """A judge. One file in `bench/judges/`, one class, presets "paper", "bench" and "tiny".

    It learns from `batch.paired`: the source is the first image that it sees, the target the second one, for a judge that
    `sees` "pairs"; one that sees single images gets the same image twice. Its answers are the aux of that name.
    """

    answer: ClassVar[str]  # the aux that it learns and is scored by: 0, 1, ... and 255 for what is not labelled
    sees: ClassVar[Literal["pairs", "images", "domains"]]  # "domains": see `bench.adapter`
    augment: ClassVar[tuple[Augmentation, ...]]
    version: ClassVar[str]  # changes whenever its numbers would
    given: ClassVar[bool] = False  # are its weights a published file, so that nothing is trained and there is one seed?
    knows: ClassVar[tuple[str, ...]] = ()  # the classes of the data that it is for; empty: whatever classes there are
    config: JudgeConfig

    def __init__(self, config: JudgeConfig, channels: int, classes: Sequence[str]) -> None:
        super().__init__(config, channels, channels)
        self.classes = tuple(classes)

    @classmethod
    def seeds(cls) -> tuple[int, ...]:
        """What it is trained with, one judge each; one that is given is the same under every seed."""
        return (0,) if cls.given else JUDGE_SEEDS

    @classmethod
    def needs(cls, config: JudgeConfig) -> tuple[str, ...]:
        """The assets that it starts from under this config."""
        return cls.card.pretrained if getattr(config, "photo_weights", cls.given) else ()

    @property
    def pretrained(self) -> tuple[str, ...]:
        """As `needs` says."""
        return self.needs(self.config)

    @classmethod
    def tells_apart(cls, classes: Sequence[str]) -> tuple[str, ...]:
        """The names of its classes, on data whose labels have these."""
        return tuple(classes)

    def drawn(self, material: Material, images: int, seed: int) -> Material:
        """The material as this judge learns from it, in a training of so many images: some may be seen more often."""
        return material

    def stages(self) -> Sequence[float]:
        """The progress at which each stage of its training begins, if its steps then cost another time; the first is 0."""
        return (0.0,)

    @abstractmethod
    def predict(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Int64[Tensor, "B H W"]:
        """The class of each pixel, for images in [-1, 1]; runs in eval mode without gradients."""

    def translate(self, source: Tensor, seeds: Tensor) -> Tensor:
        """No judge translates."""
        raise ContractError(f"{self.card.title} judges translations and makes none")
