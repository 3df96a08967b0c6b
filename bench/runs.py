"""Everything that a request asks for: floors, honeypots, ceilings and methods, one after the other, then the board."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import replace

from sarbench.bench import board_page, ceiling, judging, leaderboard, ranks, registry
from sarbench.bench.cost import device_name
from sarbench.bench.errors import ContractError
from sarbench.bench.honeypots import HONEYPOTS
from sarbench.bench.options import Request, refuse_uneven_batch
from sarbench.bench.pipeline import Bench
from sarbench.bench.records import Store
from sarbench.bench.score import why_unmeasured
from sarbench.bench.tracks import Track, not_yet


def honeypots_of(track: Track) -> list[str]:
    """The honeypots of a track: none where no source has a target that they could be made from, or nothing is translated."""
    return list(HONEYPOTS) if track.protocol.paired and track.protocol.task != "matching" else []


def ceilings_of(track: Track) -> list[str]:
    """The ceiling of a track, if it has one: it is made from targets, as the honeypots are."""
    return [ceiling.NAME] if track.protocol.paired and track.protocol.task != "matching" else []


def run_all(request: Request) -> int:
    """Everything that a request asks for, then the board; 1 if a method failed, the others still run.

    With several ranks nothing runs after a failure: the rank that failed would no longer be in step with the rest.
    """
    device = ranks.start(request.hardware.device)
    first = ranks.rank() == 0

    def say(line: str) -> None:
        if first:
            print(line, file=sys.stderr, flush=True)

    bench = bench_of(replace(request, hardware=replace(request.hardware, device=device)), say=say)
    say(describe(bench))
    for name in request.methods:
        refuse_uneven_batch(name, bench.config(name), ranks.count() * request.hardware.accumulate)
    bench.refuse_missing_assets(request.methods, request.seeds)
    failed = []
    for name in honeypots_of(request.track):
        bench.run_honeypot(name)
    for name in ceilings_of(request.track):
        bench.run_ceiling(name)
    for name in request.methods:
        for seed in request.seeds:
            try:
                bench.run(name, seed)
            except Exception as error:
                if ranks.count() > 1:
                    raise
                if not isinstance(error, ContractError):
                    traceback.print_exc()
                failed.append(f"{name}, seed {seed}")
                say(f"{name}: {error if isinstance(error, ContractError) else repr(error)}")
    if first:
        leaderboard.write_pages(request.leaderboards)
        print(board_text(bench))
    if failed:
        say(f"{len(failed)} of {len(request.methods) * len(request.seeds)} runs failed and left no record: {'; '.join(failed)}")
    return 1 if failed else 0


def bench_of(request: Request, say: Callable[[str], None] = lambda line: None) -> Bench:
    """The bench for a request's task."""
    from sarbench.bench.match_pipeline import MatchBench

    kind = MatchBench if request.track.protocol.task == "matching" else Bench
    return kind(request.track, request.hardware, request.runs, request.leaderboards, request.settings, say=say)


def describe(bench: Bench) -> str:
    """One line on what is run, and what it leaves unmeasured."""
    track, hardware = bench.track, bench.hardware
    line = (
        f"{track.slug}: preset {track.preset}, {track.size.budget_images} training images a run, "
        f"on {device_name(hardware)} in {hardware.precision}"
    )
    return "\n".join([line, *unmeasured(track)])


def unmeasured(track: Track) -> list[str]:
    """What a run on this track leaves unmeasured, and how to get it."""
    judged = () if track.protocol.task == "matching" else track.metrics  # a matcher's scores need no weights
    lines = [reason for name in judged if (reason := why_unmeasured(registry.load_metric(name)))]
    lines += judging.missing_weights(track)
    lacking = not_yet(track.protocol)
    return lines + [f"not measured, since this version has none of them: {', '.join(lacking)}"] * bool(lacking)


def board_text(bench: Bench) -> str:
    """The track's board, for a terminal."""
    page = bench.leaderboards / f"{bench.track.slug}.md"
    return f"{board_page.compact(Store(bench.leaderboards).read(bench.track.slug))}\n\nboard: {page}"
