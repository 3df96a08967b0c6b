"""Measured beside published: only under the paper's own protocol, in one unit, and with the difference."""

from __future__ import annotations

import math

import pytest

from sarbench.bench.board_page import render
from sarbench.bench.board_published import difference
from sarbench.bench.published import Published

NAME = "cdiffset-1-sar2opt"


def printed(method="pix2pix", metric="ssim", value="0.216", unit="", setting="", variant=""):
    """A number of table 1 of C-DiffSET."""
    words = {"paper": "cdiffset", "table": "1", "dataset": "sar2opt", "setting": setting, "variant": variant}
    return Published(**words, method=method, metric=metric, value=float(value), printed=value, unit=unit)


@pytest.fixture
def section(make_run):
    """The section of a board of this protocol, or of another; empty where there is none."""

    def section(published, *runs, name=NAME, preset="tiny"):
        terms = {"name": name, "preset": preset}
        made = [make_run(slug=f"{name}.{preset}", terms=terms, **run).record for run in runs or ({},)]
        return (
            render(f"{name}.{preset}", made, published=published)
            .partition("## Beside the published numbers")[2]
            .partition("\n## ")[0]
        )

    return section


def test_the_difference_is_measured_less_published(section):
    text = section([printed(), printed(metric="psnr", value="21.5", unit="dB")], {"values": {"ssim": 0.2, "psnr": 22.25}})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    where = "[cdiffset](published.md#cdiffset) table 1"
    assert cells == [
        ["`pix2pix`", "`ssim`", "0.2000", "0.216", "-0.0160", where],
        ["`pix2pix`", "`psnr` (dB)", "22.25", "21.5 dB", "+0.75", where],
    ]


def test_a_board_of_another_protocol_has_nothing_beside_it(section):
    assert section([printed()], name="synthetic") == ""
    assert section([printed(method="cyclegan")]) == ""
    assert section([printed(variant="no CAM")]) == ""
    assert section([printed()], {"values": {"ssim": "no weights"}}) == ""


def test_a_setting_of_the_paper_is_named(section):
    text = section([printed(setting="supervised"), printed(setting="few pairs", value="0.3")])
    assert "| setting" in text
    assert "supervised" in text
    assert "few pairs" in text


def test_a_smaller_preset_is_said_to_be_one(section):
    assert "of the preset `tiny`" in section([printed()])
    assert "of the preset" not in section([printed()], preset="paper")


def test_numbers_of_two_units_have_no_difference():
    row = printed(metric="total_variation", value="12.5")
    assert difference(12.0, row, "grey levels", 2) == "–"
    assert difference(math.inf, printed(), "", 4) == "–"
    assert difference(5.0, printed(metric="nima", value="4.5"), "points", 4) == "+0.5000"
