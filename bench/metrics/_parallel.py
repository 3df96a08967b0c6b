"""Work on the images of a batch in several threads: numpy and OpenCV release the interpreter lock while they compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
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
