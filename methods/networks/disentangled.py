"""The networks of DRIT++: encoders of content and of attributes, and a generator that joins the two again.

Each network holds the layers of both domains, "x" (sources) and "y" (targets), as the paper counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarbench.bench.interface import ContractError
from sarbench.methods.networks.resnet_generator import ResidualBlock

Domain = Literal["x", "y"]


class ContentEncoder(nn.Module):
    """E^c of DRIT++ (Lee et al., 2020), Sec. 3.2: layers of a domain each, and a last residual block that both share.

    9,018,112 parameters with width 64 and 3 blocks, from 3 channels in both domains. H and W are multiples of 4.
    """

    def __init__(self, channels: Mapping[Domain, int], *, width: int = 64, blocks: int = 3) -> None:
        super().__init__()

        def own(channels: int) -> nn.Sequential:
            stack: list[nn.Module] = [_reflected(channels, width, 7), nn.LeakyReLU(0.01, inplace=True)]
            for c in (width, 2 * width):
                stack += [_reflected(c, 2 * c, 3, stride=2), nn.InstanceNorm2d(2 * c), nn.ReLU(inplace=True)]
            return nn.Sequential(*stack, *(ResidualBlock(4 * width) for _ in range(blocks)))

        self.own = nn.ModuleDict({domain: own(n) for domain, n in channels.items()})
        self.shared = ResidualBlock(4 * width)

    def forward(self, x: Float[Tensor, "B C H W"], domain: Domain) -> Float[Tensor, "B 4*width H/4 W/4"]:
        """The content of images of a domain."""
        return self.shared(self.own[domain](x))


class AttributeEncoder(nn.Module):
    """E^a of DRIT++, the form that is concatenated: mean and log-variance of a Gaussian over attribute vectors.

    2,688,160 parameters with width 64, from 3 channels in both domains.
    """

    def __init__(self, channels: Mapping[Domain, int], *, size: int = 8, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        widths = [width * (level + 1) for level in range(layers)]  # 64, 128, 192, 256

        def own(channels: int) -> nn.Sequential:
            return nn.Sequential(
                _reflected(channels, width, 4, stride=2),
                *(PooledBlock(c_in, c_out) for c_in, c_out in pairwise(widths)),
                nn.LeakyReLU(0.2),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(widths[-1], 2 * size),
            )

        self.own = nn.ModuleDict({domain: own(n) for domain, n in channels.items()})

    def forward(self, x: Float[Tensor, "B C H W"], domain: Domain) -> tuple[Float[Tensor, "B size"], Float[Tensor, "B size"]]:
        """Mean and log-variance, in float32."""
        mean, log_var = self.own[domain](x).float().chunk(2, dim=1)
        return mean, log_var


class PooledBlock(nn.Module):
    """A residual block before whose end the size is halved by a mean; leaky ReLU first, no normalisation."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.2), _reflected(c_in, c_in, 3), nn.LeakyReLU(0.2), _reflected(c_in, c_out, 3), nn.AvgPool2d(2)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1))

    def forward(self, x: Float[Tensor, "B C_in H W"]) -> Float[Tensor, "B C_out H/2 W/2"]:
        """Half the height and width."""
        return self.layers(x) + self.shortcut(x)


class AttributeGenerator(nn.Module):
    """G of DRIT++, the form that is concatenated: a shared residual block, then a decoder of the domain.

    The attribute vector is joined to the features before the residual blocks, before each doubling and before the last
    convolution. 9,564,710 parameters with width 64, 3 blocks and 8 attributes, to 3 channels in both domains.
    """

    def __init__(self, channels: Mapping[Domain, int], *, size: int = 8, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        deep = 4 * width + size
        half, full = (deep + size) // 2, ((deep + size) // 2 + size) // 2

        def doubling(c_in: int, c_out: int) -> nn.Sequential:
            deconvolution = nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1)
            return nn.Sequential(deconvolution, nn.GroupNorm(1, c_out), nn.ReLU(inplace=True))

        def own(channels: int) -> nn.ModuleList:
            return nn.ModuleList(
                [
                    nn.Sequential(*(ResidualBlock(deep) for _ in range(blocks))),
                    doubling(deep + size, half),
                    doubling(half + size, full),
                    nn.Conv2d(full + size, channels, 1),
                ]
            )

        self.shared = ResidualBlock(4 * width)
        self.own = nn.ModuleDict({domain: own(n) for domain, n in channels.items()})

    def forward(
        self, content: Float[Tensor, "B C h w"], attributes: Float[Tensor, "B size"], domain: Domain
    ) -> Float[Tensor, "B C_image 4*h 4*w"]:
        """Float32 images in [-1, 1] of a domain."""
        h = self.shared(content)
        for stage in self.own[domain].children():
            everywhere = attributes[:, :, None, None].to(h.dtype).expand(-1, -1, *h.shape[2:])
            h = stage(torch.cat([h, everywhere], dim=1))
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        return torch.tanh(h.float())


class ContentDiscriminator(nn.Module):
    """D^c of DRIT++, Sec. 3.2: from which domain is this content? One logit where it sees 212 px, more where it sees more.

    7x7 convolutions with stride 2 and instance norm, then a 4x4 and a 1x1 one. 10,683,649 parameters for 256 channels and
    3 strided layers.
    """

    def __init__(self, channels: int, *, layers: int = 3) -> None:
        super().__init__()
        self.least = 4
        stack: list[nn.Module] = []
        for _ in range(layers):
            stack += [_reflected(channels, channels, 7, stride=2, padding=1), nn.InstanceNorm2d(channels), nn.LeakyReLU(0.01)]
            self.least = 2 * self.least + 3
        self.layers = nn.Sequential(*stack, nn.Conv2d(channels, channels, 4), nn.LeakyReLU(0.01), nn.Conv2d(channels, 1, 1))

    def forward(self, content: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 _ _"]:
        """Logits that the content is that of a target. Raises ContractError for contents that are too small."""
        if min(content.shape[2:]) < self.least:
            raise ContractError(
                f"DRIT's content discriminator needs training crops of at least {4 * self.least} px, got "
                f"{4 * min(content.shape[2:])} px; enlarge them, or take a layer away with --set content_layers"
            )
        return self.layers(content)


def frozen(network: nn.Module, *inputs: object) -> tuple[Tensor, Tensor]:
    """What an attribute encoder gives, with gradients to the inputs and none to its parameters."""
    constants = {name: p.detach() for name, p in network.named_parameters()}
    return torch.func.functional_call(network, constants, inputs)


def _reflected(c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int | None = None) -> nn.Conv2d:
    padding = (kernel - 1) // 2 if padding is None else padding
    return nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=padding, padding_mode="reflect")
