"""DivCo: Diverse Conditional Image Synthesis via Contrastive Generative Adversarial Network.

Liu, Ge, Choi, Wang and Li, CVPR 2021, https://arxiv.org/abs/2103.07893
Differs from the paper: in what `card.deviations` lists.

A contrastive loss over attribute vectors, in place of mode seeking and latent regression in a host: for unpaired images
that is DRIT++, for pairs BicycleGAN. This is the first. The official code of the second never propagates the contrastive
loss; its option for latent regression in the first can't run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Card, normal, setting, uniform
from sarbench.methods.frames.disentanglement import Disentanglement, HostConfig


@dataclass(frozen=True)
class Config(HostConfig):
    """Hyperparameters of DivCo on DRIT++; the defaults are the paper's for 216x216 px."""

    lambda_latent: float = setting(0.0, "official code: no latent regression unless asked for")
    lambda_contrast: float = setting(1.0, "Sec. 4: for DRIT++; official code: 0.1 for large changes of shape")
    tau: float = setting(1.0, "Eq. 4, temperature; official code")
    radius: float = setting(0.01, "Sec. 3.2, R; official code")
    negatives: int = setting(10, "Sec. 3.2, N; official code")


PAPER: HostConfig = Config()


class DivCo(Disentanglement):
    """DRIT++ whose images are alike where their attribute vectors are close, and unlike where they are not."""

    card = Card(
        title="DivCo",
        paper="https://arxiv.org/abs/2103.07893",
        year=2021,
        supervision="unpaired",
        channels="any",
        size_multiple=4,
        stochastic=True,
        deviations=(
            "On DRIT++, the host for unpaired images; the paper has BicycleGAN for pairs as well.",
            "A translation's attributes are one draw from the prior, keyed by the image's seed.",
            "The content discriminator's three updates a step are on one batch; the official code takes a new one for each.",
            "Every row of a batch is encoded, translated with random attributes, and a real image of both branches.",
            "Discriminators of the random branch see two translations a row, as in DRIT++; the official code shows them one.",
        ),
        licence="none given",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, batch_size=2),  # each row is 12 images of both domains
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
            negatives=2,
            learning_rate=5e-4,  # a thousand updates in all
            content_learning_rate=2e-4,
            batch_size=8,
        ),
    }
    judged = (0, 2)  # the query and the first negative
    config: Config

    def random_attributes(self, seeds: Int64[Tensor, " B"]) -> Float[Tensor, "n B size"]:
        """The query, its positive within the radius, and negatives that in every number lie beyond it.  Sec. 3.2.

        Twice as many negatives are drawn as are needed, and the first that lie beyond are taken.
        """
        c = self.config
        query = normal(seeds, (c.attributes,), "query")  # (B, size)
        near = c.radius * (2.0 * uniform(seeds, (c.attributes,), "positive") - 1.0)
        drawn = normal(seeds, (2 * c.negatives, c.attributes), "negatives")  # (B, 2 N, size)
        too_near = ((drawn - query[:, None]).abs() < c.radius).any(dim=2)
        first = too_near.to(torch.uint8).argsort(dim=1, stable=True)[:, : c.negatives]
        negatives = drawn.gather(1, first[:, :, None].expand(-1, -1, c.attributes))
        return torch.stack([query, query + near, *negatives.unbind(dim=1)])

    def diversity(
        self, attributes: Float[Tensor, "n B size"], images: Float[Tensor, "n B C H W"], encoded: Float[Tensor, "n B size"]
    ) -> dict[str, Tensor]:
        """The cross-entropy of finding the positive among positive and negatives by what E^a sees.  Eq. 4."""
        query, *others = encoded.float().unbind(dim=0)
        logits = torch.stack([(query * other).sum(dim=1) for other in others], dim=1) / self.config.tau  # (B, 1 + N)
        first = logits.new_zeros(len(logits), dtype=torch.int64)
        return {"contrast": self.config.lambda_contrast * F.cross_entropy(logits, first)}
