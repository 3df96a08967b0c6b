"""The one pass over images that all metrics share: each file is decoded once, each network sees each image once.

On a CPU, as many batches are under way as torch has threads, each in one thread: faster than one batch in many threads, which
wait for each other after every layer, and what an image gets does not depend on the number of cores.
Work is cut into chunks of one image size. With a folder to work in, a chunk that is done is a file that is whole: a pass
that was killed goes on where it was, and several processes share the chunks out, none twice.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from sarbench.bench.errors import ContractError
from sarbench.bench.images import Header, read_image
from sarbench.bench.metric import Features, ImageBatch, Metric
from sarbench.bench.references import Arrays as Known
from sarbench.bench.references import Kept
from sarbench.bench.storage import write_bytes

DECODERS = 4  # threads; decoding releases the interpreter lock
BATCHES_AHEAD = 2  # decoded or being decoded beside those under way: with the batch size, what bounds the memory
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
    if work is not None:
        kept = {number: _kept(_file(work, number), asked, sum(map(len, batches))) for number, batches in enumerate(chunks)}
        done = {number: arrays for number, arrays in kept.items() if arrays is not None}
        advance(sum(len(batch) for number in done for batch in chunks[number]))
    mine = [number for number in range(len(chunks)) if number not in done and number % ranks == rank]
    with closing(_computed(asked, [batch for number in mine for batch in chunks[number]])) as computed:
        for number in mine:
            parts = []
            for batch, part in zip(chunks[number], computed, strict=False):
                parts.append(part)
                advance(len(batch))
            done[number] = {name: np.concatenate([part[name] for part in parts]) for name in asked.names()}
            if work is not None:
                write_bytes(_file(work, number), _packed(done[number]))
    barrier()
    for number, batches in enumerate(chunks):
        if number not in done and work is not None:
            found = _kept(_file(work, number), asked, sum(map(len, batches)))
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


def _computed(asked: Pass, batches: Sequence[list[int]]) -> Generator[Arrays]:
    """The arrays of each batch, in order; files are read in threads of their own, ahead of the work on them."""
    workers = _workers(asked)
    readers = ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1))
    pool = ThreadPoolExecutor(workers)

    def submit(rows: list[int]) -> Future[Arrays]:
        reading = {side: [readers.submit(read_image, paths[i]) for i in rows] for side, paths in asked.files.items()}
        known = {name: kept.reader(rows) for name, kept in asked.kept.items()}

        def work() -> Arrays:
            images = {side: ImageBatch(np.stack([f.result() for f in parts]), asked.peak) for side, parts in reading.items()}
            reading.clear()  # what was decoded goes when the batch is done
            return _batch(asked, rows, images, {name: read() for name, read in known.items()})

        return pool.submit(work)

    waiting = iter(batches)
    with _threads_shared_by(workers):
        running = deque(submit(rows) for rows in islice(waiting, workers + BATCHES_AHEAD))
        try:
            while running:
                arrays = running.popleft().result()
                running.extend(submit(later) for later in islice(waiting, 1))
                yield arrays
        finally:
            pool.shutdown(cancel_futures=True)
            readers.shutdown(cancel_futures=True)


def _batch(asked: Pass, rows: list[int], images: Mapping[str, ImageBatch], known: Mapping[str, list[Known | None]]) -> Arrays:
    """Everything that is asked of the images of a batch."""
    arrays: Arrays = {}
    shared: dict[object, np.ndarray] = {}
    try:
        for name, metric in asked.rows.items():
            if name in known:
                arrays[name] = asked.kept[name].rows(rows, known[name], images["translated"], images["reference"])
                continue
            assert metric.rows is not None
            sides = [images[side] for side in metric.reads]
            for compute in metric.shared.values():
                if (compute, metric.reads) not in shared:
                    shared[compute, metric.reads] = compute(*sides)
            given = {keyword: shared[compute, metric.reads] for keyword, compute in metric.shared.items()}
            arrays[name] = metric.rows(*sides, **given)
        for side, features in asked.features:
            arrays[feature_key(side, features)] = features.of(images[side])
    except ContractError as error:
        first = next(iter(asked.files.values()))
        raise ContractError(f"{some([str(first[i]) for i in rows])}: {error}") from error
    return arrays


def _workers(asked: Pass) -> int:
    """How many batches are computed side by side: one where a GPU does the work, or no network is asked."""
    if not asked.features and not any(metric.assets for metric in asked.rows.values()):
        return 1
    import torch

    return 1 if torch.cuda.is_available() else torch.get_num_threads()


@contextmanager
def _threads_shared_by(workers: int) -> Iterator[None]:
    """Several workers take one thread each of what torch and OpenCV would start for one."""
    if workers == 1:
        yield
        return
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _file(work: Path, number: int) -> Path:
    return work / f"{number:06d}.npz"


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
