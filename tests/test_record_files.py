"""Records as hostile input: refused with the file named and nothing written, by the reader and by `sarbench leaderboard`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import cli, judged
from sarbench.bench.errors import ContractError
from sarbench.bench.judged import Judged, Subject, judged_images, read_matrices
from sarbench.bench.record_files import is_tricky, read_rows, refuse_bad_json, refuse_bad_names
from sarbench.bench.records import Store, recorded_card

RIGHT_TO_LEFT, ZERO_WIDTH, ESCAPE = "\u202e", "\u200b", "\x1b"


@pytest.fixture
def boards(make_run: Callable[..., Any], tmp_path: Path) -> Path:
    """A folder of boards with one record, which a test then spoils."""
    root = tmp_path / "boards"
    run = make_run()
    Store(root).write(run.record, run.rows)
    return root


def record_of(boards: Path) -> Path:
    return boards / "results/synthetic.tiny/pix2pix/0.json"


def changed(boards: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = record_of(boards)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def rows_changed(boards: Path, change: Callable[[str], str]) -> None:
    """Change the rows and the hash that the record has of them, as whoever forges one does."""
    path = record_of(boards)
    rows = change(path.with_suffix(".csv").read_text()).encode()
    path.with_suffix(".csv").write_bytes(rows)
    changed(boards, lambda value: value.update(rows_hash=hashlib.sha256(rows).hexdigest()))


def refused(boards: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `sarbench leaderboard` says of the record; it names the file, and writes nothing."""
    before = sorted(boards.rglob("*"))
    assert cli.main(["leaderboard", "--leaderboards", str(boards)]) == 1
    assert sorted(boards.rglob("*")) == before
    told = capsys.readouterr()
    assert not told.out
    assert all(c.isprintable() or c == "\n" for c in told.err)
    return told.err


DEEP = json.loads("[" * 20 + "]" * 20)
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a name with a pipe": (lambda r: r.update(method="a|b"), "method: String should match"),
    "a name with HTML": (lambda r: r.update(method="<script>"), "method: String should match"),
    "a name that leaves its folder": (lambda r: r.update(method="../../evil"), "method: String should match"),
    "a track that leaves its folder": (lambda r: r.update(slug="../evil.tiny"), "slug: String should match"),
    "an unknown field": (lambda r: r.update(stars=5), "stars: Extra inputs are not permitted"),
    "an unknown field within": (lambda r: r["cost"].update(price=5), r"cost.price: Extra inputs"),
    "a huge whole number": (lambda r: r["cost"].update(parameters=10**30), "a whole number of 31 digits"),
    "a number of thousands of digits": (lambda r: r.update(seed=10**4000), "a whole number of 4001 digits"),
    "a huge number": (lambda r: r["scores"]["psnr"].update(value=1e300), "scores.psnr.value: Input should be less than"),
    "a huge cost": (lambda r: r["cost"].update(seconds_per_image=1e300), "cost.seconds_per_image: Input should be less"),
    "NaN": (lambda r: r["cost"].update(seconds_per_image=float("nan")), "NaN is no number that JSON has"),
    "infinity": (lambda r: r["scores"]["ssim"].update(value=float("inf")), "Infinity is no number that JSON has"),
    "a huge text": (lambda r: r["card"].update(title="x" * 10_000), "card.title: String should have at most"),
    "a huge list": (lambda r: r["card"].update(deviations=["x"] * 10_000), "card.deviations: Tuple should have at most"),
    "deep nesting": (lambda r: r["config"].update(x=DEEP), "nested more than 16 deep"),
    "text that runs backwards": (lambda r: r["card"].update(title=f"good {RIGHT_TO_LEFT}dab"), r"record.card.title: control"),
    "text that moves the cursor": (lambda r: r["cost"].update(device=f"{ESCAPE}[2J"), r"record.cost.device: control"),
    "text that hides": (lambda r: r["dataset"].update(title=f"a{ZERO_WIDTH}b"), r"record.dataset.title: control"),
    "two lines": (lambda r: r["scores"]["ssim"].update(reason="a\n# b"), r"record.scores.ssim.reason: control"),
    "half a character": (lambda r: r["card"].update(licence="\ud800"), r"record.card.licence: control"),
    "a key that moves the cursor": (lambda r: r["config"].update({f"{ESCAPE}[2J": 1}), "characters in the key"),
    "a wrong hash of the rows": (lambda r: r.update(rows_hash="0" * 64), "0.csv beside it is not the one"),
    "no hash of the rows": (lambda r: r.update(rows_hash=None), "0.csv beside it is not the one"),
    "a wrong hash of the config": (lambda r: r["config"].update(learning_rate=1.0), "config_hash is not the hash"),
    "a wrong hash of the terms": (lambda r: r["terms"].update(share=0.2), "protocol_hash is not the hash"),
    "a judge of another type": (lambda r: r["terms"].update(judges=[[1]]), "protocol_hash is not the hash"),
    "an object for a text": (lambda r: r.update(variant={"a": 1}), "variant: Input should be a valid string"),
    "a list for the record": (lambda r: r.update(scores=[]), "scores: Input should be an object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_with_its_file_named_and_nothing_written(
    boards: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    change, words = HOSTILE[name]
    changed(boards, change)
    told = refused(boards, capsys)
    assert words in told
    assert f"{record_of(boards)}: " in told


def test_a_judge_that_no_list_could_hold_is_refused_by_name(make_run: Callable[..., Any]) -> None:
    said = Judged(signature="x;v1", reason="not measured: no weights")
    for terms in ({"judges": [["change_detection"]]}, {"judges": {"a": 1}}, {"judges": None}):
        with pytest.raises(ValueError, match="the protocol has no judge 'change_detection'"):
            make_run(terms=terms, judged={"change_detection": said})


def test_a_key_that_stands_twice_is_refused(boards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record_of(boards)
    path.write_text(path.read_text().replace('"method": "pix2pix"', '"method": "cut", "method": "pix2pix"'))
    assert "a key stands twice" in refused(boards, capsys)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Invalid JSON"),
        (b"\xff\xfe{}", "Invalid JSON"),
        (b'{"a": 1} x', "Invalid JSON"),
        (b"[" * 100_000, "nested more than"),
        (b'{"a":' * 50_000, "nested more than"),
        (b"null", "Input should be an object"),
    ],
)
def test_bytes_that_are_no_record_are_refused(
    boards: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    record_of(boards).write_bytes(data)
    assert words in refused(boards, capsys)


def test_a_link_is_not_followed(boards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in (".json", ".csv"):
        path = record_of(boards).with_suffix(suffix)
        secret = tmp_path / f"secret{suffix}"
        secret.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(secret)
        assert f"0{suffix} is a link, or no file" in refused(boards, capsys)
        path.unlink()
        path.write_bytes(secret.read_bytes())


def test_a_folder_whose_name_moves_the_cursor_is_named_without_doing_so(
    boards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_of(boards).parent.rename(boards / f"results/synthetic.tiny/{ESCAPE}[2J{RIGHT_TO_LEFT}")
    assert "belongs at synthetic.tiny/pix2pix/0.json" in refused(boards, capsys)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("20.0", "nan ", "is no number"),
        ("20.0", "2_0.0", "is no number"),
        ("20.0", "٢٠", "is no number"),
        ("20.0", "0x14", "is no number"),
        ("20.0", "", "is no number"),
        ("20.0", "1e999", "is too large"),
        ("20.0", "1e200", "larger than 1e+12, which no metric gives"),
        ("20.0", "20.0,5", "more or fewer than the 5 cells"),
        ("psnr", "psnr,psnr", "no column twice"),
        ("id,", "name,", "need the columns id and scene"),
        ("scene_0/tile_0", "../tile_0", "leaves its folder"),
        ("scene_0/tile_0", "/etc/passwd", "leaves its folder"),
        ("scene_0/tile_0", "scene_0//tile_0", "a part of it has no name"),
        ("scene_0/tile_0", "C:/tile_0", "no id of a sample"),
        ("scene_0/tile_0", "scene_0\\tile_0", "no id of a sample"),
        ("scene_0/tile_0", f"tile{RIGHT_TO_LEFT}gnp", "no id of a sample"),
        ("scene_0/tile_0", "x" * 400, "no id of a sample"),
        ("scene_0/tile_0,scene_0", f"scene_0/tile_0,a{ESCAPE}b", "no name of a scene"),
        ("scene_0/tile_0", '"scene_0/tile_0', "the rows can't be read"),
    ],
)
def test_hostile_rows_are_refused(boards: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str) -> None:
    rows_changed(boards, lambda text: text.replace(old, new))
    assert words in refused(boards, capsys)


def test_rows_of_a_giant_file_are_not_read(boards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with record_of(boards).with_suffix(".csv").open("r+b") as file:
        file.truncate(1 << 30)  # a hole: no disk is used
    assert "larger than 134217728 bytes: 0.csv" in refused(boards, capsys)


def test_a_hostile_card_is_refused_before_anything_is_trained() -> None:
    card = {"title": "ok", "paper": "10.1/x", "year": 2020, "supervision": "paired", "channels": "any"}
    assert recorded_card(card).title == "ok"
    with pytest.raises(ContractError, match=r"can't be recorded: record\.deviations\.0: control"):
        recorded_card({**card, "deviations": ("two\nlines",)})


def test_a_record_with_hostile_text_is_not_written_either(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(cost={"device": f"a{RIGHT_TO_LEFT}b"})
    with pytest.raises(ContractError, match=r"record\.cost\.device: control"):
        Store(tmp_path).write(run.record, run.rows)
    with pytest.raises(ContractError, match="leaves its folder"):
        Store(tmp_path).write(make_run().record, run.rows.assign(id=["../a", "b", "c", "d"]))
    assert not list(tmp_path.rglob("*"))


def test_text_of_every_script_is_no_trick() -> None:
    for text in ("Ål, Gemälde № 5", "合成開口レーダー", "رادار", "x\u00a0y", "naïve ± 3 µm"):
        assert not is_tricky(text)
    for text in (RIGHT_TO_LEFT, ZERO_WIDTH, ESCAPE, "\u2066", "\u2028", "\ue000", "\x7f", "\x85"):
        assert is_tricky(f"a{text}b")


def test_plain_names_and_numbers_pass() -> None:
    refuse_bad_names(["test/0000001", "a b/c.d", "..a/b..", "-rf", "№ 5"])
    rows = read_rows(b"id,scene,psnr\na,,1e-05\nb,,nan\nc,,inf\nd,,-0.1\n")
    assert rows["psnr"].tolist()[2:] == [float("inf"), -0.1]
    assert refuse_bad_json(b'{"a": [1, 2.5, null, "b"]}') == {"a": [1, 2.5, None, "b"]}


def test_hostile_matrices_are_refused(make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject, classes = Subject("fixed", "translated", "forward"), ("no change", "change")
    matrices = np.ones((4, 2, 2), np.int64)
    said = Judged(signature="x;v1", classes=classes, seeds=(0,), images=(judged_images(subject, [matrices], classes),))
    run = make_run(terms={"judges": ["change_detection"]}, judged={"change_detection": said})
    made = judged.Verdicts({"change_detection": said}, tuple(run.rows["id"]), {("change_detection", subject, 0): matrices})
    boards = tmp_path / "boards"
    path = Store(boards).write(run.record, run.rows, judged=made.to_csv()).with_suffix(".judged.csv")
    assert cli.main(["leaderboard", "--leaderboards", str(boards)]) == 0
    capsys.readouterr()
    good = path.read_bytes()

    def forged(data: bytes) -> str:
        path.write_bytes(data)
        changed(boards, lambda value: value.update(judged_hash=hashlib.sha256(data).hexdigest()))
        return refused(boards, capsys)

    assert "the pooled matrix is another" in forged(good.replace(b"1>1:1", b"1>1:7"))
    assert "a line that can't be read" in forged(good.replace(b"forward,0", "forward,٠".encode()))
    assert "not recorded, or one twice" in forged(good.replace(b"scene_0/tile_0", b"../../tile_0"))
    assert "no count" in forged(good.replace(b"1>1:1", b"1>1:1e9"))
    path.write_bytes(good)
    assert "0.judged.csv beside it is not the one" in refused(boards, capsys)
    path.unlink()
    assert "0.judged.csv beside it is missing" in refused(boards, capsys)
    path.symlink_to(tmp_path / "nowhere")
    assert "0.judged.csv is a link, or no file" in refused(boards, capsys)


def test_matrices_that_would_fill_the_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, ids = Subject("fixed", "translated", "forward"), ("a", "b")
    said = Judged(
        signature="x;v1",
        classes=("no change", "change"),
        seeds=(0,),
        images=(judged_images(subject, [np.ones((2, 2, 2), np.int64)], ("no change", "change")),),
    )
    monkeypatch.setattr(judged, "MOST_CELLS", 7)
    with pytest.raises(ContractError, match="more than 7 cells"):
        read_matrices(b"", {"change_detection": said}, ids)
