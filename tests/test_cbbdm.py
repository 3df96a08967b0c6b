from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sarbench.bench.interface import ContractError
from sarbench.methods.cbbdm import CBBDM, Config
from sarbench.methods.networks import vqgan

TINY = replace(CBBDM.presets["tiny"], unet_widths=(8, 16), steps=3)


def build(config: Config = TINY) -> CBBDM:
    torch.manual_seed(0)
    return CBBDM(config, 3, 3)


def test_the_paper_preset_is_the_published_network_and_the_nine_weights_of_the_condition():
    with torch.device("meta"):
        method = build(CBBDM.presets["paper"])
    assert sum(p.numel() for p in method.unet.parameters()) == 237_094_787
    assert sum(p.numel() for p in method.condition.parameters()) == 9
    assert sum(p.numel() for p in method.players()["unet"].parameters()) == 237_094_787 + 9


def test_the_condition_is_the_source_halved_until_it_is_as_small_as_the_code(monkeypatch):
    encoder, decoder = vqgan.Encoder, vqgan.Decoder
    monkeypatch.setattr(vqgan, "Encoder", lambda: encoder(widths=(32, 32, 32), blocks=1))
    monkeypatch.setattr(vqgan, "Decoder", lambda: decoder(widths=(32, 32, 32), blocks=1, entries=16))
    method = build(replace(TINY, space="latent", patch=1))
    with torch.no_grad():
        method.condition.weight.copy_(2 * torch.eye(3)[:, :, None, None])
        source, seen = torch.rand(1, 3, 16, 24), []
        torch.testing.assert_close(method.condition_on(source, method.encoder(source))[0], 2 * F.avg_pool2d(source, 4))
        method.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        method.eval().translate(source, torch.arange(1))
    assert all(z.shape == (1, 6, 4, 6) for z in seen)
    torch.testing.assert_close(seen[0][:, :3], method.encoder(source))
    torch.testing.assert_close(seen[-1][:, 3:], 2 * F.avg_pool2d(source, 4))


def test_between_pixels_the_condition_keeps_its_size():
    method = build()
    source = torch.rand(1, 3, 16, 16)
    assert method.condition_on(source, source)[0].shape == source.shape
    assert method.pretrained == ()


def test_channels_that_the_autoencoder_cannot_take_are_refused():
    with pytest.raises(ContractError, match="cBBDM in the latent space translates 3 channels"):
        CBBDM(replace(TINY, space="latent"), 1, 1)
