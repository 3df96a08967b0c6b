"""Batches for matchers: which pairs are labelled, and where templates are cut; a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import key
from sarbench.bench.loader import Steps, crop_size
from sarbench.bench.matcher import LABELLED_SHARE, MatchBatch, Matcher, Patches, template_px
from sarbench.bench.material import Material, shuffled
from sarbench.bench.protocols import Augmentation


def keyed_offset(search_px: int, seed: int, *purpose: object) -> tuple[int, int]:
    """(top, left) of a template in a square search image, evenly over all places; it depends on what is given alone."""
    places = search_px - template_px(search_px) + 1
    top, left = np.random.default_rng(key("offset", seed, *purpose)).integers(places, size=2)
    return int(top), int(left)


def labelled_split(
    train: Sequence[str], n_labelled: int | None, share: float | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The training ids cut into labelled and unlabelled ones by a keyed shuffle, the same for every matcher and seed.

    n_labelled   how many are labelled; None: one in 16
    share        in (0, 1]: takes the place of `n_labelled`; of two shares, the smaller one's labels are among the larger's
    """
    if share is not None and not 0 < share <= 1:
        raise ContractError(f"a labelled share of {share} is none; give a number above 0, up to 1")
    n = len(train)
    if share is not None:
        n_labelled = round(share * n)
    elif n_labelled is None:
        n_labelled = round(LABELLED_SHARE * n)
    order, n_labelled = shuffled(train, "labelled"), min(max(1, n_labelled), n)
    return tuple(sorted(order[:n_labelled])), tuple(sorted(order[n_labelled:]))


class MatchSteps(Steps):
    """The training batches of a matcher by step, rows keyed as in `Steps`.

    Each row is a random crop of a pair, and a template cut from its source at a keyed offset, new at every visit. The
    offset of an unlabelled row is dropped here. With several ranks, each gets its share of the labelled and of the
    unlabelled rows.
    """

    def __init__(
        self,
        material: Material,
        matcher: Matcher,
        *,
        crop_px: int,
        augment: Sequence[Augmentation],
        n_labelled: int | None,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        title, self.batch_size = matcher.card.title, matcher.config.batch_size
        self.rows = {"labelled": matcher.labelled_rows, "unlabelled": self.batch_size - matcher.labelled_rows}
        if not 0 <= self.rows["labelled"] <= self.batch_size:
            raise ContractError(f"{title}: {self.rows['labelled']} labelled rows do not fit into a batch of {self.batch_size}")
        for name, rows in self.rows.items():
            if rows % ranks:
                raise ContractError(f"{title}: {rows} {name} rows of a batch can't be shared by {ranks} ranks")
        labelled, rest = labelled_split(material.train, n_labelled, matcher.labelled_share)
        self.ids = {"labelled": labelled, "unlabelled": rest}
        for name, rows in self.rows.items():
            if rows and not self.ids[name]:
                raise ContractError(f"{title} learns from {name} pairs, and none is left; lower its labelled share")
        self.images, self.aux, self.augment = material.images, (), tuple(augment)
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.crop = crop_size(material, matcher, crop_px)
        if template_px(crop_px) % matcher.size_multiple:
            raise ContractError(
                f"{title} takes sides that are multiples of {matcher.size_multiple} px; a template of the training crop has "
                f"{template_px(crop_px)} px; choose another --preset"
            )

    def __getitem__(self, step: int) -> MatchBatch:  # type: ignore[override]
        parts = {}
        for name, count in self.rows.items():
            local = count // self.ranks
            first = step * count + self.rank * local
            parts[name] = self._patches(name, range(first, first + local)) if local else None
        return MatchBatch(parts["labelled"], parts["unlabelled"])

    def _patches(self, stream: str, rows: range) -> Patches:
        search_px = self.crop[0]
        inner = template_px(search_px)
        ids = tuple(self._draw(self.ids[stream], row, stream) for row in rows)
        offsets = [keyed_offset(search_px, self.seed, stream, row) for row in rows]
        cut = [self._cut(sample_id, ("source", "target"), row, stream) for sample_id, row in zip(ids, rows, strict=True)]
        templates = [
            pair["source"][:, top : top + inner, left : left + inner] for pair, (top, left) in zip(cut, offsets, strict=True)
        ]
        return Patches(
            torch.from_numpy(np.stack(templates)),
            torch.from_numpy(np.stack([pair["target"] for pair in cut])),
            self._seeds(rows, stream),
            ids,
            torch.tensor(offsets) if stream == "labelled" else None,
        )
