"""S2M2-SAR: sizes of the released networks, what each loss compares, and every switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from sarbench.bench.interface import ContractError
from sarbench.bench.matcher import MatchBatch, Patches, template_px
from sarbench.methods.losses import match_heatmaps
from sarbench.methods.losses.mutual_independence import mutual_information
from sarbench.methods.networks.feature_enhancement import FeatureEnhancement, LinearAttention
from sarbench.methods.networks.siamese_fpn import ResidualFPN
from sarbench.methods.s2m2sar import S2M2SAR

TINY = S2M2SAR.presets["tiny"]
SIDE = 64


def built(**changes: Any) -> S2M2SAR:
    torch.manual_seed(0)
    return S2M2SAR(replace(TINY, **changes), 3, 3)


def patches(n: int, *, labelled: bool, seed: int = 0) -> Patches:
    random = torch.Generator().manual_seed(seed)
    search = torch.rand(n, 3, SIDE, SIDE, generator=random) * 2 - 1
    inner = template_px(SIDE)
    offset = torch.randint(0, SIDE - inner + 1, (n, 2), generator=random)
    template = torch.stack([s[:, y : y + inner, x : x + inner] for s, (y, x) in zip(search, offset.tolist(), strict=True)])
    return Patches(template, search, torch.arange(n), tuple(map(str, range(n))), offset if labelled else None)


def losses(matcher: S2M2SAR, seed: int = 0) -> dict[str, torch.Tensor]:
    rows, rest = matcher.labelled_rows, matcher.config.batch_size - matcher.labelled_rows
    batch = MatchBatch(patches(rows, labelled=True, seed=seed), patches(rest, labelled=False, seed=seed + 1) if rest else None)
    torch.manual_seed(0)
    ((player, found),) = list(matcher.train().training_step(batch, 0.0))
    assert player == "matcher"
    return found


# --- Networks --------------------------------------------------------------------------------------------------------


def test_the_released_networks_have_these_many_parameters() -> None:
    with torch.device("meta"):
        matcher = S2M2SAR(S2M2SAR.presets["paper"], 3, 3)
    counted = {name: sum(p.numel() for p in part.parameters()) for name, part in matcher.named_children()}
    assert counted == {"features": 10_031_648, "enhance_deep": 5_377_026, "enhance_shallow": 84_354}


def test_the_paper_preset_has_65_by_65_places_and_9_by_9_deep_ones() -> None:
    with torch.device("meta"):
        backbone = ResidualFPN(3)
        deep, shallow = backbone(torch.empty(1, 3, 256, 256))
        deep_template, shallow_template = backbone(torch.empty(1, 3, 192, 192))
    assert (deep.shape, shallow.shape) == ((1, 256, 32, 32), (1, 32, 256, 256))
    assert (deep_template.shape, shallow_template.shape) == ((1, 256, 24, 24), (1, 32, 192, 192))
    matcher = built().eval()
    with torch.no_grad():
        found = matcher._match(torch.rand(1, 3, 192, 192), torch.rand(1, 3, 256, 256))
    assert (found.deep.shape, found.shallow.shape) == ((1, 9, 9), (1, 65, 65))


def test_linear_attention_is_the_quadratic_sum_it_stands_for() -> None:
    torch.manual_seed(0)
    attention = LinearAttention(8, heads=2).double()
    x, other = torch.randn(2, 8, 3, 4, dtype=torch.float64), torch.randn(2, 8, 5, 2, dtype=torch.float64)
    rows, there = (m.flatten(2).transpose(1, 2) for m in (x, other))
    q, k, v = (
        layer(m).unflatten(2, (2, 4))
        for layer, m in zip((attention.q, attention.k, attention.v), (rows, there, there), strict=True)
    )
    weights = torch.einsum("bnhd,bmhd->bhnm", F.elu(q) + 1, F.elu(k) + 1)
    read = torch.einsum("bhnm,bmhd->bnhd", weights, v) / (weights.sum(3).transpose(1, 2)[..., None] + 1e-6)
    expected = attention.norm(attention.merge(read.flatten(2))).transpose(1, 2).unflatten(2, (3, 4))
    torch.testing.assert_close(attention(x, other), expected)


def test_without_blocks_enhancement_changes_nothing() -> None:
    a, b = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 8, 8)
    assert FeatureEnhancement(4, blocks=0)(a, b) == (a, b)


# --- Losses ----------------------------------------------------------------------------------------------------------


def test_a_place_is_covered_by_the_deep_place_of_its_floor() -> None:
    place = torch.tensor([[0, 7], [8, 64], [57, 58]])
    assert match_heatmaps.coarse_place(place, (65, 65), (9, 9)).tolist() == [[0, 0], [1, 8], [7, 8]]


def test_the_cross_entropy_of_an_even_surface_is_the_log_of_its_places() -> None:
    even, place = torch.zeros(2, 5, 7), torch.tensor([[0, 0], [4, 6]])
    assert float(match_heatmaps.at_place(even, place)) == pytest.approx(torch.log(torch.tensor(35.0)).item())
    even[0, 0, 0] = even[1, 4, 6] = 50.0
    assert float(match_heatmaps.at_place(even, place)) == pytest.approx(0, abs=1e-6)


def test_a_pseudo_label_is_a_distribution_without_gradient() -> None:
    surface = torch.rand(2, 5, 5, requires_grad=True)
    label = match_heatmaps.pseudo_label(surface, 200.0)
    assert not label.requires_grad
    torch.testing.assert_close(label.sum((1, 2)), torch.ones(2))
    logits = 200.0 * surface.detach()
    torch.testing.assert_close(
        match_heatmaps.against_pseudo_label(logits, label), -(label * logits.flatten(1).log_softmax(1).view_as(label)).sum() / 2
    )


def test_mutual_information_is_large_for_a_copy_and_small_for_independent_values() -> None:
    a, b = torch.rand(2, 4, 64, 64), torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    copy, independent = mutual_information(a, a, pool=1), mutual_information(a, b, pool=1)
    assert copy.shape == (2,)
    assert float(copy.min()) > 1.5
    assert float(independent.abs().max()) < 0.05


def test_mutual_information_of_one_pair_of_values_by_hand() -> None:
    a, b = torch.full((1, 1, 8, 8), 0.3), torch.full((1, 1, 8, 8), 0.6)
    centres = torch.linspace(0, 1, 32)
    p, q = (torch.softmax(-0.5 * ((v - centres) * 31) ** 2, 0) for v in (0.3, 0.6))
    joint = torch.outer(p, q)
    expected = (joint * torch.log(joint / (joint + 1e-6) + 1e-6)).sum()
    torch.testing.assert_close(mutual_information(a, b)[0], expected, atol=1e-5, rtol=1e-4)


def test_clamping_takes_the_gradient_from_negative_features_and_scaling_does_not() -> None:
    for scale, reached in (("clamp", False), ("minmax", True)):
        a = (-1 - torch.rand(1, 2, 8, 8)).requires_grad_()
        mutual_information(a, torch.rand(1, 2, 8, 8), pool=1, scale=scale).sum().backward()  # type: ignore[arg-type]
        assert a.grad is not None
        assert bool(a.grad.any()) is reached


# --- Training and its switches ---------------------------------------------------------------------------------------

SEMI = {"shallow", "deep", "pseudo", "independence", "independence_unlabelled"}


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, SEMI),
        ({"supervised": True}, {"shallow", "deep", "independence"}),
        ({"lambda_independence": 0.0}, SEMI - {"independence", "independence_unlabelled"}),
        ({"enhancement_blocks": 0}, SEMI - {"independence", "independence_unlabelled"}),
        ({"enhancement_blocks": 2}, SEMI),
        ({"enhancement_passes": 2}, SEMI),
        ({"normalisation": "full"}, SEMI),
        ({"normalisation": "valid"}, SEMI),
        ({"pseudo_source": "shallow"}, SEMI),
        ({"pseudo_source": "deep"}, SEMI),
        ({"histogram_scale": "minmax"}, SEMI),
        ({"batch_size": 3, "labelled_rows": 2}, SEMI),
    ],
)
def test_a_switch_gives_these_losses_all_finite(changes: dict[str, Any], terms: set[str]) -> None:
    found = losses(built(**changes))
    assert set(found) == terms
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in found.values())


def test_every_switch_of_the_card_changes_a_loss() -> None:
    usual = {name: loss.item() for name, loss in losses(built()).items()}
    for changes, term in (
        ({"enhancement_passes": 2}, "shallow"),
        ({"normalisation": "full"}, "shallow"),
        ({"pseudo_source": "deep"}, "pseudo"),
        ({"pseudo_source": "shallow"}, "pseudo"),
        ({"pseudo_sharpness": 20.0}, "pseudo"),
        ({"unlabelled_sharpness": 8.0}, "pseudo"),
        ({"shallow_sharpness": 3.0}, "shallow"),
        ({"deep_sharpness": 3.0}, "deep"),
        ({"lambda_pseudo": 0.5}, "pseudo"),
        ({"lambda_independence": 0.5}, "independence"),
        ({"bins": 8}, "independence"),
        ({"histogram_pool": 2}, "independence"),
        ({"histogram_scale": "minmax"}, "independence"),
    ):
        assert losses(built(**changes))[term].item() != usual[term], f"{changes} changes nothing"


def test_the_prediction_is_of_one_level_or_of_the_product() -> None:
    pair = patches(2, labelled=True)
    with torch.no_grad():
        surfaces = {
            prediction: built(prediction=prediction).eval().match(pair.template, pair.search)
            for prediction in ("product", "shallow", "deep")
        }
    torch.testing.assert_close(surfaces["product"], surfaces["deep"] * surfaces["shallow"])
    deep = surfaces["deep"][0]
    assert len(deep.unique()) == 9  # 17 x 17 places, of 3 x 3 deep ones
    assert torch.equal(deep[0], deep[5])
    assert not torch.equal(deep[0], deep[6])


def test_supervised_mode_sees_labelled_pairs_alone() -> None:
    matcher = built(supervised=True)
    assert (matcher.supervision, matcher.labelled_rows) == ("paired", matcher.config.batch_size)
    assert (built().supervision, built().labelled_rows) == ("semi", 1)


def test_one_channel_for_three_is_refused() -> None:
    with pytest.raises(ContractError, match="equal channel counts"):
        S2M2SAR(TINY, 1, 3)
