"""summer2winter_yosemite (CycleGAN): photos of Yosemite in summer and photos in winter that do not correspond.

Source: summer (A); 8-bit RGB photos of Flickr, 0..255 to [-1, 1]; a grey one would be repeated to three bands.
Target: winter (B); `direction=BtoA` swaps the domains.
Labels: none.
Splits: official; the photos show the same few views again and again, so the split counts as unverified.
Size: 1,231 summer and 962 winter photos to train on, 309 and 238 to test on, 256x256 px.
Licence: none stated; photos of Flickr.
Reference: Zhu et al., ICCV 2017, https://arxiv.org/abs/1703.10593

Layout, as summer2winter_yosemite.zip unpacks:

    trainA/*.jpg
    trainB/*.jpg
    testA/*.jpg
    testB/*.jpg
"""

from __future__ import annotations

from sarbench.bench.dataset import DatasetCard
from sarbench.datasets.families.photo_sets import TwoDomains


class Summer2WinterYosemite(TwoDomains):
    """Yosemite in summer (A) and in winter (B)."""

    card = DatasetCard(
        title="summer2winter_yosemite",
        source="RGB photo in summer, 8 bit",
        target="RGB photo in winter, 8 bit",
        task="season",
        group=None,
        licence="none stated; photos of Flickr",
        reference="https://arxiv.org/abs/1703.10593",
        paired=False,
        get="Unpack summer2winter_yosemite.zip of http://efrosgans.eecs.berkeley.edu/cyclegan/datasets.",
    )
    layout = "  trainA/*.jpg  summer\n  trainB/*.jpg  winter\n  testA/*.jpg\n  testB/*.jpg"
