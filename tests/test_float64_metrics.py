"""Every pixel metric and convention against a plain float64 version of its formula, on images hard for fast arithmetic."""

import numpy as np
import pytest

from sarbench.bench import registry
from sarbench.bench.certification.corpus import images
from sarbench.bench.certification.selves import OF_PAIRS

CORPUS = images()


@pytest.mark.parametrize("image", CORPUS)
@pytest.mark.parametrize("name", OF_PAIRS)
def test_a_metric_is_its_plain_float64_self(name, image):
    pair, metric = CORPUS[image], registry.load_metric(name)
    if name.startswith("sam") and pair.bands == 1:
        return
    read = pair.of(metric.reads)
    expected = OF_PAIRS[name](*(side.pixels[0].astype(np.float64) for side in read), pair.peak)
    np.testing.assert_allclose(metric.rows(*read), [expected], rtol=1e-9, atol=1e-9)
