"""Each metric against the libraries that people use, on the same decoded images in the same run.

pytest bench/test_speed_metrics.py bench/test_speed_score.py --benchmark-json leaderboards/speed.json
sarbench leaderboard

A peer that is not installed (`pip install 'sarbench[certify]'`) is left out. Networks run under random weights, since their
speed does not depend on them; no value is shown. All begin at the same decoded bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sarbench.bench import registry, speed_peers
from sarbench.bench.metric import ImageBatch
from sarbench.bench.moments import frechet

Race = Callable[..., None]

SIDE_PX, IMAGES = 256, 16
FEW = 4  # images of a slow network


@pytest.fixture(scope="module")
def images() -> tuple[ImageBatch, ImageBatch]:
    """Textured pairs, 256x256 RGB, of 8 bits."""
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE_PX, SIDE_PX))
    land = 60 + 90 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] + rng.normal(0, 12, (IMAGES, SIDE_PX, SIDE_PX, 3))
    other = land + rng.normal(0, 15, land.shape)
    return ImageBatch(_bytes(other)), ImageBatch(_bytes(land))


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)


def _first(images: tuple[ImageBatch, ImageBatch], n: int) -> tuple[ImageBatch, ImageBatch]:
    translated, reference = images
    return ImageBatch(translated.pixels[:n]), ImageBatch(reference.pixels[:n])


@pytest.mark.parametrize("name", list(speed_peers.PIXELS))
def test_a_metric_of_pixels(race: Race, images: tuple[ImageBatch, ImageBatch], name: str) -> None:
    """16 pairs."""
    metric = registry.load_metric(name)
    assert metric.rows is not None
    sides = images[: len(metric.reads)]
    quick = name in ("psnr", "total_variation", "ergas")
    race(partial(metric.rows, *sides), speed_peers.of_pixels(name, images), images=IMAGES, repeats=20 if quick else 1)


@pytest.mark.parametrize("backbone", ["alex", "squeeze", "vgg"])
@pytest.mark.parametrize("kept", [False, True], ids=["both sides", "references kept"])
def test_lpips(race: Race, images: tuple[ImageBatch, ImageBatch], backbone: str, kept: bool) -> None:
    """Pairs of images under the lpips package's own network."""
    pairs = _first(images, FEW if backbone == "vgg" else IMAGES)
    own, package = speed_peers.lpips(backbone)
    peers = {"lpips": lambda: package(*map(speed_peers.symmetric, pairs))}
    if kept:
        run: Callable[[], Any] = partial(own.distances_prepared, pairs[0], own.prepare(pairs[1]))
    else:
        run = partial(own.distances, *pairs)
    race(run, peers, images=len(pairs[0]))


def test_inception_features(race: Race, images: tuple[ImageBatch, ImageBatch]) -> None:
    """What FID and KID read: 16 images, pytorch-fid's way of resizing on both sides."""
    pytest.importorskip("pytorch_fid", reason="the network is compared with pytorch-fid's")
    translated = images[0]
    own, package = speed_peers.inception()
    race(partial(own, translated), {"pytorch-fid": lambda: package(speed_peers.unit(translated))}, images=IMAGES)


@pytest.mark.parametrize("name", ["dbcnn", "nima", "nima@vgg16"])
def test_a_metric_without_reference(race: Race, images: tuple[ImageBatch, ImageBatch], name: str) -> None:
    """4 images."""
    pytest.importorskip("pyiqa", reason="the network is compared with pyiqa's")
    translated = _first(images, FEW)[0]
    own, package = speed_peers.no_reference(name)
    race(partial(own, translated), {"pyiqa": lambda: package(speed_peers.unit(translated))}, images=FEW)


@pytest.mark.parametrize(("n", "peer"), [(500, "pytorch-fid"), (500, "torchmetrics"), (2600, "torchmetrics")])
def test_the_frechet_distance(race: Race, n: int, peer: str) -> None:
    """Two sets of n feature vectors of 2048 values."""
    rng = np.random.default_rng(0)
    spread = np.arange(1.0, 2049) ** -0.5
    x, y = (np.abs(rng.standard_normal((n, 2048)) * spread + offset).astype(np.float32) for offset in (0, 0.02))
    race(partial(frechet, x, y), speed_peers.frechet(peer, x, y), rounds=1 if peer == "pytorch-fid" else 3)


@pytest.fixture(autouse=True)
def inference() -> Any:
    """Peers run as their documentation says: without gradients."""
    with torch.inference_mode():
        yield
