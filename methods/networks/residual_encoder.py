"""ResNet-50's convolutional layers as an encoder: features of every level, at any width and depth, under any norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import ContractError

NormLayer = Callable[[int], nn.Module]
EXPANSION = 4  # a level's channels to the width of its 3x3 convolutions
PHOTO_SHIFT = (-0.030, -0.088, -0.188)  # mean and spread of ImageNet's bands, for values in [-1, 1]
PHOTO_SCALE = (0.458, 0.448, 0.450)


class FrozenNorm(nn.Module):
    """Batch normalisation whose statistics, scale and shift never move; the names of `nn.BatchNorm2d`."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Scale and shift each channel."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=1e-5)


def instance(channels: int) -> nn.Module:
    """Instance normalisation without learned scale and shift."""
    return nn.InstanceNorm2d(channels)


def whole_image(channels: int) -> nn.Module:
    """One mean and one variance an image, over all channels: keeps what one channel has more than another."""
    return nn.GroupNorm(1, channels, affine=False)


class ResidualEncoder(nn.Module):
    """The layers of ResNet-50 (He et al., 2016, Table 1) up to a level; parameters are named as torchvision names them.

    A stem (7x7, stride 2) and levels of bottleneck blocks at H/4, H/8, H/16 and H/32, with 4, 8, 16 and 32 times `width`
    channels. Width 64 with blocks (3, 4, 6, 3) is ResNet-50 without its classifier: 23,454,912 convolution weights
    from 3 bands.
    """

    def __init__(
        self, channels: int, *, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3), norm: NormLayer = instance
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.depth = len(blocks)
        self.widths = [width, *(EXPANSION * width * 2**level for level in range(self.depth))]
        for level, n in enumerate(blocks):
            c_in, c_out = self.widths[level : level + 2]
            stride = 1 if level == 0 else 2  # the pooling before the first level halves in its place
            first = Bottleneck(c_in, c_out, stride, norm)
            rest = [Bottleneck(c_out, c_out, 1, norm) for _ in range(n - 1)]
            self.add_module(f"layer{level + 1}", nn.Sequential(first, *rest))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ h w"]]:
        """Features of the stem (H/2) and of every level (H/4, H/8, ...)."""
        features = [F.relu(self.bn1(self.conv1(x)))]
        h = F.max_pool2d(features[0], 3, stride=2, padding=1)
        for level in range(self.depth):
            h = self.get_submodule(f"layer{level + 1}")(h)
            features.append(h)
        return features

    def load_photo_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up weights of torchvision's ResNet-50; levels that this encoder lacks, and the classifier, are left out.

        The first convolution (and statistic, where there is one) is brought to images in [-1, 1], and spread over the
        bands where they are not three: for one band that is the band shown three times.

        Raises ContractError for weights of another network.
        """
        own = self.state_dict()
        wanted = {name: weights[name] for name in own if name in weights}
        if "conv1.weight" in wanted:
            stem = wanted["conv1.weight"] / torch.tensor(PHOTO_SCALE)[:, None, None]
            if "bn1.running_mean" in wanted:
                shift = (stem.sum(dim=(2, 3)) * torch.tensor(PHOTO_SHIFT)).sum(dim=1)
                wanted["bn1.running_mean"] = wanted["bn1.running_mean"] + shift
            bands = own["conv1.weight"].shape[1]
            if bands != stem.shape[1]:
                stem = (stem.sum(dim=1, keepdim=True) / bands).expand(-1, bands, -1, -1)
            wanted["conv1.weight"] = stem
        wrong = [name for name in own if name not in wanted or own[name].shape != wanted[name].shape]
        if wrong:
            raise ContractError(f"these are not the weights of a ResNet-50 of this width: {', '.join(wrong[:3])} do not fit")
        self.load_state_dict(wanted)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; the 3x3 one has the stride, as in torchvision's ResNet."""

    def __init__(self, c_in: int, c_out: int, stride: int, norm: NormLayer) -> None:
        super().__init__()
        width = c_out // EXPANSION
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = norm(c_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), norm(c_out))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C_out h w"]:
        """Return relu(f(x) + shortcut(x))."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(h))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))
