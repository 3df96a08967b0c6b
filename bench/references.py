"""What networks say of reference images, kept on disk by what the image files hold.

Features of a whole set lie in one file, named after the content of all. A metric's work on each reference lies in one file
an image, named after its content and the metric's signature: a set that grows computes only what is new, and sets that share
images share the work. Several processes may write the same file, since each takes its place whole.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import Features, ImageBatch, Metric
from sarbench.bench.storage import file_digest, naming, value_digest, write_bytes

MOST_OF_FREE_SPACE = 0.25  # a set of references takes no more of what the disk has left; a larger one is not kept
WRITING_AHEAD = 16  # images whose files are being written

Arrays = Mapping[str, np.ndarray]


def contents(files: Sequence[Path]) -> list[str]:
    """The sha256 of each file."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(file_digest, files))


def kept_features(cache: Path, features: Features, digests: Sequence[str]) -> Float[np.ndarray, "n D"] | None:
    """The features of references of this content, mapped from their file; None where they are not there, or not whole."""
    try:
        found = np.load(_features_file(cache, features, digests), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (len(digests), features.width) else None


def keep_features(cache: Path, features: Features, digests: Sequence[str], values: Float[np.ndarray, "n D"]) -> None:
    """Keep the features of references of this content."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_bytes(_features_file(cache, features, digests), buffer.getvalue())


def _features_file(cache: Path, features: Features, digests: Sequence[str]) -> Path:
    return cache / "features" / f"{value_digest([features.signature, list(digests)])}.npy"


class Kept:
    """The prepared references of one metric: `rows` scores against them, and prepares what is not there."""

    def __init__(self, metric: Metric, folder: Path, digests: Sequence[str]) -> None:
        """`digests`: the content of each reference's file, in the order of the samples."""
        assert metric.prepared is not None
        self.prepared, self.digests = metric.prepared, digests
        self.folder = folder / value_digest([metric.signature])[:16]
        self.pool = ThreadPoolExecutor(2)  # reads and writes beside the network's work
        self.lock = Lock()  # of what follows: batches are scored in several threads
        self.writing: list[Future[None]] = []
        self.fits: bool | None = None  # on the disk; unknown before the first reference is prepared

    def reader(self, places: Sequence[int]) -> Callable[[], list[Arrays | None]]:
        """Begin to read what is kept of some samples; the call gives it, None where there is nothing whole."""
        running = [self.pool.submit(self._read, place) for place in places]
        return lambda: [future.result() for future in running]

    def rows(
        self, places: Sequence[int], known: Sequence[Arrays | None], translated: ImageBatch, reference: ImageBatch
    ) -> Float[np.ndarray, " B"]:
        """The metric of some samples, given what `reader` found."""
        found = [arrays for arrays in known if arrays is not None]
        if len(found) == len(known):
            return self.prepared.rows(translated, {name: np.stack([arrays[name] for arrays in found]) for name in found[0]})
        stacked = dict(self.prepared.prepare(reference))
        values = self.prepared.rows(translated, stacked)
        for i, place in enumerate(places):
            if known[i] is None:
                self._write(place, {name: array[i] for name, array in stacked.items()})
        return values

    def __enter__(self) -> Kept:
        """It writes in threads until it is left."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait until everything is written. A full disk loses nothing but what would have been kept."""
        for future in self.writing:
            with suppress(ContractError):
                future.result()
        self.pool.shutdown(cancel_futures=True)

    def _path(self, place: int) -> Path:
        name = self.digests[place]
        return self.folder / name[:2] / f"{name}.safetensors"

    def _read(self, place: int) -> Arrays | None:
        try:
            return load(self._path(place).read_bytes())
        except (OSError, SafetensorError):  # not there, or not whole
            return None

    def _write(self, place: int, arrays: Arrays) -> None:
        with self.lock:
            self._start_to_write(place, arrays)

    def _start_to_write(self, place: int, arrays: Arrays) -> None:
        if self.fits is None:
            size = len(self.digests) * sum(array.nbytes for array in arrays.values())
            with naming(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self.fits = size < MOST_OF_FREE_SPACE * shutil.disk_usage(self.folder).free
        if not self.fits:
            return
        while len(self.writing) >= WRITING_AHEAD:
            with suppress(ContractError):
                self.writing.pop(0).result()
        self.writing.append(self.pool.submit(lambda: write_bytes(self._path(place), save(dict(arrays)))))
