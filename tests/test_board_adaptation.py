"""The board's section on adaptation: SemST's table 2 with floor, ceiling and shares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from sarbench.bench.board_page import render
from sarbench.bench.judged import Judged, Subject, judged_images
from sarbench.bench.published import Published

LAND = ("water", "forest")
TITLE = "\n## Judged by adaptation\n"


def matrix(right: int) -> np.ndarray:
    """One sample of two classes, with so many of 100 pixels right in each: an IoU of right / (200 - right)."""
    return np.array([[[right, 100 - right], [100 - right, right]]])


def learned(right: Mapping[str, tuple[int, ...]], signature: str = "adaptation;v1") -> Judged:
    images = [
        judged_images(Subject("own", kind, "forward"), [matrix(r) for r in by_seed], LAND) for kind, by_seed in right.items()
    ]  # type: ignore[arg-type]
    seeds = tuple(range(len(next(iter(right.values())))))
    return Judged(signature=signature, classes=LAND, gsd_m=3.0, seeds=seeds, images=tuple(images))


PLAIN = {"source": (50, 52), "ceiling": (90, 90), "translated": (70, 72)}


@pytest.fixture
def page(make_run: Callable[..., Any]) -> Callable[..., str]:
    def page(*runs: Mapping[str, Any], published: tuple[Published, ...] = (), **terms: Any) -> str:
        known = {"judges": ("adaptation", "bdl"), **terms}
        records = [make_run(**run, terms=known).record for run in runs]
        return render(records[0].slug, records, published=published)

    return page


def rows_of(text: str) -> list[dict[tuple[str, str], dict[str, str]]]:
    found = []
    for block in text.split(TITLE)[1].split("\n## ")[0].split("\n\n"):
        lines = [
            [re.sub(r"[\[\]`\\]|\(http.*?\)", "", c.strip()) for c in line.split("|")[1:-1]] for line in block.splitlines()
        ]
        lines = [line for line in lines if line]
        if lines:
            found.append({(line[0], line[1]): dict(zip(lines[0], line, strict=True)) for line in lines[2:]})
    return found


def test_the_section_has_floor_ceiling_translations_and_shares(page: Callable[..., str]) -> None:
    text = page({"judged": {"adaptation": learned(PLAIN)}})
    scores, by_class = rows_of(text)
    floor, ceiling = scores["source images (floor)", "none"], scores["real target images (ceiling)", "none"]
    assert floor["accuracypooled"] == "0.510 ± 0.014"
    assert ceiling["mean_ioupooled"] == "0.818 ± 0.000"
    assert floor["share of mean_ioupooled"] == ceiling["share of mean_ioupooled"] == "–"
    ((_, row),) = [item for item in scores.items() if item[0][0].startswith("translated by pix2pix")]
    iou = [[r / (200 - r) for r in pair] for pair in ((50, 52), (70, 72))]
    share = (np.mean(iou[1]) - np.mean(iou[0])) / (90 / 110 - np.mean(iou[0]))
    assert row["share of mean_ioupooled"] == f"{100 * share:.0f} %"
    assert by_class["source images (floor)", "none"]["water"] == f"{np.mean(iou[0]):.3f}"


def test_adapters_stand_below_with_shares_of_the_same_way(page: Callable[..., str]) -> None:
    bdl = learned({"source": (60, 60), "translated": (90, 90)}, "bdl;v1")
    scores, _ = rows_of(page({"judged": {"adaptation": learned(PLAIN), "bdl": bdl}}))
    assert [adaptation for _, adaptation in scores] == ["none"] * 3 + ["BDL"] * 2
    with_source = scores["source images (floor)", "BDL"]
    assert 0 < int(with_source["share of mean_ioupooled"].removesuffix(" %")) < 100
    ((_, row),) = [item for item in scores.items() if item[0][0].startswith("translated by") and item[0][1] == "BDL"]
    assert row["share of mean_ioupooled"] == "100 %"


def test_a_ceiling_below_the_floor_gives_no_shares(page: Callable[..., str]) -> None:
    scores, _ = rows_of(page({"judged": {"adaptation": learned({**PLAIN, "ceiling": (40, 40)})}}))
    assert {row["share of mean_ioupooled"] for row in scores.values()} == {"–"}


def test_published_numbers_stand_beside_where_the_protocol_is_the_papers(page: Callable[..., str]) -> None:
    def printed(method: str, value: float) -> Published:
        return Published(
            paper="semst", table="2", dataset="gta5_to_cityscapes", setting="", variant="", method=method, metric="miou",
            value=value / 100, printed=str(value), unit="%",
        )  # fmt: skip

    rows = (printed("bdl", 48.5), printed("bdl+semst", 50.2))
    bdl = learned({"source": (60, 60), "translated": (80, 80)}, "bdl;v1")
    run = {"method": "semst", "judged": {"adaptation": learned(PLAIN), "bdl": bdl}}
    scores, _ = rows_of(page({**run, "slug": "semst-2-gta5.tiny"}, published=rows, name="semst-2-gta5"))
    printed_column = {key: row["mean_ioupooled, published"] for key, row in scores.items()}
    assert printed_column["source images (floor)", "BDL"] == "48.5 %"
    ((_, found),) = [item for item in printed_column.items() if item[0][0].startswith("translated") and item[0][1] == "BDL"]
    assert found == "50.2 %"
    assert "published" not in page(run, published=rows).split(TITLE)[1]


def test_an_adapter_that_could_not_be_asked_says_why(page: Callable[..., str]) -> None:
    silent = Judged(signature="s", reason="not measured: no deeplab_resnet101 weights here")
    text = page({"judged": {"adaptation": learned(PLAIN), "bdl": silent}}).split(TITLE)[1]
    assert "BDL: not measured: no deeplab" in text
    only = page({"judged": {"adaptation": silent}}).split(TITLE)[1]
    assert "Without adaptation: not measured" in only.split("\n## ")[0]
    assert "|" not in only.split("\n## ")[0]


def test_a_board_without_adapters_has_no_such_section(page: Callable[..., str]) -> None:
    assert TITLE not in page({}, judges=())
