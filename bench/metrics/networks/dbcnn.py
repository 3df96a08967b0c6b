"""DBCNN: VGG-16 and S-CNN side by side, their maps multiplied pixel by pixel (Sec. III of the paper).

Zhang, Ma, Yan, Deng and Wang, IEEE TCSVT 30(1), 2020, https://arxiv.org/abs/1907.02665; the sizes that the paper leaves out
are those of its official weights (zwx8981/DBCNN-PyTorch).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.metrics.networks import published, running, vgg

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
# S-CNN: index in the official `features`, bands in, bands out, stride; a batch normalisation and a ReLU follow each
SCNN = (
    (0, 3, 48, 1),
    (3, 48, 48, 2),
    (6, 48, 64, 1),
    (9, 64, 64, 2),
    (12, 64, 64, 1),
    (15, 64, 64, 2),
    (18, 64, 128, 1),
    (21, 128, 128, 1),
    (24, 128, 128, 2),
)
EPS_NORM = 1e-5
EPS_ROOT = 1e-8  # below the square root
BANDS = (512, 128)  # of the two maps


def scnn_shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """The weights of S-CNN's convolutions and normalisations by name, and their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, narrow, wide, _ in SCNN:
        shapes |= {f"{prefix}{i}.weight": (wide, narrow, 3, 3), f"{prefix}{i}.bias": (wide,)}
        shapes |= published.norm_shapes(f"{prefix}{i + 1}", wide)
    return shapes


def shapes() -> dict[str, tuple[int, ...]]:
    """All weights by name, as pyiqa publishes them, and their shapes."""
    head = {"fc.weight": (1, BANDS[0] * BANDS[1]), "fc.bias": (1,)}
    return vgg.shapes("features1.") | scnn_shapes("features2.") | head


def scnn(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The kernels and biases of S-CNN, normalisations folded in: `<prefix><i>.weight` and `.bias` for i in `SCNN`."""
    weights: dict[str, Tensor] = {}
    for i, *_ in SCNN:
        kernel, bias = published.folded(state, f"{prefix}{i}", f"{prefix}{i + 1}", EPS_NORM)
        weights |= {f"{prefix}{i}.weight": kernel, f"{prefix}{i}.bias": bias}
    return weights


def weights(state: Mapping[str, Tensor], where: torch.device) -> dict[str, Tensor]:
    """A published state dict, ready for `scores` on a device. ContractError for one that is not DBCNN's."""
    state = published.checked(state, shapes(), "DBCNN")
    ready = running.channels_last(state, "features1.") | running.channels_last(scnn(state, "features2."))
    ready |= {name: state[name].double() for name in ("fc.weight", "fc.bias")}
    return {name: value.to(where) for name, value in ready.items()}


def distortions(weights: Mapping[str, Tensor], prefix: str, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 128 h w"]:
    """The map of S-CNN, one position for 16x16 px, where a part of them begins a position too."""
    for i, _, _, stride in SCNN:
        x = F.conv2d(x, weights[f"{prefix}{i}.weight"], weights[f"{prefix}{i}.bias"], stride, padding=1).relu_()
    return x


def bilinear(a: Float[Tensor, "B C h w"], b: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C*D"]:
    """Bilinear pooling in float64: the mean over positions of a b^T, its square root, scaled to unit length.

    Both maps come out of a ReLU, so the square root needs no sign.
    """
    a, b = a.flatten(2).double(), b.flatten(2).double()
    pooled = torch.einsum("bcp,bdp->bcd", a, b) / a.shape[2]
    return F.normalize((pooled + EPS_ROOT).sqrt().flatten(1))


def scores(weights: Mapping[str, Tensor], x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """The quality of RGB images in [0, 1], float64; higher is better."""
    x = running.standardised(x, MEAN, SPREAD)
    content = vgg.last_map(weights, "features1.", x)
    distortion = distortions(weights, "features2.", x)
    if distortion.shape[2:] != content.shape[2:]:  # VGG drops what does not fill its last position
        distortion = F.interpolate(distortion, content.shape[2:], mode="bilinear", align_corners=True)
    return F.linear(bilinear(content, distortion), weights["fc.weight"], weights["fc.bias"]).squeeze(1)
