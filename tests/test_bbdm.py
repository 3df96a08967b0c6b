from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench.interface import Batch, ContractError, Pairs, normal
from sarbench.methods.bbdm import BBDM, Config
from sarbench.methods.networks import vqgan

TINY = replace(BBDM.presets["tiny"], unet_widths=(8, 16), steps=4)
LATENT = replace(TINY, space="latent", conditioned=False, patch=1)


def build(config: Config = TINY) -> BBDM:
    torch.manual_seed(0)
    return BBDM(config, 3, 3)


def pairs(side: int = 16) -> Pairs:
    source, target = torch.rand(2, 2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Pairs(source, target, torch.arange(2), ("a", "b"), ("a", "b"))


class Oracle(nn.Module):
    """A U-Net that knows the target, and notes what it is asked."""

    def __init__(self, y: Tensor) -> None:
        super().__init__()
        self.y, self.seen = y, []

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        self.seen.append((z, t))
        return z[:, :3] - self.y


def small_autoencoder(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder = vqgan.Encoder, vqgan.Decoder
    monkeypatch.setattr(vqgan, "Encoder", lambda: encoder(widths=(32, 32, 32), blocks=1))
    monkeypatch.setattr(vqgan, "Decoder", lambda: decoder(widths=(32, 32, 32), blocks=1, entries=16))


def test_the_paper_preset_is_the_published_network():
    with torch.device("meta"):
        method = build(BBDM.presets["paper"])
    assert sum(p.numel() for p in method.unet.parameters()) == 237_091_331
    assert sum(p.numel() for p in method.parameters()) == 237_091_331 + 55_322_782
    assert {id(p) for p in method.players()["unet"].parameters()} == {id(p) for p in method.unet.parameters()}


def test_the_loss_is_the_mean_distance_of_the_noisy_image_from_the_target():
    """An untrained U-Net says 0, so the loss is the mean of |m (x - y) + sqrt(delta) eps|."""
    method, p = build(), pairs()
    ((player, losses),) = method.training_step(Batch(p), 0.0)
    eps = normal(p.seeds, (3, 16, 16), "eps")
    method.unet = seen = Oracle(p.target)
    list(method.training_step(Batch(p), 0.0))
    ((z, t),) = seen.seen
    m = method.m[t][:, None, None, None]
    expected = m * (p.source - p.target) + (2 * (m - m**2)).sqrt() * eps
    torch.testing.assert_close(z[:, :3] - p.target, expected)
    assert player == "unet"
    assert losses["l1"].item() == pytest.approx(expected.abs().mean().item(), rel=1e-5)
    assert torch.equal(z[:, 3:], p.source)  # between pixels, the source is seen too


def test_a_perfect_network_walks_from_the_source_to_the_target():
    method, p = build().eval(), pairs()
    method.unet = Oracle(p.target)
    torch.testing.assert_close(method.translate(p.source, p.seeds), p.target)
    steps = [int(t[0]) for _, t in method.unet.seen]
    assert steps == [999, 666, 333, 0]
    assert torch.equal(method.unet.seen[0][0][:, :3], p.source)


def test_in_the_latent_space_the_bridge_runs_between_codes_and_the_source_is_seen_nowhere_else(monkeypatch):
    small_autoencoder(monkeypatch)
    method, p = build(LATENT).eval(), pairs()
    assert method.size_multiple == 8
    with torch.no_grad():
        x, y = method.encoder(p.source), method.encoder(p.target)
        method.unet = Oracle(y)
        out = method.translate(p.source, p.seeds)
        torch.testing.assert_close(out, method.reconstruct(p.target, p.seeds), atol=1e-4, rtol=0)
    assert torch.equal(method.unet.seen[0][0], x)
    assert all(z.shape == (2, 3, 4, 4) for z, _ in method.unet.seen)
    assert out.abs().max() <= 1.0


def test_weights_of_the_autoencoder_come_from_the_asset_and_stay_with_a_trained_state(monkeypatch, tmp_path):
    small_autoencoder(monkeypatch)
    method, other, found = build(LATENT), build(LATENT), []
    monkeypatch.setattr(vqgan, "load", lambda folder, encoder, decoder: found.append((folder, encoder, decoder)))

    def find(name: str) -> Path:
        assert name == "vq-f4"
        return tmp_path

    assert method.pretrained == BBDM.card.pretrained == ("vq-f4",)
    method.load_pretrained(find)
    assert found == [(tmp_path, method.encoder, method.decoder)]
    nn.init.normal_(method.encoder.layers[0].weight)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.encoder.layers[0].weight, method.encoder.layers[0].weight)
    assert build().pretrained == ()
    build().load_pretrained(find)  # nothing to find between pixels
    assert len(found) == 1


def test_the_frozen_autoencoder_is_no_players(monkeypatch):
    small_autoencoder(monkeypatch)
    method = build(LATENT)
    ((_, losses),) = method.training_step(Batch(pairs()), 0.0)
    losses["l1"].backward()
    assert all(p.grad is None for network in (method.encoder, method.decoder) for p in network.parameters())
    assert method.unet.head[-1].weight.grad.any()


def test_channels_that_the_autoencoder_cannot_take_are_refused_with_the_way_out():
    with pytest.raises(ContractError, match="channels=repeat, or --set space=pixels"):
        BBDM(LATENT, 1, 1)
    assert BBDM(TINY, 1, 1).eval().translate(torch.zeros(1, 1, 16, 16), torch.arange(1)).shape == (1, 1, 16, 16)


def test_without_fresh_noise_the_seed_does_not_matter():
    source = pairs().source
    method = build(replace(TINY, eta=0.0)).eval()
    nn.init.normal_(method.unet.head[-1].weight, std=0.05)
    with torch.no_grad():
        assert torch.equal(method.translate(source, torch.arange(2)), method.translate(source, torch.arange(2) + 7))
        noisy = build().eval()
        assert not torch.equal(noisy.translate(source, torch.arange(2)), noisy.translate(source, torch.arange(2) + 7))
