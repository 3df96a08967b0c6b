"""The options of `pytest bench`, what they select, and the board at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, Request, request
from sarbench.bench.pipeline import Bench, board_text, describe, honeypots_of

SPEED = "test_speed.py"
REQUEST = pytest.StashKey[Request]()
BENCH = pytest.StashKey[Bench]()
FAILED = pytest.StashKey[set[object]]()  # the parameters of tests whose run broke its contract


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the same options as `sarbench run`."""
    group = parser.getgroup("sarbench")
    for flag, words in OPTIONS:
        group.addoption(flag, **words)


def _asked(config: pytest.Config) -> Request:
    if REQUEST not in config.stash:
        names = (flag.removeprefix("--").replace("-", "_") for flag, _ in OPTIONS)
        try:
            config.stash[REQUEST] = request({name: config.getoption(name) for name in names})
        except ContractError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[REQUEST]


def _speed_alone(config: pytest.Config) -> bool:
    """Was the file of the speed benchmarks named, and nothing else?"""
    return bool(config.args) and all(arg.partition("::")[0].endswith(SPEED) for arg in config.args)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the speed benchmarks out, unless they are asked for by name: `pytest bench/test_speed.py`."""
    return True if collection_path.name == SPEED and not _speed_alone(config) else None


def pytest_collection(session: pytest.Session) -> None:
    """Refuse a bad request before any file is collected: an error while tests are generated is shown with its traceback."""
    if not _speed_alone(session.config):
        _asked(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each method, track and seed."""
    wanted = set(metafunc.fixturenames)
    if not wanted & {"honeypot", "run"}:
        return
    asked = _asked(metafunc.config)
    if "honeypot" in wanted:
        names = honeypots_of(asked.track)
        metafunc.parametrize("honeypot", names, ids=[f"{name}-{asked.track.slug}" for name in names])
    else:
        runs = [(name, seed) for name in asked.methods for seed in asked.seeds]
        metafunc.parametrize("run", runs, ids=[f"{name}-{asked.track.slug}-seed{seed}" for name, seed in runs])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, None, None]:
    """Show a broken contract as its message alone; the other tests of a run that failed are skipped, not tried again."""
    failed, run = item.config.stash.setdefault(FAILED, set()), frozenset(item.callspec.params.items())
    if run in failed:
        pytest.skip("this run failed above")
    try:
        yield
    except ContractError as error:
        failed.add(run)
        if "honeypot" in item.callspec.params:  # what can't be scored here can't be scored after hours of training either
            item.session.shouldfail = "the test images can't be scored"
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """The track that was asked for, its data verified."""
    config = request.config
    asked = _asked(config)
    made = Bench(
        asked.track, asked.hardware, asked.runs, asked.leaderboards, asked.settings, say=lambda line: print(line, flush=True)
    )
    with _terminal(config):
        print(describe(made), flush=True)
        try:
            made.refuse_missing_assets(asked.methods, asked.seeds)
            _ = made.material
        except ContractError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    config.stash[BENCH] = made
    return made


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """A context in which progress bars reach the terminal."""
    return lambda: _terminal(request.config)


@contextmanager
def _terminal(config: pytest.Config) -> Iterator[None]:
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(flush=True)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the board that this session has added to."""
    if BENCH in config.stash and config.stash[BENCH].has_records():
        terminalreporter.section("board")
        terminalreporter.write_line(board_text(config.stash[BENCH]))
