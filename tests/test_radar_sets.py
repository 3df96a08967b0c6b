"""What the SAR and optical sets share: matching, draws, bands of a known kind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarbench.bench.errors import ContractError
from sarbench.bench.folders import matched
from sarbench.bench.images import write_image
from sarbench.datasets.families.radar_sets import named, read_bands, read_grey, read_lines, sampled


def test_a_fifth_of_20000_names_is_3999_and_of_3401_is_680() -> None:
    names = [f"{i}.png" for i in range(1, 20_001)]
    assert len(sampled(names)) == 3_999  # 20,000 (1 - 80 / 100) is just below 4,000 in floating point
    assert len(sampled(names[:3_401])) == 680


def test_the_draw_depends_on_the_names_alone() -> None:
    names = [f"{i}.png" for i in range(1, 20_001)]
    drawn = sampled(names)
    assert drawn == sampled(reversed(names))
    assert sorted(drawn)[:5] == ["10001.png", "10003.png", "10006.png", "10007.png", "1001.png"]


def test_names_give_the_groups_of_the_pattern(tmp_path: Path) -> None:
    for name in ("a_1.png", "b_2.png", "b_2.png.xml", "note.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c_3.png").mkdir()
    assert named(tmp_path, re.compile(r"(\w)_(\d)\.png")) == {"a_1": tmp_path / "a_1.png", "b_2": tmp_path / "b_2.png"}
    assert named(tmp_path / "nowhere", re.compile("(.)")) == {}


def test_samples_with_every_part_are_matched_in_order() -> None:
    one, two = Path("1"), Path("2")
    samples = matched({"source": {"b": one, "a": two}, "target": {"a": one, "b": two}})
    assert list(samples.items()) == [
        ("a", {"source": (two,), "target": (one,)}),
        ("b", {"source": (one,), "target": (two,)}),
    ]


def test_every_sample_without_a_part_is_named_in_one_error() -> None:
    with pytest.raises(
        ContractError, match=r"(?s)2 files have no partner.*\n  x has no target and no labels\n  y has no source"
    ):
        matched({"source": {"a": Path("x")}, "target": {"b": Path("y")}, "labels": {"b": Path("z")}})


def test_blank_lines_and_a_byte_order_mark_are_no_names(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n  b.png \n")
    assert read_lines(tmp_path / "list.txt") == ("a.png", "b.png")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractError, match=r"list\.txt can't be read as text"):
        read_lines(tmp_path / "list.txt")


def test_bands_come_in_the_order_asked_for_and_contiguous(tmp_path: Path) -> None:
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    write_image(tmp_path / "a.png", pixels)
    bands = read_bands(tmp_path / "a.png", 3, ("uint8",), (3, 1))
    assert np.array_equal(bands, pixels.transpose(2, 0, 1)[[2, 0]])
    assert bands.flags.c_contiguous


def test_grey_is_one_channel_or_three_equal_ones(tmp_path: Path) -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(5, 4, 1)
    write_image(tmp_path / "one.png", grey)
    write_image(tmp_path / "three.png", np.repeat(grey, 3, axis=2))
    assert np.array_equal(read_grey(tmp_path / "one.png"), grey[None, :, :, 0])
    assert np.array_equal(read_grey(tmp_path / "three.png"), grey[None, :, :, 0])


def test_a_grey_image_stays_grey_in_a_jpeg_of_three_channels(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(grey).convert("RGB").save(tmp_path / "a.jpg", quality=75)
    assert read_grey(tmp_path / "a.jpg").shape == (1, 64, 64)


def test_a_coloured_or_16_bit_image_is_not_grey(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.arange(60, dtype=np.uint8).reshape(5, 4, 3))
    with pytest.raises(ContractError, match=r"a\.png is coloured, but SAR is grey; turn it round"):
        read_grey(tmp_path / "a.png", hint="turn it round")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ContractError, match=r"b\.png holds uint16 values"):
        read_grey(tmp_path / "b.png")
