from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sarbench.bench import assets
from sarbench.bench.interface import Batch, ContractError, Pairs, normal
from sarbench.bench.pipeline import Bench
from sarbench.bench.tracks import track
from sarbench.bench.train import Hardware
from sarbench.methods.cdiffset import CDiffSET, Config, Restarted
from sarbench.methods.losses.confidence_diffusion import TAU, V_MAX, V_MIN, c_diff, confidence, variance
from sarbench.methods.losses.variational import kl_to_standard_normal
from sarbench.methods.networks import latent_diffusion
from sarbench.methods.networks.diffusion_unet import DiffusionUNet, sinusoids
from sarbench.methods.processes import ddim, ddpm

TINY = replace(CDiffSET.presets["tiny"], unet_widths=(8, 16), vae_widths=(8, 8), steps=4)
STABLE = replace(
    CDiffSET.presets["paper"],
    unet_widths=(32, 64),
    unet_blocks=1,
    unet_heads=(2, 4),
    context_width=32,
    vae_widths=(32, 32, 32),
    steps=4,
)
MODES = ("official", "eq3_sq", "eq3_literal", "mse")


def build(config: Config = TINY, seed: int = 0, source_channels: int = 1) -> CDiffSET:
    torch.manual_seed(seed)
    return CDiffSET(config, source_channels, 3)


def pairs(n: int = 4, side: int = 16) -> Batch:
    """Random sources, and targets that are a function of them."""
    noise = torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(0))
    source = torch.tanh(3 * torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1))
    target = torch.cat([source, -source, source.abs() - 0.5], dim=1)
    ids = tuple(map(str, range(n)))
    return Batch(Pairs(source, target, torch.arange(n), ids, ids))


def turns(method: CDiffSET, progress: float, batch: Batch | None = None) -> dict[str, dict[str, Tensor]]:
    return dict(method.training_step(batch or pairs(), progress))


# --- The loss --------------------------------------------------------------------------------------------------------


def predictions(raw: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    eps, eps_hat = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    return eps, eps_hat, torch.full((3, 1, 5, 5), raw), torch.tensor([0.1, 0.5, 1.0])


@pytest.mark.parametrize(("mode", "factor", "constant"), [("official", 0.5, 0.919), ("eq3_sq", 1.0, 1.8379), ("mse", 1.0, 0.0)])
def test_at_confidence_one_the_loss_is_the_mean_squared_error_up_to_a_constant(mode, factor, constant):
    eps, eps_hat, raw, beta = predictions()
    torch.testing.assert_close(confidence(raw, mode), torch.ones_like(raw))
    error = (eps - eps_hat).square().mean().item()
    assert c_diff(eps, eps_hat, raw, beta, mode).item() == pytest.approx(factor * error + constant, abs=1e-3)


def test_the_official_loss_is_the_one_worked_by_hand():
    """Residual 2 at v = 4: likelihood (4/4 + ln 4 + ln 2 pi) / 2, times 4^beta."""
    raw = torch.full((1, 1, 1, 1), math.log(math.expm1(4.0 - V_MIN)) - math.log(math.expm1(1.0 - V_MIN)))
    assert variance(raw).item() == pytest.approx(4.0)
    likelihood = 0.5 * (1.0 + math.log(4.0) + TAU)
    for beta in (0.0, 0.5, 1.0):
        loss = c_diff(torch.full((1, 4, 1, 1), 2.0), torch.zeros(1, 4, 1, 1), raw, torch.tensor([beta]), "official")
        assert loss.item() == pytest.approx(likelihood * 4**beta, rel=1e-5)


def test_eq_3_is_the_one_worked_by_hand():
    """Residual 2 at c = 3, beta = 2: 4 * 9 - 2 ln 3 + ln 2 pi; to the letter the norm of 2 * 9 - 2 ln 3 + ln 2 pi."""
    raw = torch.full((1, 1, 1, 1), math.log(math.expm1(3.0)) - math.log(math.expm1(1.0)))
    eps, zero, beta = torch.full((1, 4, 1, 1), 2.0), torch.zeros(1, 4, 1, 1), torch.tensor([2.0])
    rest = -2 * math.log(3.0) + TAU
    assert c_diff(eps, zero, raw, beta, "eq3_sq").item() == pytest.approx(36 + rest, rel=1e-5)
    assert c_diff(eps, zero, raw, beta, "eq3_literal").item() == pytest.approx(2 * (18 + rest), rel=1e-5)


def test_eq_3_squared_is_twice_the_gaussian_likelihood_of_the_code():
    eps, eps_hat, raw, _ = predictions(0.7)
    c = confidence(raw, "eq3_sq")
    as_variance = torch.log(torch.expm1(1.0 / c - V_MIN)) - math.log(math.expm1(1.0 - V_MIN))
    squared = c_diff(eps, eps_hat, raw, torch.ones(3), "eq3_sq")
    plain = c_diff(eps, eps_hat, as_variance, torch.zeros(3), "official")
    assert squared.item() == pytest.approx(2 * plain.item(), rel=1e-4)


def test_with_exponent_one_the_prediction_learns_as_under_a_squared_error_whatever_the_variance():
    eps, eps_hat, _, _ = predictions()
    raw = torch.randn(3, 1, 5, 5)
    eps_hat.requires_grad_()
    (weighted,) = torch.autograd.grad(c_diff(eps, eps_hat, raw, torch.ones(3), "official"), eps_hat)
    (plain,) = torch.autograd.grad(0.5 * (eps - eps_hat).square().mean(), eps_hat)
    torch.testing.assert_close(weighted, plain)
    (likelihood,) = torch.autograd.grad(c_diff(eps, eps_hat, raw, torch.zeros(3), "official"), eps_hat)
    torch.testing.assert_close(likelihood, plain / variance(raw))


@pytest.mark.parametrize("mode", ["official", "eq3_sq"])
def test_the_best_confidence_is_one_over_the_mean_squared_residual(mode):
    """4 latent channels share one confidence: the likelihood is stationary where v is their mean squared residual."""
    eps = torch.tensor([1.0, 2.0, 0.5, 1.5]).reshape(1, 4, 1, 1)
    raw = torch.zeros(1, 1, 1, 1, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        beta = torch.tensor([0.0 if mode == "official" else 1.0])
        c_diff(eps, torch.zeros_like(eps), raw, beta, mode).backward()
        optimizer.step()
    assert 1 / confidence(raw, mode).item() == pytest.approx(eps.square().mean().item(), rel=0.01)


def test_eq_3_to_the_letter_does_not_want_zero_error():
    eps = torch.zeros(1, 4, 1, 1)
    at = [c_diff(eps, torch.full_like(eps, e), torch.zeros(1, 1, 1, 1), torch.ones(1), "eq3_literal") for e in (0.0, 1.0)]
    assert at[1] < at[0]


def test_only_the_squared_error_leaves_the_confidence_alone():
    eps, eps_hat, raw, beta = predictions()
    raw.requires_grad_()
    for mode in MODES[:-1]:
        (gradient,) = torch.autograd.grad(c_diff(eps, eps_hat, raw, beta, mode), raw)
        assert gradient.any()
    eps_hat.requires_grad_()
    (gradient,) = torch.autograd.grad(c_diff(eps, eps_hat, raw, beta, "mse"), raw, allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("raw", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_is_finite_float32_with_finite_gradients_at_any_raw_confidence_and_at_no_error(mode, raw, dtype):
    eps, _, _, beta = predictions()
    eps_hat = eps.to(dtype).requires_grad_()
    level = torch.full((3, 1, 5, 5), raw, dtype=dtype, requires_grad=True)
    loss = c_diff(eps.to(dtype), eps_hat, level, beta, mode)
    assert loss.dtype == torch.float32
    gradients = torch.autograd.grad(loss, [eps_hat, level], allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in (loss, *gradients))


def test_the_variance_stays_within_the_limits_of_the_code():
    assert variance(torch.tensor([-1e4, 0.0, 1e4])).tolist() == pytest.approx([V_MIN, 1.0, V_MAX])


def test_the_divergence_from_a_standard_normal_is_the_one_worked_by_hand():
    mean, log_var = torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, math.log(4.0)])
    assert kl_to_standard_normal(mean, log_var).item() == pytest.approx((0.0 + 2.0 + 0.5 * (3 - math.log(4))) / 3)


# --- The small networks ----------------------------------------------------------------------------------------------


def test_an_untrained_small_unet_predicts_no_noise_and_full_confidence():
    out = DiffusionUNet(8, 5, widths=(8, 16), blocks=1, heads=(0, 2))(torch.randn(2, 8, 4, 6), torch.tensor([3, 900]))
    assert out.shape == (2, 5, 4, 6)
    assert not out.any()


def test_the_small_unet_knows_the_step_and_looks_at_each_row_alone():
    network = DiffusionUNet(8, 5, widths=(8, 16), blocks=2, heads=(0, 2))
    nn.init.normal_(network.head[-1].weight)  # type: ignore[arg-type]
    z, t = torch.randn(3, 8, 8, 8), torch.tensor([1, 500, 999])
    out = network(z, t)
    assert not torch.allclose(out, network(z, t.flip(0)), atol=1e-3)
    torch.testing.assert_close(network(z[1:2], t[1:2]), out[1:2], atol=1e-5, rtol=1e-4)


def test_the_steps_of_a_process_are_far_apart_as_sinusoids():
    table = sinusoids(torch.arange(1000), 32)
    assert table.shape == (1000, 32)
    assert (torch.cdist(table[::50], table[::50]) + 10 * torch.eye(20)).min() > 0.5


# --- The method ------------------------------------------------------------------------------------------------------


def test_the_autoencoder_learns_alone_then_stands_still_and_the_two_stages_of_the_unet_share_the_rest():
    found = {p: {player: sorted(losses) for player, losses in turns(build(), p).items()} for p in (0, 0.24, 0.25, 0.62, 0.63)}
    autoencoder = {"autoencoder": ["kl", "reconstruction"]}
    assert found == {
        0: autoencoder,
        0.24: autoencoder,
        0.25: {"unet": ["mse"]},
        0.62: {"unet": ["mse"]},
        0.63: {"unet": ["c_diff"]},
    }
    schedule = build().players()["unet"].optimizer.schedule
    assert [schedule(p) for p in (0.25, 0.4375, 0.625, 0.8125)] == pytest.approx([1.0, 0.5, 1.0, 0.5])


def test_one_stage_has_the_confidence_from_the_start_and_the_squared_error_never_has_it():
    assert list(turns(build(replace(TINY, stages=1)), 0.25)["unet"]) == ["c_diff"]
    assert list(turns(build(replace(TINY, loss="mse")), 1.0)["unet"]) == ["mse"]


def test_every_loss_mode_and_beta_changes_the_second_stage_alone():
    def losses(config: Config) -> tuple[float, ...]:
        method = build(config)
        nn.init.normal_(method.unet.head[-1].weight, std=0.1)  # else the confidence is 1, where beta means nothing
        same = (*turns(method, 0.0)["autoencoder"].values(), *turns(method, 0.3)["unet"].values())
        second = turns(method, 0.7)
        return (*(loss.item() for loss in same), *(loss.item() for loss in second["unet"].values()))

    configs = [replace(TINY, loss=mode) for mode in MODES] + [replace(TINY, beta=beta) for beta in (0.0, 0.5)]
    found = [losses(config) for config in configs]
    assert len({values[:-1] for values in found}) == 1
    assert len({values[-1] for values in found}) == len(configs)


def test_every_loss_moves_its_player_alone_and_every_parameter_gets_a_gradient():
    method = build()
    nn.init.normal_(method.unet.head[-1].weight, std=0.1)  # starts at zero, so that nothing behind it would move
    players = {name: player.parameters() for name, player in method.players().items()}
    names = {id(p): name for name, p in method.named_parameters()}
    for progress in (0.0, 0.7):
        for player, losses in method.training_step(pairs(), progress):
            for term, loss in losses.items():
                for other, parameters in players.items():
                    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                    assert any(g is not None and g.any() for g in gradients) == (other == player), term
            gradients = torch.autograd.grad(sum(losses.values()), players[player], allow_unused=True)  # type: ignore[arg-type]
            dead = [names[id(p)] for p, g in zip(players[player], gradients, strict=True) if g is None or not g.any()]
            assert not dead


def test_the_squared_error_leaves_the_confidence_at_zero_as_if_the_channel_were_not_there():
    method = build()
    optimizer = torch.optim.AdamW(method.players()["unet"].parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        turns(method, 0.3)["unet"]["mse"].backward()
        optimizer.step()
    last = method.unet.head[-1]
    assert last.weight[:-1].any()
    assert not last.weight[-1].any()
    assert not last.bias[-1].any()


def test_noise_and_steps_belong_to_the_row_not_to_the_batch_or_the_global_generator():
    config, batch = replace(TINY, loss="mse"), pairs()
    method = build(config)
    together = turns(method, 0.9, batch)["unet"]["mse"].item()
    torch.manual_seed(5)
    alone = [turns(method, 0.9, part)["unet"]["mse"].item() for part in batch.parts(4)]
    assert together == pytest.approx(sum(alone) / 4, rel=1e-5)


def test_a_translation_encodes_and_decodes_once_and_takes_as_many_evaluations_as_it_says():
    method = build(replace(TINY, steps=7)).eval()
    calls = {"encoder": 0, "unet": 0, "decoder": 0}

    def count(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls[name] += 1

        return hook

    for name in calls:
        getattr(method, name).register_forward_hook(count(name))
    with torch.no_grad():
        method.translate(pairs().paired.source, torch.arange(4))
    assert calls == {"encoder": 1, "unet": 7, "decoder": 1}
    assert method.evaluations == 7


class Oracle(nn.Module):
    """A U-Net that knows the clean code, and so the noise; and is surer the further right."""

    def __init__(self, z_y: Tensor, abar: Tensor) -> None:
        super().__init__()
        self.z_y, self.abar = z_y, abar

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        abar = self.abar[t][:, None, None, None]
        eps = (z[:, 4:] - abar.sqrt() * self.z_y) / (1 - abar).sqrt()
        raw = -torch.arange(z.shape[3]).expand(len(z), 1, *z.shape[2:])
        return torch.cat([eps, raw.float()], dim=1)


class Velocity(nn.Module):
    """An oracle of the noise that says it by way of the velocity, under the input of the small U-Net."""

    def __init__(self, noise: Oracle) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        abar = self.noise.abar[t].view(-1, 1, 1, 1)
        z = torch.cat([z[:, :4], z[:, 4:] / abar.sqrt()], dim=1)  # it is given the best linear guess of the clean code
        out = self.noise(z, t)
        return torch.cat([abar.sqrt() * out[:, :4] - (1 - abar).sqrt() * self.noise.z_y, out[:, 4:]], dim=1)


@pytest.mark.parametrize("output", ["noise", "velocity"])
def test_with_a_perfect_predictor_the_translation_is_what_the_autoencoder_makes_of_the_target(output):
    method, batch = build(replace(TINY, output=output)).eval(), pairs().paired
    with torch.no_grad():
        z_y = method.encoder(batch.target)[0]
        method.unet = Oracle(z_y, method.abar) if output == "noise" else Velocity(Oracle(z_y, method.abar))
        method.abar = torch.cat([torch.ones(1), method.abar[1:]])  # so that the walk ends without noise
        torch.testing.assert_close(
            method.translate(batch.source, batch.seeds), method.reconstruct(batch.target, batch.seeds), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("output", ["noise", "velocity"])
def test_a_perfect_predictor_has_no_loss_whichever_of_the_two_it_says(output):
    method, batch = build(replace(TINY, output=output, loss="mse")), pairs()
    with torch.no_grad():
        oracle = Oracle(method.encoder(batch.paired.target)[0], method.abar)
    method.unet = oracle if output == "noise" else Velocity(oracle)
    assert turns(method, 0.3, batch)["unet"]["mse"].item() == pytest.approx(0.0, abs=1e-5)


def test_a_squared_error_of_the_velocity_is_one_of_the_noise_over_what_is_left_of_the_image():
    """So steps at which hardly anything is left, which decide what is where, count as much as the others."""
    z, eps, said = torch.randn(3, 5, 4, 2, 2, dtype=torch.float64)
    abar = torch.tensor([0.005, 0.1, 0.5, 0.9, 0.99], dtype=torch.float64)
    of_velocity = (ddpm.noised(eps, -z, abar) - said).square()
    of_noise = (eps - ddpm.noise_of_velocity(ddpm.noised(z, eps, abar), said, abar)).square()
    torch.testing.assert_close(of_velocity, of_noise / abar[:, None, None, None])


@pytest.mark.parametrize("preset", ["bench", "tiny"])
def test_a_schedule_from_nothing_starts_in_noise_alone_and_no_step_of_it_divides_by_zero(preset):
    config = CDiffSET.presets[preset]
    abar = build(replace(TINY, beta_last=config.beta_last)).abar
    assert abar[ddim.leading_steps(config.T, config.steps)[0]] < 2e-4
    assert abar.min() > torch.finfo(abar.dtype).tiny


def test_a_confidence_map_has_the_size_of_the_image_and_spans_0_to_1():
    method, batch = build().eval(), pairs().paired
    with torch.no_grad():
        flat = method.confidence_maps(batch.source, batch.seeds)
        assert not flat.any()  # an untrained network is equally sure everywhere; nothing is divided by 0
        method.unet = Oracle(torch.zeros(4, 4, 4, 4), method.abar)
        maps = method.confidence_maps(batch.source, batch.seeds)
    assert maps.shape == (4, 1, 16, 16)
    assert maps.min() == 0.0
    assert maps.max() == 1.0
    columns = maps.mean((0, 1, 2))
    assert (columns.diff() > -1e-6).all()


def test_a_step_and_a_translation_under_autocast_are_finite_float32():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        for progress in (0.0, 0.7):
            for losses in turns(method, progress).values():
                assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        with torch.no_grad():
            out = method.eval().translate(pairs().paired.source, torch.arange(4))
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize(("channels_in", "channels_out"), [(2, 3), (4, 3), (1, 1), (3, 4)])
def test_channels_that_the_autoencoder_cannot_take_are_refused_with_the_adapter_that_helps(channels_in, channels_out):
    with pytest.raises(ContractError, match="channels=hh-mean-vv"):
        CDiffSET(TINY, channels_in, channels_out)


def test_one_polarisation_is_seen_three_times():
    method, source = build().eval(), pairs().paired.source
    with torch.no_grad():
        seeds = torch.arange(4)
        torch.testing.assert_close(method.reconstruct(source, seeds), method.reconstruct(source.expand(-1, 3, -1, -1), seeds))


def test_sides_that_the_networks_cannot_halve_are_refused():
    assert build().size_multiple == 8
    with torch.device("meta"):
        assert build(CDiffSET.presets["bench"]).size_multiple == 32
    with pytest.raises(ContractError, match="multiples of 8"):
        build().refuse_bad_source(torch.zeros(1, 1, 12, 16))


def test_a_schedule_that_restarts_warms_up_and_falls_in_each_of_its_spans():
    schedule = Restarted("cosine", warmup=0.1, bounds=(0.0, 0.5, 1.0))
    assert [schedule(p) for p in (0.0, 0.025, 0.05, 0.275)] == pytest.approx([0.0, 0.5, 1.0, 0.5])
    assert schedule(0.499) == pytest.approx(0.0, abs=1e-4)
    assert [schedule(p) for p in (0.5, 0.55, 0.775, 1.0)] == pytest.approx([0.0, 1.0, 0.5, 0.0])


# --- Stable Diffusion ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a tiny Stable Diffusion with weights of its own, as diffusers and transformers write it."""
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    home = tmp_path_factory.mktemp("assets")
    folder = home / "stable-diffusion-2-1-base"
    torch.manual_seed(9)
    diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1, attention_head_dim=(2, 4),
        cross_attention_dim=32, use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    diffusers.AutoencoderKL(
        block_out_channels=(32, 32, 32), layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    ).save_pretrained(folder / "vae")  # fmt: skip
    diffusers.DDIMScheduler(prediction_type="epsilon").save_pretrained(folder / "scheduler")
    words = ["electro</w>", "-</w>", "optical</w>", "image</w>", "<|startoftext|>", "<|endoftext|>"]
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz-" for end in ("", "</w>")]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(letters + words))}
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=vocabulary["<|startoftext|>"], eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    return home


@pytest.fixture
def find(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(assets.VARIABLE, str(home))
    return assets.find


def loaded(find: Any, **changes: Any) -> CDiffSET:
    method = build(replace(STABLE, **changes), seed=1)
    method.load_pretrained(find)
    return method


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_paper_preset_is_the_published_network():
    pytest.importorskip("diffusers")
    with torch.device("meta"):
        method = build(CDiffSET.presets["paper"])
    assert parameters(method.unet) == 865_925_125
    assert len(list(method.unet.parameters())) == 686
    assert parameters(method.encoder) + parameters(method.decoder) == 83_653_863
    assert method.size_multiple == method.card.size_multiple == 64
    assert method.evaluations == method.card.evaluations == 50
    assert {id(p) for p in method.players()["unet"].parameters()} == {id(p) for p in method.parameters() if p.requires_grad}


def test_the_pretrained_unet_still_says_the_noise_of_what_it_is_given(find):
    """Nothing that the small U-Net needs reaches Stable Diffusion: schedule, input, output and loss are the paper's."""
    method, batch = loaded(find, loss="mse"), pairs()
    seen: list[Tensor] = []
    method.unet.register_forward_hook(lambda _, given, out: seen.extend([given[0], given[1], out]))
    loss = turns(method, 0.0, batch)["unet"]["mse"]
    (z, t, out), eps = seen, normal(batch.paired.seeds, (4, 4, 4), "eps")
    z_y = method.encoder(batch.paired.target)[0]
    abar = ddpm.alpha_bar(ddpm.scaled_linear(0.00085, 0.012, 1000)).float()[t]
    torch.testing.assert_close(z[:, 4:], ddpm.noised(z_y, eps, abar))
    torch.testing.assert_close(loss, (out[:, :4] - eps).square().mean())
    schedule = loaded(find).players()["unet"].optimizer.schedule
    assert schedule == Restarted("cosine", warmup=0.002, bounds=(0.0, 0.5, 1.0))


def test_weights_come_from_a_folder_of_diffusers(find):
    import diffusers

    folder = find("stable-diffusion-2-1-base")
    method = loaded(find).eval()
    vae = diffusers.AutoencoderKL.from_pretrained(str(folder / "vae")).eval()
    original = diffusers.UNet2DConditionModel.from_pretrained(str(folder / "unet")).eval()
    image, z, t = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 4, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        mean, log_var = method.encoder(image)
        posterior = vae.encode(image).latent_dist
        torch.testing.assert_close(mean, 0.18215 * posterior.mean)
        torch.testing.assert_close(log_var.exp(), posterior.var * 0.18215**2)
        torch.testing.assert_close(method.decoder(mean), vae.decode(posterior.mean).sample, atol=1e-4, rtol=1e-4)
        out = method.unet(torch.cat([z, z], dim=1), t)
        assert method.unet.context.shape[1:] == (len("electro-optical image".replace(" ", "")) + 2, 32)
        expected = original(z, t, encoder_hidden_states=method.unet.context.expand(2, -1, -1)).sample
    torch.testing.assert_close(out[:, :4], expected, atol=1e-5, rtol=1e-4)
    assert not out[:, 4].any()


def test_the_first_convolution_is_halved_over_both_codes_and_the_confidence_starts_at_zero():
    state = {
        "conv_in.weight": torch.ones(2, 4, 3, 3),
        "conv_out.weight": torch.ones(4, 2, 3, 3),
        "conv_out.bias": torch.ones(4),
    }
    wide = latent_diffusion.widened({**state, "other": torch.ones(1)})
    assert wide["conv_in.weight"].shape == (2, 8, 3, 3)
    assert (wide["conv_in.weight"] == 0.5).all()
    assert wide["conv_out.weight"].shape == (5, 2, 3, 3)
    assert wide["conv_out.bias"].tolist() == [1, 1, 1, 1, 0]
    assert not wide["conv_out.weight"][4].any()
    assert wide["other"] is not None


def test_without_pretraining_the_unet_stays_as_drawn_and_the_rest_is_loaded(find):
    drawn, method = build(STABLE, seed=1), loaded(find, pretrained=False)
    assert all(torch.equal(a, b) for a, b in zip(drawn.unet.parameters(), method.unet.parameters(), strict=True))
    assert torch.equal(method.unet.context, loaded(find).unet.context)
    for a, b in zip(loaded(find).encoder.parameters(), method.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_prompt_an_empty_prompt_and_no_text_are_three_things(find):
    contexts = [loaded(find, prompt=prompt).unet.context for prompt in ("electro-optical image", "", None)]
    assert [context.shape[1] for context in contexts] == [22, 2, 1]
    assert not contexts[2].any()


def test_a_trained_state_holds_the_prompt_so_that_translating_needs_no_asset(find):
    method, fresh = loaded(find).eval(), build(STABLE, seed=2).eval()
    fresh.load_state_dict(method.state_dict())
    source, seeds = pairs().paired.source, torch.arange(4)
    with torch.no_grad():
        assert torch.equal(fresh.translate(source, seeds), method.translate(source, seeds))


def test_the_frozen_autoencoder_has_no_turn_and_the_whole_unet_learns(find):
    method = loaded(find)
    assert set(method.players()) == {"unet"}
    (losses,) = turns(method, 0.9).values()
    learned = method.players()["unet"].parameters()
    gradients = torch.autograd.grad(losses["c_diff"], learned)
    assert all(g.any() for g in gradients[-2:])  # the last convolution
    assert sum(bool(g.any()) for g in gradients) > 0.9 * len(gradients)


class Echo(nn.Module):
    """Stands for any U-Net."""

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return torch.cat([torch.sin(z[:, 4:] + z[:, :4] + t[:, None, None, None]), z[:, :1]], dim=1)


class Halves(nn.Module):
    """Stands for any encoder: 4 channels at a quarter of the size."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        code = torch.nn.functional.avg_pool2d(image, 4)
        return torch.cat([code, code[:, :1]], dim=1), torch.zeros(len(code), 4, *code.shape[2:])


class Doubles(nn.Module):
    """Stands for any decoder."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(z[:, :3], scale_factor=4.0)


def test_both_backbones_share_the_loss_and_the_sampler():
    """With the same networks in place of their own, and one schedule, they give the same numbers."""
    pytest.importorskip("diffusers")
    results = []
    small = replace(TINY, output="noise", beta_last=STABLE.beta_last)
    for method in (build(small), build(STABLE)):
        method.encoder, method.unet, method.decoder = Halves(), Echo(), Doubles()
        source, seeds = pairs().paired.source, torch.arange(4)
        losses = [turns(method, progress)["unet"].popitem() for progress in (0.3, 0.9)]
        results.append((losses, method.translate(source, seeds), method.confidence_maps(source, seeds)))
    (small_losses, small_image, small_map), (stable_losses, stable_image, stable_map) = results
    assert small_losses == stable_losses
    assert torch.equal(small_image, stable_image)
    assert torch.equal(small_map, stable_map)


def test_a_missing_model_names_its_folder_and_where_to_get_it(monkeypatch, tmp_path):
    pytest.importorskip("diffusers")
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path))
    with pytest.raises(assets.AssetMissing, match="stable-diffusion-2-1-base missing: copy https"):
        build(STABLE).load_pretrained(assets.find)


def test_the_small_backbone_asks_for_no_asset():
    def find(name: str) -> Path:
        raise AssertionError(name)

    build().load_pretrained(find)


def test_the_harness_hands_over_the_weights_once_before_training(home, tmp_path, monkeypatch):
    monkeypatch.setenv(assets.VARIABLE, str(home))
    monkeypatch.setitem(CDiffSET.presets, "tiny", replace(STABLE, batch_size=2, learning_rate=0.0))
    rng = np.random.default_rng(0)
    for split, n in (("train", 2), ("test", 1)):
        for domain, shape in (("sar", (64, 64)), ("opt", (64, 64, 3))):
            (tmp_path / "data" / split / domain).mkdir(parents=True)
            for i in range(n):
                cv2.imwrite(str(tmp_path / "data" / split / domain / f"{i}.png"), rng.integers(0, 255, shape, dtype=np.uint8))

    def bench() -> Bench:
        made = track("pairs", "tiny", budget=4, data=tmp_path / "data")
        return Bench(made, Hardware(), tmp_path / "runs", tmp_path / "boards", quiet=True)

    method, _ = bench().trained("cdiffset", 0)
    unchanged = loaded(assets.find, batch_size=2).state_dict()
    assert all(torch.equal(value, unchanged[name]) for name, value in method.state_dict().items())
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path))  # a trained run needs the asset no more
    again, _ = bench().trained("cdiffset", 0)
    assert all(torch.equal(value, unchanged[name]) for name, value in again.state_dict().items())


def damage_scheduler(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": "v_prediction"}))


def damage_vae(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not tensors")


def remove_unet(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_scheduler, "predicts v_prediction"),
        (damage_vae, "vae can't be read"),
        (remove_unet, "unet can't be read"),
    ],
)
def test_a_damaged_or_other_model_is_refused_by_name(home, tmp_path, monkeypatch, damage, message):
    shutil.copytree(home, tmp_path / "copy")
    damage(tmp_path / "copy" / "stable-diffusion-2-1-base")
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path / "copy"))
    with pytest.raises(ContractError, match=message):
        loaded(assets.find)


def test_a_model_of_other_widths_is_refused(find):
    with pytest.raises(ContractError, match="another model than the config describes"):
        loaded(find, unet_widths=(32, 32))


def test_without_the_extra_the_paper_preset_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ContractError, match=r"needs diffusers .*pip install 'sarbench\[diffusion\]'"):
        build(STABLE)
    assert build(TINY).pretrained == ()
