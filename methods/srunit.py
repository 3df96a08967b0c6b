"""SRUNIT: Semantically Robust Unpaired Image Translation for Data with Unmatched Semantics Statistics.

Jia, Yuan, Wang, Wu, Clifford, Yuan and Su, ICCV 2021, https://arxiv.org/abs/2012.04932
Differs from the paper: of the five layers, each row of a batch perturbs one a step, and pays a fifth of its loss, as in the
official code with its one row; each row has positions of its own; the shallowest layer is the image without its padding.
Traps of the official code, not reproduced: until the robustness loss starts, after a quarter of the training, it moves
neither the generator nor the projector; and it injects noise of the largest magnitude, but divides by the one drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from sarbench.bench.interface import Batch, Card, Turn, normal, setting, uniform
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.patch_nce import patch_nce
from sarbench.methods.networks.patch_features import at_positions, draw_positions


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of SRUNIT; the defaults are the paper's for 256x256 px."""

    lambda_nce: float = setting(1.0, "CUT, Sec. 3, lambda_X = lambda_Y of Eq. 5")
    lambda_robust: float = setting(0.001, "official code: --reg")
    largest_noise: float = setting(0.001, "official code: --reg_noise, length of a perturbation at one position")
    smallest_noise: float = setting(1e-7, "official code")
    robust_from: float = setting(0.25, "official code: share of the training before the robustness loss, 100 of 400 epochs")


class SRUNIT(ContrastiveFrame):
    """CUT whose translations mean the same when features of their input are perturbed."""

    card = Card(
        title="SRUNIT",
        paper="https://arxiv.org/abs/2012.04932",
        year=2021,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=(
            "Each row of a batch perturbs one of the five layers a step and pays a fifth of its loss, as in the official code.",
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
        losses = {
            "gan": adversarial.generator(self.D(fake), "least_squares"),
            "nce": 0.5 * c.lambda_nce * of_x.mean(lambda w, z: patch_nce(w, z, c.tau)),
            "nce_same": 0.5 * c.lambda_nce * of_y.mean(lambda w, z: patch_nce(w, z, c.tau)),
        }
        if progress >= c.robust_from:
            losses["robust"] = c.lambda_robust * self.robustness([h[: len(x)] for h in output.features], seeds)
        yield "G", losses

    def robustness(self, features: Sequence[Tensor], seeds: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
        """How far, for the length of a perturbation of x's features, the translation's lie from them; a layer a row.

        Of the mean over the layers each row draws one term, as in the official code, whose weight holds for it. Gradients
        flow through all that is compared, into the generator and the projector.
        """
        c = self.config
        layers = (uniform(seeds, (1,), "layer")[:, 0] * len(features)).long().tolist()
        positions = draw_positions(features, c.patches, seeds, "robust")
        found = []
        for layer in sorted(set(layers)):
            rows = [row for row, its in enumerate(layers) if its == layer]
            h, where = features[layer][rows], positions[layer][rows]
            direction = functional.normalize(normal(seeds[rows], h.shape[1:], "direction"), dim=1)
            drawn = uniform(seeds[rows], (1, *h.shape[2:]), "length")
            length = c.smallest_noise + (c.largest_noise - c.smallest_noise) * drawn  # (rows, 1, h, w)
            perturbed = self.G.resume(h + length * direction, layer)
            before = self.F.project(layer, h, where)
            after = self.F.project(layer, self.G.encode(perturbed, layer)[layer], where)
            distance = ((after - before).square().sum(dim=2) + 1e-12).sqrt()  # (rows, n)
            found.append((distance / at_positions(length, where)[:, :, 0]).mean(dim=1))
        return torch.cat(found).mean() / len(features)
