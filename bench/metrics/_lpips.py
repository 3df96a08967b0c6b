"""LPIPS of references whose features are kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch, Prepared


def prepared(backbone: str) -> Prepared:
    """The work on the references of ALEX, SQUEEZE or VGG, which is named and not given: their file imports torch."""

    def prepare(reference: ImageBatch) -> Mapping[str, Float[np.ndarray, "B h w C"]]:
        from sarbench.bench.metrics.networks import lpips

        return lpips.load(getattr(lpips, backbone)).prepare(reference)

    def rows(translated: ImageBatch, kept: Mapping[str, Float[np.ndarray, "B h w C"]]) -> Float[np.ndarray, " B"]:
        from sarbench.bench.metrics.networks import lpips

        return lpips.load(getattr(lpips, backbone)).distances_prepared(translated, kept)

    return Prepared(prepare, rows)
