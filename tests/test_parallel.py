import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest

from sarbench.bench.metrics._parallel import each, loaded_once


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = cv2.getNumThreads()
    cv2.setNumThreads(request.param)
    yield request.param
    cv2.setNumThreads(before)


def test_results_come_in_the_order_of_the_tasks(threads):
    def work(task, _):
        time.sleep(0.002 * (5 - task))  # the first one ends last
        return task * 10

    assert each(work, range(5), lambda: None) == [0, 10, 20, 30, 40]


def test_a_thread_overwrites_its_own_memory_only(threads):
    def work(task, memory):
        memory[0] = task
        time.sleep(0.002)
        return memory[0]

    assert each(work, range(12), lambda: [None]) == list(range(12))


def test_there_are_never_more_memories_than_threads_or_tasks(threads):
    made = []
    each(lambda task, memory: None, range(3), lambda: made.append("memory"))
    assert 1 <= len(made) <= min(threads, 3)


def test_one_thread_works_where_the_caller_is(threads):
    here = threading.get_ident()
    places = each(lambda task, _: threading.get_ident(), range(1 if threads > 1 else 4), lambda: None)
    assert set(places) == {here}


def test_an_error_in_a_thread_is_raised(threads):
    def work(task, _):
        raise ValueError(f"task {task}")

    with pytest.raises(ValueError, match="task"):
        each(work, range(4), lambda: None)


def test_no_task_has_no_result(threads):
    assert each(lambda task, _: task, [], lambda: None) == []


def test_threads_that_ask_at_once_load_once():
    loads = []

    @loaded_once
    def load(name):
        loads.append(name)
        time.sleep(0.02)
        return object()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, "aaaab"))
    assert sorted(loads) == ["a", "b"]
    assert len(set(map(id, found))) == 2
    load.cache_clear()
    assert load("a") is not found[0]
