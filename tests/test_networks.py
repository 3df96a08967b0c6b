from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sarbench.methods.networks import initialization, normalization
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.normalization import BatchNorm2d
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from sarbench.methods.networks.resnet_generator import ResNetGenerator
from sarbench.methods.networks.unet import UNet, keyed_dropout


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: UNet(3, 3), 54_413_955),
        (lambda: ResNetGenerator(3, 3), 11_378_179),
        (lambda: ResNetGenerator(3, 3, blocks=6), 7_837_699),
        (lambda: PatchDiscriminator(3), 2_764_737),
        (lambda: PatchDiscriminator(6, norm="batch"), 2_768_705),
        (lambda: PixelDiscriminator(3), 8_705),
    ],
)
def test_a_network_has_the_published_number_of_parameters_and_builds_without_memory(build, count):
    with torch.device("meta"):
        network = initialization.normal(build())
    assert parameters(network) == count
    assert all(p.is_meta for p in network.parameters())


@pytest.mark.parametrize("build", [lambda: UNet(2, 3, width=4, halvings=3), lambda: ResNetGenerator(2, 3, width=4, blocks=1)])
def test_a_generator_keeps_the_grid_and_returns_float32_in_range_under_autocast(build):
    network = build()
    with torch.autocast("cpu", torch.bfloat16):
        out = network(torch.randn(2, 2, 24, 40))
    assert out.shape == (2, 3, 24, 40)
    assert out.dtype == torch.float32
    assert out.abs().max() <= 1.0


@pytest.mark.parametrize(("layers", "field"), [(3, 70), (2, 34), (1, 16)])
def test_a_logit_of_the_patch_discriminator_sees_exactly_its_patch(layers, field):
    network = PatchDiscriminator(1, width=2, layers=layers, norm="none")
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    logits = network(x)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    seen = x.grad[0, 0].nonzero()
    assert (seen.max(dim=0).values - seen.min(dim=0).values + 1).tolist() == [field, field]


def test_the_pixel_discriminator_judges_a_pixel_by_that_pixel():
    network = PixelDiscriminator(1, width=4, norm="none")
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    network(x)[0, 0, 3, 5].backward()
    assert x.grad[0, 0].nonzero().tolist() == [[3, 5]]


def test_a_conditional_discriminator_judges_its_images_together():
    network = PatchDiscriminator(4, width=2, layers=1)
    x, y = torch.randn(2, 1, 32, 32), torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x, y), network(torch.cat([x, y], dim=1)))


def test_the_residual_generator_fits_each_row_alone():
    network = ResNetGenerator(3, 3, width=4, blocks=2)
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=0)


def test_initial_weights_have_the_given_spread_and_biases_are_zero():
    torch.manual_seed(0)
    network = initialization.normal(UNet(3, 3, width=32, halvings=4), 0.02)
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
    scales = torch.cat([m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
    assert weights.mean().abs() < 1e-4
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert scales.mean().item() == pytest.approx(1.0, abs=0.005)
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_dropout_of_a_row_depends_on_its_seed_alone():
    h, seeds = torch.randn(3, 4, 8, 8), torch.tensor([5, 6, 7])
    together = keyed_dropout(h, seeds, 0.5, "a")
    assert torch.equal(together[1:2], keyed_dropout(h[1:2], seeds[1:2], 0.5, "a"))
    assert not torch.equal(together, keyed_dropout(h, seeds + 1, 0.5, "a"))
    assert not torch.equal(together, keyed_dropout(h, seeds, 0.5, "b"))


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    out = keyed_dropout(torch.ones(1, 100, 32, 32), torch.tensor([1]), 0.3, "a")
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert out.mean().item() == pytest.approx(1.0, abs=0.01)


def test_the_unet_has_dropout_exactly_where_seeds_are_given():
    network = UNet(1, 1, width=4, halvings=4)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(network(x), network(x))
    assert torch.equal(network(x, torch.tensor([1, 2])), network(x, torch.tensor([1, 2])))
    assert not torch.equal(network(x), network(x, torch.tensor([1, 2])))


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_in_one_process_is_the_stock_layer(training):
    ours, stock = BatchNorm2d(3).train(training), nn.BatchNorm2d(3).train(training)
    ours.load_state_dict(stock.state_dict())
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(ours(x), stock(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), stock.state_dict().values(), strict=True))


def test_a_bias_before_instance_normalisation_changes_nothing():
    layer = normalization.layer("instance", 3)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(layer(x + 5.0), layer(x), atol=1e-5, rtol=0)
    assert normalization.needs_bias("instance")
    assert not normalization.needs_bias("batch")


def normalise(rank: int, ranks: int) -> dict[str, Tensor]:
    """Two steps of two stacked layers on this rank's rows; parameter gradients averaged over ranks, as the harness does."""
    torch.manual_seed(0)
    network = nn.Sequential(BatchNorm2d(3), nn.Conv2d(3, 4, 3), BatchNorm2d(4))
    data = torch.randn(2, 4, 3, 9, 9) * 3.0 + 50.0  # a mean far from zero: E[x^2] - E[x]^2 would lose the variance
    weight = torch.randn(4, 4, 7, 7)
    mine = slice(rank * 4 // ranks, (rank + 1) * 4 // ranks)
    for step in range(2):
        x = data[step, mine].clone().requires_grad_()
        out = network(x)
        network.zero_grad()
        (torch.sin(3 * out) * weight[mine]).mean().backward()
        for p in network.parameters():
            if ranks > 1:
                dist.all_reduce(p.grad)
            p.grad /= ranks
    gradients = {f"gradient of {name}": p.grad for name, p in network.named_parameters()}
    return {"out": out.detach(), "gradient of x": x.grad / ranks, **gradients, **network.state_dict()}


@pytest.mark.slow
def test_batch_normalisation_on_two_ranks_of_two_rows_is_that_of_one_rank_of_four(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)], env={**os.environ, "OMP_NUM_THREADS": "1"})
        for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    whole = normalise(0, 1)
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, expected in whole.items():
        by_rows = name in ("out", "gradient of x")
        found = [torch.cat([half[name] for half in halves])] if by_rows else [half[name] for half in halves]
        for value in found:
            torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5, msg=f"{name} differs")


def images(rows: int, step: int) -> Tensor:
    return torch.arange(rows).view(-1, 1, 1, 1) * 1000.0 + step + torch.zeros(rows, 2, 3, 3)


def seeds(rows: int, step: int) -> Tensor:
    return torch.arange(rows) + 100 * step


def test_a_pool_returns_what_it_is_given_until_it_is_full():
    pool = ImagePool(5, "pool")
    for step in range(5):
        assert torch.equal(pool(images(2, step), seeds(2, step)), images(2, step))
    assert pool.filled == 5
    assert pool.images[5:, 0, 0, 0].tolist() == [1000, 1001, 1002, 1003, 1004]


def test_a_full_pool_returns_the_past_half_of_the_time_and_then_keeps_the_present_in_its_place():
    pool = ImagePool(5, "pool")
    past = 0
    for step in range(400):
        before = pool.images.clone()
        out = pool(images(1, step), seeds(1, step)).flatten()[0]
        if step < 5:
            continue
        if out == step:
            assert torch.equal(pool.images, before)
        else:
            past += 1
            kept_before, kept = before[:, 0, 0, 0].tolist(), pool.images[:, 0, 0, 0].tolist()
            assert out in kept_before
            assert kept == [step if image == out else image for image in kept_before]
    assert 0.4 < past / 395 < 0.6


def test_a_pool_of_two_rows_acts_as_two_pools_of_one_row():
    both, first, second = ImagePool(3, "pool"), ImagePool(3, "pool"), ImagePool(3, "pool")
    for step in range(30):
        x, s = images(2, step), seeds(2, step)
        together = both(x, s)
        assert torch.equal(together, torch.cat([first(x[:1], s[:1]), second(x[1:], s[1:])]))


def test_a_pool_goes_on_from_its_state_dict_as_if_nothing_had_happened():
    pool = ImagePool(3, "pool")
    for step in range(10):
        pool(images(2, step), seeds(2, step))
    resumed = ImagePool(3, "pool")
    resumed.load_state_dict(pool.state_dict())
    resumed.to(memory_format=torch.channels_last)
    for step in range(10, 30):
        assert torch.equal(pool(images(2, step), seeds(2, step)), resumed(images(2, step), seeds(2, step)))


def test_a_pool_draws_from_the_seeds_and_not_from_the_global_generator():
    pool = ImagePool(2, "pool")
    state = torch.random.get_rng_state()
    for step in range(5):
        pool(images(2, step), seeds(2, step))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_pool_starts_anew_for_images_of_another_size():
    pool = ImagePool(2, "pool")
    for step in range(9):
        pool(images(1, step), seeds(1, step))
    larger = torch.full((1, 2, 5, 5), 7.0)
    assert torch.equal(pool(larger, seeds(1, 9)), larger)
    assert pool.filled == 1


def test_a_pool_gives_no_gradient_to_the_generator():
    fresh = images(1, 0).requires_grad_()
    assert not ImagePool(2, "pool")(fresh, seeds(1, 0)).requires_grad
    assert not ImagePool(0, "pool")(fresh, seeds(1, 0)).requires_grad


if __name__ == "__main__":  # one rank of the two-rank test
    this_rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=this_rank, world_size=2)
    torch.save(normalise(this_rank, 2), folder / f"{this_rank}.pt")
    dist.destroy_process_group()
