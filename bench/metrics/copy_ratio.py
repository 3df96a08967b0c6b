"""Copy audit: is the translated image nearer to the target than to the source, or a copy of the source?

Unit: none, from 0; higher is better; 0 for a copy of the source, 1 for as far from the source as from the target.
Formula: mean |translated - source| / mean |translated - target|, each image as a share of its peak. Band by band where the
source has as many bands as the target; otherwise all three images are averaged over their bands first, so that a grey copy of
a one-band source has 0 in RGB too.
Source: the suite's own; the failure it looks for is known from unpaired translation, Chu, Zhmoginov and Sandler, 2017,
https://arxiv.org/abs/1712.02950, which hides the source in its output.
Misleads: it is an audit, no measure of quality: any image that is unlike the source and a little like the target does well.
Where the two are alike (two dates of one sensor), a ratio near 0 can be right: compare with the floor `identity`, which has
0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._conventions import unit
from sarbench.bench.metrics._pairs import check_pairs


def copy_ratio(translated: ImageBatch, source: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """The ratio of each image, (B,) float64; NaN where the translated image is the reference.

    The source may have other bands and another depth. ContractError for unlike sides, and for a source of another grid.
    """
    check_pairs(translated, reference, "copy_ratio")
    if source.pixels.shape[:3] != translated.pixels.shape[:3]:
        raise ContractError(
            f"copy_ratio compares the translated images with sources on the same grid (B, H, W), got "
            f"{translated.pixels.shape[:3]} and {source.pixels.shape[:3]}; crop the sources as the translated images were"
        )
    x, s, y = unit(translated), unit(source), unit(reference)
    if s.shape[3] != y.shape[3]:
        x, s, y = (image.mean(axis=3) for image in (x, s, y))
    to_source, to_target = (np.abs(x - other).reshape(len(x), -1).mean(1) for other in (s, y))
    return np.divide(to_source, to_target, out=np.full(len(x), np.nan), where=to_target > 0)


metric = Metric(
    name="copy_ratio",
    signature="copy_ratio;l1;by-band-or-band-mean;v1",
    unit="",
    higher_is_better=True,
    rows=copy_ratio,
    reads=("translated", "source", "reference"),
    ranked=False,
    undefined="the translated image is the target",
)
