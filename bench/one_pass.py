"""The one pass over images that all metrics share: each file is decoded once, each network sees each image once.

Work is cut into chunks of one image size. With a folder to work in, a chunk that is done is a file that is whole: a pass
that was killed goes on where it was, and several processes share the chunks out, none twice.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from sarbench.bench.errors import ContractError
from sarbench.bench.images import Header, read_image
from sarbench.bench.metric import Features, ImageBatch, Metric
from sarbench.bench.references import Arrays as Known
from sarbench.bench.references import Kept
from sarbench.bench.storage import write_bytes

DECODERS = 4  # threads; decoding releases the interpreter lock
BATCHES_AHEAD = 2  # decoded or being decoded while one is scored: with the batch size, what bounds the memory
CHUNK = 64  # images, about, after which work is kept
NAMES_SHOWN = 10

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Pass:
    """What one pass computes: rows of metrics, and features of either side."""

    files: Mapping[str, Sequence[Path]]  # side -> files, of one length; only sides that something reads
    headers: Sequence[Header]  # of the images, in that order
    peak: int
    rows: Mapping[str, Metric] = field(default_factory=dict)  # whose arrays may have further axes behind the first
    features: Sequence[tuple[str, Features]] = ()  # (side, what is computed of it)
    batch_size: int = 8
    kept: Mapping[str, Kept] = field(default_factory=dict)  # by metric of `rows`: its work on the references, done before

    @property
    def length(self) -> int:
        """How many samples it goes over."""
        return len(self.headers)

    def names(self) -> list[str]:
        """The names of the arrays that it gives."""
        return [*self.rows, *(feature_key(side, features) for side, features in self.features)]


def feature_key(side: str, features: Features) -> str:
    """The name of the array that holds one side's features."""
    return f"{features.name} of {side}"


def run(
    asked: Pass,
    work: Path | None = None,
    *,
    rank: int = 0,
    ranks: int = 1,
    barrier: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda n: None,
) -> Arrays:
    """Go over all images; returns each array of `Pass.names`, one row a sample, in the order of the files.

    `work`: where chunks are kept (needed by several ranks); the caller names it after everything that the result depends on.
    """
    if ranks > 1 and work is None:
        raise ContractError("several processes score together only through a folder; give --cache FOLDER")
    chunks = _chunks(asked)
    done: dict[int, Arrays] = {}
    for number, batches in enumerate(chunks):
        size = sum(map(len, batches))
        if work is not None and (found := _kept(work / f"{number:06d}.npz", asked, size)) is not None:
            done[number] = found
            advance(size)
        elif number % ranks == rank:
            done[number] = _chunk(asked, batches, advance)
            if work is not None:
                write_bytes(work / f"{number:06d}.npz", _packed(done[number]))
    barrier()
    for number, batches in enumerate(chunks):
        if number not in done and work is not None:
            found = _kept(work / f"{number:06d}.npz", asked, sum(map(len, batches)))
            if found is None:
                raise ContractError(f"{work}: another process did not finish its share; run the same command again")
            done[number] = found
    whole: Arrays = {}
    for number, batches in enumerate(chunks):
        places = [i for batch in batches for i in batch]
        for name, values in done[number].items():
            if name not in whole:
                whole[name] = np.empty((asked.length, *values.shape[1:]), values.dtype)
            whole[name][places] = values
    return whole


def _chunks(asked: Pass) -> list[list[list[int]]]:
    """Chunks of batches of row numbers; the images of a batch have one size."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for i, header in enumerate(asked.headers):
        sizes.setdefault((header.height, header.width), []).append(i)
    chunks = []
    for rows in sizes.values():
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            chunks.append([part[i : i + asked.batch_size] for i in range(0, len(part), asked.batch_size)])
    return chunks


def _chunk(asked: Pass, batches: Sequence[list[int]], advance: Callable[[int], None]) -> Arrays:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in asked.names()}
    for rows, images, known in _decoded(asked, batches):
        shared: dict[object, np.ndarray] = {}
        try:
            for name, metric in asked.rows.items():
                if name in known:
                    parts[name].append(asked.kept[name].rows(rows, known[name], images["translated"], images["reference"]))
                    continue
                assert metric.rows is not None
                sides = [images[side] for side in metric.reads]
                for compute in metric.shared.values():
                    if (compute, metric.reads) not in shared:
                        shared[compute, metric.reads] = compute(*sides)
                given = {keyword: shared[compute, metric.reads] for keyword, compute in metric.shared.items()}
                parts[name].append(metric.rows(*sides, **given))
            for side, features in asked.features:
                parts[feature_key(side, features)].append(features.of(images[side]))
        except ContractError as error:
            first = next(iter(asked.files.values()))
            raise ContractError(f"{some([str(first[i]) for i in rows])}: {error}") from error
        advance(len(rows))
    return {name: np.concatenate(values) for name, values in parts.items()}


Batch = tuple[list[int], dict[str, ImageBatch], dict[str, list[Known | None]]]


def _decoded(asked: Pass, batches: Sequence[list[int]]) -> Iterator[Batch]:
    """The batches, and what is kept of their references, read in threads while the caller works on an earlier one."""
    pool = ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1))

    def submit(rows: list[int]) -> Callable[[], Batch]:
        running = {side: [pool.submit(read_image, paths[i]) for i in rows] for side, paths in asked.files.items()}
        known = {name: kept.reader(rows) for name, kept in asked.kept.items()}

        def batch() -> Batch:
            images = {side: ImageBatch(np.stack([f.result() for f in parts]), asked.peak) for side, parts in running.items()}
            return rows, images, {name: read() for name, read in known.items()}

        return batch

    waiting = iter(batches)
    running = deque(submit(rows) for rows in islice(waiting, BATCHES_AHEAD))
    try:
        while running:
            batch = running.popleft()
            running.extend(submit(later) for later in islice(waiting, 1))
            yield batch()
    finally:
        pool.shutdown(cancel_futures=True)


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays.values())
    return buffer.getvalue()


def _kept(path: Path, asked: Pass, size: int) -> Arrays | None:
    """A chunk that an earlier process finished; None where there is none, or it is not whole."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = dict(zip(asked.names(), (found[f"arr_{i}"] for i in range(len(found.files))), strict=True))
    except FileNotFoundError:
        return None
    except Exception:  # a file of another program, or a disk that lost it: computed anew
        return None
    return arrays if all(len(array) == size for array in arrays.values()) else None


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
