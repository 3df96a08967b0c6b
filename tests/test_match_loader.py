"""Batches for matchers: labels, offsets, crops; a function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Card
from sarbench.bench.match_loader import MatchSteps, keyed_offset, labelled_split
from sarbench.bench.matcher import Matcher, template_px
from sarbench.bench.material import Images, Packed

IDS = tuple(f"train/{i:02d}" for i in range(32))
SIDE = 40


@dataclass(frozen=True)
class Config:
    batch_size: int = 4
    labelled_rows: int = 1
    share: float | None = None


class Stub(Matcher):
    card = Card(title="stub", paper="", year=2026, supervision="semi", channels="any", size_multiple=2, task="matching")

    @property
    def labelled_rows(self) -> int:
        return self.config.labelled_rows

    @property
    def labelled_share(self) -> float | None:
        return self.config.share

    def match(self, template, search):
        return search


class Stored(Images):
    """Images whose values tell their place: target = 1000 i + 40 y + x, and the source its negative."""

    def __init__(self) -> None:
        pass

    def packed(self, sample_id: str, names: Any) -> dict[str, Packed]:
        values = 1000 * int(sample_id[-2:]) + np.arange(SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE)
        images = {"target": values, "source": -values}
        return {name: Packed.plain(images[name]) for name in names}


def steps(config: Config = Config(), *, crop_px: int = 24, n_labelled: int | None = 8, **changes: Any) -> MatchSteps:
    dataset = SimpleNamespace(size=lambda sample_id: (SIDE, SIDE), card=SimpleNamespace(title="fake"))
    material = SimpleNamespace(images=Stored(), train=IDS, train_targets=IDS, dataset=dataset, paired=True)
    words: dict[str, Any] = {"augment": (), "seed": 0, **changes}
    return MatchSteps(material, Stub(config, 1, 1), crop_px=crop_px, n_labelled=n_labelled, **words)  # type: ignore[arg-type]


def test_one_pair_in_sixteen_is_labelled_the_same_whatever_else_is_asked() -> None:
    labelled, rest = labelled_split(IDS, None)
    assert len(labelled) == 2
    assert sorted(labelled + rest) == sorted(IDS)
    assert set(labelled) < set(labelled_split(IDS, None, 0.5)[0])
    assert labelled_split(IDS, 5, None) == labelled_split(tuple(reversed(IDS)), 5, None)
    assert labelled_split(IDS, None, 1.0) == (IDS, ())
    assert len(labelled_split(IDS, None, 0.001)[0]) == 1


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ContractError, match="above 0, up to 1"):
        labelled_split(IDS, None, share)


def test_offsets_depend_on_seed_and_purpose_alone_and_cover_every_place() -> None:
    assert keyed_offset(256, 0, "a") == keyed_offset(256, 0, "a")
    assert len({keyed_offset(256, 0, "a"), keyed_offset(256, 1, "a"), keyed_offset(256, 0, "b")}) == 3
    drawn = np.array([keyed_offset(256, 0, i) for i in range(3000)])
    assert (drawn.min(), drawn.max()) == (0, 64)
    assert abs(drawn.mean() - 32) < 1


def test_a_labelled_template_lies_where_its_label_says() -> None:
    for step in range(6):
        known = steps()[step].labelled
        for template, search, (top, left) in zip(known.template, known.search, known.offset.tolist(), strict=True):
            side = template_px(24)
            assert template.shape == (1, side, side)
            assert torch.equal(-template, search[:, top : top + side, left : left + side])


def test_an_unlabelled_pair_has_no_label_anywhere() -> None:
    rest = steps()[0].unlabelled
    assert rest._offset is None
    with pytest.raises(ContractError, match="not labelled"):
        _ = rest.offset


def test_labelled_and_unlabelled_rows_come_from_disjoint_pairs() -> None:
    made = steps()
    labelled, rest = labelled_split(IDS, 8)
    batches = [made[step] for step in range(30)]
    assert {i for batch in batches for i in batch.labelled.ids} == set(labelled)
    assert {i for batch in batches for i in batch.unlabelled.ids} == set(rest)
    assert all((len(batch.labelled), len(batch.unlabelled)) == (1, 3) for batch in batches)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, again, other = steps()[3].labelled, steps()[3].labelled, steps(seed=1)[3].labelled
    assert torch.equal(first.template, again.template)
    assert torch.equal(first.offset, again.offset)
    assert not torch.equal(first.search, other.search)


def test_a_pair_gets_another_crop_and_another_offset_at_every_visit() -> None:
    made = steps(n_labelled=1)
    seen = [made[step].labelled for step in range(8)]
    assert len({part.ids for part in seen}) == 1
    assert len({tuple(part.offset[0].tolist()) for part in seen}) > 3
    assert len({float(part.search[0, 0, 0, 0]) for part in seen}) > 3


def test_ranks_share_the_rows_of_one_batch() -> None:
    config = Config(batch_size=6, labelled_rows=2)
    whole = steps(config)[2]
    parts = [steps(config, rank=rank, ranks=2)[2] for rank in range(2)]
    assert torch.equal(torch.cat([part.labelled.template for part in parts]), whole.labelled.template)
    assert torch.equal(torch.cat([part.unlabelled.search for part in parts]), whole.unlabelled.search)


def test_a_supervised_matcher_sees_labelled_pairs_alone() -> None:
    batch = steps(Config(labelled_rows=4))[0]
    assert len(batch.labelled) == 4
    with pytest.raises(ContractError, match="no unlabelled pairs"):
        _ = batch.unlabelled


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        (Config(labelled_rows=5), {}, "5 labelled rows do not fit into a batch of 4"),
        (Config(), {"ranks": 2}, "1 labelled rows of a batch can't be shared by 2 ranks"),
        (Config(share=1.0), {}, "learns from unlabelled pairs, and none is left"),
        (Config(), {"crop_px": 20}, "a template of the training crop has 15 px"),
        (Config(), {"crop_px": 64}, "32 training images are smaller"),
    ],
)
def test_batches_that_can_not_be_say_why(config: Config, words: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        steps(config, **words)


def test_a_batch_is_cut_into_equal_parts() -> None:
    batch = steps(Config(batch_size=6, labelled_rows=2))[0]
    parts = batch.parts(2)
    assert torch.equal(torch.cat([part.labelled.offset for part in parts]), batch.labelled.offset)
    assert [len(part.unlabelled) for part in parts] == [2, 2]
    with pytest.raises(ContractError, match="2 rows of a batch can't be cut into 4 equal parts"):
        batch.parts(4)


def test_a_template_is_three_quarters_of_the_search_image() -> None:
    assert template_px(256) == 192
    with pytest.raises(ContractError, match="no multiple of 4"):
        template_px(254)


def test_rows_keep_what_belongs_together() -> None:
    known = steps(Config(labelled_rows=4))[0].labelled
    last = known.rows(3, 4)
    assert last.ids == known.ids[3:]
    assert torch.equal(last.offset, known.offset[3:])
    assert replace(last, _offset=None).to("cpu")._offset is None
