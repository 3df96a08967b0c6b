"""A board as CSV and as LaTeX: every number with its interval, and no text that a program could take for a command."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest

from sarbench.bench.board import board_of
from sarbench.bench.board_files import FIRST, as_csv, as_latex, tex

HOSTILE = [
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    'a,"b";c',
    "line\nbreak\r\ttab",
    r"\input{/etc/passwd} % & $ # _ { } ~ ^ | < >",
    "right\u202eto left",
    "<!-- x --> émile 中",
]


@pytest.fixture
def board(make_run):
    """The board of some runs, each given by the keywords of the factory."""

    def board(*runs):
        return board_of("synthetic.tiny", [make_run(**run).record for run in runs])

    return board


def _rows(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_a_line_of_csv_holds_what_was_run_and_every_number(board):
    (row,) = _rows(as_csv(board({"values": {"psnr": 21.5, "lpips": "no weights"}, "seed": 3})))
    assert tuple(row)[: len(FIRST)] == FIRST
    assert (row["board"], row["role"], row["method"], row["seeds"]) == ("synthetic.tiny", "method", "pix2pix", "3")
    assert (float(row["psnr"]), row["lpips"], row["psnr_top_group"], row["lpips_top_group"]) == (21.5, "", "1", "")
    assert (row["test_images"], row["test_scenes"], row["budget_images"]) == ("4", "2", "8000")
    assert (row["flops_per_image"], row["train_seconds"], row["peak_memory_bytes"]) == ("12100000000", "60.5", str(3 * 2**29))
    assert len(row["protocol_hash"]) == 64


def test_csv_holds_floors_honeypots_and_ceilings_and_says_which_is_which(board):
    runs = [
        ("a", "method", {}),
        ("identity", "floor", {}),
        ("oracle_blur", "honeypot", {}),
        ("look", "ceiling", {"signature": "s"}),
    ]
    rows = _rows(as_csv(board(*({"method": m, "role": role, "config": config} for m, role, config in runs))))
    assert [(row["method"], row["role"]) for row in rows] == [(method, role) for method, role, _ in runs]
    assert {row["psnr_top_group"] for row in rows[1:]} == {""}
    assert [row["supervision"] for row in rows] == ["paired", "paired", "", ""]


def test_a_negative_and_an_infinite_number_are_numbers_in_csv(board):
    (row,) = _rows(as_csv(board({"values": {"ssim": -0.25, "psnr": math.inf}})))
    assert (float(row["ssim"]), row["psnr"]) == (-0.25, "inf")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_record_is_one_cell_that_no_spreadsheet_computes(board, text):
    (row,) = _rows(as_csv(board({"card": {"title": text, "paper": text}, "cost": {"device": text}, "variant": text})))
    for head in ("title", "paper", "device", "variant"):
        assert not re.match(r"[=+\-@\t\r]", row[head])
        assert "\n" not in row[head]
        assert "\u202e" not in row[head]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_record_can_not_change_a_latex_table(make_run, text):
    tables = []
    for words in (text, "x"):
        record = make_run(variant=words).record
        dataset = record.dataset.model_copy(update={"title": words})
        tables.append(as_latex(board_of("synthetic.tiny", [record.model_copy(update={"dataset": dataset})])))
    hostile, plain = tables
    commands = {r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}", r"\textbackslash", r"\textasciitilde"}
    commands |= {r"\textasciicircum", r"\textless", r"\textgreater", r"\textbar"}
    assert len(hostile.splitlines()) == len(plain.splitlines())
    assert hostile.isascii()
    for line, other in zip(hostile.splitlines(), plain.splitlines(), strict=True):
        bare = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}", "", line)
        for sign in "&%$#{}\\":
            assert bare.count(sign) == other.count(sign), line
        found = set(re.findall(r"\\(?:[a-zA-Z]+|[^a-zA-Z])", line)) - set(re.findall(r"\\(?:[a-zA-Z]+|[^a-zA-Z])", other))
        assert found <= commands


def test_latex_escapes_each_sign_that_means_something():
    assert tex("a_b & 5% {x} ~^\\") == r"a\_b \& 5\% \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert tex("Ω") == "?"


def test_a_latex_table_has_a_column_for_each_measured_metric_and_its_marks(board):
    text = as_latex(
        board(
            {"method": "good", "values": {"psnr": 20, "ssim": 0.6, "lpips": "no"}},
            {"method": "bad", "values": {"psnr": 18, "ssim": 0.3, "lpips": "no"}},
            {"method": "identity", "role": "floor", "values": {"psnr": 19, "ssim": 0.4, "lpips": "no"}},
            {"method": "oracle_blur", "role": "honeypot", "values": {"psnr": 30, "ssim": 0.5, "lpips": "no"}},
        )
    )
    assert r"method & psnr (dB) $\uparrow$$^\S$ & ssim $\uparrow$ \\" in text
    assert r"\texttt{good} & $\mathbf{20.00}$ & $\mathbf{0.6000}$ \\" in text
    assert r"\texttt{bad} & $18.00^\dagger$ & $0.3000^\dagger$ \\" in text
    assert r"\texttt{identity} & $19.00$ & $0.4000$ \\" in text
    assert "oracle" not in text
    assert text.count("{") == text.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in text


def test_a_board_of_honeypots_alone_is_a_table_without_lines(board):
    assert r"\bottomrule" in as_latex(board({"method": "oracle_blur", "role": "honeypot"}))
