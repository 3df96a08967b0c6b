"""SSC: Unsupervised Synthetic Image Refinement via Contrastive Learning and Consistent Semantic-Structural Constraints.

Zhao, Shen, You and Kuo, 2023, https://arxiv.org/abs/2304.12591
Differs from the paper: its full text could not be had, and there is no code. Its abstract names contrastive learning,
semantic and structural consistency, and hard negatives; this is the closest reading by the works that its successor SemST
builds on. Contrast, hard negatives and semantic consistency are those of SRC (Jung et al., 2022), structural consistency is
the mutual information of SCC (Guo et al., 2022), and the weights are those of these two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sarbench.bench.interface import Batch, Card, Turn, setting
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.mutual_information import rsmi
from sarbench.methods.losses.patch_nce import hdce, relation_divergence


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of SSC, none of them the paper's, which could not be had."""

    lambda_hdce: float = setting(0.1, "a guess: SRC, official code")
    lambda_semantic: float = setting(0.05, "a guess: SRC, official code for horse2zebra")
    lambda_structure: float = setting(0.5, "a guess: SCC with CUT, issue 5 of its official code")
    gamma_start: float = setting(50.0, "a guess: SRC, official code; 1 / concentration at the start, linear to gamma_end")
    gamma_end: float = setting(10.0, "a guess: SRC, official code")
    kernel_sigma: float = setting(1.0, "a guess: SCC, official code")


class SSC(ContrastiveFrame):
    """CUT with hard negatives, patches that resemble each other as before, and pixels that tell of those before."""

    card = Card(
        title="SSC",
        paper="https://arxiv.org/abs/2304.12591",
        year=2023,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        fidelity="reconstruction",
        deviations=(
            "Read from the abstract alone: the networks and their training are those of CUT.",
            "Contrast and hard negatives are guessed to be hDCE of SRC in its expectation's form, of target images too.",
            "Semantic consistency is guessed to be the relation consistency of SRC.",
            "Structural consistency is guessed to be SCC: the mutual information of pixel values, under Gaussian kernels.",
            "All weights, the hardness of negatives and the width of the kernels are those of SRC and SCC.",
            "Each row of a batch has positions of its own; the shallowest layer is the image without its padding.",
        ),
        licence="no code found",
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
        beta = 1.0 / (c.gamma_start + (c.gamma_end - c.gamma_start) * progress)
        shared = rsmi(x.flatten(1), fake.flatten(1), sigma=c.kernel_sigma)
        yield (
            "G",
            {
                "gan": adversarial.generator(self.D(fake), "least_squares"),
                "hdce": 0.5 * c.lambda_hdce * of_x.mean(lambda w, z: hdce(w, z, beta=beta, tau=c.tau)),
                "hdce_same": 0.5 * c.lambda_hdce * of_y.mean(lambda w, z: hdce(w, z, beta=beta, tau=c.tau)),
                "semantic": c.lambda_semantic * of_x.mean(relation_divergence),
                "structure": -c.lambda_structure * shared.mean(),
            },
        )
