"""VGG-19 (Simonyan and Zisserman, 2015, configuration E) as frozen features, and the decoder that mirrors it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import ContractError
from sarbench.methods.networks import initialization

CONVOLUTIONS = (2, 2, 4, 4, 4)  # in each block; a 2x2 max pooling stands between two blocks
WIDTHS = (1, 2, 4, 8, 8)  # of each block, in units of the first
PHOTO_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's bands in [0, 1]
PHOTO_SPREAD = (0.229, 0.224, 0.225)


class FrozenVGG19(nn.Module):
    """Features of an image at chosen layers; no weight ever moves.

    Drawn at random, after He et al. (2015), until `load_photo_weights` takes up those that ImageNet taught. A tap is named
    "conv3_1" (before its ReLU) or "relu3_1"; layers past the deepest tap are not there. Parameters are named as torchvision
    names them. Images in [-1, 1] are brought to ImageNet's statistics; those of another number than three bands become
    their mean band three times.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, taps: Sequence[str], *, width: int = 64, padding: Literal["zeros", "reflect"] = "zeros") -> None:
        super().__init__()
        names = [f"{b + 1}_{i + 1}" for b, n in enumerate(CONVOLUTIONS) for i in range(n)]
        self.taps = tuple(taps)
        depth = 1 + max(names.index(tap.removeprefix("conv").removeprefix("relu")) for tap in taps)
        self.padding = padding
        self.features = nn.ModuleDict()
        self.layers: list[tuple[str, str]] = []  # number in torchvision's list of layers, and name
        number, channels = 0, 3
        for name in names[:depth]:
            block, i = int(name[0]) - 1, int(name[2])
            number += 1 if i == 1 and block else 0  # the pooling
            wide = width * WIDTHS[block]
            self.features[str(number)] = nn.Conv2d(channels, wide, 3, padding=1, padding_mode=padding)
            self.layers.append((str(number), name))
            number, channels = number + 2, wide  # the convolution and its ReLU
        self.channels = [width * WIDTHS[int(tap[4]) - 1] for tap in self.taps]
        self.register_buffer("mean", torch.tensor(PHOTO_MEAN), persistent=False)
        self.register_buffer("spread", torch.tensor(PHOTO_SPREAD), persistent=False)
        initialization.kaiming(self)
        self.requires_grad_(False)

    def forward(self, images: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ h w"]]:
        """The tapped features, in the order of the taps; the k-th block is at H / 2^(k-1). Gradients reach the images."""
        bands = images.float() if images.shape[1] == 3 else images.float().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        h = ((bands + 1.0) / 2.0 - self.mean[:, None, None]) / self.spread[:, None, None]
        found: dict[str, Tensor] = {}
        for number, name in self.layers:
            if name.endswith("_1") and name != "1_1":
                h = F.max_pool2d(h, 2)
            found[f"conv{name}"] = self.features[number](h)
            h = found[f"relu{name}"] = F.relu(found[f"conv{name}"])
        return [found[tap] for tap in self.taps]

    def load_photo_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up weights of torchvision's VGG-19; layers past the deepest tap are left out.

        Raises ContractError for weights of another network.
        """
        own = self.state_dict()
        wrong = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
        if wrong:
            raise ContractError(f"these are not the weights of a VGG-19 of this width: {', '.join(wrong[:3])} do not fit")
        self.load_state_dict({name: weights[name] for name in own})


class MirrorDecoder(nn.Module):
    """g of AdaIN (Huang and Belongie, 2017), Sec. 6.1: VGG-19 up to relu4_1 turned round.

    Nearest-neighbour doublings for poolings, reflection padding, no normalisation, and nothing that keeps the image in
    [-1, 1]. 3,505,219 parameters with width 64, to 3 channels.
    """

    def __init__(self, channels: int, *, width: int = 64) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        c_in = 8 * width
        for block in (2, 1, 0):
            wide = width * WIDTHS[block]
            stack += [_reflected(c_in, wide), nn.ReLU(inplace=True), nn.Upsample(scale_factor=2, mode="nearest")]
            for _ in range(CONVOLUTIONS[block] - 1):
                stack += [_reflected(wide, wide), nn.ReLU(inplace=True)]
            c_in = wide
        self.layers = nn.Sequential(*stack, _reflected(width, channels))

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C_image 8*h 8*w"]:
        """Float32 images."""
        return self.layers(features).float()


def _reflected(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="reflect")
