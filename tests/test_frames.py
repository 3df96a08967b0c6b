"""What holds for every method of CUT's family alike."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.methods.frames.contrastive import ContrastiveFrame, mirrored

SMALL = {"width": 4, "blocks": 2, "discriminator_width": 4, "projector_width": 16, "patches": 6}
TERMS = {  # of the turns D and G, in the order of training
    "cut": ({"gan"}, {"gan", "nce", "nce_same"}),
    "src": ({"gan"}, {"gan", "hdce", "hdce_same", "src"}),
    "cut_scc": ({"gan"}, {"gan", "nce", "nce_same", "scc"}),
    "srunit": ({"gan"}, {"gan", "nce", "nce_same", "robust"}),
    "ssc": ({"gan"}, {"gan", "hdce", "hdce_same", "semantic", "structure"}),
    "scenimefy": ({"gan", "pair"}, {"gan", "hdce", "hdce_same", "src", "pair", "style"}),
}
WEIGHTS = {  # of the config: the terms that grow with it
    "cut": {"lambda_nce": {"nce", "nce_same"}},
    "src": {"lambda_hdce": {"hdce", "hdce_same"}, "lambda_src": {"src"}},
    "cut_scc": {"lambda_nce": {"nce", "nce_same"}, "lambda_scc": {"scc"}},
    "srunit": {"lambda_nce": {"nce", "nce_same"}, "lambda_robust": {"robust"}},
    "ssc": {"lambda_hdce": {"hdce", "hdce_same"}, "lambda_semantic": {"semantic"}, "lambda_structure": {"structure"}},
    "scenimefy": {
        "lambda_hdce": {"hdce", "hdce_same"},
        "lambda_src": {"src"},
        "lambda_pair": {"pair"},
        "lambda_style": {"style"},
    },
}
family = pytest.mark.parametrize("name", TERMS)


def build(name: str, **changes: Any) -> ContrastiveFrame:
    torch.manual_seed(0)
    cls = registry.load_method(name)
    return cls(replace(cls.presets["tiny"], **SMALL, **changes), 3, 3)  # type: ignore[return-value]


def two_rows(seed: int = 0) -> Batch:
    """Smooth random images; unpaired targets are of other places, paired ones are a function of their source."""
    noise = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = ("a", "b")
    paired = Pairs(images[4:], 0.5 * images[4:].flip(1) + 0.2, torch.arange(2) + 7, ids, ids)
    return Batch(paired, Pairs(images[:2], 0.5 * images[2:4].flip(1) + 0.2, torch.arange(2), ids, ids))


def losses(method: ContrastiveFrame, batch: Batch, progress: float = 0.5) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, progress))


def reaches(loss: Tensor, module: nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


@family
def test_the_turns_are_d_then_g_with_the_losses_of_the_paper(name):
    turns = [(player, set(terms)) for player, terms in build(name).training_step(two_rows(), 0.5)]
    assert turns == list(zip(("D", "G"), TERMS[name], strict=True))


@family
def test_each_loss_reaches_its_own_player_and_every_parameter_gets_a_finite_gradient(name):
    method = build(name)
    players = method.players()
    for player, found in method.training_step(two_rows(), 0.5):
        parameters = players[player].parameters()
        for term, loss in found.items():
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            assert any(g is not None and g.any() for g in gradients), term
        gradients = torch.autograd.grad(sum(found.values()), parameters, retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)
        if player == "D":
            assert not reaches(sum(found.values()), method.G)


@family
def test_the_adversarial_loss_leaves_the_projector_and_the_contrast_the_discriminator(name):
    method = build(name)
    for term, loss in losses(method, two_rows())["G"].items():
        judged = term in ("gan", "pair")
        assert reaches(loss, method.D) == (term == "gan")
        assert reaches(loss, method.F) == (not judged and term not in ("scc", "structure", "style")), term


@family
def test_a_weight_scales_its_own_losses_and_no_other(name):
    one = losses(build(name), two_rows())["G"]
    for weight, terms in WEIGHTS[name].items():
        method = build(name, **{weight: 3.0 * getattr(build(name).config, weight)})
        for term, loss in losses(method, two_rows())["G"].items():
            torch.testing.assert_close(loss, (3.0 if term in terms else 1.0) * one[term], msg=f"{weight}, {term}")


@family
def test_what_a_row_draws_does_not_depend_on_the_other_rows(name):
    method = build(name)
    whole = losses(method, two_rows())
    halves = [losses(method, part) for part in two_rows().parts(2)]
    for player, terms in whole.items():
        for term, value in terms.items():
            torch.testing.assert_close((halves[0][player][term] + halves[1][player][term]) / 2, value, atol=1e-4, rtol=1e-4)


@family
def test_a_step_under_autocast_has_finite_float32_losses_and_images(name):
    method = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(method, two_rows())
        image = method.translate(two_rows().unpaired.source, torch.arange(2))
    assert image.dtype == torch.float32
    for terms in found.values():
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


@family
def test_flat_images_give_finite_losses_and_gradients(name):
    flat = Pairs(torch.full((2, 3, 32, 32), -1.0), torch.full((2, 3, 32, 32), 1.0), torch.arange(2), ("a", "b"), ("a", "b"))
    method = build(name)
    for player, found in method.training_step(Batch(flat, flat), 0.5):
        for g in torch.autograd.grad(sum(found.values()), method.players()[player].parameters(), retain_graph=True):
            assert g.isfinite().all()


@family
def test_the_paper_preset_has_the_networks_of_cut(name):
    cls = registry.load_method(name)
    with torch.device("meta"):
        method = cls(cls.presets["paper"], 3, 3)
    count = {child: sum(p.numel() for p in module.parameters()) for child, module in method.named_children()}
    expected = {"G": 11_378_179, "F": 560_384, "D": 2_764_737}
    if name == "scenimefy":
        expected |= {"D_pair": 2_764_737 + 3 * 64 * 4 * 4, "F_style": 560_384}
    assert count == expected


@family
def test_every_hyperparameter_names_its_source_and_batches_are_those_of_the_papers(name):
    cls = registry.load_method(name)
    assert all(f.metadata["source"] for f in fields(cls.presets["paper"]))
    assert [cls.presets[preset].batch_size for preset in ("paper", "bench")] == [1, 4]


@pytest.mark.parametrize("size", [(32, 32), (36, 52)])
def test_images_of_any_side_that_is_a_multiple_of_four_are_translated_row_by_row(size):
    method = build("cut").eval()
    x = torch.randn(2, 3, *size).clamp(-1, 1)
    method.refuse_bad_source(x)
    with torch.no_grad():
        both = method.translate(x, torch.arange(2))
        assert both.shape == x.shape
        torch.testing.assert_close(both[1:], method.translate(x[1:], torch.arange(1) + 9), atol=1e-5, rtol=0)
    with pytest.raises(ContractError, match="multiples of 4"):
        method.refuse_bad_source(torch.zeros(1, 3, 30, 32))


def test_unequal_channel_counts_are_refused_with_a_remedy():
    with pytest.raises(ContractError, match="channels=repeat"):
        registry.load_method("cut")(registry.load_method("cut").presets["tiny"], 1, 3)


def test_each_layer_gives_its_patches_and_those_of_the_input_have_no_gradient():
    method, x = build("cut"), two_rows().unpaired.source
    output = method.G(x)
    (patches,) = method.patches(x, output, torch.arange(2))
    assert [tuple(v.shape) for v in patches.w] == [(2, 6, 16)] * 5
    assert not any(v.requires_grad for v in patches.z)
    assert all(v.requires_grad for v in patches.w)


def test_an_image_that_is_left_as_it_is_has_the_same_patches_before_and_after():
    method, x = build("cut"), two_rows().unpaired.source
    same = method.G(x)._replace(image=x)
    (patches,) = method.patches(x, same, torch.arange(2))
    for w, z in zip(patches.w, patches.z, strict=True):
        torch.testing.assert_close(w, z)


def test_patches_of_a_mirrored_row_are_those_of_their_place_before_it_was_mirrored():
    """Of pixels, where position and place are one; deeper features see an image's borders from another side."""
    method, x = build("cut"), two_rows().unpaired.source
    flipped = torch.tensor([True, False])
    turned = mirrored(x, flipped)
    assert torch.equal(turned[0], x[0].flip(2))
    assert torch.equal(turned[1], x[1])
    output = method.G(turned)._replace(image=turned)
    (patches,) = method.patches(x, output, torch.arange(2), flipped)
    torch.testing.assert_close(patches.w[0], patches.z[0])
