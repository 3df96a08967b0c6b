"""The libraries that the suite's speed is measured against: the same work, called as their documentation says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sarbench.bench.certification import inception_oracles, network_oracles, packages
from sarbench.bench.certification.corpus import random_state
from sarbench.bench.metric import ImageBatch

Call = Callable[[], Any]

# metric -> the libraries that have it
PIXELS: dict[str, tuple[str, ...]] = {
    "psnr": ("torchmetrics", "piq", "scikit-image"),
    "ssim": ("torchmetrics", "piq", "scikit-image"),
    "ms_ssim": ("torchmetrics", "piq"),
    "scc_local": ("torchmetrics", "sewar"),
    "scc": ("torchmetrics",),
    "sam": ("torchmetrics",),
    "ergas": ("torchmetrics",),
    "total_variation": ("torchmetrics", "piq"),
}


def unit(images: ImageBatch) -> Float[Tensor, "B 3 H W"]:
    """Values in [0, 1], as torchmetrics, piq, pyiqa and pytorch-fid take them."""
    return torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float().contiguous() / images.peak


def symmetric(images: ImageBatch) -> Float[Tensor, "B 3 H W"]:
    """Values in [-1, 1], as the lpips package takes them."""
    return unit(images) * 2 - 1


def installed(peers: Mapping[str, Callable[[], Call]]) -> dict[str, Call]:
    """The calls of those libraries that are installed; a library is imported here, and not where it is timed."""
    return {name: make() for name, make in peers.items() if packages.installed(name)}


def of_pixels(name: str, pairs: tuple[ImageBatch, ImageBatch]) -> dict[str, Call]:
    """The same metric in each library."""
    arrays = tuple(images.pixels for images in pairs)
    makers = {
        "torchmetrics": lambda: _of_tensors(_torchmetrics()[name], pairs),
        "piq": lambda: _of_tensors(_piq()[name], pairs),
        "scikit-image": lambda: _skimage(name, *arrays),
        "sewar": lambda: _sewar(*arrays),
    }
    return installed({peer: makers[peer] for peer in PIXELS[name]})


def _of_tensors(call: Callable[[Tensor, Tensor], Any], pairs: tuple[ImageBatch, ImageBatch]) -> Call:
    """A call that begins, as ours does, at decoded bytes."""
    return lambda: call(*map(unit, pairs))


def _torchmetrics() -> dict[str, Callable[[Tensor, Tensor], Any]]:
    from torchmetrics.functional import image

    each: Any = {"data_range": 1.0, "reduction": "none"}
    return {
        "psnr": lambda x, y: image.peak_signal_noise_ratio(x, y, dim=(1, 2, 3), **each),
        "ssim": lambda x, y: image.structural_similarity_index_measure(x, y, **each),
        "ms_ssim": lambda x, y: image.multiscale_structural_similarity_index_measure(x, y, **each),
        "scc_local": lambda x, y: image.spatial_correlation_coefficient(x, y, reduction="none"),
        "scc": lambda x, y: image.spatial_correlation_coefficient(x, y, reduction="none"),
        "sam": lambda x, y: image.spectral_angle_mapper(x, y, reduction="none"),
        "ergas": lambda x, y: image.error_relative_global_dimensionless_synthesis(x, y, reduction="none"),
        "total_variation": lambda x, y: image.total_variation(x, reduction="none"),
    }


def _piq() -> dict[str, Callable[[Tensor, Tensor], Any]]:
    import piq

    each: Any = {"data_range": 1.0, "reduction": "none"}
    return {
        "psnr": lambda x, y: piq.psnr(x, y, **each),
        "ssim": lambda x, y: piq.ssim(x, y, downsample=False, **each),
        "ms_ssim": lambda x, y: piq.multi_scale_ssim(x, y, **each),
        "total_variation": lambda x, y: piq.total_variation(x, reduction="none", norm_type="l1"),
    }


def _skimage(name: str, x: np.ndarray, y: np.ndarray) -> Call:
    from skimage import metrics

    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    one = {
        "psnr": partial(metrics.peak_signal_noise_ratio, data_range=255),
        "ssim": partial(metrics.structural_similarity, data_range=255, **gaussian),
    }[name]
    return lambda: [one(b, a) for a, b in zip(x, y, strict=True)]


def _sewar(x: np.ndarray, y: np.ndarray) -> Call:
    from sewar import full_ref

    return lambda: [full_ref.scc(b.astype(np.float64), a.astype(np.float64)) for a, b in zip(x, y, strict=True)]


def lpips(backbone: str) -> tuple[Any, Any]:
    """Our LPIPS and the package's, under the same random backbone and the learned heads."""
    from lpips import LPIPS

    from sarbench.bench.metrics.networks import lpips as own

    package = LPIPS(pretrained=True, pnet_rand=True, net=backbone, verbose=False).eval()
    state = {name: value for name, value in package.state_dict().items() if name.startswith("lin") and "lins" not in name}
    state |= {f"features.{name.partition('.')[2]}": value for name, value in package.net.state_dict().items()}
    return own.Lpips({"alex": own.ALEX, "squeeze": own.SQUEEZE, "vgg": own.VGG}[backbone], state), package


def inception_state() -> dict[str, Tensor]:
    """A random state dict of the names and shapes of the published file of FID's Inception."""
    return random_state(inception_oracles.shapes())


def inception() -> tuple[Any, Any]:
    """Our features and pytorch-fid's, under the same random weights and the same resizing."""
    from sarbench.bench.metrics import _inception as features
    from sarbench.bench.metrics.networks.inception import Inception

    state = inception_state()
    theirs = inception_oracles.pytorch_fid_network(state)
    own = Inception(state)
    return lambda images: features.features_of(own, images, features.bilinear), theirs


def no_reference(name: str) -> tuple[Any, Any]:
    """Our DBCNN or NIMA and pyiqa's, under the same random weights."""
    from sarbench.bench.metrics import dbcnn, nima
    from sarbench.bench.metrics.networks import dbcnn as dbcnn_network
    from sarbench.bench.metrics.networks import nima as nima_network

    where = torch.device("cpu")
    if name == "dbcnn":
        state = random_state(dbcnn_network.shapes())
        own = partial(dbcnn.of_weights, dbcnn_network.weights(state, where))
    else:
        backbone = nima_network.VGG if name.endswith("vgg16") else nima_network.INCEPTION_RESNET
        state = random_state(nima_network.shapes(backbone))
        own = partial(nima.of_weights, backbone, nima_network.weights(backbone, state, where))
    theirs = network_oracles.pyiqa_network(name).eval()
    theirs.load_state_dict(state, strict=False)
    return own, theirs


def frechet(peer: str, x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n D"]) -> dict[str, Call]:
    """The same distance from the same features: their moments, and the peer's formula."""

    def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide = features.astype(np.float64)
        return wide.mean(0), np.cov(wide, rowvar=False)

    def pytorch_fid() -> Call:
        from pytorch_fid.fid_score import calculate_frechet_distance

        return lambda: calculate_frechet_distance(*moments(x), *moments(y))

    def torchmetrics() -> Call:
        from torchmetrics.image.fid import _compute_fid

        return lambda: _compute_fid(*(torch.from_numpy(part) for side in (x, y) for part in moments(side)))

    return installed({peer: {"pytorch-fid": pytorch_fid, "torchmetrics": torchmetrics}[peer]})
