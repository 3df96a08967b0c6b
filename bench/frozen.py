"""What the code of every metric says of a corpus that never changes, kept in `certification/frozen.json`: it may not move.

Three kinds of values: of each metric on each case of the certification's corpus; of the scorer, on files, as a run is scored;
and of the networks behind metrics, under official weights where they are at hand. They agree to 1e-6, or the code has drifted.
Whoever changes a metric on purpose gives it a new signature, which no old score is compared with, and freezes it anew.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sarbench.bench import registry
from sarbench.bench.certification import corpus
from sarbench.bench.errors import ContractError
from sarbench.bench.exactly import EXACT, deviation
from sarbench.bench.outcomes import Finding, Outcome, Verdict
from sarbench.bench.storage import read_json, write_json

if TYPE_CHECKING:
    from sarbench.bench.metric import Metric

FILE = Path(__file__).parent / "certification" / "frozen.json"
SCORED = "scored from files"
REFUSED = "refused"  # a metric raises ContractError on that case
FROM_FILES = ("noisy", "shifted", "dark", "saturated", "two flat halves")  # cases that are scored as files, too
KEPT_FEATURES = 16  # of what a network says of an image: every 128th of Inception's 2048
Values = dict[str, Any]  # case -> a list of numbers, as text; or REFUSED


def names() -> list[str]:
    """Every metric, and every other convention of it."""
    plain = registry.names("metrics")
    return [name for metric in plain for name in (metric, *(f"{metric}@{other}" for other in registry.conventions(metric)))]


def values_of(name: str) -> Values:
    """What a metric gives on every case, to the last digit, as text; a network is asked where its weights are at hand."""
    metric, found = registry.load_metric(name), Values()
    if metric.statistic is not None:
        for case, sets in _sets().items():
            if not name.startswith("kid@") or case in corpus.FOR_SUBSETS:
                found[case] = _told(metric.statistic, sets.translated, sets.reference)
    if metric.assets or metric.features:
        small = {} if _missing(metric) else dict(list(corpus.small_images().items())[:2])
        return found | {f"network: {case}": _told(_of_network, metric, pair) for case, pair in small.items()}
    for case, pair in corpus.images().items():
        found[case] = _told(_rows, metric, pair)
    if "@" not in name:
        found[SCORED] = _told(lambda: _scored()[name])
    return found


def _rows(metric: Metric, pair: corpus.Pair) -> np.ndarray:
    assert metric.rows is not None
    return metric.rows(*pair.of(metric.reads))


def _of_network(metric: Metric, pair: corpus.Pair) -> np.ndarray:
    """A metric's value; of a network whose features make a set, some of them."""
    if metric.features is None:
        return _rows(metric, pair)
    return metric.features.of(pair.translated)[0][:: metric.features.width // KEPT_FEATURES]


def _missing(metric: Metric) -> list[str]:
    from sarbench.bench.score import missing_weights

    return list(missing_weights(metric))


def _told(of: Callable[..., Any], *given: Any) -> list[str] | str:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [repr(float(value)) for value in np.ravel(of(*given))]
    except ContractError:
        return REFUSED


@cache
def _sets() -> dict[str, corpus.Sets]:
    """Narrow sets of features: of full rank, of fewer vectors than features, and enough for the subsets of KID."""
    sizes = {
        "full rank, 64 wide": (300, 400, 64),
        **dict(zip(corpus.FOR_SUBSETS, ((40, 50, 64), (1010, 1300, 8)), strict=True)),
    }
    return {
        case: corpus.Sets(corpus.vectors(n, width, 0), corpus.vectors(m, width, 1, decay=0.8, offset=0.05))
        for case, (n, m, width) in sizes.items()
    }


@cache
def _scored() -> Mapping[str, Float[np.ndarray, " n"]]:
    """The rows of all metrics without weights, of colour pairs of 8 bits as files: what a run's scores go through."""
    from sarbench.bench.images import write_image
    from sarbench.bench.score import score_folders

    every = {name: registry.load_metric(name) for name in registry.names("metrics")}
    plain = [name for name, metric in every.items() if not (metric.assets or metric.features)]
    chosen = {case: corpus.images()[case] for case in FROM_FILES}
    with tempfile.TemporaryDirectory() as folder:
        for number, pair in enumerate(chosen.values()):
            for side in ("translated", "reference", "source"):
                pixels = getattr(pair, side).pixels[0]
                write_image(Path(folder) / side / f"{number:02d}.png", np.repeat(pixels, 3 // pixels.shape[2], axis=2))
        folders = [Path(folder) / side for side in ("translated", "reference", "source")]
        return score_folders(folders[0], folders[1], plain, source=folders[2], progress=False).columns


# --- Against what is frozen ------------------------------------------------------------------------------------------


def check(chosen: Collection[str] = (), file: Path = FILE) -> Verdict:
    """Every metric, or those chosen and their conventions, against its frozen values. ContractError for an unknown name."""
    for name in chosen:
        registry.load_metric(name)
    kept = _read(file)
    every = [name for name in names() if not chosen or name in chosen or name.partition("@")[0] in chosen]
    _scored.cache_clear()
    found = [finding for name in every for finding in _compared(name, kept["metrics"].get(name))]
    if not chosen:
        gone = sorted(set(kept["metrics"]) - set(every))
        found += [Finding(Outcome.NOT_MEASURED, "frozen corpus", name, "there is no such metric any more") for name in gone]
    return Verdict((*_corpus(kept["corpus"]), *found))


def _read(file: Path) -> Any:
    return read_json(file, "corpus", "metrics")


def _digests() -> dict[str, str]:
    """Of the images; sets of features depend, in their last digits, on the machine's linear algebra."""
    cases = {**corpus.images(), **dict(list(corpus.small_images().items())[:2])}
    return {case: corpus.digest(value) for case, value in cases.items()}


def _corpus(kept: Mapping[str, str]) -> Iterator[Finding]:
    now = _digests()
    other = sorted(case for case in now.keys() | kept.keys() if now.get(case) != kept.get(case))
    if other:
        yield Finding(Outcome.NOT_MEASURED, "frozen corpus", "", f"its images are others: {', '.join(other)}")


def _compared(name: str, kept: Any) -> Iterator[Finding]:
    """One finding for what of a metric needs no weights, and one for its network."""
    where, metric = "frozen corpus", registry.load_metric(name)
    if not isinstance(kept, dict) or not kept.get("cases"):
        yield Finding(
            Outcome.NOT_MEASURED, where, name, "it has no frozen values; where its weights are: sarbench check --freeze"
        )
        return
    if kept["signature"] != metric.signature:
        why = f"its signature is now {metric.signature}, and was {kept['signature']}: sarbench check --freeze"
        yield Finding(Outcome.NOT_MEASURED, where, name, why)
        return
    now, wanted = values_of(name), kept["cases"]
    absent = [case for case in wanted if case not in now]
    if absent:
        missing = ", ".join(_missing(metric))
        why = f"no {missing} weights here" if missing else f"no value for {', '.join(absent)}"
        yield Finding(Outcome.NOT_MEASURED, where, name, why)
    off = {case: _apart(now[case], wanted[case]) for case in wanted if case in now}
    if wrong := {case: by for case, by in off.items() if by > EXACT}:
        worst = max(wrong, key=lambda case: wrong[case])
        why = (
            f"{len(wrong)} of {len(off)} cases differ, by up to {wrong[worst]:.2g} ({worst}: {_shown(wanted[worst])} to "
            f"{_shown(now[worst])}); the noise is 0, since code and images are frozen"
        )
        yield Finding(Outcome.DRIFTED, where, name, why)
    elif off:
        yield Finding(Outcome.EQUIVALENT, where, name, f"within {EXACT:g} of the frozen values")


def _apart(now: Any, kept: Any) -> float:
    if REFUSED in (now, kept) or len(now) != len(kept):
        return 0.0 if now == kept else float("inf")
    return float(deviation(np.array(now, float), np.array(kept, float)).max(initial=0.0))


def _shown(values: Any) -> str:
    return values if isinstance(values, str) else f"{float(np.mean([float(v) for v in values])):.6g}"


def freeze(file: Path = FILE) -> str:
    """Write the values of all metrics, and say what is new. ContractError where a value changed and its signature did not.

    Values of networks whose weights are not here are kept as they were.
    """
    kept: dict[str, Any] = _read(file)["metrics"] if file.is_file() else {}
    _scored.cache_clear()
    found: dict[str, Any] = {}
    moved = []
    for name in names():
        signature, cases, before = registry.load_metric(name).signature, values_of(name), kept.get(name)
        if before and before["signature"] == signature:
            if any(_apart(cases[case], value) > EXACT for case, value in before["cases"].items() if case in cases):
                moved.append(name)
            cases |= {case: value for case, value in before["cases"].items() if case in cases or case.startswith("network: ")}
        found[name] = {"signature": signature, "cases": cases}
    if moved:
        raise ContractError(f"{', '.join(moved)}: new values under the same signature; undo that, or write a new version in it")
    write_json(file, {"corpus": _digests(), "metrics": found})
    new = [name for name in found if found[name] != kept.get(name)]
    return f"wrote {file.name}; new or longer: {', '.join(new) or 'nothing'}"
