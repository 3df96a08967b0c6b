"""The options of `pytest bench`, what they select, and the board at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from sarbench.bench.against import Baseline, baseline
from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, Request, request
from sarbench.bench.outcomes import Outcome
from sarbench.bench.pipeline import Bench
from sarbench.bench.runs import bench_of, board_text, ceilings_of, describe, honeypots_of

SPEED = "test_speed_"
REQUEST = pytest.StashKey[Request]()
BENCH = pytest.StashKey[Bench]()
BASELINE = pytest.StashKey[Baseline]()
FAILED = pytest.StashKey[set[object]]()  # the parameters of tests whose run broke its contract


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the same options as `sarbench run`."""
    group = parser.getgroup("sarbench")
    for flag, words in OPTIONS:
        group.addoption(flag, **words)
    group.addoption(
        "--against", default=None, metavar="FOLDER", help="older records: say whether scores have drifted from them"
    )


def _asked(config: pytest.Config) -> Request:
    if REQUEST not in config.stash:
        names = (flag.removeprefix("--").replace("-", "_") for flag, _ in OPTIONS)
        try:
            asked = request({name: config.getoption(name) for name in names})
        except ContractError as error:
            raise pytest.UsageError(str(error)) from error
        if config.getoption("against"):
            try:
                config.stash[BASELINE] = made = baseline(Path(config.getoption("against")), asked)
            except ContractError as error:  # before hours of training
                pytest.exit(f"{Outcome.NOT_MEASURED.word}: {error}", returncode=int(Outcome.NOT_MEASURED))
            asked = replace(asked, leaderboards=made.new_records)
        config.stash[REQUEST] = asked
    return config.stash[REQUEST]


def _speed_alone(config: pytest.Config) -> bool:
    """Were files of speed benchmarks named, and nothing else?"""
    return bool(config.args) and all(Path(arg.partition("::")[0]).name.startswith(SPEED) for arg in config.args)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the speed benchmarks out, unless they are asked for by name: `pytest bench/test_speed_data.py`."""
    return True if collection_path.name.startswith(SPEED) and not _speed_alone(config) else None


def pytest_collection(session: pytest.Session) -> None:
    """Refuse a bad request before any file is collected: an error while tests are generated is shown with its traceback."""
    if not _speed_alone(session.config):
        _asked(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each method, track and seed."""
    wanted = set(metafunc.fixturenames)
    if not wanted & {"honeypot", "ceiling", "run"}:
        return
    asked = _asked(metafunc.config)
    for made, of in (("honeypot", honeypots_of), ("ceiling", ceilings_of)):
        if made in wanted:
            metafunc.parametrize(made, of(asked.track), ids=[f"{name}-{asked.track.slug}" for name in of(asked.track)])
    if "run" in wanted:
        runs = [(name, seed) for name in asked.methods for seed in asked.seeds]
        metafunc.parametrize("run", runs, ids=[f"{name}-{asked.track.slug}-seed{seed}" for name, seed in runs])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, None, None]:
    """Show a broken contract as its message alone; the other tests of a run that failed are skipped, not tried again."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    failed, run = item.config.stash.setdefault(FAILED, set()), frozenset(params.items())
    if run in failed:
        pytest.skip("this run failed above")
    try:
        yield
    except ContractError as error:
        failed.add(run)
        if "honeypot" in params:  # what can't be scored here can't be scored after hours of training either
            item.session.shouldfail = "the test images can't be scored"
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """The track that was asked for, its data verified."""
    config = request.config
    asked = _asked(config)
    made = bench_of(asked, say=lambda line: print(line, flush=True))
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


@pytest.fixture
def race(benchmark: Any) -> Callable[..., None]:
    """Time a call of ours and the same work of others, in turn, so that what else the machine does slows all alike."""

    def run(
        own: Callable[[], object],
        peers: Mapping[str, Callable[[], object]],
        images: int = 0,
        rounds: int = 5,
        repeats: int = 1,  # of each in a round: what takes less than a millisecond is not timed once
    ) -> None:
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}

        def others() -> None:
            for peer, call in peers.items():
                started = perf_counter()
                for _ in range(repeats):
                    call()
                seconds[peer].append(perf_counter() - started)

        if rounds > 1:  # memory and caches are warm
            own()
        if rounds > 3:
            others()
            for times in seconds.values():
                times.clear()
        benchmark.pedantic(lambda: [own() for _ in range(repeats)], setup=others, rounds=rounds)
        if benchmark.stats is None:  # under --benchmark-disable
            return
        own_seconds = benchmark.stats.stats.data
        benchmark.extra_info["images"] = images
        benchmark.extra_info["peers"] = {
            peer: {
                "version": "" if peer == "floor" else version(peer),
                "ratios": [theirs / ours for theirs, ours in zip(times, own_seconds, strict=True)],
            }
            for peer, times in seconds.items()
        }

    return run


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Keep what a ratio depends on, and nothing that tells whose machine it is."""
    import torch

    cpu = {"brand_raw": machine_info.get("cpu", {}).get("brand_raw", "")}
    told = {"cpu": cpu, "machine": machine_info["machine"], "python_version": machine_info["python_version"]}
    machine_info.clear()
    machine_info.update(told, threads=torch.get_num_threads(), torch=torch.__version__)


@contextmanager
def _terminal(config: pytest.Config) -> Iterator[None]:
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(flush=True)
        yield


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With --against, the outcome of the comparison is the exit code; tests that failed stay failed."""
    if BASELINE in session.config.stash and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        outcome = session.config.stash[BASELINE].conclude()
        session.exitstatus = int(outcome) or exitstatus


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the board that this session has added to, and what became of the scores since the baseline."""
    if BASELINE in config.stash:
        terminalreporter.section(f"against {config.stash[BASELINE].folder}")
        terminalreporter.write_line(config.stash[BASELINE].text)
    if BENCH in config.stash and config.stash[BENCH].has_records():
        terminalreporter.section("board")
        terminalreporter.write_line(board_text(config.stash[BENCH]))
