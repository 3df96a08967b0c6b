"""CUT+SCC: Alleviating Semantics Distortion in Unsupervised Low-Level I2I Translation via Structure Consistency Constraint.

Guo, Li, Fu, Gong, Zhang and Tao, CVPR 2022, https://doi.org/10.1109/CVPR52688.2022.01771
Differs from the paper: of its combinations with other methods this is the one with CUT; the official code holds the one
with CycleGAN alone, with a discriminator of pixels that no loss of the paper names, left out here. Its kernels grow with
the distance, exp(+d^2 / 2 sigma^2), which no Gaussian does: kernel_sign=1 does the same.

The mutual information of x and G(x) is the same for an image and its negative, so it does not keep dark things dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sarbench.bench.interface import Batch, Card, Turn, setting
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.mutual_information import rsmi
from sarbench.methods.losses.patch_nce import patch_nce


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of CUT+SCC; the defaults are those of CUT and of the structure consistency constraint."""

    lambda_nce: float = setting(1.0, "CUT, Sec. 3, lambda_X = lambda_Y of Eq. 5")
    lambda_scc: float = setting(0.5, "issue 5 of the official code, which quotes the paper: 0.5 with batch 1")
    kernel_sigma: float = setting(1.0, "official code: width of the kernels on a grid of step 0.25 in [-1, 1]")
    kernel_sign: int = setting(-1, "a Gaussian; the official code has +1")


class CUTSCC(ContrastiveFrame):
    """CUT that also maximises the mutual information between the values of a pixel before and after."""

    card = Card(
        title="CUT+SCC",
        paper="https://doi.org/10.1109/CVPR52688.2022.01771",
        year=2022,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=(
            "No pixel discriminator: the official code has one beside CycleGAN.",
            "The kernels of the mutual information are Gaussian; the official code has the opposite sign.",
            "Each row of a batch has positions of its own; the shallowest layer is the image without its padding.",
        ),
        licence="none given",
    )
    presets = frame_presets(Config())
    config: Config

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, then one of G and its projector."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        inputs = torch.cat([x, y])
        output = self.G(inputs)
        fake = output.image[: len(x)]
        yield "D", {"gan": 0.5 * adversarial.discriminator(self.D(y), self.D(fake.detach()), "least_squares")}
        of_x, of_y = self.patches(inputs, output, seeds)
        # All channels are one sample of pairs of values.
        shared = rsmi(x.flatten(1), fake.flatten(1), sigma=c.kernel_sigma, kernel_sign=c.kernel_sign)
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(fake), "least_squares"),
                "nce": 0.5 * c.lambda_nce * of_x.mean(lambda w, z: patch_nce(w, z, c.tau)),
                "nce_same": 0.5 * c.lambda_nce * of_y.mean(lambda w, z: patch_nce(w, z, c.tau)),
                "scc": -c.lambda_scc * shared.mean(),
            },
        )
