"""DRIT++: Diverse Image-to-Image Translation via Disentangled Representations.

Lee, Tseng, Mao, Huang, Lu, Singh and Yang, IJCV 2020, https://arxiv.org/abs/1905.01270
Differs from the paper: in what `card.deviations` lists.

The form for small changes of shape, which concatenates attributes. The official code splits a batch into one image that is
encoded and one that is only judged, and loses all diversity with more; here every row does both, so that any batch works.

The networks and turns are in networks/disentangled.py and frames/disentanglement.py; mode seeking is here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Card, normal, setting
from sarbench.methods.frames.disentanglement import Disentanglement, HostConfig


@dataclass(frozen=True)
class Config(HostConfig):
    """Hyperparameters of DRIT++; the defaults are the paper's for 216x216 px."""

    lambda_ms: float = setting(1.0, "Sec. 3.3: mode seeking")


PAPER: HostConfig = Config()


class DRIT(Disentanglement):
    """Contents and attributes of two domains swapped and swapped back, with mode seeking."""

    card = Card(
        title="DRIT++",
        paper="https://arxiv.org/abs/1905.01270",
        year=2020,
        supervision="unpaired",
        channels="any",
        size_multiple=4,
        stochastic=True,
        deviations=(
            "A translation's attributes are one draw from the prior, keyed by the image's seed.",
            "The content discriminator's three updates a step are on one batch; the official code takes a new one for each.",
            "Every row of a batch is encoded, translated with random attributes, and a real image of both branches.",
            "Mode seeking divides row by row; the official code divides means over the batch, which is of one row.",
            "The turn of random attributes takes the networks as just updated; the official code goes on with old values.",
        ),
        licence="none given",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=4),
        "tiny": replace(
            PAPER,
            width=8,
            blocks=0,  # but for the shared one
            attributes=4,
            attribute_layers=2,
            discriminator_width=8,
            discriminator_layers=3,
            discriminator_scales=1,
            content_layers=1,
            content_updates=1,
            learning_rate=5e-4,  # a thousand updates in all
            content_learning_rate=2e-4,
            batch_size=8,
        ),
    }
    judged = (0, 1)
    config: Config

    def random_attributes(self, seeds: Int64[Tensor, " B"]) -> Float[Tensor, "2 B size"]:
        """Two draws from the prior."""
        return torch.stack([normal(seeds, (self.config.attributes,), f"random attributes {i}") for i in (0, 1)])

    def diversity(
        self, attributes: Float[Tensor, "2 B size"], images: Float[Tensor, "2 B C H W"], encoded: Float[Tensor, "2 B size"]
    ) -> dict[str, Tensor]:
        """Mode seeking: two images should differ as much as their attributes do."""
        apart = (images[0].float() - images[1].float()).abs().mean(dim=(1, 2, 3))  # (B,)
        drawn_apart = (attributes[0] - attributes[1]).abs().mean(dim=1)
        return {"mode_seeking": self.config.lambda_ms * (1.0 / (apart / drawn_apart + 1e-5)).mean()}
