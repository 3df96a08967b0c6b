from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

from sarbench.bench import registry
from sarbench.bench.interface import Batch, ContractError, Pairs
from sarbench.methods.networks.antialiased_resnet import Translation
from sarbench.methods.semst import Config, SemST, fuse

TINY = replace(
    SemST.presets["tiny"], width=4, blocks=2, discriminator_width=4, projector_width=16, patches=6, attention_width=4
)
TERMS = {
    "D": {"gan_local", "gan_global", "gan_fused"},
    "G": {"gan_local", "gan_global", "gan_fused"}
    | {f"{name}_{branch}" for name in ("hdce", "hdce_same", "ts") for branch in ("local", "global")},
}


def build(**changes: object) -> SemST:
    torch.manual_seed(0)
    return SemST(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def two_rows(height: int = 64, width: int = 64, seed: int = 0) -> Batch:
    noise = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(seed))
    images = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3))
    ids = ("a", "b")
    return Batch(None, Pairs(images[:2], images[2:].flip(1) * 0.5 + 0.2, torch.arange(2), ids, ids))


def losses(method: SemST, batch: Batch, progress: float = 0.0) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch, progress))


def reaches(loss: Tensor, module: nn.Module) -> bool:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def test_the_turns_are_d_then_g_with_the_losses_of_both_branches():
    turns = [(player, set(terms)) for player, terms in build().training_step(two_rows(), 0.0)]
    assert turns == list(TERMS.items())


def test_no_term_is_dead_and_every_parameter_gets_a_gradient():
    method = build()
    for player, found in method.training_step(two_rows(), 0.0):
        parameters = method.players()[player].parameters()
        for name, loss in found.items():
            assert loss.shape == ()
            assert any(
                g is not None and g.any() for g in torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            ), name
        gradients = torch.autograd.grad(sum(found.values()), parameters, retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)


def test_each_loss_reaches_the_networks_that_it_names():
    method = build()
    found = losses(method, two_rows())["G"]
    networks = {"G local": method.G["local"], "G global": method.G["global"]}
    networks |= {"F local": method.F["local"], "F global": method.F["global"], "M": method.M}
    for name, loss in found.items():
        branch = name.rpartition("_")[2]
        expected = {"G local", "G global", "M"} if branch == "fused" else {f"G {branch}"}
        if not name.startswith("gan"):
            expected.add(f"F {branch}")
        assert {key for key, network in networks.items() if reaches(loss, network)} == expected, name


def test_the_discriminators_turn_leaves_no_gradient_path_into_the_generators():
    method = build()
    total = sum(losses(method, two_rows())["D"].values())
    assert not reaches(total, method.G)
    assert not reaches(total, method.M)


@pytest.mark.parametrize(
    ("changes", "gone", "new"),
    [
        ({"lambda_ts": 0.0}, {"ts_local", "ts_global"}, set()),
        ({"contrast": "none"}, {f"hdce{s}_{b}" for s in ("", "_same") for b in ("local", "global")}, set()),
        (
            {"contrast": "patch_nce"},
            {f"hdce{s}_{b}" for s in ("", "_same") for b in ("local", "global")},
            {f"patch_nce{s}_{b}" for s in ("", "_same") for b in ("local", "global")},
        ),
        ({"fusion": "local"}, {"gan_fused"}, set()),
        ({"fusion": "global"}, {"gan_fused"}, set()),
        ({"multiscale": False}, {name for name in TERMS["G"] if not name.endswith("local")}, set()),
    ],
)
def test_the_switches_of_table_3_and_of_the_fusion_remove_exactly_their_terms(changes, gone, new):
    found = losses(build(**changes), two_rows())["G"]
    assert set(found) == TERMS["G"] - gone | new


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"lambda_ts": 1.0}, {"ts"}),
        ({"lambda_ts": 0.0}, {"ts"}),
        ({"lambda_hdce": 0.1}, {"hdce", "hdce_same"}),
        ({"lambda_gan": 3.0}, {"gan"}),
        ({"beta": 5.0}, {"hdce", "hdce_same"}),
        ({"tau": 0.2}, {"hdce", "hdce_same"}),
        ({"hdce_form": "printed"}, {"hdce", "hdce_same"}),
        ({"hdce_form": "source_code"}, {"hdce", "hdce_same"}),
        ({"ts_on": "pixels"}, {"ts"}),
        ({"ts_layers": "shallow"}, {"ts"}),
        ({"ts_layers": "deep"}, {"ts"}),
        ({"kernel_sign": 1, "kernel_sigma": 1.0}, {"ts"}),
        ({"ts_detach_input": False}, set()),
    ],
)
def test_a_switched_loss_leaves_the_others_their_values(changes, changed):
    usual, found = losses(build(), two_rows())["G"], losses(build(**changes), two_rows())["G"]
    for name, value in found.items():
        same = name.rpartition("_")[0] not in changed
        assert torch.equal(value, usual[name]) == same, name


def test_all_layers_are_the_mean_of_shallow_and_deep_ones():
    ts = {name: losses(build(ts_layers=name), two_rows())["G"]["ts_local"] for name in ("all", "shallow", "deep")}
    torch.testing.assert_close(ts["all"], (3 * ts["shallow"] + 2 * ts["deep"]) / 5)


def test_the_weights_of_the_losses_are_those_of_the_config():
    one = losses(build(lambda_ts=1.0, lambda_hdce=1.0), two_rows())["G"]
    other = losses(build(lambda_ts=2.0, lambda_hdce=0.1), two_rows())["G"]
    torch.testing.assert_close(other["ts_local"], 2 * one["ts_local"])
    torch.testing.assert_close(other["hdce_global"], 0.1 * one["hdce_global"])


def test_without_target_images_the_contrast_of_the_source_counts_whole():
    half, whole = (losses(build(identity=identity), two_rows())["G"] for identity in (True, False))
    assert set(half) - set(whole) == {"hdce_same_local", "hdce_same_global"}
    torch.testing.assert_close(whole["hdce_local"], 2 * half["hdce_local"])
    torch.testing.assert_close(whole["ts_local"], half["ts_local"])


def test_the_embeddings_of_the_input_get_gradients_only_if_they_are_not_detached():
    """With the output's embeddings held still, what is left flows through the input's."""
    for detach in (True, False):
        method = build(ts_detach_input=detach, contrast="none")
        for branch in ("local", "global"):
            G = method.G[branch]
            G.encode = lambda x, G=G: [f.detach() for f in type(G).encode(G, x)]
        loss = losses(method, two_rows())["G"]["ts_local"]
        assert reaches(loss, method.G["local"].stem) != detach


def test_gamma_falls_over_the_training_in_the_form_of_the_source_code_alone():
    for form, moves in (("source_code", True), ("normalised", False)):
        method = build(hdce_form=form)
        values = [losses(method, two_rows(), progress)["G"]["hdce_local"] for progress in (0.0, 1.0)]
        assert torch.equal(*values) != moves
    late = losses(build(hdce_form="source_code", gamma_start=10.0), two_rows(), 0.0)["G"]["hdce_local"]
    torch.testing.assert_close(losses(build(hdce_form="source_code"), two_rows(), 1.0)["G"]["hdce_local"], late)


def test_the_fusion_is_the_local_branch_where_the_scale_map_is_1_and_the_global_one_where_it_is_0():
    local, coarse = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    M = torch.tensor([[1.0, 0.0, 0.5, 0.25]]).expand(1, 1, 4, 4)
    fused = fuse(local, coarse, M)
    assert torch.equal(fused[..., 0], local[..., 0])
    assert torch.equal(fused[..., 1], coarse[..., 1])
    torch.testing.assert_close(fused[..., 3], 0.25 * local[..., 3] + 0.75 * coarse[..., 3])


@pytest.mark.parametrize("fusion", ["learned", "half", "local", "global"])
def test_a_translation_is_the_branch_that_the_scale_map_trusts(fusion):
    method, x, seeds = build(fusion=fusion).eval(), two_rows().unpaired.source, torch.arange(2)
    mean = {"local": 1.0, "global": 0.0, "half": 0.5}.get(fusion)
    if mean is None:  # a head that always says 1
        nn.init.zeros_(method.M.layers[-1].weight)
        nn.init.constant_(method.M.layers[-1].bias, 50.0)
        mean = 1.0
    else:
        assert method.M is None

    def of(fusion: str) -> Tensor:
        method.config, method.M = replace(method.config, fusion=fusion), None
        return method.translate(x, seeds)

    found = method.translate(x, seeds)
    torch.testing.assert_close(found, mean * of("local") + (1 - mean) * of("global"))
    assert not torch.allclose(of("local"), of("global"), atol=1e-3)


def test_the_scale_map_starts_near_a_half_and_learns_which_branch_fools_the_discriminator():
    method = build()
    output = Translation(torch.zeros(1), [], torch.randn(2, 16, 4, 4))
    assert (method._scale_map(output, 2) - 0.5).abs().max() < 0.05
    loss = losses(method, two_rows())["G"]["gan_fused"]
    assert reaches(loss, method.M)


@pytest.mark.parametrize("multiscale", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (65, 91), (37, 130), (17, 9)])
def test_images_of_any_size_are_translated_alike_each_time_and_row_by_row(size, multiscale):
    method = build(window_px=32, multiscale=multiscale).eval()
    x = two_rows(*size).unpaired.source
    method.refuse_bad_source(x)
    with torch.no_grad():
        first = method.translate(x, torch.arange(2))
        assert first.shape == x.shape
        assert first.dtype == torch.float32
        assert first.abs().max() <= 1
        assert torch.equal(first, method.translate(x, torch.arange(2) + 5))
        torch.testing.assert_close(first[1:], method.translate(x[1:], torch.arange(1)), atol=1e-5, rtol=0)


def test_the_local_branch_sees_windows_and_the_global_one_the_image_made_smaller():
    method = build(window_px=32).eval()
    sizes: dict[str, list[tuple[int, ...]]] = {"local": [], "global": []}
    for branch, seen in sizes.items():
        method.G[branch].register_forward_pre_hook(lambda _, given, seen=seen: seen.append(tuple(given[0].shape[2:])))
    method.translate(two_rows().unpaired.source, torch.arange(2))
    assert sizes == {"local": [(32, 32)] * 9, "global": [(32, 32)]}
    assert method.evaluations == 10
    assert build(multiscale=False).evaluations == 1


def test_in_training_the_local_crop_is_a_part_of_the_global_one_at_its_own_scale():
    method, batch = build(window_px=16), two_rows(64, 56)
    seen: dict[str, Tensor] = {}
    for branch in ("local", "global"):
        method.G[branch].register_forward_pre_hook(lambda _, given, branch=branch: seen.update({branch: given[0][:2]}))
    losses(method, batch)
    assert seen["local"].shape == seen["global"].shape == (2, 3, 16, 16)
    x = batch.unpaired.source
    for row in range(2):
        wide = x[row].unfold(1, 32, 1).unfold(2, 32, 1)  # every crop of 32 px
        small = torch.nn.functional.interpolate(
            wide.permute(1, 2, 0, 3, 4).reshape(-1, 3, 32, 32), (16, 16), mode="bilinear", antialias=True
        )
        at = (small - seen["global"][row]).abs().flatten(1).amax(1).argmin()
        assert torch.allclose(small[at], seen["global"][row], atol=1e-5)
        top, left = divmod(int(at), wide.shape[2])
        inside = x[row, :, top : top + 32, left : left + 32].unfold(1, 16, 1).unfold(2, 16, 1)
        distances = (inside - seen["local"][row][:, None, None]).abs().amax(dim=(0, 3, 4))
        assert distances.min() == 0


def test_a_training_crop_that_is_too_small_is_refused_with_its_least_side():
    with pytest.raises(ContractError, match="32 px"):
        losses(build(), two_rows(24, 64))


def test_one_generator_for_both_scales_is_one_module():
    shared, own = build(shared_generator=True), build()
    assert list(shared.G) == ["local"]
    found = losses(shared, two_rows())["G"]
    assert reaches(found["gan_local"], shared.G["local"])
    assert reaches(found["gan_global"], shared.G["local"])
    count = [sum(p.numel() for p in method.G.parameters()) for method in (shared, own)]
    assert 2 * count[0] == count[1]


def test_crops_and_positions_of_a_row_do_not_depend_on_the_other_rows():
    method = build()
    whole = losses(method, two_rows())
    halves = [losses(method, part) for part in two_rows().parts(2)]
    for player, terms in TERMS.items():
        for name in terms:
            mean = (halves[0][player][name] + halves[1][player][name]) / 2
            torch.testing.assert_close(mean, whole[player][name], atol=1e-4, rtol=1e-4)


def test_a_step_under_autocast_has_finite_float32_losses_and_images():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(method, two_rows())
        image = method.translate(two_rows().unpaired.source, torch.arange(2))
    assert image.dtype == torch.float32
    for terms in found.values():
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in terms.values())


def test_flat_images_give_finite_losses_and_gradients():
    flat = Pairs(torch.full((2, 3, 64, 64), -1.0), torch.full((2, 3, 64, 64), 1.0), torch.arange(2), ("a", "b"), ("a", "b"))
    method = build()
    for player, found in method.training_step(Batch(None, flat), 0.0):
        for g in torch.autograd.grad(sum(found.values()), method.players()[player].parameters(), retain_graph=True):
            assert g.isfinite().all()


def test_the_paper_preset_has_the_networks_of_cut_twice():
    with torch.device("meta"):
        method = SemST(SemST.presets["paper"], 3, 3)
    count = {name: sum(p.numel() for p in module.parameters()) for name, module in method.named_children()}
    assert count == {"G": 2 * 11_378_179, "F": 2 * 560_384, "D": 2_764_737, "M": 148_097}


def test_every_hyperparameter_names_its_source_and_the_card_can_be_read_without_importing():
    assert all(f.metadata["source"] for f in fields(Config))
    assert registry.card_of("methods", "semst")["title"] == "SemST"
    assert SemST.card.supervision == "unpaired"
