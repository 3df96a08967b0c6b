"""Learned perceptual image patch similarity: a distance of AlexNet features, weighted to agree with human judgement.

Unit: none, from 0; lower is better; 0 for identical images.
Formula: Eq. 1 of the paper: features after each of the five ReLUs, each pixel's feature vector scaled to unit length; the
squared differences weighted by the learned heads, summed over channels, averaged over pixels, summed over the layers.
Version 0.1: the network is torchvision's AlexNet, the heads are the file of the `lpips` package. Float32, TF32 off.
Pixels are taken to [-1, 1] by their typed range; an image of one band is repeated to three.
Source: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018, https://arxiv.org/abs/1801.03924
Misleads: the network saw photographs, not overhead images, let alone SAR; an order of methods is worth more than a value.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench import assets
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHIFT = (-0.030, -0.088, -0.188)  # mean and spread of ImageNet's bands, for values in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))  # index in torchvision's `features`, stride, padding
POOLED = (3, 6)  # the layers that a 3x3 max pooling of stride 2 precedes
LEAST_PX = 31  # below it the second pooling has nothing left
PIXELS_AT_ONCE = 8 * 256 * 256  # of one side; what runs together depends on the image size, not on the caller's batch


def lpips(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """LPIPS v0.1 (AlexNet) of each pair, (B,) float64; on the GPU where there is one.

    Raises AssetMissing without AlexNet's weights; ContractError for unlike sides, sides below 31 px, and bands other than
    1 or 3.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return distances(_weights(device), translated, reference)


def distances(weights: Mapping[str, Tensor], translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """LPIPS of each pair under given weights, (B,) float64.

    `weights` holds `features.<i>.{weight,bias}` as torchvision's AlexNet names them and `lin<k>.model.1.weight` as the
    `lpips` package does; their device is where it runs.
    """
    import torch

    check_pairs(translated, reference, "lpips", least_px=LEAST_PX)
    _, height, width, bands = translated.pixels.shape
    if bands not in (1, 3):
        raise ContractError(f"lpips takes images of 1 or 3 bands, got {bands}; leave lpips out")
    step = max(1, PIXELS_AT_ONCE // (height * width))
    device = weights["features.0.weight"].device
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    rows = []
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), cudnn:
        for start in range(0, len(translated), step):
            part = slice(start, start + step)
            both = np.concatenate((translated.pixels[part], reference.pixels[part]))
            rows.append(_distances(weights, _network_input(both, translated.peak, device)).cpu().numpy())
    return np.concatenate(rows).astype(np.float64)


def _network_input(pixels: Shaped[np.ndarray, "B H W C"], peak: int, device: torch.device) -> Float[Tensor, "B 3 H W"]:
    import torch

    x = torch.from_numpy(pixels.astype(np.float32)).to(device)
    x = x * (2 / peak) - 1
    x = (x.expand(-1, -1, -1, 3) - x.new_tensor(SHIFT)) / x.new_tensor(SCALE)  # (B, H, W, 3)
    return x.permute(0, 3, 1, 2)  # channels last in memory, as the convolutions are fastest


def _distances(weights: Mapping[str, Tensor], both: Float[Tensor, "2B 3 H W"]) -> Float[Tensor, " B"]:
    import torch
    from torch.nn import functional as F

    x = both
    total = x.new_zeros(len(x) // 2)
    for k, (index, stride, padding) in enumerate(LAYERS):
        if index in POOLED:
            x = F.max_pool2d(x, 3, 2)
        x = F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], stride, padding).relu_()
        unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
        a, b = unit.chunk(2)
        # Eq. 1; as products and sums, since a 1x1 convolution may run in TF32; in place, since memory is what limits it
        total += a.sub_(b).square_().mul_(weights[f"lin{k}.model.1.weight"]).sum(1).mean((1, 2))
    return total


@cache
def _weights(device: torch.device) -> dict[str, Tensor]:
    import torch

    heads = torch.load(_heads_file(), map_location="cpu", weights_only=True)
    features = {k: v for k, v in assets.load_state_dict("alexnet").items() if k.startswith("features.")}
    return {name: value.to(device) for name, value in {**features, **heads}.items()}


def _heads_file() -> Path:
    # found without importing the package, which would import torchvision: seconds
    spec = importlib.util.find_spec("lpips")
    file = Path(spec.origin).parent / "weights" / "v0.1" / "alex.pth" if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ContractError("the learned heads of LPIPS are missing; run `pip install lpips==0.1.4`, which brings them")
    return file


metric = Metric(
    name="lpips",
    signature="lpips;v0.1;alex;rgb;grey-repeated;range255;v1",
    unit="",
    higher_is_better=False,
    rows=lpips,
    assets=("alexnet",),
)
