import errno
import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time

import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.storage import (
    atomic,
    digest,
    file_digest,
    read_json,
    value_digest,
    write_bytes,
    write_json,
    write_text,
)


def test_a_written_file_holds_the_bytes_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def write_half(path, error):
    with atomic(path) as file:
        file.write(b"half")
        file.flush()
        assert len(list(path.parent.glob(".*.part"))) == 1
        raise error


def test_an_exception_in_the_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_keyboard_interrupt_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.bin", KeyboardInterrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_a_full_disk_is_one_error_that_names_the_file_and_leaves_nothing(tmp_path, monkeypatch, when):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, when, full)
    with pytest.raises(ContractError, match=r"a\.bin: the disk is full; free some space"):
        write_bytes(tmp_path / "a.bin", b"x" * 100)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_a_write_that_the_system_cuts_short_leaves_nothing_behind(tmp_path):
    script = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from sarbench.bench.errors import ContractError
        from sarbench.bench.storage import write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_bytes(Path({str(tmp_path)!r}) / "a.bin", b"x" * 100_000)
        except ContractError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "a.bin" in done.stdout and "File too large" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_a_file_is_an_error_that_names_the_target(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ContractError, match=r"can't write .*below"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_the_longest_file_name_of_the_system_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def _rewrite(path, stop):
    for i in range(10_000):
        write_bytes(path, bytes([i % 256]) * 200_000)
        if stop.is_set():
            return


def test_a_reader_never_sees_a_half_written_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"\x00" * 200_000)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=_rewrite, args=(path, stop))
    writer.start()
    seen = set()
    deadline = time.monotonic() + 20
    while len(seen) < 20 and time.monotonic() < deadline:
        data = path.read_bytes()
        assert len(data) == 200_000
        assert len(set(data)) == 1
        seen.add(data[0])
    stop.set()
    writer.join()
    assert len(seen) >= 2


def test_json_round_trips_and_does_not_depend_on_key_order(tmp_path):
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    write_json(one, {"b": [1, 2.5, None], "a": "é"})
    write_json(two, {"a": "é", "b": [1, 2.5, None]})
    assert one.read_bytes() == two.read_bytes()
    assert read_json(one) == {"b": [1, 2.5, None], "a": "é"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_with_nan_or_infinity_is_never_written(tmp_path, value):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe", b"[" * 200_000])
def test_broken_json_is_an_error_that_names_the_file(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ContractError, match=r"a\.json is not readable JSON"):
        read_json(tmp_path / "a.json")


def test_missing_files_are_errors_that_name_them(tmp_path):
    with pytest.raises(ContractError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ContractError, match=r"a\.bin can't be read"):
        file_digest(tmp_path / "a.bin")


def test_text_has_line_feeds_and_utf_8_on_every_system(tmp_path):
    write_text(tmp_path / "a", "é\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"


def test_a_digest_counts_the_borders_of_its_parts():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_the_digest_of_a_file_is_the_published_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-4's example
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_value_digest_ignores_key_order_and_sees_every_value():
    assert value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
    assert value_digest(json.loads(json.dumps({"a": [1.5]}))) == value_digest({"a": [1.5]})
