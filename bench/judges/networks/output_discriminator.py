"""The discriminator of class maps: Tsai et al. (AdaptSegNet), CVPR 2018, https://arxiv.org/abs/1802.10349, Sec. 3.2."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (1, 2, 4, 8)  # of each layer, in units of the first


class OutputDiscriminator(nn.Sequential):
    """Tells from softmax maps whether they are of the source or the target: five strided convolutions, without normalisation.

    Gives logits at 1/32 of the side, at least one, high for the source. With 19 classes and width 64 it has 2,781,121
    parameters.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        layers: list[nn.Module] = []
        c_in = classes
        for times in WIDTHS:
            layers += [nn.Conv2d(c_in, width * times, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
            c_in = width * times
        super().__init__(*layers, nn.Conv2d(c_in, 1, 4, stride=2, padding=1))

    def forward(self, probabilities: Float[Tensor, "B classes H W"]) -> Float[Tensor, "B 1 h w"]:
        """Logits, one a patch."""
        return super().forward(probabilities)
