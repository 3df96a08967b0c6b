"""The code of metrics against values that may not move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import assets, cli, frozen, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.outcomes import Outcome, Verdict
from sarbench.bench.storage import write_json


def plain() -> list[str]:
    """The metrics that need no weights."""
    every = {name: registry.load_metric(name) for name in registry.names("metrics")}
    return [name for name, metric in every.items() if not (metric.assets or metric.features)]


@pytest.mark.slow
def test_no_metric_gives_other_values_than_those_frozen() -> None:
    verdict = frozen.check()
    assert not verdict.of(Outcome.DRIFTED), str(verdict)
    assert not [finding for finding in verdict.of(Outcome.NOT_MEASURED) if finding.metric.partition("@")[0] in plain()]
    found = {finding.metric for finding in verdict.findings}
    assert set(frozen.names()) <= found


def test_every_metric_and_every_signature_of_today_is_frozen() -> None:
    kept = json.loads(frozen.FILE.read_text())["metrics"]
    assert {name: kept[name]["signature"] for name in kept} == {
        name: registry.load_metric(name).signature for name in frozen.names()
    }, "freeze them: sarbench check --freeze"


def patched(
    monkeypatch: pytest.MonkeyPatch, name: str, rows: Callable[[Callable[..., np.ndarray]], Callable[..., np.ndarray]]
) -> None:
    """The metric of that name computes otherwise, under its old signature."""
    load = registry.load_metric

    def loaded(asked: str) -> Any:
        metric = load(asked)
        if asked != name:
            return metric
        assert metric.rows is not None
        return replace(metric, rows=rows(metric.rows), shared={}, prepared=None)

    monkeypatch.setattr(registry, "load_metric", loaded)


def of(verdict: Verdict, name: str) -> Outcome:
    return next(finding.outcome for finding in verdict.findings if finding.metric == name)


@pytest.fixture
def only_psnr(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is but one metric, so that what scores all is quick."""
    monkeypatch.setattr(registry, "names", lambda kind: ["psnr"])


@pytest.mark.usefixtures("only_psnr")
def test_a_deviation_of_a_millionth_is_rounding_and_of_a_hundred_thousandth_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor, outcome in ((1, Outcome.EQUIVALENT), (1 + 1e-7, Outcome.EQUIVALENT), (1 + 1e-5, Outcome.DRIFTED)):
        with monkeypatch.context() as patch:
            patched(patch, "psnr", lambda rows, by=factor: lambda x, y: rows(x, y) * by)  # type: ignore[misc]
            assert of(frozen.check(["psnr"]), "psnr") == outcome


@pytest.mark.usefixtures("only_psnr")
def test_a_metric_that_refuses_what_it_took_has_drifted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(rows: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def of(x: ImageBatch, y: ImageBatch) -> np.ndarray:
            if x.peak > 255:
                raise ContractError("no")
            return rows(x, y)

        return of

    patched(monkeypatch, "psnr", refusing)
    verdict = frozen.check(["psnr"])
    assert of(verdict, "psnr") == Outcome.DRIFTED
    assert "2 of 22 cases differ" in str(verdict)


@pytest.mark.usefixtures("only_psnr")
def test_a_slip_that_only_the_scorer_makes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from sarbench.bench import one_pass

    read = one_pass.read_image
    monkeypatch.setattr(one_pass, "read_image", lambda path: read(path) // 2 * 2)
    assert "1 of 22 cases differ" in str(frozen.check(["psnr"]))


@pytest.mark.usefixtures("only_psnr")
def test_missing_weights_values_signatures_and_cases_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads(frozen.FILE.read_text())
    file = tmp_path / "frozen.json"

    def outcome(name: str = "psnr") -> Outcome:
        write_json(file, kept)
        return frozen.check([name], file).outcome

    assert outcome() == Outcome.EQUIVALENT
    psnr = kept["metrics"]["psnr"]
    for broken in (None, {**psnr, "cases": {}}, {**psnr, "signature": "psnr;v0"}):
        kept["metrics"]["psnr"] = broken
        assert outcome() == Outcome.NOT_MEASURED
    kept["metrics"]["psnr"] = psnr
    kept["corpus"]["dark"] = "0" * 16
    assert outcome() == Outcome.NOT_MEASURED
    with pytest.raises(ContractError, match="does not exist"):
        frozen.check(["psnr"], tmp_path / "none.json")


def test_a_network_without_its_weights_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "folders", list)
    monkeypatch.setattr(registry, "names", lambda kind: ["lpips"])
    verdict = frozen.check(["lpips"])
    assert of(verdict, "lpips") == Outcome.NOT_MEASURED
    assert "alexnet" in str(verdict)


@pytest.mark.usefixtures("only_psnr")
def test_other_values_are_frozen_only_under_another_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(shutil.copy(frozen.FILE, tmp_path / "frozen.json"))
    monkeypatch.setattr(frozen, "FILE", file)
    patched(monkeypatch, "psnr", lambda rows: lambda x, y: rows(x, y) + 0.3)
    with pytest.raises(ContractError, match="psnr: new values under the same signature"):
        frozen.freeze(file)
    named = registry.load_metric

    def renamed(name: str) -> Any:
        metric = named(name)
        return replace(metric, signature="psnr;v9") if name == "psnr" else metric

    monkeypatch.setattr(registry, "load_metric", renamed)
    assert "psnr" in frozen.freeze(file)
    assert frozen.check(["psnr"], file).outcome == Outcome.EQUIVALENT


@pytest.mark.usefixtures("only_psnr")
def test_the_command_checks_metrics_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--metrics", "--metric", "psnr"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("equivalent (")
