"""Pixel accuracy at 10 grey levels: how many pixels of an image have nearly the colour of the reference?

Unit: % of the pixels; higher is better; 100 for identical images.
Formula: the share of pixels with max over bands |translated - reference| < 10, in grey levels of 255: exactly 10 is wrong.
Source: Sec. 4.2.3 of SemST, which follows the evaluation of Photo->Map of Fu et al., CVPR 2019,
https://arxiv.org/abs/1809.05852
Misleads: it is made for maps of few flat colours; in photographs a shift in brightness of 10 levels, which nobody sees, makes
it 0, and all larger errors count alike.
"""

from __future__ import annotations

from sarbench.bench.metrics._accuracy import accuracy_metric

metric = accuracy_metric(delta=10)
