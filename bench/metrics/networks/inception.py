"""Inception-v3 as the Fréchet inception distance knows it: the network of December 2015, up to its 2048 pooled features.

Szegedy et al., CVPR 2016, https://arxiv.org/abs/1512.00567; the weights are TensorFlow's inception-2015-12-05, in the state
dict that pytorch-fid publishes (torch-fidelity publishes the same file). It differs from the later network of the same name
in torchvision: average pooling counts no padding, and the last block pools by maximum.
Batch normalisation is folded into the convolutions when the weights are loaded. Runs in float32 and channels last; on a CPU
with oneDNN each kernel is brought once into the order that the processor wants, and ReLU is part of the convolution: 1.2 times
as fast, to a rounding of float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIDE_PX = 299  # what the weights were trained on
WIDTH = 2048
EPSILON = 1e-3  # of batch normalisation
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


class Inception:
    """The network with its weights on one device."""

    def __init__(self, state: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
        """`state` has the keys of pytorch-fid's file; the classifier `fc` in it is not used."""
        names = (key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight"))
        folded = {name: _folded(state, name) for name in names}
        self.device = torch.device(device)
        self.layers = {
            name: (
                weight.to(self.device, torch.float32, memory_format=torch.channels_last),
                bias.to(self.device, torch.float32),
            )
            for name, (weight, bias) in folded.items()
        }
        self.packed: dict[tuple[str, torch.Size], Tensor] = {}  # kernels in oneDNN's order, by layer and size of the map

    def __call__(self, x: Float[Tensor, "B 3 299 299"]) -> Float[Tensor, "B 2048"]:
        """The features of images in [-1, 1]; other sizes from 75 px are taken as they are."""
        x = self.conv(x, "Conv2d_1a_3x3", stride=2, padded=False)
        x = self.conv(x, "Conv2d_2a_3x3", padded=False)
        x = F.max_pool2d(self.conv(x, "Conv2d_2b_3x3"), 3, 2)  # (B, 64, 73, 73)
        x = self.conv(x, "Conv2d_3b_1x1")
        x = F.max_pool2d(self.conv(x, "Conv2d_4a_3x3", padded=False), 3, 2)  # (B, 192, 35, 35)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.block_35(x, name)
        x = self.reduction_17(x, "Mixed_6a")  # (B, 768, 17, 17)
        for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self.block_17(x, name)
        x = self.reduction_8(x, "Mixed_7a")  # (B, 1280, 8, 8)
        x = self.block_8(x, "Mixed_7b", _average_3x3(x))
        x = self.block_8(x, "Mixed_7c", F.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3))

    def conv(self, x: Tensor, name: str, stride: int = 1, padded: bool = True) -> Tensor:
        """A convolution with its bias and ReLU; padded: an output as large as the input."""
        weight, bias = self.layers[name]
        padding = [weight.shape[2] // 2, weight.shape[3] // 2] if padded else [0, 0]
        if not _has_onednn(x.device):
            return F.conv2d(x, weight, bias, stride, padding).relu_()
        layer = name, x.shape[1:]
        if layer not in self.packed:  # several threads may, each the same
            shape = [1, *x.shape[1:]]
            self.packed[layer] = torch.ops.aten.mkldnn_reorder_conv2d_weight(
                weight.to_mkldnn(), padding, [stride] * 2, [1, 1], 1, shape
            )
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.packed[layer], bias, padding, [stride] * 2, [1, 1], 1, "relu", [], ""
        )

    def chain(self, x: Tensor, block: str, *names: str) -> Tensor:
        """Convolutions of a block, one after the other."""
        for name in names:
            x = self.conv(x, f"{block}.{name}")
        return x

    def block_35(self, x: Tensor, name: str) -> Tensor:
        """Figure 5 of the paper, with a 5x5 convolution left in."""
        branches = (
            self.chain(x, name, "branch1x1"),
            self.chain(x, name, "branch5x5_1", "branch5x5_2"),
            self.chain(x, name, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            self.chain(_average_3x3(x), name, "branch_pool"),
        )
        return torch.cat(branches, 1)

    def reduction_17(self, x: Tensor, name: str) -> Tensor:
        """Figure 10: from 35x35 to 17x17 px."""
        double = self.chain(x, name, "branch3x3dbl_1", "branch3x3dbl_2")
        branches = (
            self.conv(x, f"{name}.branch3x3", stride=2, padded=False),
            self.conv(double, f"{name}.branch3x3dbl_3", stride=2, padded=False),
            F.max_pool2d(x, 3, 2),
        )
        return torch.cat(branches, 1)

    def block_17(self, x: Tensor, name: str) -> Tensor:
        """Figure 6: 7x7 convolutions as 1x7 and 7x1."""
        branches = (
            self.chain(x, name, "branch1x1"),
            self.chain(x, name, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
            self.chain(x, name, *(f"branch7x7dbl_{i}" for i in range(1, 6))),
            self.chain(_average_3x3(x), name, "branch_pool"),
        )
        return torch.cat(branches, 1)

    def reduction_8(self, x: Tensor, name: str) -> Tensor:
        """Figure 10 again, from 17x17 to 8x8 px."""
        wide = self.chain(x, name, "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3")
        branches = (
            self.conv(self.chain(x, name, "branch3x3_1"), f"{name}.branch3x3_2", stride=2, padded=False),
            self.conv(wide, f"{name}.branch7x7x3_4", stride=2, padded=False),
            F.max_pool2d(x, 3, 2),
        )
        return torch.cat(branches, 1)

    def block_8(self, x: Tensor, name: str, pooled: Tensor) -> Tensor:
        """Figure 7: 1x3 and 3x1 convolutions side by side; `pooled` is x by the pooling that this block has."""
        single = self.chain(x, name, "branch3x3_1")
        double = self.chain(x, name, "branch3x3dbl_1", "branch3x3dbl_2")
        branches = (
            self.chain(x, name, "branch1x1"),
            self.chain(single, name, "branch3x3_2a"),
            self.chain(single, name, "branch3x3_2b"),
            self.chain(double, name, "branch3x3dbl_3a"),
            self.chain(double, name, "branch3x3dbl_3b"),
            self.chain(pooled, name, "branch_pool"),
        )
        return torch.cat(branches, 1)


def _has_onednn(device: torch.device) -> bool:
    """Are there oneDNN's kernels, as torch's own compiler calls them?"""
    switched_on = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return device.type == "cpu" and switched_on and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def _average_3x3(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _folded(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch normalisation in it; in float64, so that it costs one rounding."""
    weight = state[f"{name}.conv.weight"].double()
    scale, bias, mean, variance = (state[f"{name}.bn.{part}"].double() for part in BATCH_NORM)
    factor = scale / torch.sqrt(variance + EPSILON)
    return weight * factor[:, None, None, None], bias - mean * factor
