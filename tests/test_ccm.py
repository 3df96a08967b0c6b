from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.interface import Batch, Pairs, normal
from sarbench.methods.ccm import CCM, Config
from sarbench.methods.processes import consistency

TINY = replace(
    CCM.presets["tiny"], unet_widths=(8, 16), unet_blocks=(1, 1), unet_heads=(0, 2), noise_width=16, sigmas=(80.0, 5.0)
)


def build(config: Config = TINY, source_channels: int = 3, target_channels: int = 3) -> CCM:
    torch.manual_seed(0)
    return CCM(config, source_channels, target_channels)


class Oracle(nn.Module):
    """A network that makes the consistency function name the target, whatever it is shown."""

    def __init__(self, y: Tensor, sigma_min: float) -> None:
        super().__init__()
        self.y, self.sigma_min, self.shown = y, sigma_min, []

    def forward(self, z: Tensor, sigma: Tensor) -> Tensor:
        self.shown.append((z, sigma))
        data, above = consistency.SIGMA_DATA, sigma - self.sigma_min
        spread = (sigma**2 + data**2).sqrt()
        skip, out = (v[:, None, None, None] for v in (data**2 / (above**2 + data**2), data * above / spread))
        noisy = z[:, : self.y.shape[1]] * spread[:, None, None, None]
        return (self.y - skip * noisy) / out


def test_the_paper_preset_is_the_published_network():
    with torch.device("meta"):
        method = build(CCM.presets["paper"])
    assert sum(p.numel() for p in method.parameters()) == 128_916_099
    assert method.config.sigmas[-1] == pytest.approx(0.078125)


def test_a_network_that_names_the_target_translates_to_it_at_every_number_of_levels():
    source, target = torch.rand(2, 2, 3, 16, 16) * 2 - 1
    for sigmas in ((80.0,), (80.0, 40.0, 5.0)):
        method = build(replace(TINY, sigmas=sigmas)).eval()
        method.unet = Oracle(target, 0.002)
        torch.testing.assert_close(method.translate(source, torch.arange(2)), target, atol=1e-3, rtol=0)
        assert [sigma[0].item() for _, sigma in method.unet.shown] == pytest.approx(sigmas)
        assert all(torch.equal(z[:, 3:], source) for z, _ in method.unet.shown)


def test_a_translation_starts_from_noise_alone_never_from_the_target():
    source, target, seeds = torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16), torch.arange(2)
    method = build().eval()
    method.unet = Oracle(target, 0.002)
    method.translate(source, seeds)
    expected = 80.0 * normal(seeds, (3, 16, 16), "noise 0") / (80.0**2 + 0.25) ** 0.5
    torch.testing.assert_close(method.unet.shown[0][0][:, :3], expected)
    assert list(inspect.signature(CCM.translate).parameters) == ["self", "source", "seeds"]


def test_both_levels_of_a_pair_share_the_noise_and_only_the_noisier_learns():
    method = build()
    source, target = torch.rand(2, 3, 3, 16, 16) * 2 - 1
    p = Pairs(source, target, torch.arange(3), ("",) * 3, ("",) * 3)
    shown, eps = [], normal(p.seeds, (3, 16, 16), "eps")
    method.unet.register_forward_hook(lambda _, given, out: shown.append((*given, out.requires_grad)))
    ((_, losses),) = method.training_step(Batch(p), 0.0)
    (_, low, learns_low), (_, high, learns_high) = shown
    assert (learns_low, learns_high) == (False, True)
    assert (high > low).all()
    for z, sigma, _ in shown:
        noisy = z[:, :3] * (sigma**2 + 0.25).sqrt()[:, None, None, None]
        torch.testing.assert_close(noisy, target + sigma[:, None, None, None] * eps, atol=1e-3, rtol=1e-3)
        assert torch.equal(z[:, 3:], source)
    assert losses["consistency"].item() > 0


def test_the_lowest_level_answers_with_the_target_itself():
    """So a network that names the target at every level pays almost nothing, and one that says something else does."""
    method, target = build(), torch.rand(2, 3, 16, 16)
    p = Pairs(target, target, torch.arange(2), ("",) * 2, ("",) * 2)
    untrained = next(method.training_step(Batch(p), 0.0))[1]["consistency"].item()
    method.unet = Oracle(target, 0.002 - 1e-6)
    assert next(method.training_step(Batch(p), 0.0))[1]["consistency"].item() < 0.05 * untrained


def test_any_channel_counts_fit():
    out = build(TINY, 2, 1).eval().translate(torch.rand(1, 2, 16, 32), torch.arange(1))
    assert out.shape == (1, 1, 16, 32)
