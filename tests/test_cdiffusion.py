from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.interface import Batch, Pairs
from sarbench.methods.cdiffusion import CDiffusion, Config

TINY = replace(CDiffusion.presets["tiny"], unet_widths=(8, 16), unet_heads=(0, 2), steps=4)


def build(config: Config = TINY, source_channels: int = 3, target_channels: int = 3) -> CDiffusion:
    torch.manual_seed(0)
    return CDiffusion(config, source_channels, target_channels)


class Oracle(nn.Module):
    """A U-Net that knows the target, and so the noise; it notes what it is shown beside the noisy target."""

    def __init__(self, y: Tensor, abar: Tensor) -> None:
        super().__init__()
        self.y, self.abar, self.shown = y, abar, []

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        n = self.y.shape[1]
        self.shown.append(z[:, n:])
        abar = self.abar[t][:, None, None, None]
        return (z[:, :n] - abar.sqrt() * self.y) / (1 - abar).sqrt()


def test_the_paper_preset_is_the_published_network():
    with torch.device("meta"):
        method = build(CDiffusion.presets["paper"])
    assert sum(p.numel() for p in method.parameters()) == 164_309_379
    assert len(method.abar) == 2000


def test_an_untrained_network_pays_the_variance_of_the_noise():
    p = Pairs(torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32), torch.arange(8), ("",) * 8, ("",) * 8)
    ((player, losses),) = build().training_step(Batch(p), 0.0)
    assert (player, losses["mse"].item()) == ("unet", pytest.approx(1.0, abs=0.03))


def test_a_network_that_knows_the_noise_pays_nothing_and_walks_to_the_target_beside_the_clean_source():
    method = build().eval()
    source, target = torch.rand(2, 2, 3, 16, 16) * 2 - 1
    method.unet = Oracle(target, method.abar)
    p = Pairs(source, target, torch.arange(2), ("a", "b"), ("a", "b"))
    ((_, losses),) = method.training_step(Batch(p), 0.0)
    assert losses["mse"].item() < 1e-4
    torch.testing.assert_close(method.translate(source, p.seeds), target, atol=1e-3, rtol=0)
    assert len(method.unet.shown) == 1 + 4
    assert all(torch.equal(shown, source) for shown in method.unet.shown)


def test_any_channel_counts_fit():
    out = build(TINY, 2, 1).eval().translate(torch.rand(1, 2, 16, 32), torch.arange(1))
    assert out.shape == (1, 1, 16, 32)


def test_the_rate_warms_up_and_falls_as_a_cosine():
    schedule = build(replace(TINY, warmup=0.1)).players()["unet"].optimizer.schedule
    assert [schedule(p) for p in (0.0, 0.05, 0.1, 0.55, 1.0)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])
