"""The sections of a board on what judges said, and the flag on a judge that can be fooled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sarbench.bench.board_page import render
from sarbench.bench.board_verdicts import fooled
from sarbench.bench.judged import Judged, Subject, judged_images
from sarbench.bench.judges._confusion import CHANGE_CLASSES
from sarbench.bench.published import Published

LAND = ("water", "forest")
F1 = "f1[change,pooled]"
UNREFERENCED: dict[str, dict[str, Any]] = {
    "dbcnn": {"signature": "dbcnn;v1", "unit": "", "higher_is_better": True, "decimals": 2},
    "nima": {"signature": "nima;v1", "unit": "", "higher_is_better": True, "decimals": 2},
    "total_variation": {"signature": "tv;v1", "unit": "grey levels", "higher_is_better": False, "decimals": 2},
}


def change(f1: float, n: int = 10_000) -> np.ndarray:
    """One sample's matrix with this F1 of change: a tenth changes, and as much is invented as is missed."""
    found = round(0.1 * n * f1)
    missed = n // 10 - found
    return np.array([[[n - n // 10 - missed, missed], [missed, found]]])


def detected(scores: Mapping[tuple[str, str, str], tuple[float, ...]], signature: str = "change_detection;v1") -> Judged:
    """Judged images by (net, images, direction), with their F1 by judge seed."""
    images = [
        judged_images(Subject(*subject), [change(f1) for f1 in by_seed], CHANGE_CLASSES)  # type: ignore[arg-type]
        for subject, by_seed in scores.items()
    ]
    seeds = tuple(range(len(next(iter(scores.values())))))
    return Judged(signature=signature, classes=CHANGE_CLASSES, gsd_m=3.0, seeds=seeds, images=tuple(images))


REFERENCES = {
    ("fixed", "source", "forward"): (0.60, 0.62, 0.61),
    ("fixed", "ceiling", "forward"): (0.80, 0.82, 0.81),
    ("fixed", "erased", "forward"): (0.0, 0.0, 0.0),
    ("fixed", "checkerboard", "forward"): (0.50, 0.50, 0.50),
    ("fixed", "noise", "forward"): (0.55, 0.50, 0.50),
}
TRANSLATED = {("fixed", "translated", "forward"): (0.70, 0.72, 0.71)}


@pytest.fixture
def page(make_run: Callable[..., Any]) -> Callable[..., str]:
    def page(*runs: Mapping[str, Any], published: tuple[Published, ...] = (), **terms: Any) -> str:
        known = {"judges": ("change_detection", "segmentation"), **terms}
        records = [make_run(**run, terms=known).record for run in runs]
        return render(records[0].slug, records, published=published)

    return page


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def tables(text: str) -> list[dict[tuple[str, str], dict[str, str]]]:
    """Each table by the first two cells of a row, without markup."""
    found = []
    for block in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if line.startswith("|")]
        if lines:
            plain = [[re.sub(r"[\[\]`\\]|\(http.*?\)", "", cell) for cell in line] for line in lines]
            found.append({(row[0], row[1]): dict(zip(plain[0], row, strict=True)) for row in plain[2:]})
    return found


def test_a_board_without_judges_has_no_section_on_them(page: Callable[..., str]) -> None:
    assert "Judged by" not in page({})


def test_change_detection_is_shown_as_in_the_papers_tables_with_floor_and_ceiling(page: Callable[..., str]) -> None:
    text = section(page({"judged": {"change_detection": detected({**REFERENCES, **TRANSLATED})}}), "Judged by change detection")
    (table,) = tables(text)
    assert table["the source itself (floor)", "A vs. B"]["f1change,pooled"] == "0.610 ± 0.010"
    assert table["the target itself", "B vs. B"]["f1change,pooled"] == "0.000 ± 0.000"
    row = table["pix2pix", "t-B vs. B"]
    assert row["f1change,pooled"] == "0.710 ± 0.010"
    assert row["share of f1change,pooled"] == "50 %"
    assert list(row)[2:7] == [
        "accuracypooled",
        "mean_ioupooled",
        "precisionchange,pooled",
        "recallchange,pooled",
        "f1change,pooled",
    ]
    assert "over 3 judge seeds" in text
    assert "Blind" not in text


def test_a_ceiling_that_does_not_beat_the_floor_gives_no_shares(page: Callable[..., str]) -> None:
    low = {**REFERENCES, **TRANSLATED, ("fixed", "ceiling", "forward"): (0.5, 0.5, 0.5)}
    text = section(page({"judged": {"change_detection": detected(low)}}), "Judged by change detection")
    (table,) = tables(text)
    assert table["pix2pix", "t-B vs. B"]["share of f1change,pooled"] == "–"
    assert "**Blind**" in text


def test_both_directions_and_both_protocols_have_rows(page: Callable[..., str]) -> None:
    scores = {
        **REFERENCES,
        **TRANSLATED,
        ("fixed", "translated", "back"): (0.5, 0.5, 0.5),
        ("own", "source", "forward"): (0.6, 0.6, 0.6),
        ("own", "translated", "forward"): (0.9, 0.9, 0.9),
    }
    own, fixed = tables(section(page({"judged": {"change_detection": detected(scores)}}), "Judged by change detection"))
    assert set(own) == {("the source itself (floor)", "A vs. B"), ("pix2pix", "t-B vs. B")}
    assert ("pix2pix", "t-A vs. A") in fixed


def test_runs_that_another_judge_judged_are_left_out(page: Callable[..., str]) -> None:
    known = {**REFERENCES, **TRANSLATED}
    text = page(
        {"judged": {"change_detection": detected(known)}},
        {"method": "cut", "judged": {"change_detection": detected(known, "change_detection;v0")}},
    )
    (table,) = tables(section(text, "Judged by change detection"))
    assert len([row for row in table if row[1] == "t-B vs. B"]) == 1


def printed(method: str, metric: str, value: float, setting: str = "summer to fall, t-B vs. B", table: str = "1") -> Published:
    return Published(
        paper="sruit", table=table, dataset="cdd", setting=setting, variant="", method=method, metric=metric, value=value,
        printed=str(value), unit="",
    )  # fmt: skip


def test_published_numbers_stand_beside_what_is_judged_as_the_paper_does_it(page: Callable[..., str]) -> None:
    numbers = (
        printed("pix2pix", "f1", 0.936),
        printed("cut", "precision", 0.9),
        printed("identity", "f1", 0.873, "summer to fall, A vs. B"),
    )
    scores = {**REFERENCES, **TRANSLATED, **{("own", *rest): f1 for (_, *rest), f1 in TRANSLATED.items()}}
    scores[("own", "source", "forward")] = (0.6, 0.6, 0.6)
    runs = [{"method": name, "judged": {"change_detection": detected(scores)}} for name in ("pix2pix", "cut")]
    text = page(*({**run, "slug": "sruit-1.tiny"} for run in runs), published=numbers, name="sruit-1")
    own, fixed = tables(section(text, "Judged by change detection"))
    assert own["pix2pix", "t-B vs. B"]["f1change,pooled, published"] == "0.936"
    assert own["cut", "t-B vs. B"]["f1change,pooled, published"] == "–"
    assert own["cut", "t-B vs. B"]["precisionchange,pooled, published"] == "0.9"
    assert own["the source itself (floor)", "A vs. B"]["f1change,pooled, published"] == "0.873"
    heads = list(own["cut", "t-B vs. B"])
    assert heads.index("f1change,pooled, published") == heads.index("f1change,pooled") + 1
    assert not any("published" in head for row in fixed.values() for head in row)  # no paper has one network for all
    assert "published" not in section(page(*runs, published=numbers), "Judged by change detection")


def test_quality_without_reference_stands_beside_as_in_the_papers_third_table(make_run: Callable[..., Any]) -> None:
    run = make_run(
        judged={"change_detection": detected({**REFERENCES, **TRANSLATED})},
        terms={"judges": ("change_detection",), "name": "sruit-3", "metrics": ("dbcnn", "nima", "total_variation"),
               "main_metric": "nima"},
        metrics=UNREFERENCED,
        values={"dbcnn": "no weights here", "nima": 4.0, "total_variation": 9.0},
        slug="sruit-3.tiny",
    )  # fmt: skip
    numbers = (printed("pix2pix", "nima", 3.9, "t-B vs. B", "3"),)
    *_, table = tables(section(render("sruit-3.tiny", [run.record], published=numbers), "Judged by change detection"))
    row = table["pix2pix", "t-B vs. B"]
    assert [head for head in row if head not in ("method", "data")] == [
        "dbcnn ↑",
        "nima ↑",
        "nima ↑, published",
        "total_variation ↓",
    ]
    assert (row["dbcnn ↑"], row["nima ↑"], row["nima ↑, published"]) == ("–", "4.00", "3.9")


def test_a_judge_that_could_not_be_asked_says_why(page: Callable[..., str]) -> None:
    silent = Judged(signature="s", reason="not measured: no efficientnet_b1 weights here")
    text = section(page({"judged": {"change_detection": silent}}), "Judged by change detection")
    assert "efficientnet" in text
    assert "|" not in text


def test_a_record_holds_no_judge_that_its_protocol_does_not_ask(make_run: Callable[..., Any]) -> None:
    with pytest.raises(ValidationError, match="the protocol has no judge 'change_detection'"):
        make_run(judged={"change_detection": detected(REFERENCES)}, terms={"judges": ("segmentation",)})


# --- Honesty ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("artefact", ["checkerboard", "noise"])
def test_a_judge_that_gains_from_a_planted_artefact_is_flagged(page: Callable[..., str], artefact: str) -> None:
    gaining = {**REFERENCES, **TRANSLATED, ("fixed", artefact, "forward"): (0.65, 0.67, 0.66)}
    assert fooled(detected(gaining), F1) == {artefact: pytest.approx(0.05)}
    text = section(page({"judged": {"change_detection": detected(gaining)}}), "Judged by change detection")
    (table,) = tables(text)
    assert {"f1change,pooled gameable", "share of f1change,pooled gameable"} <= set(table["pix2pix", "t-B vs. B"])
    assert f"**Gameable**: artefacts planted in the source raise `f1[change,pooled]` of the fixed judge: {artefact}" in text


def test_a_judge_that_loses_by_artefacts_or_gains_by_chance_is_not_flagged(page: Callable[..., str]) -> None:
    assert fooled(detected(REFERENCES), F1) == {}
    by_chance = {**REFERENCES, ("fixed", "noise", "forward"): (0.65, 0.61, 0.66)}  # one seed loses
    assert fooled(detected(by_chance), F1) == {}
    within_spread = {**REFERENCES, ("fixed", "noise", "forward"): (0.605, 0.625, 0.615)}
    assert fooled(detected(within_spread), F1) == {}
    text = section(page({"judged": {"change_detection": detected({**REFERENCES, **TRANSLATED})}}), "Judged by change detection")
    assert "No planted artefact" in text


# --- Segmentation ----------------------------------------------------------------------------------------------------


def labelled(by_images: Mapping[str, list[list[int]]], gsd_m: float | None = 3.0) -> Judged:
    images = [
        judged_images(Subject("fixed", kind, "forward"), [np.array([matrix])], LAND)  # type: ignore[arg-type]
        for kind, matrix in by_images.items()
    ]
    return Judged(signature="segmentation;v1", classes=LAND, gsd_m=gsd_m, seeds=(0,), images=tuple(images))


def test_segmentation_gives_scores_shares_classes_and_flips(page: Callable[..., str]) -> None:
    said = labelled({"source": [[50, 50], [50, 50]], "ceiling": [[100, 0], [0, 100]], "translated": [[80, 20], [0, 100]]})
    text = section(page({"judged": {"segmentation": said}}), "Judged by segmentation")
    scores, classes, flips, *matrices = tables(text)
    (row,) = [cells for (name, _), cells in scores.items() if name == "pix2pix"]
    assert row["accuracypooled"] == "0.900"
    assert row["share of mean_ioupooled"] == "72 %"
    (water,) = [cells for (name, _), cells in classes.items() if name == "water"]
    assert (water["floor"], water["ceiling"], water["pix2pix"]) == ("0.333", "1.000", "0.800")
    (lost,) = [cells for (name, _), cells in flips.items() if name == "water"]
    (gained,) = [cells for (name, _), cells in flips.items() if name == "forest"]
    assert lost["pix2pix"] == "−10.0 ha to forest, +0.0 ha"
    assert gained["pix2pix"] == "−0.0 ha, +10.0 ha of water"
    assert "per square kilometre" in text
    assert text.count("<details>") == len(matrices) == 3
    assert "<summary>pix2pix</summary>" in text
    assert [list(row.values()) for row in matrices[2].values()] == [["water", "80 %", "20 %"], ["forest", "0 %", "100 %"]]


def test_without_a_ground_sample_distance_flips_are_shares(page: Callable[..., str]) -> None:
    said = labelled({"translated": [[80, 20], [0, 100]]}, gsd_m=None)
    text = section(page({"judged": {"segmentation": said}}), "Judged by segmentation")
    assert "+10.0 %" in text
    assert "square kilometre" not in text


def test_the_newest_judge_speaks_whoever_ranks_first(page: Callable[..., str]) -> None:
    old, new = detected({**REFERENCES, **TRANSLATED}, "change_detection;v0"), detected({**REFERENCES, **TRANSLATED})
    text = page(
        {"values": {"ssim": 0.9}, "judged": {"change_detection": old}, "created": "2025-01-01T00:00:00Z"},
        {"method": "cut", "judged": {"change_detection": new}, "created": "2025-02-01T00:00:00Z"},
    )
    (table,) = tables(section(text, "Judged by change detection"))
    assert [row for row in table if row[1] == "t-B vs. B"] == [("cut", "t-B vs. B")]


def test_a_published_network_has_a_section_like_the_segmenters(page: Callable[..., str]) -> None:
    said = labelled({"ceiling": [[100, 0], [0, 100]], "translated": [[80, 20], [0, 100]]}, gsd_m=None)
    text = section(page({"judged": {"fcn_cityscapes": said}}, judges=("fcn_cityscapes",)), "Judged by fcn cityscapes")
    assert "pix2pix's FCN-8s" in text
    assert "IoU by class" in text
