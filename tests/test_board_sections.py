"""The sections of a board: shares of the ceiling, scores by land cover, audit, misregistration."""

import math
import re

import numpy as np
import pytest

from sarbench.bench.board_page import compact, render
from sarbench.bench.pipeline import Bench
from sarbench.bench.records import RecordedClass, Store
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware

SLUG = "synthetic.tiny"
CEILING = {"method": "second_look", "role": "ceiling", "config": {"signature": "second-look;v1"}}
FLOOR = {"method": "identity", "role": "floor"}


@pytest.fixture
def page(make_run):
    def page(*runs):
        return render(SLUG, [make_run(**run).record for run in runs])

    return page


def section(page, title):
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def tables(text):
    """Each table as a dict: text of the first column, without markup -> head -> cell."""
    found = []
    for block in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if line.startswith("|")]
        if lines:
            rows = {re.sub(r"[\[\]`]|\(http.*?\)", "", row[0]): dict(zip(lines[0], row, strict=True)) for row in lines[2:]}
            found.append(rows)
    return found


# --- Shares of the ceiling ---


def test_a_share_lies_between_the_best_floor_and_the_ceiling(page):
    text = page(
        {"values": {"psnr": 20, "ssim": 0.5, "lpips": 0.4}},
        {**FLOOR, "values": {"psnr": 10, "ssim": 0.4, "lpips": 0.8}},
        {"method": "mean_color", "role": "floor", "values": {"psnr": 15, "ssim": 0.1, "lpips": 0.9}},
        {**CEILING, "values": {"psnr": 30, "ssim": 0.9, "lpips": 0.2}},
    )
    (table,) = tables(section(text, "Share of what can be reached"))
    assert [table["pix2pix"][head] for head in ("psnr (dB)", "ssim", "lpips")] == ["33 %", "20 %", "67 %"]
    assert table["best floor: 0 %"]["psnr (dB)"] == "15.00"
    assert table["second_look (ceiling): 100 %"]["ssim"] == "0.9000"
    assert "`second-look;v1`; another ceiling gives other shares" in section(text, "Share of what can be reached")


def test_shares_are_judged_on_shown_numbers(page):
    text = page(
        {"values": {"psnr": 20.004}},
        {**FLOOR, "values": {"psnr": 20}},
        {**CEILING, "values": {"psnr": 20.01}},
    )
    (table,) = tables(section(text, "Share of what can be reached"))
    assert table["pix2pix"]["psnr (dB)"] == "0 %"


def test_a_share_that_says_nothing_is_a_dash(page):
    text = page(
        {"method": "a", "values": {"ssim": "no weights", "psnr": 20}},
        {"method": "b", "values": {"psnr": [math.inf] * 4}},
        {**FLOOR, "values": {"psnr": 10, "ssim": 0.1, "lpips": 0.1}},
        {**CEILING, "values": {"psnr": 30, "ssim": 0.9, "lpips": 0.2}},
    )
    (table,) = tables(section(text, "Share of what can be reached"))
    assert (table["a"]["ssim"], table["b"]["psnr (dB)"]) == ("–", "–")  # no value; an infinite one
    assert table["a"]["lpips"] == table["b"]["lpips"] == "–"  # the ceiling does not beat the floor
    assert table["a"]["psnr (dB)"] == "50 %"


def test_without_a_floor_no_share_is_known(page):
    (table,) = tables(section(page({}, {**CEILING, "values": {"ssim": 0.9}}), "Share of what can be reached"))
    assert table["pix2pix"]["ssim"] == table["best floor: 0 %"]["ssim"] == "–"


def test_a_metric_that_does_not_rank_has_no_share(page):
    text = page({"audited": True}, {**FLOOR, "audited": True}, {**CEILING, "audited": True})
    (table,) = tables(section(text, "Share of what can be reached"))
    assert list(table["pix2pix"]) == ["method", "psnr (dB)", "ssim", "lpips"]


def test_a_metric_without_images_enough_or_a_measured_ceiling_has_no_share(make_run):
    records = [make_run(**run).record for run in ({}, FLOOR, {**CEILING, "values": {"lpips": "no weights"}})]
    few = [
        record.model_copy(
            update={"scores": {**record.scores, "psnr": record.scores["psnr"].model_copy(update={"ranked_from": 5})}}
        )
        for record in records
    ]
    (table,) = tables(section(render(SLUG, few), "Share of what can be reached"))
    assert list(table["pix2pix"]) == ["method", "ssim"]


def test_a_board_without_a_ceiling_has_no_shares(page):
    assert "Share of what can be reached" not in page({}, FLOOR)


def test_a_ceiling_ranks_nowhere_and_fools_no_metric(page):
    text = page({"values": {"ssim": 0.5}}, {**CEILING, "values": {"ssim": 0.9}})
    assert "gameable" not in text
    assert "second_look" not in section(text, "Methods")
    assert "None has been run yet" in section(text, "Floors")
    assert "`second_look`" in section(text, "What was run")


def test_a_board_of_unpaired_domains_says_why_it_has_no_honeypots(page):
    assert "None has been run yet" in section(page({}, FLOOR), "Honeypots")
    unpaired = {"terms": {"paired": False}}
    assert "no target belongs to a source" in section(page(unpaired, {**FLOOR, **unpaired}), "Honeypots")


# --- By land cover ---


def classes(**found):
    return {name: RecordedClass(pixels=n, psnr=psnr, ssim=ssim) for name, (n, psnr, ssim) in found.items()}


def test_each_class_has_its_share_of_the_pixels_and_the_best_of_methods_in_bold(page):
    text = page(
        {"method": "a", "by_class": classes(sea=(10, 20.0, 0.5), land=(90, 11.0, 0.2))},
        {"method": "b", "by_class": classes(sea=(10, 25.004, 0.4), land=(90, 10.0, 0.2))},
        {**FLOOR, "by_class": classes(sea=(10, 24.0, 0.1), land=(90, 5.0, 0.3))},
        {"method": "mean_color", "role": "floor", "by_class": classes(sea=(10, 9.0, 0.2), land=(90, 10.5, 0.1))},
    )
    psnr, ssim = tables(section(text, "By land cover"))
    assert list(psnr) == ["land", "sea"]
    assert psnr["sea"] == {"class": "sea", "pixels": "10 %", "`a`": "20.00†", "`b`": "**25.00**", "best floor": "24.00"}
    assert psnr["land"] == {"class": "land", "pixels": "90 %", "`a`": "**11.00**", "`b`": "10.00†", "best floor": "10.50"}
    assert ssim["land"] == {
        "class": "land",
        "pixels": "90 %",
        "`a`": "**0.2000**†",
        "`b`": "**0.2000**†",
        "best floor": "0.3000",
    }


def test_a_tie_with_the_best_floor_does_not_beat_it(page):
    text = page({"by_class": classes(sea=(9, 20.004, 0.5))}, {**FLOOR, "by_class": classes(sea=(9, 20.0, 0.4))})
    psnr, ssim = tables(section(text, "By land cover"))
    assert (psnr["sea"]["`pix2pix`"], ssim["sea"]["`pix2pix`"]) == ("**20.00**†", "**0.5000**")


def test_several_seeds_of_a_class_give_their_mean(page):
    text = page(*({"seed": i, "by_class": classes(sea=(10, psnr, 0.5))} for i, psnr in enumerate((20.0, 23.0))))
    assert tables(section(text, "By land cover"))[0]["sea"]["`pix2pix`"] == "**21.50**"


def test_an_exact_class_is_infinite_and_a_missing_one_a_dash(page):
    text = page(
        {"method": "a", "by_class": classes(sea=(1, None, 1.0), land=(200, 10.0, None))},
        {"method": "b", "by_class": classes(land=(200, 9.0, 0.5))},
        {"method": "c"},
    )
    psnr, ssim = tables(section(text, "By land cover"))
    assert [psnr["sea"][head] for head in ("pixels", "`a`", "`b`", "`c`", "best floor")] == ["<1 %", "**∞**", "–", "–", "–"]
    assert [ssim["land"][head] for head in ("`a`", "`b`")] == ["–", "**0.5000**"]


def test_a_board_without_labels_has_no_land_cover(page):
    assert "By land cover" not in page({}, FLOOR)


def test_the_name_of_a_class_can_not_change_the_page(page):
    hostile = {"a | b <script>": RecordedClass(pixels=3, psnr=1.0, ssim=0.5)}
    text = section(page({"by_class": hostile}), "By land cover")
    assert "<script>" not in text
    assert r"a \| b &lt;script&gt;" in text


# --- Audit ---


def test_what_does_not_rank_stands_in_the_audit_alone_without_marks(page):
    runs = ({"audited": True, "values": {"copy_ratio": 0.1}}, {**FLOOR, "audited": True}, {**CEILING, "audited": True})
    pot = {"method": "oracle_blur", "role": "honeypot", "audited": True, "values": {"copy_ratio": 9, "psnr_shift": 40}}
    text = page(*runs, pot)
    for title in ("Methods", "Floors", "Honeypots"):
        assert not re.search("copy|shift", section(text, title))
    (table,) = tables(section(text, "Audit"))
    assert list(table) == ["pix2pix", "identity (floor)", "oracle_blur", "second_look (ceiling)"]
    heads = ["method", "trained on", "seeds", r"psnr\_shift (dB) ↑", r"ssim\_shift ↑", r"copy\_ratio ↑"]
    assert list(table["pix2pix"]) == heads
    assert table["pix2pix"][r"copy\_ratio ↑"] == "0.1000"
    assert not re.search(r"\*\*|†|‡|gameable", section(text, "Audit"))
    assert "gameable" not in section(text, "Notes")
    assert "`copy_ratio`: `copy_ratio;v1`" in section(text, "Metric signatures")


def test_an_undefined_audit_has_its_footnote_among_the_notes(page):
    text = page({"audited": True, "values": {"copy_ratio": [1, math.nan, 1, 1]}})
    assert "– [1]" in section(text, "Audit")
    assert "[1] `copy_ratio`: undefined on 1 of 4 images" in section(text, "Notes")


def test_a_board_of_metrics_that_all_rank_has_no_audit(page):
    assert "## Audit" not in page({})
    assert "## Misregistration" not in page({})


# --- Misregistration ---


def test_a_line_says_how_many_images_fit_unshifted_and_where_the_others_do(page):
    text = page({"audited": True, "moves": [(0, 0), (1, -2), (1, -2), (0, 3)]})
    line = next(line for line in section(text, "Misregistration").splitlines() if line.startswith("- "))
    assert line == (
        "- `pix2pix`: best unshifted on 25 % of the images, next most often 1 px down and 2 px left (50 %); "
        "PSNR 20.00 → 21.00 dB (+1.00); SSIM 0.5000 → 0.5200 (+0.0200)."
    )


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ([(0, 0)] * 4, "best unshifted on every image;"),
        ([(-1, 0)] * 4, "best unshifted on no image, most often 1 px up (100 %);"),
        (
            [(-3, 3), (1, 0), (0, 1), (0, 0)],
            "on 25 % of the images, next most often 1 px right (25 %);",
        ),  # of equal ones the shortest
    ],
)
def test_shifts_in_words(page, moves, words):
    assert words in section(page({"audited": True, "moves": moves}), "Misregistration")


def test_the_shifts_of_all_seeds_are_counted_together(page):
    text = page(
        {"audited": True, "moves": [(0, 0)] * 4}, {"seed": 1, "audited": True, "moves": [(0, 0), (0, 0), (0, 0), (2, 0)]}
    )
    assert "best unshifted on 88 % of the images, next most often 2 px down (12 %)" in section(text, "Misregistration")


def test_a_metric_that_is_missing_on_either_side_is_left_out_or_alone(page):
    text = page({"audited": True, "moves": [(0, 0)] * 4, "values": {"psnr": [math.nan] * 4, "ssim_shift": "too small"}})
    assert section(text, "Misregistration").rstrip().endswith("best unshifted on every image; PSNR 21.00 dB there.")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The records of a small synthetic track: honeypots, ceiling and one floor; by name."""
    root = tmp_path_factory.mktemp("made")
    chosen = track("synthetic", "tiny", budget=8, options={"size_px": "64", "n_train": "6", "n_test": "4"})
    bench = Bench(chosen, Hardware(), root / "runs", root / "boards", quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARBENCH_ASSETS", str(root / "none"))
        patch.setenv("TORCH_HOME", str(root / "none"))
        records = [bench.run_honeypot(name) for name in ("oracle_blur", "oracle_shift")]
        return chosen.slug, [*records, bench.run_ceiling(), bench.run("identity", 0)], root


def test_on_a_board_a_perfect_image_shifted_by_2_px_beats_a_blur_once_shifts_are_forgiven(made):
    slug, records, _ = made
    text = render(slug, records)
    (loses,), (wins,) = tables(section(text, "Honeypots")), tables(section(text, "Audit"))
    for metric in ("psnr (dB) ↑", "ssim ↑"):
        assert float(loses["oracle_shift"][metric]) < float(loses["oracle_blur"][metric])
    assert wins["oracle_shift"][r"ssim\_shift ↑"] == "1.0000"
    assert float(wins["oracle_blur"][r"ssim\_shift ↑"]) < 1
    assert wins["oracle_shift"][r"psnr\_shift (dB) ↑"].startswith("∞")
    assert np.isfinite(float(wins["oracle_blur"][r"psnr\_shift (dB) ↑"]))
    lines = section(text, "Misregistration").splitlines()
    assert any(line.startswith("- `oracle_shift`: best unshifted on no image, most often 2 px down and 2 px") for line in lines)
    assert any(line.startswith("- `oracle_blur`: best unshifted on every image") for line in lines)


def test_the_ceiling_of_a_real_track_beats_its_floors_and_honeypots(made):
    slug, records, _ = made
    (table,) = tables(section(render(slug, records), "Share of what can be reached"))
    ceiling, floor = table["second_look (ceiling): 100 %"], table["best floor: 0 %"]
    blur = tables(section(render(slug, records), "Honeypots"))[0]["oracle_blur"]
    assert float(ceiling["psnr (dB)"]) > float(blur["psnr (dB) ↑"]) > float(floor["psnr (dB)"])


def test_the_short_table_names_what_was_not_measured_and_has_no_column_for_it(made):
    slug, _, root = made
    text = compact(Store(root / "boards").read(slug))
    assert "Not measured here: " in text
    assert "`kid`" in text.split("Not measured here: ")[1]
    assert "kid" not in text.split("Not measured here: ")[0]
    assert "copy" not in text
    assert "‡" not in text  # the distance of two sets was not measured, so that nothing is to be said of too few images
