from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Method, Pairs
from sarbench.methods.s3oil import PAPER, S3OIL, Config

TINY = replace(S3OIL.presets["tiny"], pool_size=1)
BASE = {"gan_paired", "gan_unpaired", "cycle_x", "cycle_y"}
TERMS = BASE | {"isc", "isc_inverse", "cam", "msm", "csc_local", "csc_global"}


def build(source_channels: int = 1, target_channels: int = 3, **changes: Any) -> S3OIL:
    torch.manual_seed(0)
    return S3OIL(replace(TINY, **changes), source_channels, target_channels)


def pairs(seed: int, rows: int = 2) -> Pairs:
    noise = torch.randn(rows, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    x = torch.tanh(4 * functional.avg_pool2d(noise, 9, stride=1, padding=4))
    y = torch.cat([0.8 * x, -0.5 * x + 0.2, x.square() - 0.3], dim=1)
    ids = tuple(f"{seed}/{i}" for i in range(rows))
    return Pairs(x, y, torch.arange(rows) + 10 * seed, ids, ids, {"labels": (x > 0).long()})


def batch() -> Batch:
    u, other = pairs(1), pairs(2)
    return Batch(pairs(0), replace(u, target=other.target, target_ids=other.target_ids))


def losses_of(method: Method, given: Batch | None = None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    _, losses = next(method.training_step(given or batch(), 0.0))
    return losses


def values(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: loss.item() for name, loss in losses.items()}


def run_turns(method: Method, visit: Callable[[str, dict[str, Tensor]], None]) -> None:
    for player, losses in method.training_step(batch(), 0.0):
        visit(player, losses)


# --- The step ---


def test_the_turns_are_g_then_d_with_the_losses_of_equation_14():
    turns = []
    run_turns(build(), lambda player, losses: turns.append((player, set(losses))))
    assert turns == [("G", TERMS), ("D", {"paired_x", "paired_y", "unpaired_x", "unpaired_y"})]


def test_every_loss_reaches_g_or_the_inverse_and_no_term_is_dead():
    method = build()
    losses = losses_of(method)
    for name, loss in losses.items():
        network = method.F if name == "isc_inverse" else method.G
        weights = list(network.parameters())
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        assert max(g.abs().max().item() for g in found if g is not None) > 1e-3, name


def test_every_parameter_of_both_players_gets_a_finite_gradient_under_autocast_too():
    for precision in (None, torch.bfloat16):
        method = build()
        with torch.autocast("cpu", precision, enabled=precision is not None):
            turns = [(player, method.players()[player].parameters(), losses) for player, losses in _turns(method)]
        for player, parameters, losses in turns:
            assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
            for gradient in torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True):
                assert gradient is not None, player
                assert gradient.isfinite().all()


def _turns(method: Method) -> list[tuple[str, dict[str, Tensor]]]:
    found: list[tuple[str, dict[str, Tensor]]] = []
    run_turns(method, lambda player, losses: found.append((player, losses)))
    return found


def test_the_discriminators_turn_leaves_no_path_into_the_generators():
    method = build()
    (_, _), (_, losses) = _turns(method)
    generators = [*method.G.parameters(), *method.F.parameters()]
    assert all(g is None for g in torch.autograd.grad(sum(losses.values()), generators, allow_unused=True))


def test_the_frozen_networks_belong_to_nobody():
    method = build()
    owned = {id(p) for player in method.players().values() for p in player.parameters()}
    assert not any(id(p) in owned or p.requires_grad for p in method.E.parameters())


def test_two_halves_of_a_batch_have_on_average_the_losses_of_the_whole():
    whole = values(losses_of(build()))
    halves = [values(losses_of(build(), part)) for part in batch().parts(2)]
    for name, value in whole.items():
        assert (halves[0][name] + halves[1][name]) / 2 == pytest.approx(value, rel=2e-3), name


# --- Switches: tables 2, 3 and 5, the supervised variant, and what the paper leaves open ---


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"cam": False}, {"cam"}),
        ({"msm": "off"}, {"msm"}),
        ({"csc": "off"}, {"csc_local", "csc_global"}),
        ({"csc": "local"}, {"csc_global"}),
        ({"csc": "global"}, {"csc_local"}),
        ({"isc_inverse": False}, {"isc_inverse"}),
        ({"isc": False, "lambda_l1": 0.0}, {"isc", "isc_inverse"}),
        ({"cam": False, "msm": "off", "isc": False, "lambda_l1": 0.0, "csc": "off"}, TERMS - BASE),
    ],
)
def test_a_module_that_is_off_takes_its_losses_away_and_changes_no_other(changes, gone):
    everything, without = values(losses_of(build())), values(losses_of(build(**changes)))
    assert without == pytest.approx({name: value for name, value in everything.items() if name not in gone}, rel=1e-5)


def test_without_isc_the_base_models_l1_stays():
    everything, without = values(losses_of(build())), values(losses_of(build(isc=False)))
    assert set(without) - set(everything) == {"l1"}
    assert set(everything) - set(without) == {"isc", "isc_inverse"}


@pytest.mark.parametrize(
    ("weight", "terms"),
    [
        ("lambda_cam", {"cam"}),
        ("lambda_msm", {"msm"}),
        ("lambda_isc", {"isc", "isc_inverse"}),
        ("lambda_csc", {"csc_local", "csc_global"}),
        ("lambda_gan", {"gan_paired", "gan_unpaired"}),
        ("lambda_cycle", {"cycle_x", "cycle_y"}),
    ],
)
def test_a_weight_of_table_5_scales_its_own_terms_alone(weight, terms):
    before = values(losses_of(build()))
    after = values(losses_of(build(**{weight: 2 * getattr(TINY, weight)})))
    assert after == pytest.approx({name: value * (2 if name in terms else 1) for name, value in before.items()}, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"msm": "single"}, {"msm"}),
        ({"msm_single": 16, "msm": "single"}, {"msm"}),
        ({"isc_delta": 0.1}, {"isc", "isc_inverse"}),
        ({"cam_anchor": "target"}, {"cam"}),
        ({"csc_unpaired": False}, {"csc_local", "csc_global"}),
        ({"csc_distance": "l1"}, {"csc_global"}),
        ({"csc_segments": "labels"}, {"csc_local"}),
    ],
)
def test_a_setting_changes_the_value_of_its_own_terms_alone(changes, terms):
    before, after = values(losses_of(build())), values(losses_of(build(**changes)))
    assert {name for name in TERMS if after[name] != pytest.approx(before[name], rel=1e-5)} == terms


def test_multi_scale_matching_is_the_sum_of_its_scales():
    one = [values(losses_of(build(msm="single", msm_single=scale)))["msm"] for scale in (16, 32, 64)]
    assert values(losses_of(build()))["msm"] == pytest.approx(sum(one), rel=1e-5)


@pytest.mark.parametrize(("setting", "term"), [("cam_detach_paired", "cam"), ("msm_detach_weak", "msm")])
def test_a_detached_side_changes_the_gradient_and_not_the_value(setting, term):
    found = []
    for choice in (True, False):
        method = build(**{setting: choice})
        loss = losses_of(method)[term]
        (gradient,) = torch.autograd.grad(loss, [method.G.head.weight])
        found.append((loss.item(), gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert not torch.allclose(found[0][1], found[1][1], rtol=1e-3)


def test_the_huber_loss_is_the_one_worked_by_hand():
    method = build()
    method.G.forward = lambda x: torch.full((len(x), 3, *x.shape[2:]), 0.5)  # type: ignore[method-assign]
    p = batch().paired
    given = replace(p, target=torch.full_like(p.target, -0.75))
    losses = method._paired_losses(given, method.G(p.source), p.source)
    assert losses["isc"].item() == pytest.approx(10 * (1.25 - 0.5))  # beyond delta = 1: |d| - 1/2
    assert losses["isc_inverse"].item() == 0.0


def test_the_supervised_variant_reads_pairs_alone():
    method = build(supervised=True)
    assert method.supervision == "paired"
    turns = []
    for player, losses in method.training_step(Batch(pairs(0), None), 0.0):
        parameters = method.players()[player].parameters()
        gradients = torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True, retain_graph=True)
        assert all(g is not None for g in gradients)
        turns.append((player, set(losses)))
    assert turns == [("G", TERMS - {"gan_unpaired", "cam", "msm"}), ("D", {"paired_x", "paired_y"})]


def test_conditional_discriminators_see_both_images():
    method = build(conditional=True)
    assert method.D_p["y"].layers[0].in_channels == method.D_p["x"].layers[0].in_channels == 4
    assert method.D_u["y"].scales[0].layers[0].in_channels == 3
    assert len(_turns(method)) == 2


def test_the_real_images_of_the_unpaired_discriminators_can_be_the_paired_ones():
    (_, g), (_, d) = _turns(build())
    (_, same_g), (_, other) = _turns(build(unpaired_real="paired"))
    assert values(g) == pytest.approx(values(same_g), rel=1e-5)
    assert {name for name in d if values(d)[name] != pytest.approx(values(other)[name], rel=1e-5)} == {"unpaired_y"}


def test_the_base_models_generator_fits_too():
    method = build(generator="resnet")
    assert method.size_multiple == 4
    assert set(losses_of(method)) == TERMS
    assert method.pretrained == ()


def test_label_masks_are_asked_for_where_they_are_the_segments():
    assert build().aux == ()
    assert build(csc_segments="labels").aux == ("labels",)
    assert build(csc_segments="labels", csc="global").aux == ()


def test_unlabelled_pixels_are_in_no_segment_and_too_many_labels_are_refused():
    method, p = build(csc_segments="labels"), pairs(0)
    labels = torch.zeros(2, 1, 64, 64, dtype=torch.int64)
    labels[:, :, :32] = 255
    masks = method._segments(replace(p, aux={"labels": labels}), p.source)
    assert masks.shape == (2, 16, 64, 64)
    assert masks[:, :, :32].sum() == 0
    assert (masks[:, 0, 32:] == 1).all()
    with pytest.raises(ContractError, match="superpixels"):
        method._segments(replace(p, aux={"labels": labels.clamp(max=40) + 0}), p.source)


# --- Pretrained weights ---


def test_each_preset_asks_for_the_weights_it_uses():
    with torch.device("meta"):
        built = {name: S3OIL(config, 1, 3) for name, config in S3OIL.presets.items()}
    assert built["paper"].pretrained == S3OIL.card.pretrained
    assert built["bench"].pretrained == built["tiny"].pretrained == ()
    with torch.device("meta"):
        assert S3OIL(replace(PAPER, cam=False, csc="off", encoder="scratch"), 1, 3).pretrained == ()


def test_resnet_weights_go_into_both_encoders_and_into_cam(tmp_path):
    weights = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(weights, tmp_path / "resnet50")
    method = S3OIL(replace(PAPER, csc="off"), 1, 3)
    method.load_pretrained(tmp_path.joinpath)
    for encoder in (method.G.encoder, method.F.encoder, method.E):
        assert torch.equal(encoder.state_dict()["layer3.0.conv2.weight"], weights["layer3.0.conv2.weight"])


def test_a_trained_state_holds_the_frozen_networks_so_that_a_trained_run_needs_no_asset():
    with torch.device("meta"):
        method = S3OIL(PAPER, 1, 3)
    state = set(method.state_dict())
    frozen = [*method.E.named_parameters("E"), *method.scorer.named_parameters("scorer"), ("scorer.classes", None)]
    assert {name for name, _ in frozen} <= state


def test_the_way_back_is_the_inverse_generator():
    method = build().eval()
    target = pairs(0).target
    assert torch.equal(method.translate_back(target, torch.arange(2)), method.F(target))


# --- The paper preset ---


def test_the_paper_preset_has_the_parameters_of_table_6():
    with torch.device("meta"):
        method = S3OIL(PAPER, 1, 3)
    assert round(sum(p.numel() for p in method.G.parameters()) / 1e6, 1) == 30.6
    assert (PAPER.lambda_cam, PAPER.lambda_msm, PAPER.lambda_isc, PAPER.lambda_csc, PAPER.lambda_gan) == (50, 50, 10, 10, 50)
    assert method.size_multiple == S3OIL.card.size_multiple


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "s3oil")["title"] == "S3OIL"


def test_a_translation_does_not_depend_on_its_batch():
    method = build().eval()
    source = pairs(3, rows=3).source
    with torch.no_grad():
        together = method.translate(source, torch.arange(3))
        alone = method.translate(source[1:2], torch.arange(1))
    assert together.shape == (3, 3, 64, 64)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
