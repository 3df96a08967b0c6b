"""The contract of a matcher: where in an image of one sensor does a template of another sensor lie?

Templates are cut from source images (SAR), search images from targets (optical); both are float32 in [-1, 1],
(B, C, H, W). A template's sides are three quarters of the search image's: 192 px in 256 px, so that there are 65 x 65
places to choose from. An offset is (top, left) of the template in the search image, in whole px.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Learner

LABELLED_SHARE = 1 / 16  # of the training pairs, and of a batch, unless a protocol or a matcher says otherwise


def template_px(search_px: int) -> int:
    """The side of a template for a search image of that side; ContractError for a side that is no multiple of 4."""
    if search_px % 4:
        raise ContractError(
            f"a template is three quarters of the search image, whose side of {search_px} px is no multiple of 4"
        )
    return search_px // 4 * 3


@dataclass(frozen=True)
class Patches:
    """Templates and search images of one step; row i of both is of one place."""

    template: Float[Tensor, "B C_source h w"]
    search: Float[Tensor, "B C_target H W"]
    seeds: Int64[Tensor, " B"]  # one a row, from (run seed, step, row): for `normal` and `uniform`
    ids: tuple[str, ...]
    _offset: Int64[Tensor, "B 2"] | None = None  # None: not labelled

    @property
    def offset(self) -> Int64[Tensor, "B 2"]:
        """Where the templates lie: (top, left) in px. Raises for pairs without labels."""
        if self._offset is None:
            raise ContractError("these pairs are not labelled: nothing says where their templates lie")
        return self._offset

    def __len__(self) -> int:
        return len(self.template)

    def rows(self, start: int, stop: int) -> Patches:
        """Rows [start, stop) of this batch."""
        cut = slice(start, stop)
        offset = None if self._offset is None else self._offset[cut]
        return Patches(self.template[cut], self.search[cut], self.seeds[cut], self.ids[cut], offset)

    def to(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> Patches:
        """The same rows on a device; images in the memory format given."""
        template, search = (x.to(device, non_blocking=True, memory_format=memory_format) for x in (self.template, self.search))
        offset = None if self._offset is None else self._offset.to(device, non_blocking=True)
        return Patches(template, search, self.seeds.to(device, non_blocking=True), self.ids, offset)


@dataclass(frozen=True)
class MatchBatch:
    """One training step's data: what the matcher's supervision asked for; the other field raises when it is read."""

    _labelled: Patches | None = None
    _unlabelled: Patches | None = None

    @property
    def labelled(self) -> Patches:
        """Pairs whose offsets are known ("paired" and "semi" matchers)."""
        if self._labelled is None:
            raise ContractError("this batch has no labelled pairs: declare supervision='paired' or 'semi'")
        return self._labelled

    @property
    def unlabelled(self) -> Patches:
        """Pairs whose offsets nobody says ("unpaired" and "semi" matchers); no label of theirs exists in this object."""
        if self._unlabelled is None:
            raise ContractError("this batch has no unlabelled pairs: declare supervision='unpaired' or 'semi'")
        return self._unlabelled

    def parts(self, n: int) -> list[MatchBatch]:
        """This batch cut into n equal parts along its rows, for gradient accumulation."""

        def cut(patches: Patches | None, i: int) -> Patches | None:
            if patches is None:
                return None
            if len(patches) % n:
                raise ContractError(
                    f"{len(patches)} rows of a batch can't be cut into {n} equal parts; choose a multiple of {n}"
                )
            rows = len(patches) // n
            return patches.rows(i * rows, (i + 1) * rows)

        return [MatchBatch(cut(self._labelled, i), cut(self._unlabelled, i)) for i in range(n)]

    def to(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> MatchBatch:
        """The same batch on a device."""
        return MatchBatch(
            self._labelled.to(device, memory_format) if self._labelled else None,
            self._unlabelled.to(device, memory_format) if self._unlabelled else None,
        )


class Matcher(Learner):
    """A template matcher. One file in `methods/`, one class, whose card says `task="matching"`.

    `training_step` gets a `MatchBatch` of `config.batch_size` pairs. What `supervision` means here: "paired", labelled
    pairs alone; "semi", labelled and unlabelled ones; "unpaired", unlabelled ones alone; "none", nothing is learned.
    """

    @property
    def labelled_rows(self) -> int:
        """How many pairs of a batch are labelled, with this config; the rest are unlabelled."""
        rows: int = self.config.batch_size
        return {"paired": rows, "unpaired": 0, "none": 0}.get(self.supervision, max(1, round(LABELLED_SHARE * rows)))

    @property
    def labelled_share(self) -> float | None:
        """The share of the training pairs whose labels it may see, in (0, 1]; None: what the protocol gives everybody."""
        return None

    @abstractmethod
    def match(
        self, template: Float[Tensor, "B C_source h w"], search: Float[Tensor, "B C_target H W"]
    ) -> Float[Tensor, "B P Q"]:
        """How alike the template is to each place of the search image, larger for more: P = H - h + 1, Q = W - w + 1.

        Element [i, y, x] is of offset (y, x) and depends on row i of both images alone. Any scale, but finite. Runs in
        eval mode without gradients. The harness takes the first of the largest elements as the answer.
        """

    def refuse_bad_pair(self, template: Tensor, search: Tensor) -> None:
        """Raise ContractError for images that this matcher can't take: channels, sides, dtype."""
        title = self.card.title
        for name, image, channels in (
            ("template", template, self.source_channels),
            ("search image", search, self.target_channels),
        ):
            if image.dtype != torch.float32:
                raise ContractError(f"{title} takes float32 images, got a {name} of {image.dtype}")
            if image.ndim != 4 or image.shape[1] != channels:
                raise ContractError(
                    f"{title} was built for {channels} channels of the {name}, got the shape {tuple(image.shape)}"
                )
            if any(side % self.size_multiple for side in image.shape[2:]):
                raise ContractError(
                    f"{title} takes sides that are multiples of {self.size_multiple} px, got a {name} of "
                    f"{image.shape[2]}x{image.shape[3]}"
                )
        if any(inner > outer for inner, outer in zip(template.shape[2:], search.shape[2:], strict=True)):
            raise ContractError(f"{title}: a template of {tuple(template.shape)} does not fit into {tuple(search.shape)}")
