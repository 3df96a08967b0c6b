"""What Inception-v3 says of an image, for the metrics of sets: 2048 features behind three ways to bring an image to 299 px.

The three are not interchangeable: on small or noisy images they move a Fréchet distance by more than methods differ
(Parmar, Zhang and Zhu, CVPR 2022, https://arxiv.org/abs/2104.11222). The network is the same; NVIDIA's TorchScript file that
clean-fid loads is by its authors a direct translation of the same TensorFlow graph. An image of one band is repeated to three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image

from sarbench.bench import assets
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import Features, ImageBatch
from sarbench.bench.metrics._parallel import each, loaded_once

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sarbench.bench.metrics.networks.inception import Inception

    Resize = Callable[[ImageBatch, torch.device], Tensor]

ASSET = "inception"
SIDE_PX = 299
WIDTH = 2048
IMAGES_AT_ONCE = {"cpu": 2, "cuda": 32}  # through the network, however many the caller gives; on a CPU, what a cache holds


def features_of(network: Inception, images: ImageBatch, resize: Resize) -> Float[np.ndarray, "B 2048"]:
    """The features of images by a network with given weights and one of the three ways below, float32.

    What a batch holds beside an image moves its features by float rounding alone. ContractError for bands other than 1 or 3.
    """
    import torch

    from sarbench.bench.metrics.networks.running import exact

    bands = images.pixels.shape[3]
    if bands not in (1, 3):
        raise ContractError(
            f"the Inception network takes images of 1 or 3 bands, got {bands}; leave out the metrics that need it, "
            "or write the three bands to compare as images of their own"
        )
    rows = [np.empty((0, WIDTH), np.float32)]
    step = IMAGES_AT_ONCE[network.device.type]
    with exact(network.device):
        for start in range(0, len(images), step):
            part = ImageBatch(images.pixels[start : start + step], images.peak)
            x = resize(part, network.device).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            rows.append(network(x).cpu().numpy())
    return np.concatenate(rows)


def clean(images: ImageBatch, device: torch.device) -> Float[Tensor, "B C 299 299"]:
    """As clean-fid: Pillow's bicubic filter, which smooths what it shrinks, on floats; nothing is rounded to 8 bits."""
    import torch

    planes = np.moveaxis(images.pixels, 3, 1).astype(np.float32) * np.float32(255 / images.peak)
    count, bands, height, width = planes.shape
    resized = each(lambda plane, _: _bicubic(plane), planes.reshape(-1, height, width), lambda: None)
    x = np.stack(resized).reshape(count, bands, SIDE_PX, SIDE_PX)
    return (torch.from_numpy(x).to(device) - 128) / 128


def bilinear(images: ImageBatch, device: torch.device) -> Float[Tensor, "B C 299 299"]:
    """As pytorch-fid: four neighbours of pixel centres, which skips pixels of an image larger than 598 px."""
    from torch.nn import functional as F

    x = F.interpolate(_tensor(images, device) / images.peak, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    return 2 * x - 1


def bilinear_from_corner(images: ImageBatch, device: torch.device) -> Float[Tensor, "B C 299 299"]:
    """As torch-fidelity and torchmetrics, after TensorFlow 1: four neighbours, counted from the corner of the first pixel."""
    x = _tensor(images, device) * (255 / images.peak)
    return (_interpolated(_interpolated(x, 3), 2) - 128) / 128


def _bicubic(plane: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "299 299"]:
    resized = Image.fromarray(plane).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 255)  # the filter overshoots at edges


def _interpolated(x: Tensor, axis: int) -> Tensor:
    import torch

    size = x.shape[axis]
    position = torch.arange(SIDE_PX, dtype=torch.float32, device=x.device) * (size / SIDE_PX)
    low = position.long()
    share = (position - low).reshape(-1, *[1] * (3 - axis))
    below, above = (x.index_select(axis, index) for index in (low, (low + 1).clamp_max(size - 1)))
    return below + (above - below) * share


def _tensor(images: ImageBatch, device: torch.device) -> Float[Tensor, "B C H W"]:
    import torch

    return torch.from_numpy(np.moveaxis(images.pixels, 3, 1).astype(np.float32)).to(device)


def _features(name: str, preparation: str, resize: Resize) -> Features:
    return Features(
        name=name,
        signature=f"inception-2015-12-05;pool3;{preparation};grey-repeated;v1",
        width=WIDTH,
        of=lambda images: features_of(_network(), images, resize),
        assets=(ASSET,),
    )


def _network() -> Inception:
    import torch

    return _network_on("cuda" if torch.cuda.is_available() else "cpu")


@loaded_once
def _network_on(device: str) -> Inception:
    from sarbench.bench.metrics.networks.inception import Inception

    return Inception(assets.load_state_dict(ASSET), device)


CLEAN = _features("inception", "pil-bicubic-antialias-299;float;(x-128)/128", clean)
PYTORCH_FID = _features("inception@pytorch-fid", "bilinear-299;2x-1", bilinear)
TORCH_FIDELITY = _features("inception@torch-fidelity", "bilinear-tf1-299;(x-128)/128", bilinear_from_corner)
