"""U-GAT-IT's discriminator: judges patches, and with its attention the image as a whole."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sarbench.methods.networks import initialization
from sarbench.methods.networks.class_activation import ClassActivation


class AttentionDiscriminator(nn.Module):
    """Discriminator of U-GAT-IT (Kim et al., 2020), appendix: strided 4x4 convolutions, attention, a patch head.

    Of `layers` convolutions all but two halve, one widens, and one gives the logits: with 7 it is the global one (53,130,176
    parameters for 3 channels, H and W at least 128), with 5 the local one (3,290,560). All are under spectral
    normalisation but the 1x1 convolution of the attention.
    """

    def __init__(self, channels: int, *, width: int = 64, layers: int = 5) -> None:
        super().__init__()
        widths = [channels, *(width * 2**level for level in range(layers - 1))]
        stack: list[nn.Module] = []
        for level, (c_in, c_out) in enumerate(pairwise(widths)):
            stride = 2 if level < layers - 2 else 1
            stack += [_convolution(c_in, c_out, stride, bias=True), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*stack)
        self.attend = ClassActivation(widths[-1], spectral=True)
        self.head = _convolution(widths[-1], 1, 1, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Logits that the images are real: of patches (B, 1, h, w), and of the whole (B, 2), by mean and by maximum."""
        features, logits = self.attend(self.layers(x))
        return [self.head(F.leaky_relu(features, 0.2)), logits]


def _convolution(c_in: int, c_out: int, stride: int, *, bias: bool) -> nn.Module:
    convolution = nn.Conv2d(c_in, c_out, 4, stride, padding=1, padding_mode="reflect", bias=bias)
    return spectral_norm(initialization.normal(convolution))  # after it, there is no weight left to set
