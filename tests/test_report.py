"""`sarbench report`: one page that holds all it needs, says what is missing, and shows hostile text as text."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sarbench.bench import cli
from sarbench.bench.errors import ContractError
from sarbench.bench.judged import Judged, Subject, judged_images
from sarbench.bench.records import Loaded, RecordedClass, Store
from sarbench.bench.report.page import MAX_BYTES, render
from sarbench.bench.report.samples import choose

SLUG = "synthetic.tiny"
HOSTILE = """</script><script>alert(1)</script>"'><img src=x onerror=alert(1)>\u202e{{ 7 * 7 }}"""
Make = Callable[..., Any]


class Page(HTMLParser):
    """What a page holds: its elements, its text, and the content of its scripts."""

    VOID = {"meta", "link", "img", "input", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def loaded(run: Any) -> Loaded:
    """A run as the store would read it."""
    key = sha256(f"{run.record.label} {run.record.seed}".encode()).hexdigest()
    return Loaded(run.record.model_copy(update={"rows_hash": key}), Path("unused"), run.rows.assign(scene=run.rows["scene"]))


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_runs(runs: Path, items: list[Loaded], side_px: int = 24) -> Path:
    """Pictures of every sample, and a log, of each item."""
    rng = np.random.default_rng(0)
    for sample_id in items[0].rows["id"]:
        for part in ("source", "target"):
            write(runs / SLUG / "reference" / part / f"{sample_id}.png", rng.integers(0, 256, (side_px, side_px, 3), np.uint8))
        for item in items:
            folder = runs / SLUG / item.record.label / str(item.record.seed)
            write(folder / "translated" / f"{sample_id}.png", rng.integers(0, 256, (side_px, side_px, 3), np.uint8))
    rows = [{"step": s, "images": 8 * s, "losses": {"G.l1": 9.0 / s, "D.gan": 0.5}} for s in range(1, 200)]
    log = runs / SLUG / items[0].record.label / "0" / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 200, "ima')
    return runs


@pytest.fixture
def board(make_run: Make) -> list[Loaded]:
    """Three methods, one of them called as badly as a record allows, a floor, a honeypot and a ceiling."""
    classes = {
        HOSTILE[:60]: RecordedClass(pixels=900, psnr=18.0, ssim=0.4),
        "water": RecordedClass(pixels=100, psnr=None, ssim=None),
    }
    runs = [
        make_run("pix2pix", values={"ssim": [0.5, 0.6, 0.4, 0.55], "psnr": [20, 21, 19, 20.5]}, by_class=classes),
        make_run("cut", values={"ssim": [0.4, 0.3, 0.5, 0.45]}, by_class=classes),
        make_run("cut", variant=HOSTILE, card={"title": HOSTILE, "paper": "javascript:alert(1)", "deviations": (HOSTILE,)}),
        make_run("identity", "floor", values={"ssim": [0.2, 0.1, 0.3, 0.2]}),
        make_run("oracle_blur", "honeypot", values={"ssim": 0.9, "lpips": "no weights <b>here</b>"}),
        make_run("second_look", "ceiling", config={"signature": "second-look;v1"}, values={"ssim": 0.95}),
    ]
    return [loaded(run) for run in runs]


@pytest.fixture
def runs(board: list[Loaded], tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs", board)


# --- What a page is ---


def test_a_page_is_well_formed_and_has_every_section(board: list[Loaded], runs: Path) -> None:
    page = Page(render(SLUG, board, runs, 24))
    sections = [section["id"] for section in page.every("section")]
    assert sections == ["board", "samples", "cost", "classes", "scenes", "training", "about"]
    assert {link["href"] for link in page.every("a") if str(link["href"]).startswith("#")} == {f"#{name}" for name in sections}


def test_a_page_names_no_address_that_a_browser_would_load(board: list[Loaded], runs: Path) -> None:
    page = Page(render(SLUG, board, runs, 24))
    loads = [
        str(attributes[name])
        for _, attributes in page.elements
        for name in ("src", "srcset", "data", "action")
        if name in attributes
    ]
    loads += [str(attributes["href"]) for attributes in page.every("link")]
    assert all(address.startswith("data:") for address in loads)
    assert {tag for tag, _ in page.elements}.isdisjoint({"iframe", "object", "embed", "base"})


def test_the_policy_allows_exactly_the_script_and_the_style_of_the_page(board: list[Loaded], runs: Path) -> None:
    from base64 import b64encode

    text = render(SLUG, board, runs, 24)
    (policy,) = [str(m["content"]) for m in Page(text).every("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'" in policy
    assert not re.search(r"<[^>]*\sstyle=", text), "an inline style would be refused"


def test_the_same_records_give_the_same_bytes_in_any_order(board: list[Loaded], runs: Path) -> None:
    assert render(SLUG, board, runs, 3) == render(SLUG, board[::-1], runs, 3)


def test_hostile_text_is_shown_as_text(board: list[Loaded], runs: Path) -> None:
    text = render(SLUG, board, runs, 24)
    page = Page(text)
    assert len(page.every("script")) == 3
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert not [link for link in page.every("a") if str(link["href"]).startswith("javascript")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in text
    assert "cut </script><script>" in " ".join(entry["name"] for entry in json.loads(page.scripts[1]))


def test_every_interactive_part_is_a_real_control_with_a_name(board: list[Loaded], runs: Path) -> None:
    page = Page(render(SLUG, board, runs, 24))
    assert not [
        attributes for tag, attributes in page.elements if tag not in ("a", "button") and attributes.get("role") == "button"
    ]
    assert all(button.get("type") == "button" for button in page.every("button"))
    (slider,) = [field for field in page.every("input") if field["type"] == "range"]
    assert slider["aria-label"]
    assert len(page.every("caption")) == len(page.every("table"))
    sorts = [head["aria-sort"] for head in page.every("th") if "aria-sort" in head]
    assert sorts.count("descending") == 1, "the board comes sorted by its main metric"
    assert all(region.get("aria-label") for region in page.every("div") if region.get("role") == "region")


def test_without_javascript_the_board_is_a_sorted_table(board: list[Loaded], runs: Path) -> None:
    text = render(SLUG, board, runs, 24)
    names = re.findall(r'<tr data-entry="(\d)" class="(\w+)">', text.split('id="samples"')[0])
    assert names[:6] == [("0", "method"), ("1", "method"), ("2", "method"), ("3", "floor"), ("4", "honeypot"), ("5", "ceiling")]


# --- What a page says ---


def test_bold_daggers_and_gameable_metrics_are_those_of_the_board(board: list[Loaded], runs: Path) -> None:
    text = render(SLUG, board, runs, 24)
    assert "ssim is gameable here: it ranks oracle_blur above every method." in Page(text).text
    assert text.count('class="num top"') >= 3
    assert "no weights &lt;b&gt;here&lt;/b&gt;" in text


def test_a_missing_folder_of_runs_is_said_and_the_rest_stands(board: list[Loaded], tmp_path: Path) -> None:
    page = Page(render(SLUG, board, tmp_path / "nowhere", 24))
    assert "No pictures: the folder of the runs holds nothing of synthetic.tiny." in page.text
    assert "No training log in the runs folder for: pix2pix, cut" in page.text
    assert page.scripts[0] == "null"
    assert str(tmp_path) not in page.text


def test_a_run_without_pictures_is_named_and_the_others_are_shown(board: list[Loaded], runs: Path) -> None:
    (runs / SLUG / "cut" / "0" / "translated").rename(runs / "away")
    page = Page(render(SLUG, board, runs, 24))
    assert "cut: no translated images of seed 0" in page.text
    images = json.loads(page.scripts[0])["samples"][0]["images"]
    assert [picture is None for picture in images] == [False, False, True, False, False, False]


def test_a_broken_picture_is_named_and_no_crash(board: list[Loaded], runs: Path) -> None:
    (runs / SLUG / "pix2pix" / "0" / "translated" / "scene_0" / "tile_0.png").write_bytes(b"no image")
    assert "pix2pix: left out, " in Page(render(SLUG, board, runs, 24)).text


def test_unpaired_samples_have_pictures_and_no_error_maps(board: list[Loaded], runs: Path) -> None:
    (runs / SLUG / "reference" / "target").rename(runs / "away")
    sample = json.loads(Page(render(SLUG, board, runs, 24)).scripts[0])["samples"][0]
    assert sample["source"] is not None
    assert sample["target"] is None
    assert None not in sample["images"]
    assert set(sample["errors"]) == {None}


def test_a_board_of_matchers_says_that_there_are_no_images(make_run: Make, tmp_path: Path) -> None:
    item = loaded(make_run("s2m2sar", terms={"task": "matching"}))
    assert "A matcher finds places and makes no images" in Page(render(SLUG, [item], write_runs(tmp_path, [item]), 24)).text


def test_training_curves_come_from_the_log_and_a_cut_line_is_passed_over(board: list[Loaded], runs: Path) -> None:
    page = Page(render(SLUG, board, runs, 24))
    assert "1,592 images, seed 0" in page.text
    assert len([svg for svg in page.every("svg") if svg.get("class") == "curve"]) == 2


def test_classes_and_scenes_have_their_tables(board: list[Loaded], runs: Path) -> None:
    text = Page(render(SLUG, board, runs, 24)).text
    assert "90 %" in text
    assert "ssim of every method (rows) on 2 scenes" in text


def test_judges_stand_on_the_page_where_they_said_something(make_run: Make, tmp_path: Path) -> None:
    classes = ("no change", "change")
    matrices = [np.array([[[90, 2], [3, 5]]] * 4), np.array([[[91, 1], [4, 4]]] * 4)]
    fooling = [np.array([[[92, 0], [0, 8]]] * 4)] * 2
    subjects = [Subject("fixed", kind, "forward") for kind in ("source", "translated", "noise")]  # type: ignore[arg-type]
    said = Judged(
        signature="change_detection;tiny;v1",
        classes=classes,
        seeds=(0, 1),
        images=tuple(judged_images(s, fooling if s.images == "noise" else matrices, classes) for s in subjects),
    )
    terms = {"judges": ("change_detection",)}
    items = [loaded(make_run(name, judged={"change_detection": said}, terms=terms)) for name in ("pix2pix", "cut")]
    page = Page(render(SLUG, items, tmp_path, 24))
    assert "judges" in [section["id"] for section in page.every("section")]
    assert "the source itself: the floor" in page.text
    assert "over 2 judge seeds" in page.text
    assert "Artefacts planted in the source raise f1[change,pooled]: noise by" in page.text


def test_a_judge_that_said_nothing_gives_its_reason(make_run: Make, tmp_path: Path) -> None:
    said = Judged(signature="change_detection;tiny;v1", reason="no second date <here>")
    item = loaded(make_run(judged={"change_detection": said}, terms={"judges": ("change_detection",)}))
    assert "no second date <here>" in Page(render(SLUG, [item], tmp_path, 24)).text


def test_a_board_where_nothing_was_measured_still_has_a_page(make_run: Make, tmp_path: Path) -> None:
    item = loaded(make_run(values=dict.fromkeys(("psnr", "ssim", "lpips"), "no weights")))
    assert "no weights" in Page(render(SLUG, [item], write_runs(tmp_path, [item]), 24)).text


# --- Which samples ---


def test_worst_best_and_most_disputed_samples_are_taken_in_turn() -> None:
    values = np.array([[0.1, 0.5, 0.2, 0.9, 0.6], [0.1, 0.5, 0.8, 0.9, 0.6]])
    assert choose(values, 3, higher_is_better=True) == [0, 3, 2]
    assert choose(values, 3, higher_is_better=False) == [3, 0, 2]
    assert sorted(choose(values, 9, higher_is_better=True)) == [0, 1, 2, 3, 4]


def test_values_that_are_not_finite_take_no_part_in_the_choice() -> None:
    values = np.array([[np.nan, 0.5, np.inf], [np.nan, 0.5, 0.4]])
    assert choose(values, 3, higher_is_better=True) == [2, 1, 0]


# --- The command ---


def test_the_command_writes_a_page_for_each_board(make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    Store(tmp_path / "boards").write(run.record, run.rows)
    words = [
        "report",
        "--leaderboards",
        str(tmp_path / "boards"),
        "--runs",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(words) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{SLUG}.html"]
    assert "wrote" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"), [(["nope"], "choose from: synthetic.tiny"), (["--samples", "0"], "show at least 1")]
)
def test_a_wrong_wish_is_refused(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    run = make_run()
    Store(tmp_path).write(run.record, run.rows)
    assert cli.main(["report", "--leaderboards", str(tmp_path), *words]) == 1
    assert said in capsys.readouterr().err


def test_a_folder_without_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--leaderboards", str(tmp_path)]) == 1
    assert "holds no records" in capsys.readouterr().err


# --- Size ---


@pytest.mark.slow
def test_thirty_methods_and_24_samples_of_256_px_fit_into_15_megabytes(make_run: Make, tmp_path: Path) -> None:
    ids = [f"test/{i:04d}" for i in range(24)]
    run, rng = make_run(), np.random.default_rng(1)
    rows = run.rows.iloc[[0] * 24].assign(id=ids, scene=ids, ssim=rng.uniform(0.2, 0.8, 24)).reset_index(drop=True)
    dataset = run.record.dataset.model_copy(update={"n_test": 24})
    items = [
        Loaded(
            run.record.model_copy(update={"method": f"method_{k}", "dataset": dataset, "rows_hash": f"{k:064d}"}),
            Path("unused"),
            rows.assign(ssim=rows["ssim"] + 0.001 * k),
        )
        for k in range(30)
    ]
    for sample_id in ids:
        field = cv2.GaussianBlur(rng.normal(128, 160, (256, 256, 3)), (0, 0), 1.2)
        pixels = np.clip(field + rng.normal(0, 6, field.shape), 0, 255).astype(np.uint8)
        write(tmp_path / SLUG / "reference" / "target" / f"{sample_id}.png", pixels)
        write(tmp_path / SLUG / "reference" / "source" / f"{sample_id}.png", pixels[::-1])
        write(tmp_path / SLUG / "method_0" / "0" / "translated" / f"{sample_id}.png", pixels[:, ::-1])
    for k in range(1, 30):
        (tmp_path / SLUG / f"method_{k}" / "0").mkdir(parents=True)
        (tmp_path / SLUG / f"method_{k}" / "0" / "translated").symlink_to(tmp_path / SLUG / "method_0" / "0" / "translated")
    text = render(SLUG, items, tmp_path, 24)
    assert 2_000_000 < len(text.encode()) < MAX_BYTES
    samples = json.loads(Page(text).scripts[0])["samples"]
    assert len(samples) == 24
    assert all(None not in sample["images"] + sample["errors"] and len(sample["images"]) == 30 for sample in samples)


def test_what_does_not_fit_is_refused_with_the_remedy(board: list[Loaded], runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarbench.bench.report.page.MAX_BYTES", 50_000)
    with pytest.raises(ContractError, match="fewer --samples"):
        render(SLUG, board, runs, 24)


def test_the_files_of_the_page_are_installed_with_the_package() -> None:
    root = Path(__file__).parent.parent
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["sarbench.bench.report"]
    assert sorted(listed) == sorted(p.name for p in (root / "bench" / "report").iterdir() if p.is_file() and p.suffix != ".py")
