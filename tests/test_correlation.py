"""Correlation by FFT against naive loops in float64, and what its normalisations promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sarbench.methods.networks import correlation


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_ncc(template: np.ndarray, search: np.ndarray) -> np.ndarray:
    """The correlation coefficient at each place, pixel by pixel, in Python floats."""
    (h, w), (H, W) = template.shape, search.shape
    out = np.zeros((H - h + 1, W - w + 1))
    t = [float(v) for v in template.flatten()]
    t_mean = math.fsum(t) / len(t)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            s = [float(v) for v in search[y : y + h, x : x + w].flatten()]
            s_mean = math.fsum(s) / len(s)
            product = math.fsum((a - t_mean) * (b - s_mean) for a, b in zip(t, s, strict=True))
            energy = math.fsum((a - t_mean) ** 2 for a in t) * math.fsum((b - s_mean) ** 2 for b in s)
            out[y, x] = product / math.sqrt(energy) if energy > 1e-12 else 0.0
    return out


def test_ncc_is_the_naive_loop_to_rounding() -> None:
    template, search = drawn(2, 3, 6, 9), 5 + 3 * drawn(2, 3, 11, 14, seed=1)
    found = correlation.ncc(template, search).numpy()
    for i in range(2):
        for c in range(3):
            np.testing.assert_allclose(found[i, c], naive_ncc(template[i, c].numpy(), search[i, c].numpy()), atol=1e-12)


def test_ncc_finds_a_cut_template_exactly_and_calls_it_one() -> None:
    search = drawn(1, 1, 32, 40)
    found = correlation.ncc(search[..., 5:29, 7:31], search)[0, 0]
    assert divmod(int(found.argmax()), found.shape[1]) == (5, 7)
    assert float(found[5, 7]) == pytest.approx(1, abs=1e-12)


def test_ncc_does_not_see_gain_and_offset_but_sees_sign() -> None:
    template, search = drawn(1, 1, 6, 6), drawn(1, 1, 9, 9, seed=1)
    torch.testing.assert_close(correlation.ncc(3 * template + 1, 0.5 * search - 2), correlation.ncc(template, search))
    torch.testing.assert_close(correlation.ncc(-template, search), -correlation.ncc(template, search))


def test_ncc_of_flat_windows_and_templates_is_zero() -> None:
    search = torch.full((1, 1, 12, 12), 0.3, dtype=torch.float64)
    search[..., 8:, 8:] = drawn(4, 4)
    found = correlation.ncc(drawn(1, 1, 4, 4, seed=1), search)[0, 0]
    assert bool((found[:5, :5] == 0).all())
    assert float(found[8, 8]) != 0
    assert not correlation.ncc(torch.ones(1, 1, 4, 4, dtype=torch.float64), search).any()


def test_the_window_of_one_8_bit_step_is_not_flat() -> None:
    search = torch.zeros(1, 1, 256, 256, dtype=torch.float64)
    search[..., 100, 100] = 2 / 255
    found = correlation.ncc(search[..., 20:212, 30:222], search)[0, 0]
    assert float(found[20, 30]) == pytest.approx(1, abs=1e-6)


def test_full_correlation_is_the_naive_sum_over_every_overlap() -> None:
    template, search = drawn(1, 2, 3, 4), drawn(1, 2, 6, 5, seed=1)
    found = correlation.full_correlation(template, search)
    assert found.shape == (1, 2, 8, 8)
    padded = np.pad(search.numpy(), ((0, 0), (0, 0), (2, 2), (3, 3)))
    for y in range(8):
        for x in range(8):
            expected = (template.numpy() * padded[..., y : y + 3, x : x + 4]).sum((2, 3))
            np.testing.assert_allclose(found[..., y, x].numpy(), expected, atol=1e-12)


def test_valid_correlation_is_the_part_of_the_full_one_where_the_template_fits() -> None:
    template, search = drawn(1, 2, 3, 4), drawn(1, 2, 6, 5, seed=1)
    torch.testing.assert_close(
        correlation.valid_correlation(template, search), correlation.full_correlation(template, search)[..., 2:6, 3:5]
    )


@pytest.mark.parametrize("normalisation", ["full", "valid", "ncc"])
def test_a_surface_is_of_the_places_that_fit_and_passes_gradients_to_both(normalisation: str) -> None:
    template, search = drawn(2, 3, 12, 12).float().requires_grad_(), drawn(2, 3, 16, 16, seed=1).float().requires_grad_()
    surface = correlation.similarity(template, search, normalisation)  # type: ignore[arg-type]
    assert surface.shape == (2, 5, 5)
    assert float(surface.detach().max()) <= 1
    assert float(surface.detach().min()) >= 0
    (surface[0, 2, 2] + surface[1, 0, 1]).backward()
    assert template.grad is not None
    assert bool(template.grad.flatten(1).any(1).all())
    assert search.grad is not None
    assert bool(search.grad.flatten(1).any(1).all())


def test_least_and_largest_are_those_of_the_whole_map_or_of_the_places_that_fit() -> None:
    template, search = drawn(1, 1, 12, 12).float(), drawn(1, 1, 16, 16, seed=1).float()
    whole = correlation.full_correlation(template, search)
    inner = whole[..., 11:16, 11:16]
    expected = (inner - whole.min()) / (whole.max() - whole.min())
    torch.testing.assert_close(correlation.similarity(template, search, "full"), expected[:, 0], atol=1e-5, rtol=0)
    valid = correlation.similarity(template, search, "valid")
    assert (float(valid.min()), float(valid.max())) == pytest.approx((0, 1), abs=1e-6)


def test_flat_features_give_a_finite_surface_with_finite_gradients() -> None:
    for normalisation in ("full", "valid", "ncc"):
        template = torch.zeros(1, 2, 8, 8, requires_grad=True)
        surface = correlation.similarity(template, torch.zeros(1, 2, 12, 12), normalisation)  # type: ignore[arg-type]
        surface.sum().backward()
        assert torch.isfinite(surface).all()
        assert template.grad is not None
        assert torch.isfinite(template.grad).all()


def test_box_sums_are_sums_over_windows() -> None:
    x = drawn(2, 7, 9)
    expected = x.unfold(1, 3, 1).unfold(2, 4, 1).sum((3, 4))
    torch.testing.assert_close(correlation.box_sum(x, 3, 4), expected)
