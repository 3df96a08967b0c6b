"""Whole jobs as processes, for bench/test_speed_score.py: two folders of PNG in, four numbers out.

python -m sarbench.bench.speed_jobs JOB TRANSLATED_DIR REFERENCE_DIR WEIGHTS_DIR [CACHE_DIR]

`own` is `sarbench score` with PSNR, SSIM, LPIPS and FID; `torchmetrics` computes the same as its documentation shows; `floor`
decodes and runs the networks, and computes nothing of it. The weights are random: what these print is no score.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

BATCH_SIZE = 8
NAMES = {"inception": "inception.pth", "alexnet": "alexnet.pth"}


def write_weights(folder: Path) -> None:
    """Random weights of both networks, in the layout of the published files."""
    import torch
    import torchvision

    from sarbench.bench.speed_peers import inception_state

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(inception_state(), folder / NAMES["inception"])
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), folder / NAMES["alexnet"])


def own(translated: Path, reference: Path, weights: Path, cache: Path | None) -> None:
    """`sarbench score`, where random weights are taken for the published ones."""
    from sarbench.bench import assets, cli

    def find(name: str) -> Path:
        return weights / NAMES["alexnet" if name == "alexnet" else "inception"]

    words = ["score", str(translated), str(reference)]
    for name in ("psnr", "ssim", "lpips", "fid"):
        words += ["--metric", name]
    with mock.patch.object(assets, "find", find):
        cli.main(words + (["--cache", str(cache)] if cache else []))


def torchmetrics(translated: Path, reference: Path, weights: Path, cache: Path | None) -> None:
    """The same four numbers by torchmetrics' classes."""
    import torch
    import torchvision.models._api as api
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    state = torch.load(weights / NAMES["alexnet"], weights_only=True)
    with mock.patch.object(api, "load_state_dict_from_url", return_value=state):
        lpips = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    fid = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights / NAMES["inception"]))
    pixels = [PeakSignalNoiseRatio(data_range=1.0), StructuralSimilarityIndexMeasure(data_range=1.0), lpips]
    with torch.inference_mode():
        for x, y in _batches(translated, reference):
            for metric in pixels:
                metric.update(x / 255, y / 255)
            fid.update(x, real=False)
            fid.update(y, real=True)
        print([float(metric.compute()) for metric in (*pixels, fid)])


def floor(translated: Path, reference: Path, weights: Path, cache: Path | None) -> None:
    """What no program that runs these networks in float32 avoids: their forwards, our fastest form of them, and decoding."""
    import torch

    from sarbench.bench.metrics.networks import lpips, running
    from sarbench.bench.metrics.networks.inception import Inception

    inception = Inception(torch.load(weights / NAMES["inception"], weights_only=True), "cpu")
    alexnet = running.channels_last(torch.load(weights / NAMES["alexnet"], weights_only=True), "features.")
    with torch.inference_mode():
        for sides in _batches(translated, reference):
            both = torch.cat(sides).float().div(255).contiguous(memory_format=torch.channels_last)
            list(lpips.ALEX.maps(alexnet, both))
            for x in sides:
                enlarged = torch.nn.functional.interpolate(x.float(), (299, 299))
                inception(enlarged.contiguous(memory_format=torch.channels_last))


def _batches(translated: Path, reference: Path) -> Iterator[tuple]:
    """Pairs of uint8 tensors (B, 3, H, W), decoded by Pillow in the loop, as scripts do."""
    import numpy as np
    import torch
    from PIL import Image

    names = sorted(path.name for path in reference.iterdir())
    for start in range(0, len(names), BATCH_SIZE):
        part = names[start : start + BATCH_SIZE]
        yield tuple(
            torch.from_numpy(np.stack([np.asarray(Image.open(side / name)) for name in part])).permute(0, 3, 1, 2)
            for side in (translated, reference)
        )


if __name__ == "__main__":
    job, x, y, networks, *kept = sys.argv[1:]
    jobs = {"own": own, "torchmetrics": torchmetrics, "floor": floor}
    jobs[job](Path(x), Path(y), Path(networks), Path(kept[0]) if kept else None)
