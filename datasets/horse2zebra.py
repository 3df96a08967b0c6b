"""horse2zebra (CycleGAN): photos of horses and photos of zebras that do not correspond.

Source: horses (A); 8-bit RGB photos of ImageNet, 0..255 to [-1, 1]; a few are grey and are repeated to three bands.
Target: zebras (B); `direction=BtoA` swaps the domains.
Labels: none.
Splits: official; ImageNet does not say which photos show one animal, so the split counts as unverified.
Size: 1,067 horses and 1,334 zebras to train on, 120 and 140 to test on, 256x256 px.
Licence: none stated; photos of ImageNet.
Reference: Zhu et al., ICCV 2017, https://arxiv.org/abs/1703.10593

Layout, as horse2zebra.zip unpacks:

    trainA/n02381460_1001.jpg
    trainB/n02391049_1.jpg
    testA/n02381460_1000.jpg
    testB/n02391049_100.jpg
"""

from __future__ import annotations

from sarbench.bench.dataset import DatasetCard
from sarbench.datasets.families.photo_sets import TwoDomains


class Horse2Zebra(TwoDomains):
    """Horses (A) and zebras (B)."""

    card = DatasetCard(
        title="horse2zebra",
        source="RGB photo of a horse, 8 bit",
        target="RGB photo of a zebra, 8 bit",
        task="photo to photo",
        group=None,
        licence="none stated; photos of ImageNet",
        reference="https://arxiv.org/abs/1703.10593",
        paired=False,
        get="Unpack horse2zebra.zip of http://efrosgans.eecs.berkeley.edu/cyclegan/datasets.",
    )
    layout = "  trainA/*.jpg  horses\n  trainB/*.jpg  zebras\n  testA/*.jpg\n  testB/*.jpg"
