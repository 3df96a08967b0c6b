"""Data parallelism: the processes that `torchrun` started, or the one process that is all there is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

PATIENCE = timedelta(days=7)  # ranks wait for one that scores, or trains a judge; of one that dies, torchrun ends them all

_alone = False  # is this process inside `alone`?


def start(device: str) -> str:
    """Join the process group if `torchrun` started this process; returns this rank's device."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    return device


@contextmanager
def alone() -> Iterator[None]:
    """In here this process is all there is: rank 0 of 1, which waits for nobody. For work that ranks share out whole."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def _shared() -> bool:
    return dist.is_initialized() and not _alone


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if _shared() else 0


def count() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if _shared() else 1


def barrier() -> None:
    """Wait for all ranks."""
    if _shared():
        dist.barrier()


def gather(value: Any) -> list[Any]:
    """Every rank's value, in rank order."""
    if not _shared():
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def agreed(value: Any) -> Any:
    """The first rank's value on every rank: what one rank reads from disk, another may already find changed."""
    return gather(value)[0]


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Average the gradients of a turn over all ranks in one flattened all-reduce."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if count() == 1 or not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= count()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
