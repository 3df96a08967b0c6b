"""`sarbench score` of a folder of PNG pairs as a process, start-up included, against the same job by torchmetrics.

SARBENCH_SPEED_PAIRS says how many pairs of 256x256 px (default: 64; figures that are published are of 500).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench import speed_jobs
from sarbench.bench.images import write_image

Race = Callable[..., None]

PAIRS = int(os.environ.get("SARBENCH_SPEED_PAIRS", "64"))
SIDE_PX = 256


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Translated and reference images, and random weights."""
    root = tmp_path_factory.mktemp("job")
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE_PX, SIDE_PX))
    for i in range(PAIRS):
        land = 60 + 90 * (np.sin((x + i) / 17) * np.cos(y / 23))[..., None] + rng.normal(0, 8, (SIDE_PX, SIDE_PX, 3))
        for side, image in (("reference", land), ("translated", land + rng.normal(0, 6, land.shape))):
            write_image(root / side / f"{i:04d}.png", np.clip(image, 0, 255).astype(np.uint8))
    speed_jobs.write_weights(root / "weights")
    return root / "translated", root / "reference", root / "weights"


def _job(name: str, *folders: Path) -> None:
    words = [sys.executable, "-m", "sarbench.bench.speed_jobs", name, *map(str, folders)]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("peer", ["torchmetrics", "floor"])
@pytest.mark.parametrize("cached", [False, True], ids=["first time", "references kept"])
def test_score(race: Race, folders: tuple[Path, Path, Path], tmp_path: Path, peer: str, cached: bool) -> None:
    """PSNR, SSIM, LPIPS and FID. `floor`: decoding and the networks' forwards on both sides alone."""
    if peer == "torchmetrics":
        pytest.importorskip("torch_fidelity", reason="torchmetrics takes its Inception network from torch-fidelity")
    elif cached:
        pytest.skip("the floor is of both sides")
    cache = (tmp_path / "cache",) if cached else ()
    if cached:  # by another set of translations, since those that were scored are kept too
        _, reference, weights = folders
        _job("own", reference, reference, weights, *cache)
    race(partial(_job, "own", *folders, *cache), {peer: partial(_job, peer, *folders)}, images=PAIRS, rounds=1)
