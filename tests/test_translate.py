"""Translating: the contract at the door, padding, files, and going on after a kill."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from sarbench.bench.dataset import Dataset, DatasetCard, Georeference, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_image, write_image
from sarbench.bench.interface import Card, Method, normal
from sarbench.bench.material import Images
from sarbench.bench.train import Hardware
from sarbench.bench.translate import BATCH_SIZE, translate, translate_padded, translate_split

CPU = Hardware()
WHERE = Georeference(rasterio.crs.CRS.from_epsg(32611).to_wkt(), (10.0, 0.0, 400000.0, 0.0, -10.0, 3800000.0))


class Add(Method):
    """Adds a tenth, and counts its calls."""

    card = Card(title="add", paper="this test", year=2026, supervision="none", channels="any", role="floor", size_multiple=8)
    calls = 0

    def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return (source + 0.1).clamp(-1, 1)


class Noise(Add):
    def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return normal(seeds, source.shape[1:], "noise").clamp(-1, 1)


class Made(Dataset):
    card = DatasetCard("made", "none", "none", "none", "image", "none", "none")
    source_channels = target_channels = 3
    where: Georeference | None = None

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i:02d}" for i in range(11))

    def read(self, sample_id: str, parts: Collection[str] = ()) -> Sample:
        number = int(sample_id[-2:])
        height = 24 if number < 9 else 20
        image = np.full((3, height, 16), number / 20, np.float32)
        image[:, 0, 0] = -1
        return Sample(image, -image)

    def georeference(self, sample_id: str) -> Georeference | None:
        return self.where


def split(folder: Path, method: Method, dataset: Dataset | None = None, **changes: Any) -> Any:
    dataset = dataset or Made()
    options: dict[str, Any] = {"seed": 0, "translation_key": "a", "crop_px": None, "hardware": CPU, "quiet": True}
    return translate_split(method, Images(dataset), dataset.ids("test"), folder, **{**options, **changes})


def test_every_image_is_written_once_in_its_own_size(tmp_path: Path) -> None:
    done = split(tmp_path, Add(None, 3, 3))
    assert done.images == 11
    assert read_image(tmp_path / "test/03.png").shape == (24, 16, 3)
    assert read_image(tmp_path / "test/10.png").shape == (20, 16, 3)
    assert read_image(tmp_path / "test/03.png")[5, 5, 0] == np.rint((3 / 20 + 0.1 + 1) * 127.5)


def test_a_size_that_is_no_multiple_is_reflected_and_cut_back() -> None:
    source = torch.rand(1, 3, 20, 13)
    out = translate_padded(Add(None, 3, 3), source, torch.zeros(1, dtype=torch.int64), CPU)
    torch.testing.assert_close(out, (source + 0.1).clamp(-1, 1))


def test_padding_may_be_larger_than_the_image() -> None:
    source = torch.rand(1, 3, 3, 2)
    assert translate_padded(Add(None, 3, 3), source, torch.zeros(1, dtype=torch.int64), CPU).shape == source.shape


def test_a_killed_run_keeps_the_images_it_made_and_another_key_does_not(tmp_path: Path) -> None:
    split(tmp_path, Add(None, 3, 3))
    kept = (tmp_path / "test/00.png").stat().st_mtime_ns
    (tmp_path / "test/05.png").unlink()
    assert split(tmp_path, Add(None, 3, 3)).images == 1
    assert (tmp_path / "test/00.png").stat().st_mtime_ns == kept
    assert split(tmp_path, Add(None, 3, 3), translation_key="b").images == 11


def test_noise_depends_on_the_image_and_the_seed_alone(tmp_path: Path) -> None:
    split(tmp_path / "whole", Noise(None, 3, 3))
    split(tmp_path / "parts", Noise(None, 3, 3))
    (tmp_path / "parts/test/07.png").unlink()
    split(tmp_path / "parts", Noise(None, 3, 3))
    one, two = (read_image(tmp_path / which / "test/07.png") for which in ("whole", "parts"))
    assert np.array_equal(one, two)
    split(tmp_path / "other", Noise(None, 3, 3), seed=1)
    assert not np.array_equal(one, read_image(tmp_path / "other/test/07.png"))


def test_every_batch_has_one_size(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Watch(Add):
        def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
            sizes.append(len(source))
            return source

    split(tmp_path, Watch(None, 3, 3))
    assert sizes == [BATCH_SIZE] * 3


def test_a_georeferenced_source_gives_a_geotiff_of_the_crops_place(tmp_path: Path) -> None:
    dataset = Made()
    dataset.where = WHERE
    split(tmp_path, Add(None, 3, 3), dataset, crop_px=8)
    with rasterio.open(tmp_path / "test/00.tif") as file:
        assert file.crs.to_epsg() == 32611
        assert tuple(file.transform)[:6] == (10.0, 0.0, 400000.0 + 4 * 10, 0.0, -10.0, 3800000.0 - 8 * 10)
        assert (file.height, file.width, file.count) == (8, 8, 3)


def test_more_bands_than_a_png_holds_are_written_as_tiff(tmp_path: Path) -> None:
    class Four(Add):
        def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
            return source[:, :1].expand(-1, 4, -1, -1)

    split(tmp_path, Four(None, 3, 4))
    assert read_image(tmp_path / "test/00.tif").shape == (24, 16, 4)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x[:, :, 1:], "gave images of shape"),
        (lambda x: x * float("nan"), "NaN or infinite"),
        (lambda x: x + 1.5, r"left \[-1, 1\]"),
        (lambda x: x[:, :1], "gave images of shape"),
    ],
)
def test_an_output_that_breaks_the_contract_is_refused(output: Any, message: str) -> None:
    method = Add(None, 3, 3)
    method.translate = lambda source, seeds: output(source)  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=message):
        translate(method, torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), CPU)


def test_a_full_disk_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ContractError, match=r"a\.png: the disk is full"):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
