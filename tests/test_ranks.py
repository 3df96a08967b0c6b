"""Two ranks of half a batch train as one rank of the whole: shown in double precision, where rounding can't hide a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sarbench.bench import ranks
from sarbench.bench.checks import Case
from sarbench.bench.interface import Batch, Pairs
from sarbench.bench.train import Game, Hardware

STEPS = 3


def doubled(batch: Batch) -> Batch:
    def cast(p: Pairs | None) -> Pairs | None:
        return p and Pairs(p.source.double(), p.target.double(), p.seeds, p.source_ids, p.target_ids)

    return Batch(cast(batch._paired), cast(batch._unpaired))


def trained(name: str) -> dict[str, torch.Tensor]:
    case = Case(name)
    method = case.build().double()
    for module in method.modules():  # generators give float32, whatever the precision inside
        module.register_forward_pre_hook(lambda module, args: tuple(a.double() if a.is_floating_point() else a for a in args))
    game = Game(method, Hardware())
    for step in range(STEPS):
        whole = doubled(case.batch(4, seed=step))
        game.step(whole.parts(ranks.count())[ranks.rank()], step, step / STEPS, 0)
    return {n: value for n, value in method.state_dict().items() if not n.startswith("pool")}


def work(rank: int, name: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    state = trained(name)
    torch.save(state, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_two_ranks_of_two_are_one_rank_of_four(name: str, tmp_path: Path) -> None:
    mp.spawn(work, (name, str(tmp_path)), nprocs=2)
    alone = trained(name)
    for rank in range(2):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for parameter, value in alone.items():
            torch.testing.assert_close(shared[parameter], value, atol=1e-6, rtol=0, msg=lambda m, p=parameter: f"{p}: {m}")


def test_who_works_alone_is_the_only_rank_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    for collective in ("barrier", "all_gather_object", "all_reduce"):
        monkeypatch.setattr(dist, collective, lambda *given: pytest.fail("waited"))
    with ranks.alone():
        assert (ranks.rank(), ranks.count(), ranks.gather("a")) == (0, 1, ["a"])
        ranks.barrier()
        with ranks.alone():
            pass
        assert ranks.count() == 1
    assert (ranks.rank(), ranks.count()) == (3, 4)
