"""The papers' numbers: the files that hold them, what they imply, and the page made of them."""

import csv
import itertools
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.leaderboard import check_pages, write_pages
from sarbench.bench.published import (
    CLASSES,
    METRICS,
    Claim,
    Published,
    by_result,
    protocol_of,
    read,
    read_claims,
    read_notes,
    read_papers,
    rows_for,
    title_of,
)
from sarbench.bench.published_findings import Interval, broken, change_miou, f1_of, findings, interval
from sarbench.bench.published_page import page

FOLDER = Path(__file__).parent.parent / "leaderboards" / "published"
COLUMNS = ",".join(Published.model_fields)
GOOD = "toy,1,sen12ms,,,cut,ssim,0.25,0.250,"


@pytest.fixture(scope="module")
def rows():
    return read(FOLDER)


@pytest.fixture(scope="module")
def claims():
    return read_claims(FOLDER)


def _row(metric="ssim", printed="0.500", **fields):
    unit = fields.pop("unit", METRICS[metric].unit)
    value = float(Fraction(printed) / (100 if unit == "%" else 1))
    usual = {"paper": "toy", "table": "1", "dataset": "sen12ms", "setting": "", "variant": "", "method": "cut"}
    return Published(**usual | fields, metric=metric, value=value, printed=printed, unit=unit)


def _texts(rows, claims=()):
    return [finding.text for finding in findings(rows, claims)]


def _claim(metrics="ssim", over="*", **fields):
    usual = {"paper": "toy", "table": "1", "dataset": "sen12ms", "method": "cut", "variant": ""}
    return Claim(**usual | fields, metrics=metrics, over=over, where="Section 1", says="CUT is best")


@pytest.fixture
def folder(tmp_path):
    """A small folder that passes; its numbers are the lines given."""

    def folder(*lines, **files):
        texts = {
            "papers": "paper,title,authors,venue,year,link\ntoy,A | toy,Some *One*,arXiv,2024,https://arxiv.org/abs/1\n",
            "notes": "paper,table,kind,note\ntoy,1,finding,The text says <b>0.3</b>.\n",
            "claims": "paper,table,dataset,method,variant,metrics,over,where,says\n",
            "toy": "\n".join([COLUMNS, *(lines or [GOOD])]) + "\n",
            **files,
        }
        root = tmp_path / "leaderboards" / "published"
        root.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (root / f"{name}.csv").write_text(text)
        return root

    return folder


# --- What a file may hold ---


def test_a_number_keeps_the_digits_of_its_paper_and_has_one_unit_for_its_metric(folder):
    lines = ["toy,1,maps,,,cut,miou,0.588,58.8,%", "toy,2,maps,,,cut,miou,0.11,0.110,"]
    percent, share = read(folder(*lines))
    assert (percent.value, percent.printed, percent.decimals) == (0.588, "58.8", 1)
    assert (share.value, share.printed, share.decimals) == (0.11, "0.110", 3)
    assert (percent.exact, percent.half_digit) == (Fraction(588, 1000), Fraction(5, 10000))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (GOOD, "stands in line 2 already"),
        (GOOD.replace("0.25,0.250", "0.26,0.260"), "stands in line 2 already"),
        (GOOD.replace("ssim", "ms_ssim"), "unknown metric 'ms_ssim'; choose from: psnr"),
        (GOOD.replace("0.25,0.250", "nan,nan"), "value: Input should be a finite number"),
        (GOOD.replace("0.25,0.250", "inf,0.250"), "value: Input should be a finite number"),
        (GOOD.replace("0.25,0.250", "2,2.000"), "2 is no possible ssim: -1 to 1"),
        (GOOD.replace("ssim,0.25,0.250", "miou,58.8,58.8"), "58.8 is no possible miou: 0 to 1"),
        (GOOD.replace("ssim,0.25,0.250", "fid,-3,-3"), "-3 is no possible fid: 0 to inf"),
        (GOOD.replace("ssim,0.25,0.250", "nima,0.5,0.5"), "0.5 is no possible nima: 1 to 10"),
        (GOOD.replace("ssim,0.25,0.250,", "psnr,9,9,"), "psnr is printed in dB, not in no unit"),
        (GOOD.replace("cut", "gcgan") + "%", "ssim is printed in no unit, not in %"),
        (GOOD.replace("0.25,0.250", "0.2,0.250"), "value 0.2 is not what 0.250 says"),
        (GOOD.replace("0.25,0.250", "0.25,25e-2"), "printed: String should match"),
        (GOOD.replace("0.25,0.250", "x,0.250"), "value: Input should be a valid number"),
        (GOOD.replace("cut", "CUT!"), "method: String should match"),
        (GOOD.replace("toy,1", "toy,first"), "table: String should match"),
        (GOOD.replace("sen12ms", "SEN12MS"), "dataset: String should match"),
        (GOOD.replace("ms,,", "ms,a\x07b,"), "setting: String should match"),
        (GOOD + ",extra", "11 cells, not 10"),
        ("toy,1", "2 cells, not 10"),
        ("", "0 cells, not 10"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(folder, line, why):
    with pytest.raises(ContractError) as error:
        read(folder(GOOD, line, GOOD.replace("cut", "cyclegan")))
    assert str(error.value).startswith(f"{folder() / 'toy.csv'}: 1 lines can't be used; correct them:\n  line 3: ")
    assert why in str(error.value)


def test_all_bad_lines_of_a_file_are_listed_at_once(folder):
    with pytest.raises(ContractError) as error:
        read(folder(GOOD.replace("ssim", "x"), GOOD, GOOD.replace("0.25", "9")))
    assert [line.split(":")[0] for line in str(error.value).splitlines()[1:]] == ["  line 2", "  line 4"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("toy", "paper,table\n", "line 1: the columns are paper,table; write paper,table,dataset"),
        ("toy", "", "line 1: the columns are ; write paper"),
        ("toy", f'{COLUMNS}\ntoy,"1\n', "toy.csv, line 2: no CSV"),
        ("toy", f"{COLUMNS}\n{GOOD.replace('toy', 'other')}\n", "toy.csv: holds numbers of other; a paper's numbers"),
        ("more", f"{COLUMNS}\n", "more.csv: no paper 'more' in papers.csv"),
        ("papers", "paper,title,authors,venue,year,link\ntoy,A,B,C,24,https://x.org\n", "line 2: year"),
        ("papers", "paper,title,authors,venue,year,link\ntoy,A,B,C,2024,javascript:x\n", "line 2: link"),
        ("notes", "paper,table,kind,note\ntoy,1,rumour,x\n", "line 2: kind"),
        ("notes", "paper,table,kind,note\ntoy,7,finding,x\n", "Table 7: toy has no numbers there"),
        ("notes", "paper,table,kind,note\nelse,,finding,x\n", "else has no numbers there"),
        ("claims", "paper,table,dataset,method,variant,metrics,over,where,says\ntoy,1,maps,cut,,dice,*,S,t\n", "'dice' is no"),
    ],
)
def test_a_bad_file_is_refused_by_its_name(folder, name, text, why):
    with pytest.raises(ContractError, match="csv") as error:
        page(folder(**{name: text}))
    assert why in str(error.value)


def test_a_missing_or_unreadable_file_is_refused_by_its_name(folder):
    root = folder()
    (root / "toy.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ContractError, match=r"toy\.csv can't be read as UTF-8 text"):
        read(root)
    (root / "toy.csv").unlink()
    with pytest.raises(ContractError, match=r"toy\.csv is missing"):
        read(root)


# --- What the numbers imply ---


def test_a_printed_number_stands_for_all_that_round_to_it_within_what_is_possible():
    assert interval(_row("f1", "0.913")) == Interval(Fraction("0.9125"), Fraction("0.9135"))
    assert interval(_row("miou", "57.3", unit="%")) == Interval(Fraction("0.5725"), Fraction("0.5735"))
    assert interval(_row("accuracy", "1.000")) == Interval(Fraction("0.9995"), Fraction(1))
    assert interval(_row("iou_train", "0.0", unit="%")) == Interval(Fraction(0), Fraction("0.0005"))
    one, two, three = (interval(_row("f1", text)) for text in ("0.10", "0.11", "0.12"))
    assert one.meets(two)  # in 0.105, which may be rounded either way
    assert two.meets(one)
    assert not one.meets(three)
    assert not three.meets(one)


def _scores(**printed):
    return [_row(metric, text) for metric, text in printed.items()]


def test_an_f1_that_precision_and_recall_rule_out_is_found_with_both_numbers():
    (text,) = _texts(_scores(precision="0.946", recall="0.913", f1="0.913"))
    assert "precision 0.946 and recall 0.913 imply an f1 of 0.929" in text
    assert "0.913 is printed" in text


@pytest.mark.parametrize("f1", ["0.929", "0.93", "0.9"])
def test_an_f1_that_rounding_explains_is_not_found(f1):
    assert _texts(_scores(precision="0.946", recall="0.913", f1=f1)) == []


def test_the_tolerance_of_an_f1_is_that_of_the_printed_digits():
    coarse, fine = {"precision": "0.9", "recall": "0.9"}, {"precision": "0.900", "recall": "0.900"}
    assert _texts(_scores(**coarse, f1="0.93")) == []
    assert len(_texts(_scores(**fine, f1="0.93"))) == 1


def test_an_f1_of_nothing_found_is_zero():
    assert f1_of(Fraction(0), Fraction(0)) == f1_of(Fraction(0), Fraction(1)) == 0
    assert _texts(_scores(precision="0.000", recall="0.000", f1="0.000")) == []
    assert len(_texts(_scores(precision="0.500", recall="0.000", f1="0.500"))) == 1


@pytest.mark.parametrize("counts", [(50, 10, 20, 920), (1, 0, 0, 9), (0, 5, 5, 90), (30, 3, 0, 967), (400, 100, 300, 200)])
def test_the_miou_of_change_is_that_of_the_confusion_matrix(counts):
    tp, fp, fn, tn = map(Fraction, counts)
    accuracy = (tp + tn) / sum(counts)
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    truth = (tp / (tp + fp + fn) + tn / (tn + fp + fn)) / 2
    exact = change_miou(*(Interval(x, x) for x in (accuracy, precision, recall)))
    if tp:
        assert exact == Interval(truth, truth)
    grid = Fraction(1, 2000)

    def around(x):
        return Interval(max(Fraction(0), x - grid), min(Fraction(1), x + grid))

    assert change_miou(around(accuracy), around(precision), around(recall)).meets(Interval(truth, truth))


@pytest.mark.parametrize("percent", [((90, 94), (60, 70), (50, 60)), ((58, 62), (75, 85), (55, 60))])
def test_every_miou_that_rounding_allows_lies_in_the_interval(percent):
    box = [Interval(Fraction(low, 100), Fraction(high, 100)) for low, high in percent]
    whole = change_miou(*box)
    for corner in itertools.product(*((side.low, side.high) for side in box)):
        inside = change_miou(*(Interval(x, x) for x in corner))
        assert whole.low <= inside.low <= inside.high <= whole.high


def test_scores_that_no_confusion_matrix_has_still_imply_a_share():
    impossible = change_miou(*(Interval(x, x) for x in (Fraction(1, 5), Fraction(99, 100), Fraction(99, 100))))
    assert 0 <= impossible.low <= impossible.high <= 1


def test_a_miou_that_accuracy_precision_and_recall_rule_out_is_found():
    scores = {"accuracy": "0.993", "precision": "0.934", "recall": "0.939"}
    assert _texts(_scores(**scores, miou="0.937")) == []
    (text,) = _texts(_scores(**scores, miou="0.973"))
    assert "imply a miou of 0.937" in text


def test_a_mean_iou_that_is_not_the_mean_of_its_classes_is_found():
    classes = [_row(f"iou_{name}", "50.0", unit="%") for name in CLASSES[:16]]
    assert _texts([*classes, _row("miou", "50.0", unit="%")]) == []
    assert _texts([*classes, _row("miou", "50.1", unit="%")]) == []  # all rounded the same way
    (text,) = _texts([*classes, _row("miou", "50.2", unit="%")])
    assert "the mean of the 16 class IoUs is 50.0 (49.95 to 50.05 before rounding); 50.2 is printed" in text


def test_a_share_that_exceeds_one_it_is_part_of_is_found():
    assert len(_texts(_scores(class_accuracy="0.200", miou="0.201"))) == 0  # 0.2005 rounds to both
    assert len(_texts(_scores(class_accuracy="0.200", miou="0.202"))) == 1
    assert len(_texts(_scores(accuracy_delta5="0.500", accuracy_delta10="0.400"))) == 1


def test_one_run_with_two_values_in_two_tables_is_found_unless_only_digits_differ():
    assert _texts([_row(printed="0.5914"), _row(printed="0.591", table="2")]) == []
    (text,) = _texts([_row(printed="0.591"), _row(printed="0.593", table="2")])
    assert "ssim 0.593 here, but 0.591 in Table 1" in text


@pytest.mark.parametrize("other", [{"variant": "no loss"}, {"setting": "50 images"}, {"dataset": "maps"}, {"paper": "other"}])
def test_numbers_of_different_runs_are_not_compared(other):
    assert _texts([_row(printed="0.591"), _row(printed="0.693", table="2", **other)]) == []


def _sweep(*printed, table="5"):
    return [_row("lpips", text, variant=f"lambda_cam={10 * i}", table=table) for i, text in enumerate(printed, start=1)]


def test_a_sweep_that_never_meets_the_full_method_is_found_once_for_all_hyperparameters():
    full = _row("lpips", "0.591")
    assert _texts([full, *_sweep("0.580", "0.600")]) == []
    assert _texts([full, *_sweep("0.5914", "0.600")]) == []  # 0.5914 rounds to 0.591
    other = [_row("lpips", text, variant=f"tau={text}", table="5") for text in ("0.655", "0.620")]
    (text,) = _texts([full, *_sweep("0.660", "0.630"), *other])
    assert "0.660 to 0.630" in text
    assert "0.655 to 0.620" in text
    assert "0.591 in Table 1" in text


def test_a_sweep_of_which_the_full_method_is_a_point_is_left_alone():
    assert _texts([_row("lpips", "0.591"), *_sweep("0.660", "0.630", table="1")]) == []


def test_rows_of_two_methods_with_the_same_digits_are_found_from_three_metrics_on():
    same = {"psnr": "12.22", "ssim": "0.1780", "lpips": "0.593"}

    def both(**second):
        return _scores(**same) + [_row(metric, text, method="cyclegan", table="3") for metric, text in second.items()]

    (text,) = _texts(both(**same))
    assert "cyclegan (sen12ms) has the numbers of cut (sen12ms) in Table 1, digit for digit: psnr 12.22" in text
    assert _texts(both(**same | {"psnr": "12.23"})) == []
    assert _texts(both(psnr="12.22", ssim="0.1780")) == []


def _columns(parameters, hours):
    return [
        _row(metric, text, method=f"m{i}")
        for metric, column in (("parameters_million", parameters), ("hours", hours))
        for i, text in enumerate(column)
    ]


def test_a_column_that_is_a_multiple_of_another_is_found():
    (text,) = _texts(_columns(["30.6", "40.1", "24.5", "38.3"], ["36.7", "48.1", "29.4", "46.0"]))
    assert "hours is 1.2 times parameters_million in all 4 rows (36.7 / 30.6, 48.1 / 40.1, 29.4 / 24.5, 46.0 / 38.3)" in text
    assert _texts(_columns(["30.6", "40.1", "24.5", "38.3"], ["36.7", "48.1", "29.4", "46.2"])) == []
    assert _texts(_columns(["30.6", "40.1", "24.5"], ["36.7", "48.1", "29.4"])) == []
    assert _texts(_columns(["30.6", "30.7", "30.5", "30.6"], ["36.7", "36.8", "36.6", "36.7"])) == []


def test_a_claim_that_its_table_does_not_bear_out_is_found_and_a_tie_is_not_better():
    better, equal, worse = (_row(printed=text, method=f"m{i}") for i, text in enumerate(["0.499", "0.500", "0.501"]))
    own = _row(printed="0.500")
    assert broken(_claim(), [own, better]) is None
    assert "ssim is 0.500, and the same for m1" in broken(_claim(), [own, better, equal]).text
    assert "ssim is 0.500, and 0.501 for m2" in broken(_claim(), [own, better, equal, worse]).text
    assert broken(_claim(over="m0"), [own, better, equal, worse]) is None
    assert broken(_claim("fid"), [_row("fid", "9.0"), _row("fid", "9.5", method="m0")]) is None
    assert _texts([own, worse], [_claim()]) == [broken(_claim(), [own, worse]).text]


def test_a_rival_can_stand_in_another_table_and_be_a_variant():
    rows = [_row(printed="0.500", table="2", variant="CAM"), _row(printed="0.502", table="3", variant="no module")]
    claim = _claim(table="2", variant="CAM", over="3:cut (no module)")
    assert "ssim is 0.500, and 0.502 for cut (no module) in Table 3" in broken(claim, rows).text


@pytest.mark.parametrize(
    "fields", [{"over": "gone"}, {"over": "m0; 4:m0"}, {"method": "gone"}, {"over": "a b"}, {"table": "2"}]
)
def test_a_claim_about_numbers_that_are_not_there_is_refused(fields):
    with pytest.raises(ContractError, match=r"claims\.csv"):
        broken(_claim(**fields), [_row(), _row(method="m0")])


def test_a_claim_without_any_rival_is_refused():
    with pytest.raises(ContractError, match="cut stands alone"):
        broken(_claim(), [_row()])


# --- The papers ---


def _found(rows, claims, paper, table):
    return [finding.text for finding in findings(rows, claims) if (finding.paper, finding.table) == (paper, table)]


def test_the_known_contradictions_are_found(rows):
    (sruit,) = _found(rows, (), "sruit", "1")
    assert sruit.startswith("cyclegan")
    assert "0.929" in sruit
    assert "0.913 is printed" in sruit
    (semst,) = _found(rows, (), "semst", "2")
    assert semst.startswith("sepico (synthia_to_cityscapes")
    assert "56.8" in semst
    assert "57.3 is printed" in semst
    (table5,) = _found(rows, (), "s3oil", "5")
    assert "0.591 in Table 1" in table5
    (table6,) = _found(rows, (), "s3oil", "6")
    assert "1.2 times" in table6
    (table3,) = _found(rows, (), "s3oil", "3")
    assert "semi_i2i" in table3


def test_no_other_row_of_the_papers_is_accused_by_arithmetic(rows):
    places = Counter((finding.paper, finding.table) for finding in findings(rows))
    assert places == {("s3oil", t): 1 for t in "356"} | {("sruit", "1"): 1, ("semst", "2"): 1}


def test_texts_that_their_tables_do_not_bear_out_are_found(rows, claims):
    assert any("nima is 3.57, and 3.90 for sruit" in text for text in _found(rows, claims, "sruit", "3"))
    assert any("fid is 105.6, and 100.1 for s3oil (CAM)" in text for text in _found(rows, claims, "s3oil", "2"))
    assert not [finding for finding in findings(rows, claims) if finding.paper == "cdiffset"]


def test_in_plain_floats_the_same_rows_disagree(rows):
    """The arithmetic once more, without intervals: all but the rows that are found agree to the last digit or so."""
    far_f1, far_mean = [], []
    for result, row in by_result(rows).items():
        value = {metric: number.value for metric, number in row.items()}
        if {"precision", "recall", "f1"} <= set(value):
            f1 = 2 * value["precision"] * value["recall"] / (value["precision"] + value["recall"])
            far_f1 += [result] if abs(f1 - value["f1"]) > 0.002 else []
        ious = [number for metric, number in value.items() if metric.startswith("iou_")]
        if ious:
            far_mean += [result] if abs(sum(ious) / len(ious) - value["miou"]) > 0.002 else []
    assert [(r[0], r[1], r[5]) for r in far_f1] == [("sruit", "1", "cyclegan")]
    assert [(r[0], r[2], r[5]) for r in far_mean] == [("semst", "synthia_to_cityscapes", "sepico")]


def test_every_table_of_the_four_papers_has_a_protocol_and_every_protocol_rows(rows):
    without = {(row.paper, row.table) for row in rows if protocol_of(row) is None}
    assert without == {("s3oil", "section IV-C"), ("reflowset", "model zoo")}
    names = {protocol_of(row) for row in rows} - {None}
    assert len(names) == 23
    assert all(rows_for(name, rows) for name in names)
    assert rows_for("synthetic", rows) == []


def test_a_protocol_gets_its_rows_and_no_others(rows):
    found = rows_for("cdiffset-1-spacenet6", rows)
    assert {(row.paper, row.table, row.dataset) for row in found} == {("cdiffset", "1", "spacenet6")}
    (fid,) = [row for row in found if (row.method, row.metric) == ("cdiffset", "fid")]
    assert (fid.value, fid.printed) == (37.44, "37.44")


def test_a_table_is_named_as_a_sentence_names_it():
    assert [title_of(table) for table in ("1", "figure 9", "section IV-C")] == ["Table 1", "Figure 9", "Section IV-C"]


def test_a_metric_has_the_direction_and_unit_here_that_it_is_measured_in(rows):
    names = set(registry.names("metrics")) & set(METRICS)
    assert {"psnr", "ssim", "lpips", "scc", "total_variation"} <= names
    metrics = {name: registry.load_metric(name) for name in sorted(names)}
    assert all(metric.higher_is_better == METRICS[name].higher_is_better for name, metric in metrics.items())
    # here a share from 0 to 1 has no unit, wherever a paper prints it in per cent and a metric gives it so
    same = {("%", ""), *((unit, unit) for unit in ("", "dB", "grey levels"))}
    other = {name for name, metric in metrics.items() if (metric.unit, METRICS[name].unit) not in same}
    assert other == {"total_variation", "nima"}  # whose paper prints bare numbers
    printed = {(row.metric, row.unit) for row in rows}
    assert all((name, metrics[name].unit if name not in other else "") in printed for name in metrics)


def test_the_numbers_are_those_that_were_handed_over(rows):
    source = Path(os.environ.get("SARBENCH_DATA", "/nowhere")).parent / "published"
    if not source.is_dir():
        pytest.skip("SARBENCH_DATA names no folder with published/ beside it")
    renamed = {"tv": "total_variation"} | {name: f"iou_{name}" for name in CLASSES}
    place = {"section 4.C": "section IV-C"}
    for paper in ("s3oil", "cdiffset", "sruit", "semst"):
        with (source / f"{paper}.csv").open(newline="") as file:
            wanted = Counter(
                (place.get(r["table"], r["table"]), r["method"], renamed.get(r["metric"], r["metric"]), float(r["value"]))
                for r in csv.DictReader(file)
            )
        mine = [row for row in rows if row.paper == paper and row.setting != "journal version"]
        assert Counter((row.table, row.method, row.metric, float(row.printed)) for row in mine) == wanted


# --- The page ---


def test_the_committed_page_is_what_the_files_give():
    assert (FOLDER.parent / "published.md").read_text() == page(FOLDER)
    assert "[published.md](published.md)" in (FOLDER.parent / "README.md").read_text()


def test_every_number_finding_and_note_stands_on_the_page(rows, claims):
    text = page(FOLDER)
    cells = Counter(cell.strip(" *") for line in text.splitlines() if line.startswith("|") for cell in line.split("|"))
    assert all(cells[printed] >= n for printed, n in Counter(row.printed for row in rows).items())
    assert text.count("*(read)*") - 1 == sum(note.kind == "finding" for note in read_notes(FOLDER))
    for paper in read_papers(FOLDER):
        assert f"\n## {paper.paper}\n\n**{paper.title}**. {paper.authors}. {paper.venue}, {paper.year}, <{paper.link}>" in text
    plain = text.replace("\\", "")
    assert all(finding.text in plain for finding in findings(rows, claims))


def test_the_best_of_a_metric_is_bold_by_its_direction_and_what_sees_the_target_never_is():
    section = page(FOLDER).split("### Table 4, spacenet6")[1].split("###")[0]
    assert "**" not in section
    section = page(FOLDER).split("### Table 3, sen12ms")[1].split("###")[0]
    bold = {cell.strip(" *") for line in section.splitlines() for cell in line.split("|") if "**" in cell}
    assert bold == {"12.43", "0.1810", "0.593", "101.3"}
    assert section.count("**0.593**") == 2


def test_text_from_a_file_can_not_change_the_page(folder):
    text = page(folder(GOOD.replace("ms,,", "ms,a *b* <i>,")))
    assert "A \\| toy" in text
    assert "Some \\*One\\*" in text
    assert "&lt;b&gt;0.3&lt;/b&gt;" in text
    assert "A \\*b\\* &lt;i&gt;." in text


def test_the_page_is_the_same_bytes_in_another_process():
    code = "import sys, pathlib as p; from sarbench.bench.published_page import page as f; "
    code += "sys.stdout.buffer.write(f(p.Path(sys.argv[1])).encode())"
    env = {**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    out = subprocess.run([sys.executable, "-c", code, str(FOLDER)], check=True, env=env, capture_output=True).stdout
    assert out == (FOLDER.parent / "published.md").read_bytes()


def test_boards_are_written_with_the_page_and_checked_against_its_files(folder):
    root = folder().parent
    assert root / "published.md" in write_pages(root)
    assert check_pages(root) == []
    folder(GOOD.replace("0.25,0.250", "0.26,0.260"))
    assert check_pages(root) == [f"{root / 'published.md'} differs from what the files in published/ give"]


def test_findings_stand_in_the_order_of_the_tables(rows, claims):
    order = list(dict.fromkeys((row.paper, row.table) for row in rows))
    places = [order.index((finding.paper, finding.table)) for finding in findings(rows, claims)]
    assert places == sorted(places)
