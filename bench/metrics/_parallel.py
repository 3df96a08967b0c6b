"""Work in several threads: numpy, OpenCV and torch release the interpreter lock while they compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeVar

import cv2

Task = TypeVar("Task")
Scratch = TypeVar("Scratch")
Result = TypeVar("Result")


def each(work: Callable[[Task, Scratch], Result], tasks: Sequence[Task], scratch: Callable[[], Scratch]) -> list[Result]:
    """`work(task, scratch)` for every task; the results in the order of the tasks, the same for any number of threads.

    `scratch` makes what one thread may overwrite, once a thread: fresh memory for every task costs more than the arithmetic.
    There are as many threads as OpenCV may use (`cv2.setNumThreads`), and none where one would do all the work.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for i in range(len(tasks)):
        waiting.put(i)
    results: dict[int, Result] = {}

    def run() -> None:
        own = scratch()
        while True:
            try:
                i = waiting.get_nowait()
            except Empty:
                return
            results[i] = work(tasks[i], own)

    threads = min(cv2.getNumThreads(), len(tasks))
    if threads < 2:
        run()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(run) for _ in range(threads)]:
                future.result()
    return [results[i] for i in range(len(tasks))]


def loaded_once(load: Callable[..., Result]) -> Callable[..., Result]:
    """`functools.cache` for what takes long and much memory: threads that ask at the same time get the same object."""
    lock, cached = Lock(), cache(load)

    @wraps(load)
    def locked(*args: Hashable) -> Result:
        with lock:
            return cached(*args)

    locked.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
    return locked
