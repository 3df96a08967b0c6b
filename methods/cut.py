"""CUT: Contrastive Learning for Unpaired Image-to-Image Translation; and FastCUT, its lighter form.

Park, Efros, Zhang and Zhu, ECCV 2020, https://arxiv.org/abs/2007.15651 (v3 is cited).
Differs from the paper: each row of a batch has positions of its own; the shallowest of the five layers is the image without
its padding. The official code makes its projector at the first batch, and takes the batch size from its options, so that
a smaller last batch breaks it; neither is so here. The paper's CUT is the default; FastCUT is a row of `ablations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sarbench.bench.interface import Batch, Card, Turn, setting, uniform
from sarbench.methods.frames.contrastive import ContrastiveFrame, FrameConfig, frame_presets, mirrored
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.patch_nce import patch_nce


@dataclass(frozen=True)
class Config(FrameConfig):
    """Hyperparameters of CUT; the defaults are the paper's for 256x256 px."""

    lambda_nce: float = setting(1.0, "Sec. 3, lambda_X of Eq. 5; FastCUT 10")
    identity: bool = setting(True, "Sec. 3, lambda_Y of Eq. 5: PatchNCE of target images too, halved each; FastCUT has none")
    flip_equivariance: bool = setting(False, "official code: FastCUT mirrors every second image, and its features back")


class CUT(ContrastiveFrame):
    """A generator whose output patches resemble the input's at their place more than the input's elsewhere."""

    card = Card(
        title="CUT",
        paper="https://arxiv.org/abs/2007.15651",
        year=2020,
        supervision="unpaired",
        channels="same",
        size_multiple=4,
        deviations=("Each row of a batch has positions of its own; the shallowest layer is the image without its padding.",),
        licence="BSD-2-Clause",
    )
    presets = frame_presets(Config())
    ablations = {
        "1": {
            "": {},
            "FastCUT": {"lambda_nce": "10", "identity": "false", "flip_equivariance": "true", "decay_from": "0.75"},
        },
    }
    config: Config

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D, then one of G and its projector."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        inputs, flipped = torch.cat([x, y]) if c.identity else x, None
        if c.flip_equivariance:
            flipped = (uniform(seeds, (1,), "flip")[:, 0] < 0.5).repeat(len(inputs) // len(x))
        output = self.G(inputs if flipped is None else mirrored(inputs, flipped))
        fake = output.image[: len(x)]
        # Eq. 1, with the squares of LSGAN (App. C.1), halved as in the official code
        yield "D", {"gan": 0.5 * adversarial.discriminator(self.D(y), self.D(fake.detach()), "least_squares")}
        losses = {"gan": adversarial.generator(self.D(fake), "least_squares")}
        found = self.patches(inputs, output, seeds, flipped)
        for name, patches in zip(("nce", "nce_same"), found, strict=False):
            losses[name] = c.lambda_nce / len(found) * patches.mean(lambda w, z: patch_nce(w, z, c.tau))  # Eq. 3
        yield "G", losses
