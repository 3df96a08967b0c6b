"""Protocols and tracks: names, terms, and what may be compared with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.protocols import AUDITS, PROTOCOLS
from sarbench.bench.published import read
from sarbench.bench.storage import value_digest
from sarbench.bench.tracks import track

PUBLISHED = Path(__file__).parent.parent / "leaderboards" / "published"


def terms(*args: object, **kwargs: object) -> str:
    return value_digest(track(*args, **kwargs).terms())  # type: ignore[arg-type]


def test_a_slug_names_protocol_data_preset_and_a_budget_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "my data.v2").mkdir()
    assert track("synthetic", "tiny").slug == "synthetic.tiny"
    assert track("synthetic", "tiny", budget=50).slug == "synthetic.tiny.50"
    assert track("pairs", "bench", data=tmp_path / "my data.v2").slug == "pairs.my-data-v2.bench"
    default = PROTOCOLS["synthetic"].sizes["tiny"].budget_images
    assert track("synthetic", "tiny", budget=default).slug == "synthetic.tiny"


def test_the_terms_depend_on_all_that_changes_a_score_and_not_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert terms("pairs", "tiny", data=tmp_path / "a") == terms("pairs", "tiny", data=tmp_path / "b")
    known = {
        terms("synthetic", "tiny"),
        terms("synthetic", "bench"),
        terms("synthetic", "tiny", budget=50),
        terms("synthetic", "tiny", options={"looks": "1"}),
        terms("pairs", "tiny", data=tmp_path / "a"),
    }
    assert len(known) == 5


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_every_preset_and_ranks_by_a_metric_it_takes(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert set(protocol.sizes) == {"tiny", "bench", "paper"}
    assert protocol.main_metric in protocol.metrics
    budgets = [protocol.sizes[preset].budget_images for preset in ("tiny", "bench", "paper")]
    assert budgets == sorted(budgets)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_of_pairs_audits_them_and_one_of_unpaired_domains_reads_no_reference(name: str) -> None:
    protocol = PROTOCOLS[name]
    if protocol.task == "matching":
        return
    metrics = {name: registry.load_metric(name) for name in protocol.metrics}
    assert {name for name, metric in metrics.items() if not metric.ranked} == (set(AUDITS) if protocol.paired else set())
    assert metrics[protocol.main_metric].ranked
    if not protocol.paired:
        assert all(metric.statistic or metric.reads == ("translated",) for metric in metrics.values())


PAPERS = {"s3oil-1": ("s3oil", "1"), "cdiffset-1": ("cdiffset", "1"), "sruit-3": ("sruit", "3"), "semst-1-maps": ("semst", "1")}


@pytest.mark.parametrize("start", PAPERS)
def test_a_papers_protocol_has_the_metrics_of_its_table_and_the_audits(start: str) -> None:
    rows = [row for row in read(PUBLISHED) if (row.paper, row.table) == PAPERS[start]]
    for protocol in (p for name, p in PROTOCOLS.items() if name.startswith(start)):
        printed = {row.metric for row in rows if row.dataset == protocol.dataset} & set(registry.names("metrics"))
        assert printed
        also = {"lpips_vgg"} if start == "cdiffset-1" else set()  # the network of its LPIPS, whose metric has its own name
        assert set(protocol.metrics) - set(AUDITS) == printed | also


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "synthetik"}, "unknown protocol 'synthetik'; choose from: synthetic, synthetic-season"),
        ({"name": "pairs"}, "needs --data FOLDER"),
        ({"name": "synthetic", "data": Path()}, "makes its own data"),
        ({"name": "synthetic", "budget": 0}, "--budget 0"),
        ({"name": "pairs", "data": Path("absent")}, "--data absent: no such folder"),
    ],
)
def test_a_track_that_can_not_be_says_why(words: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        track(preset="tiny", **words)  # type: ignore[arg-type]
