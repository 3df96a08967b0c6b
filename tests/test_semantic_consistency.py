from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sarbench.bench.interface import ContractError
from sarbench.methods.losses.semantic_consistency import global_distance, local_cross_entropy, present_segments
from sarbench.methods.losses.superpixels import superpixels
from sarbench.methods.networks.clip_scorer import PROMPTS, ClipScorer, _boxes
from sarbench.methods.networks.edge_scorer import EdgeScorer

SMALL_CLIP = {"side": 32, "patch": 16, "width": 64, "layers": 2, "embedding": 16}


def halves(side: int = 64) -> Tensor:
    """A dark and a bright half, in a gradient's light."""
    image = torch.full((2, 1, side, side), -0.6)
    image[:, :, :, side // 2 :] = 0.6
    return image + 0.05 * torch.linspace(-1, 1, side)[:, None]


def clip_weights(**changes: Tensor) -> dict[str, Tensor]:
    """Random weights of a small CLIP under the names of the published file."""
    shapes: dict[str, tuple[int, ...]] = {
        "text_model.embeddings.token_embedding.weight": (49408, 64),
        "text_model.embeddings.position_embedding.weight": (77, 64),
        "text_model.embeddings.position_ids": (1, 77),
        "vision_model.embeddings.class_embedding": (64,),
        "vision_model.embeddings.patch_embedding.weight": (64, 3, 16, 16),
        "vision_model.embeddings.position_embedding.weight": (5, 64),
        "vision_model.embeddings.position_ids": (1, 5),
        "visual_projection.weight": (16, 64),
        "text_projection.weight": (16, 64),
        "logit_scale": (),
    }
    for norm in ("text_model.final_layer_norm", "vision_model.pre_layrnorm", "vision_model.post_layernorm"):
        shapes |= {f"{norm}.weight": (64,), f"{norm}.bias": (64,)}
    for layer in (f"{tower}.encoder.layers.{i}" for tower in ("text_model", "vision_model") for i in range(2)):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{layer}.self_attn.{name}.weight": (64, 64), f"{layer}.self_attn.{name}.bias": (64,)}
        shapes |= {f"{layer}.layer_norm{i}.{kind}": (64,) for i in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"{layer}.mlp.fc1.weight": (256, 64), f"{layer}.mlp.fc1.bias": (256,)}
        shapes |= {f"{layer}.mlp.fc2.weight": (64, 256), f"{layer}.mlp.fc2.bias": (64,)}
    draw = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(shape, generator=draw) for name, shape in shapes.items()} | changes


def small_clip() -> ClipScorer:
    scorer = ClipScorer(**SMALL_CLIP)
    scorer.load_weights(clip_weights())
    return scorer


# --- The two losses ---


def test_two_even_classes_cost_the_logarithm_of_two_in_every_segment():
    even = torch.full((3, 4, 2), 0.5).log()
    torch.testing.assert_close(local_cross_entropy(even, even, torch.ones(3, 4)), torch.tensor(math.log(2)))


def test_the_cross_entropy_is_the_one_worked_by_hand_and_leaves_out_empty_segments():
    source, translated = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]]).log(), torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    expected = -(0.75 * math.log(0.5) + 0.25 * math.log(0.5))
    torch.testing.assert_close(local_cross_entropy(source, translated, torch.tensor([[1.0, 0.0]])), torch.tensor(expected))
    assert local_cross_entropy(source, translated, torch.zeros(1, 2)) == 0


def test_the_cross_entropy_is_least_where_both_agree():
    draw = torch.Generator().manual_seed(0)
    source, other = (torch.randn(2, 5, 8, generator=draw).log_softmax(2) for _ in range(2))
    present = torch.ones(2, 5)
    assert local_cross_entropy(source, source, present) < local_cross_entropy(source, other, present)


@pytest.mark.parametrize(("kind", "expected"), [("mse", 12.5), ("l2", 5.0), ("l1", 3.5), ("cos", 1.0)])
def test_distances_of_hand_worked_embeddings(kind, expected):
    source, translated = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(global_distance(source, translated, kind), torch.tensor(expected))


@pytest.mark.parametrize("kind", ["mse", "l2", "l1", "cos"])
def test_equal_embeddings_are_at_distance_0_with_a_finite_gradient_in_the_translation_alone(kind):
    source, translated = torch.ones(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    loss = global_distance(source, translated, kind)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert source.grad is None
    assert translated.grad.isfinite().all()


# --- Superpixels ---


def test_superpixels_part_the_image_and_follow_its_edges():
    masks = superpixels(halves())
    assert masks.shape == (2, 16, 64, 64)
    assert torch.equal(masks.sum(dim=1), torch.ones(2, 64, 64))
    dark = masks[..., :30].sum(dim=(2, 3))
    bright = masks[..., 34:].sum(dim=(2, 3))
    assert (torch.minimum(dark, bright) == 0).all(), "a segment lies on both sides of the edge"


def test_a_flat_image_falls_into_a_regular_grid():
    masks = superpixels(torch.zeros(1, 3, 64, 64))
    assert torch.equal(masks.sum(dim=(2, 3)), torch.full((1, 16), 256.0))


def test_an_image_has_the_same_superpixels_in_any_batch():
    image = torch.cat([halves()[:1], torch.rand(1, 1, 64, 64)])
    torch.testing.assert_close(superpixels(image)[:1], superpixels(image[:1]))


def test_a_segment_without_pixels_is_not_present():
    masks = torch.zeros(1, 3, 4, 4)
    masks[0, 1] = 1
    assert present_segments(masks).tolist() == [[0.0, 1.0, 0.0]]


# --- The scorers ---


def test_edges_are_the_same_under_gain_offset_and_inversion():
    scorer, image, masks = EdgeScorer(), halves(), superpixels(halves())
    for other in (0.5 * image + 0.3, -image, image.expand(-1, 3, -1, -1)):
        torch.testing.assert_close(scorer.embed(other), scorer.embed(image), atol=2e-2, rtol=2e-2)
        torch.testing.assert_close(scorer.classify(other, masks), scorer.classify(image, masks), atol=5e-2, rtol=5e-2)


def test_edges_in_other_places_are_far_away():
    scorer, image = EdgeScorer(), halves()
    near = global_distance(scorer.embed(image), scorer.embed(0.5 * image + 0.2))
    assert global_distance(scorer.embed(image), scorer.embed(image.mT)) > 100 * near


@pytest.mark.parametrize("scorer", [EdgeScorer(), small_clip()], ids=["edges", "clip"])
def test_classes_are_log_probabilities_for_every_segment_also_of_a_flat_image(scorer):
    image = torch.zeros(2, 3, 32, 32, requires_grad=True)
    masks = torch.cat([superpixels(image, 2), torch.zeros(2, 1, 32, 32)], dim=1)  # the last segment is empty
    scores = scorer.classify(image, masks)
    assert scores.shape == (2, 5, 8)
    torch.testing.assert_close(scores[:, :4].exp().sum(dim=2), torch.ones(2, 4), atol=1e-4, rtol=0)
    (local_cross_entropy(scores, scores, present_segments(masks)) + scorer.embed(image).square().sum()).backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("scorer", [EdgeScorer(), small_clip()], ids=["edges", "clip"])
def test_both_scores_pull_the_translation(scorer):
    source, translated = halves(32), torch.rand(2, 3, 32, 32, requires_grad=True)
    masks = superpixels(source, 2)
    loss = local_cross_entropy(scorer.classify(source, masks), scorer.classify(translated, masks), present_segments(masks))
    for term in (loss, global_distance(scorer.embed(source), scorer.embed(translated))):
        (gradient,) = torch.autograd.grad(term, translated)
        assert gradient.isfinite().all()
        assert gradient.any()


def test_clip_embeds_each_prompt_once_and_holds_still():
    scorer = small_clip()
    assert scorer.classes.shape == (len(PROMPTS), 16)
    assert scorer.classes.std(dim=0).min() > 0
    assert not any(p.requires_grad for p in scorer.parameters())


def test_a_segment_is_judged_by_its_own_box():
    masks = torch.zeros(1, 2, 8, 8)
    masks[0, 0, 2:4, 4:8] = 1
    torch.testing.assert_close(_boxes(masks)[0, 0], torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.25, -0.25]]))
    torch.testing.assert_close(_boxes(masks)[0, 1], torch.eye(2, 3))


def test_the_weights_of_another_model_are_refused():
    with pytest.raises(ContractError, match="CLIP"):
        ClipScorer(**SMALL_CLIP).load_weights({"features.0.weight": torch.zeros(1)})
    with pytest.raises(ContractError, match="CLIP"):
        ClipScorer(**SMALL_CLIP).load_weights(clip_weights(**{"visual_projection.weight": torch.zeros(8, 64)}))


def test_vit_b_32_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in ClipScorer().image.parameters()) == 87_849_216


def test_the_towers_are_those_of_the_transformers_library():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 49408, "eos_token_id": 49407},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    theirs = transformers.CLIPModel(config).eval()
    ours = ClipScorer(**SMALL_CLIP)
    ours.load_weights(theirs.state_dict())
    tokens = torch.tensor([[49406, *PROMPTS["grassland"], 49407]])
    text = theirs.text_projection(theirs.text_model(input_ids=tokens).pooler_output)
    torch.testing.assert_close(ours.classes[2], text[0])
    pixels = torch.randn(2, 3, 32, 32)
    image = theirs.visual_projection(theirs.vision_model(pixel_values=pixels).pooler_output)
    torch.testing.assert_close(ours.image(pixels), image)
