"""Submissions: packed to the same bytes, opened without trust, scored again, kept with a mark that says what was verified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sarbench.bench import cli, submission
from sarbench.bench.board_page import render
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image, write_image
from sarbench.bench.records import Store, Submitted
from sarbench.bench.submission import MANIFEST, pack, unpack
from sarbench.bench.submit import EXAMPLE, accept, read_about

SLUG = "pairs.blobs.tiny"
ABOUT = """
name = "closed_net"
title = "Closed Net"
link = "https://example.org/closed"
authors = ["A. Author", "B. Author"]
year = 2026
supervision = "paired"
parameters = 1_000
training_images = 12_000
deviations = ["none that it tells"]
config = { learning_rate = 1e-4 }
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, somebody's translations of them, and their submission; not to be changed."""
    root = tmp_path_factory.mktemp("submit")
    rng = np.random.default_rng(0)
    for split, n in (("train", 2), ("test", 3)):
        for i in range(n):
            grey = cv2.resize(rng.integers(0, 255, (8, 8), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)[..., None]
            colour = np.concatenate([grey, 255 - grey, grey // 2], axis=2)
            write_image(root / "blobs" / split / "sar" / f"{i}.png", grey)
            write_image(root / "blobs" / split / "opt" / f"{i}.png", colour)
            if split == "test":
                write_image(root / "mine" / "test" / f"{i}.png", colour // 2 + 40)
    (root / "about.toml").write_text(ABOUT)
    assert submit(root) == 0
    return root


@pytest.fixture
def world(done: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    return tmp_path


def submit(root: Path, *words: object, out: str = "sent.zip") -> int:
    usual = [root / "mine", "--about", root / "about.toml", "--protocol", "pairs", "--preset", "tiny"]
    return cli.main(
        [
            "submit",
            *map(str, words or usual),
            *map(str, ["--data", root / "blobs", "--runs", root / "runs", "--out", root / out]),
        ]
    )


def verify(root: Path, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    usual = [root / "sent.zip", "--data", root / "blobs", "--runs", root / "runs", "--json"]
    code = cli.main(["verify", *map(str, [*usual, *words])])
    return code, json.loads(capsys.readouterr().out)


# --- What an honest sender and reviewer see ---


def test_the_same_images_give_the_same_bytes(world: Path) -> None:
    before = zipfile.ZipFile(world / "sent.zip")
    entries = {info.filename: before.read(info) for info in before.infolist()}
    images = {
        name.removeprefix("images/")[:-4]: world / "mine" / name.removeprefix("images/") for name in entries if "/" in name
    }
    for i, folder in enumerate(("a", "b")):
        os.utime(world / "mine/test/0.png", (i, i))
        pack(world / folder / "x.zip", entries["record.json"], entries["rows.csv"], images)
    assert (world / "a/x.zip").read_bytes() == (world / "b/x.zip").read_bytes() == (world / "sent.zip").read_bytes()


def test_a_method_of_closed_code_is_verified_and_kept_with_its_mark(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = verify(world, capsys, "--sample", "100%", "--accept", world / "boards")
    assert (code, found["outcome"]) == (0, "agree")
    (loaded,) = Store(world / "boards").read(SLUG)
    assert loaded.record.submitted is not None
    assert loaded.record.submitted.verified
    assert loaded.record.card.deviations == ("none that it tells",)
    assert loaded.record.scores["psnr"].n == 3
    page = (world / f"boards/{SLUG}.md").read_text()
    assert "[`closed_net`](https://example.org/closed) (submitted, images verified, training not)" in page
    assert "submitted by A. Author, B. Author" in page
    assert "every row was submitted" in page
    assert cli.main(["leaderboard", "--leaderboards", str(world / "boards"), "--check"]) == 0
    with pytest.raises(ContractError, match="is there already"):
        accept(loaded.record, loaded.rows, world / "mine", world / "boards")


def test_only_a_whole_verification_is_kept(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(world / "sent.zip"), "--accept", str(world / "boards")]) == 1
    assert "give its .zip and --sample 100%" in capsys.readouterr().err
    assert not (world / "boards").exists()


def test_a_run_of_this_suite_is_sent_by_its_record(world: Path, make_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert unpack(world / "sent.zip", world / "x")[0].method == "closed_net"
    record = world / "x/record.json"
    value = json.loads(record.read_text()) | {"submitted": None}
    record.write_text(json.dumps(value))
    words = [world / "mine", "--record", record]
    assert submit(world, *words, out="again.zip") == 1
    assert "say who sends this record: --author NAME" in capsys.readouterr().err
    assert submit(world, *words, "--author", "C. Sender", out="again.zip") == 0
    again, _ = unpack(world / "again.zip", world / "y")
    assert again.submitted is not None
    assert again.submitted.authors == ("C. Sender",)
    assert submit(world, *words, "--author", "x\u202ey", out="bad.zip") == 1
    assert not (world / "bad.zip").exists()


def test_a_board_says_what_was_not_verified(make_run: Any) -> None:
    sent = Submitted(authors=("A|B",), images_hash="a" * 64)
    page = render("synthetic.tiny", [make_run("pix2pix").record, make_run("mine", submitted=sent).record])
    assert "`mine`](https://arxiv.org/abs/1611.07004) (submitted, images not verified, training not)" in page
    assert r"submitted by A\|B" in page
    assert "--method pix2pix" in page


# --- What submit refuses ---


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "test/1.png").unlink(), "1 are missing: test/1"),
        (lambda folder: shutil.copy(folder / "test/1.png", folder / "test/9.png"), "1 are of no test image: test/9"),
        (lambda folder: (folder / "test").rename(folder / "tset"), "3 are missing: test/0"),
        (lambda folder: write_image(folder / "test/1.png", np.zeros((64, 65, 3), np.uint8)), "64x65x3 uint8, expected 64x64x3"),
        (lambda folder: write_image(folder / "test/1.png", np.zeros((64, 64, 1), np.uint8)), "64x64x1 uint8, expected"),
        (lambda folder: cv2.imwrite(str(folder / "test/1.png"), np.zeros((64, 64, 4), np.uint8)), "alpha channel"),
        (lambda folder: as_tiff(folder / "test/1.png", np.full((64, 64, 3), np.nan, np.float32)), "float32, expected"),
        (lambda folder: (folder / "test/1.png").write_bytes(b""), "is an empty file"),
    ],
)
def test_images_that_do_not_belong_to_the_track_are_all_named(
    world: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], words: str
) -> None:
    (world / "sent.zip").unlink()
    spoil(world / "mine")
    assert submit(world) == 1
    assert words in capsys.readouterr().err
    assert not (world / "sent.zip").exists()


def as_tiff(path: Path, pixels: np.ndarray) -> None:
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".tif")), pixels)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"closed_net"', '"pix2pix"', "the suite has a 'pix2pix' already"),
        ('"closed_net"', '"oracle_blur"', "the suite has a 'oracle_blur' already"),
        ('"closed_net"', '"../evil"', "name: String should match pattern"),
        ("https://example.org/closed", "javascript:alert(1)", "neither a plain http address nor a DOI"),
        ('"Closed Net"', '"Closed\\u202eteN"', "control, direction or invisible"),
        ("1_000", "nan", "can't be used"),
        ("1_000", "-1", "parameters: Input should be greater"),
        ("12_000", "12_001", "12001 training images, but pairs.blobs.tiny allows 12000"),
        ("authors = [", "stars = 5\nauthors = [", "stars: Extra inputs are not permitted"),
        ("deviations = ", "# ", "deviations: Field required"),
        ('["A. Author", "B. Author"]', "[]", "authors: Tuple should have at least 1 item"),
        ("2026", "2026-01-01", "can't be used"),
        ("year", "year year", "can't be used"),
    ],
)
def test_a_description_that_can_not_be_used_says_why(
    world: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    (world / "about.toml").write_text(ABOUT.replace(old, new))
    (world / "sent.zip").unlink()
    assert submit(world) == 1
    assert words in capsys.readouterr().err
    assert not (world / "sent.zip").exists()


def test_the_example_of_a_description_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "about.toml").write_text(EXAMPLE)
    about = read_about(tmp_path / "about.toml")
    (tmp_path / "about.json").write_text(about.model_dump_json())
    assert read_about(tmp_path / "about.json") == about


# --- What a reviewer is safe from ---


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], None], *, promise: bool = True, infos: Any = None) -> None:
    """A submission with other files, its manifest made to fit; `infos`: what the archive says of a file, by its name."""
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    change(files)
    if promise:
        files.pop(MANIFEST, None)
        entries = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
        files = {MANIFEST: json.dumps({"format": submission.FORMAT, "files": entries}).encode(), **files}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            for key, value in (infos or {}).get(name, {}).items():
                setattr(info, key, value)
            archive.writestr(info, data)


def record_changed(files: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(files["record.json"])
    change(value)
    files["record.json"] = json.dumps(value).encode()


PNG = "images/test/1.png"
ATTACKS: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a name that leaves the folder": (lambda f: f.update({"../../evil.png": b"x"}), "is no image of a submission"),
    "an image's name that leaves it": (lambda f: f.update({"images/../../evil.png": b"x"}), "is no image of a row"),
    "an absolute name": (lambda f: f.update({"/tmp/evil.png": b"x"}), "is no image of a submission"),
    "a file of another kind": (lambda f: f.update({"images/test/1.exe": b"x"}), "is no image of a submission"),
    "an image of two kinds": (lambda f: f.update({"images/test/1.tif": b"x"}), "one that is there twice"),
    "an image that is missing": (lambda f: f.pop(PNG), "1 rows have no image"),
    "no record": (lambda f: f.pop("record.json"), "it holds no record.json"),
    "another image": (lambda f: f.update({PNG: f["images/test/2.png"]}), "not those that its record names"),
    "a record that calls itself verified": (
        lambda f: record_changed(f, lambda r: r["submitted"].update(verified=True)),
        "calls itself verified",
    ),
    "a record that nobody sent": (lambda f: record_changed(f, lambda r: r.update(submitted=None)), "does not say who"),
    "a record with an unknown field": (lambda f: record_changed(f, lambda r: r.update(stars=5)), "stars: Extra inputs"),
    "rows with a name that leaves": (
        lambda f: f.update({"rows.csv": f["rows.csv"].replace(b"test/1", b"../1")}),
        "leaves its folder",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_forged_submission_is_refused_and_leaves_nothing_behind(
    world: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    change, words = ATTACKS[name]
    rebuilt(world / "sent.zip", change)
    before = sorted(world.parent.rglob("*"))
    code, found = verify(world, capsys)
    assert code == 1
    assert words in found["cells"][0]["why"]
    assert sorted(world.parent.rglob("*")) == before
    assert not Path("/tmp/evil.png").exists()


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ({PNG: {"external_attr": (stat.S_IFLNK | 0o777) << 16}}, "is a link, a folder, a device or encrypted"),
        ({PNG: {"external_attr": (stat.S_IFIFO | 0o777) << 16}}, "is a link, a folder, a device or encrypted"),
        ({PNG: {"compress_type": zipfile.ZIP_DEFLATED}}, "is compressed"),
        ({PNG: {"compress_type": zipfile.ZIP_BZIP2}}, "is compressed"),
    ],
)
def test_an_archive_with_a_trick_in_its_directory_is_refused(
    world: Path, capsys: pytest.CaptureFixture[str], infos: Any, words: str
) -> None:
    rebuilt(world / "sent.zip", lambda files: None, infos=infos)
    code, found = verify(world, capsys)
    assert code == 1
    assert words in found["cells"][0]["why"]


def test_a_bomb_is_refused_before_it_is_unpacked(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rebuilt(
        world / "sent.zip", lambda f: f.update({PNG: b"\0" * (64 << 20)}), infos={PNG: {"compress_type": zipfile.ZIP_DEFLATED}}
    )
    assert (world / "sent.zip").stat().st_size < 1 << 20
    code, found = verify(world, capsys)
    assert code == 1
    assert "nothing in a submission is, so that it can't grow" in found["cells"][0]["why"]


def test_an_image_that_claims_to_be_huge_is_never_decoded(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((world / "mine/test/1.png").read_bytes())
    data[16:24] = (9_000).to_bytes(4, "big") * 2
    images = {f"test/{i}": world / f"mine/test/{i}.png" for i in range(3)}
    (world / "mine/test/1.png").write_bytes(data)

    def forge(files: dict[str, bytes]) -> None:
        files[PNG] = bytes(data)
        record_changed(files, lambda record: record["submitted"].update(images_hash=submission.images_hash(images)))

    rebuilt(world / "sent.zip", forge)
    code, found = verify(world, capsys)
    assert code == 1
    assert (
        "can't be read as an image" in found["cells"][-1]["why"] or "9000x9000x3 uint8, expected" in found["cells"][-1]["why"]
    )


def test_a_file_that_stands_twice_overlaps_or_lies_about_itself_is_refused(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, good = world / "sent.zip", (world / "sent.zip").read_bytes()
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("record.json", b"{}")
    assert "a file is in it twice" in verify(world, capsys)[1]["cells"][0]["why"]
    path.write_bytes(good)
    rebuilt(path, lambda files: files.update({PNG: files[PNG] + b"\0"}), promise=False)
    assert "not the file that the manifest names" in verify(world, capsys)[1]["cells"][0]["why"]
    for spoiled in (good[: len(good) // 2], b"", b"PK", good[:-30] + b"\xff" * 30):
        path.write_bytes(spoiled)
        code, found = verify(world, capsys)
        assert code == 1
        assert "no submission that can be read" in found["cells"][0]["why"]


@pytest.mark.parametrize(
    "manifest", [b"[]", b"{}", b'{"format": "x", "files": {}}', b'{"format": "sarbench submission 1", "files": [1]}']
)
def test_a_manifest_that_is_none_is_refused(world: Path, capsys: pytest.CaptureFixture[str], manifest: bytes) -> None:
    rebuilt(world / "sent.zip", lambda files: files.update({MANIFEST: manifest}), promise=False)
    code, found = verify(world, capsys)
    assert code == 1
    assert "its manifest is not one of" in found["cells"][0]["why"]


def test_altered_scores_of_a_submission_are_found(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def forge(files: dict[str, bytes]) -> None:
        rows = files["rows.csv"].decode().splitlines()
        a, b = (rows[i].split(",") for i in (1, 2))
        a[2:], b[2:] = b[2:], a[2:]
        files["rows.csv"] = ("\n".join([rows[0], ",".join(a), ",".join(b), *rows[3:]]) + "\n").encode()
        record_changed(files, lambda record: record.update(rows_hash=hashlib.sha256(files["rows.csv"]).hexdigest()))

    rebuilt(world / "sent.zip", forge)
    code, found = verify(world, capsys, "--sample", "100%", "--accept", world / "boards")
    assert code == 1
    assert {cell["row"] for cell in found["cells"] if cell["what"] == "psnr" and cell["outcome"] == "differ"} == {
        "test/0",
        "test/1",
    }
    assert not (world / "boards").exists()
    assert read_image(world / "mine/test/0.png").shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"method": "oracle_blur"}, "name"),
        ({"method": "pix2pix_upper_bound"}, "name"),
        ({"role": "floor"}, "role"),
        ({"budget": {"images": 12_001, "steps": 0, "batch_size": 10**6}}, "budget"),
    ],
)
def test_claims_of_a_submission_are_checked(world: Path, capsys: pytest.CaptureFixture[str], change: Any, what: str) -> None:
    rebuilt(world / "sent.zip", lambda files: record_changed(files, lambda record: record.update(change)))
    code, found = verify(world, capsys)
    assert code == 1
    assert what in {cell["what"] for cell in found["cells"] if cell["outcome"] == "differ"}


def test_the_name_of_a_method_of_the_suite_is_kept_by_its_own_code_alone(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebuilt(world / "sent.zip", lambda files: record_changed(files, lambda record: record.update(method="pix2pix")))
    code, found = verify(world, capsys, "--sample", "100%", "--accept", world / "boards")
    assert code == 2
    assert [cell["what"] for cell in found["cells"] if cell["outcome"] == "cannot check"] == ["code hash"]
    assert not (world / "boards").exists()
