"""The contracts' own arithmetic: keyed randomness, batches, players."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from sarbench.bench.dataset import Georeference
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Pairs, Player, adam, key, normal, uniform


def pairs(n: int) -> Pairs:
    rows = torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(n, 1, 2, 2)
    ids = tuple(map(str, range(n)))
    return Pairs(rows, -rows, torch.arange(n), ids, ids, {"nir": rows})


def test_a_key_depends_on_every_part_and_on_no_process() -> None:
    parts = [(0, "a"), (0, "b"), (1, "a"), ("0", "a"), (0, "a", "")]
    assert len({key(*p) for p in parts}) == len(parts)
    code = "from sarbench.bench.interface import key; print(key(0, 'a'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == key(0, "a")


def test_keyed_noise_is_that_of_the_sample_whatever_its_batch() -> None:
    together = normal([5, 6, 7], (3, 4), "noise")
    assert torch.equal(together[1], normal([6], (3, 4), "noise")[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[1], normal([6], (3, 4), "other purpose")[0])


def test_keyed_noise_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    normal([1], (8,), "noise")
    assert torch.equal(torch.rand(2), expected)


def test_keyed_numbers_have_their_distribution() -> None:
    gauss, flat = normal(range(200), (100,), "x"), uniform(range(200), (100,), "x")
    assert float(gauss.mean()) == pytest.approx(0, abs=0.03)
    assert float(gauss.std()) == pytest.approx(1, abs=0.03)
    assert float(flat.min()) >= 0
    assert float(flat.max()) < 1
    assert float(flat.mean()) == pytest.approx(0.5, abs=0.01)


def test_a_batch_in_parts_is_the_batch() -> None:
    parts = Batch(pairs(6), None).parts(3)
    assert [part.paired.source_ids for part in parts] == [("0", "1"), ("2", "3"), ("4", "5")]
    assert torch.equal(torch.cat([part.paired.aux["nir"] for part in parts]), pairs(6).source)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ContractError, match="a batch of 6 can't be cut into 4 equal parts"):
        Batch(pairs(6), None).parts(4)


def test_a_player_owns_each_parameter_once_and_no_frozen_one() -> None:
    shared, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    player = Player([nn.Sequential(shared), nn.Sequential(shared, frozen)], adam(1e-3))
    assert [id(p) for p in player.parameters()] == [id(p) for p in shared.parameters()]


def test_a_window_of_a_georeferenced_image_lies_where_it_lies() -> None:
    moved = Georeference("EPSG:32611", (10.0, 0.0, 500.0, 0.0, -10.0, 900.0)).moved(top=3, left=2)
    assert moved.transform == (10.0, 0.0, 520.0, 0.0, -10.0, 870.0)
