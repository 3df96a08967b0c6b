"""DeepLab-V2 on a ResNet: Chen et al., TPAMI 2018, https://arxiv.org/abs/1606.00915

A ResNet whose last stages keep their resolution: convolutions with holes see as far as strided ones would. Behind it atrous
spatial pyramid pooling: four parallel convolutions with holes of different size, whose scores are summed (Sec. 3.2).
Two layouts, as two kinds of published weights want it. "torchvision" strides in the 3x3 convolution, and the first block of a
dilated stage still has the holes of the stage before: its maps are those of the strided network, only denser. "caffe", that of
DeepLab's authors and of the networks of AdaptSegNet, strides in the first 1x1 convolution, dilates every block of a stage
alike, and rounds the side behind the max pooling up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.errors import ContractError
from sarbench.methods.networks.residual_encoder import EXPANSION, Bottleneck

RESNET_101 = (3, 4, 23, 3)
DILATIONS = (6, 12, 18, 24)  # Sec. 3.2: ASPP-L
CAFFE_MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of 255
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of RGB in [0, 1]

Layout = Literal["torchvision", "caffe"]
Norm = Literal["frozen", "batch", "group"]
Values = Literal["plain", "torchvision", "caffe"]  # how images in [-1, 1] are given to the first convolution


class FrozenNorm(nn.BatchNorm2d):
    """Batch normalisation with the statistics, scale and shift that it was loaded with, in training too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenNorm:
        """Stays as it is."""
        return super().train(False)  # type: ignore[return-value]


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of eight channels: the same in training and testing, whatever else is in the batch."""
    return nn.GroupNorm(max(1, channels // 8), channels)


KINDS: dict[Norm, Callable[[int], nn.Module]] = {"frozen": FrozenNorm, "batch": nn.BatchNorm2d, "group": group_norm}


class AtrousBottleneck(Bottleneck):
    """The block of a ResNet with holes in its 3x3 convolution; names of layers are torchvision's."""

    def __init__(
        self, c_in: int, width: int, stride: int, dilation: int, layout: Layout, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(c_in, width * EXPANSION, stride, norm)
        self.conv2.dilation = self.conv2.padding = (dilation, dilation)
        if layout == "caffe":
            self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


class AtrousResNet(nn.Module):
    """A ResNet of bottlenecks without its classifier; its maps are at 1/`output_stride` of the size.

    blocks         of each of the four stages; `RESNET_101` with width 64 has 42,500,160 parameters
    output_stride  32: no holes; 16, 8, 4: the last one, two or three stages dilate by 2, 4, ... and do not stride
    """

    def __init__(
        self,
        in_channels: int,
        *,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
        output_stride: int = 8,
        layout: Layout = "torchvision",
        norm: Norm = "frozen",
    ) -> None:
        super().__init__()
        if output_stride not in (4, 8, 16, 32) or len(blocks) != 4:
            raise ContractError(
                f"a ResNet has four stages and an output stride of 4, 8, 16 or 32; got {blocks}, {output_stride}"
            )
        kind = KINDS[norm]
        self.layout = layout
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = kind(width)
        c_in, stride, dilation = width, 4, 1
        for i, n in enumerate(blocks):
            before, wanted = dilation, 2 if i else 1
            if stride * wanted > output_stride:
                dilation, wanted = dilation * wanted, 1
            stride *= wanted
            layers = []
            for k in range(n):
                first = k == 0
                holes = before if first and layout == "torchvision" else dilation
                layers.append(AtrousBottleneck(c_in, width * 2**i, wanted if first else 1, holes, layout, kind))
                c_in = width * 2**i * EXPANSION
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.out_channels = c_in
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The maps of the last stage, after its ReLU."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.max_pool2d(h, 3, stride=2, padding=1, ceil_mode=self.layout == "caffe")
        for i in range(4):
            h = getattr(self, f"layer{i + 1}")(h)
        return h


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: the sum of parallel 3x3 convolutions with holes, straight to class scores."""

    def __init__(self, c_in: int, classes: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(c_in, classes, 3, padding=d, dilation=d) for d in dilations)
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(branch.bias)  # type: ignore[arg-type]

    def forward(self, h: Float[Tensor, "B C h w"]) -> Float[Tensor, "B classes h w"]:
        """Scores on the grid of the maps."""
        return torch.stack([branch(h) for branch in self.branches]).sum(0)


class DeepLabV2(nn.Module):
    """Class scores for each pixel: `features`, then `classify`, then bilinear interpolation (Sec. 3.1).

    With `RESNET_101`, width 64 and four dilations it has 42,500,160 + 73,732 parameters a class: 43,901,068 for the 19 of
    Cityscapes. `scales`: sides at which the image is also seen, as factors; of several, each score is the highest one, as in
    Sec. 4.1.2 (0.5, 0.75, 1). The loss of the paper on each scale's own scores is left out.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
        output_stride: int = 8,
        dilations: Sequence[int] = DILATIONS,
        layout: Layout = "torchvision",
        norm: Norm = "frozen",
        values: Values = "plain",
        scales: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        if values != "plain" and in_channels != 3:
            raise ContractError(f"published weights of DeepLab-V2 see RGB; these images have {in_channels} channels")
        self.values, self.scales = values, tuple(scales)
        self.trunk = AtrousResNet(
            in_channels, blocks=blocks, width=width, output_stride=output_stride, layout=layout, norm=norm
        )
        self.head = Aspp(self.trunk.out_channels, classes, dilations)

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The maps that are classified, of images in [-1, 1]."""
        return self.trunk(self._prepared(x))

    def classify(self, features: Float[Tensor, "B D h w"], size: Sequence[int]) -> Float[Tensor, "B classes H W"]:
        """Scores before the softmax, float32, on a grid of `size` (H, W)."""
        scores = self.head(features).float()
        return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes H W"]:
        """Scores before the softmax, float32."""
        size = x.shape[2:]
        seen = [x if s == 1 else F.interpolate(x, scale_factor=s, mode="bilinear", align_corners=False) for s in self.scales]
        scores = [self.classify(self.features(image), size) for image in seen]
        return scores[0] if len(scores) == 1 else torch.stack(scores).amax(0)

    def _prepared(self, x: Tensor) -> Tensor:
        if self.values == "plain":
            return x
        if self.values == "caffe":
            return (x.flip(1) + 1) * 127.5 - x.new_tensor(CAFFE_MEAN)[:, None, None]
        mean, std = (x.new_tensor(numbers)[:, None, None] for numbers in IMAGENET)
        return ((x + 1) / 2 - mean) / std

    def load_torchvision(self, weights: Mapping[str, Tensor]) -> None:
        """Take up torchvision's ResNet of this depth without its classifier; ContractError for another network."""
        self._load({name: value for name, value in weights.items() if not name.startswith("fc.")})

    def load_deeplab(self, weights: Mapping[str, Tensor]) -> None:
        """Take up the trunk of a Caffe DeepLab as AdaptSegNet's file holds it ("Scale.conv1.weight"); its heads are left out.

        ContractError for another network.
        """
        inner = {name.removeprefix("Scale."): value for name, value in weights.items()}
        self._load({name: value for name, value in inner.items() if not name.startswith(("layer5", "layer6", "fc."))})

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        wanted = {name: value for name, value in self.trunk.state_dict().items() if not name.endswith("num_batches_tracked")}
        found = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
        wrong = [name for name in wanted | found if name not in wanted or name not in found]
        wrong += [name for name in wanted if name in found and wanted[name].shape != found[name].shape]
        if wrong:
            raise ContractError(
                f"these are not the weights of this ResNet: {len(wrong)} of its arrays do not fit, such as {wrong[0]}"
            )
        self.trunk.load_state_dict(found, strict=False)
