"""The floor of matching: the grey coefficient of whole images, found exactly."""

from __future__ import annotations

import torch

from sarbench.bench.match import best_places, match
from sarbench.bench.train import Hardware
from sarbench.methods.ncc import NCC
from sarbench.methods.networks import correlation


def matcher(template_channels: int = 1, search_channels: int = 3) -> NCC:
    return NCC(NCC.presets["tiny"], template_channels, search_channels)


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(shape[0], shape[1], shape[2] // 4, shape[3] // 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1) * 2 - 1


def test_a_template_of_192_px_cut_from_the_image_itself_is_found_among_65_by_65_places() -> None:
    search = smooth(2, 3, 256, 256)
    template = torch.stack([search[0, :, 13:205, 60:252], search[1, :, 64:, :192]]).mean(1, keepdim=True)
    surface = match(matcher(), template, search, Hardware())
    assert surface.shape == (2, 65, 65)
    assert best_places(surface).tolist() == [[13, 60], [64, 0]]


def test_it_compares_the_means_of_the_bands_in_float64() -> None:
    template, search = smooth(1, 1, 48, 48), smooth(1, 3, 64, 64, seed=1)
    expected = correlation.ncc(template.double(), search.double().mean(1, keepdim=True))[:, 0]
    assert torch.equal(matcher().match(template, search), expected.float())


def test_a_flat_template_is_found_at_the_first_place() -> None:
    surface = match(matcher(), torch.zeros(1, 1, 12, 12), smooth(1, 3, 16, 16), Hardware())
    assert best_places(surface).tolist() == [[0, 0]]
