from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from skimage.exposure import match_histograms
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.interface import Method, Pairs

FLOORS = ("identity", "mean_color", "histogram_matching", "nearest_neighbor")


def floor(name: str, source: Tensor | None = None, target: Tensor | None = None, channels: tuple[int, int] = (1, 3)) -> Method:
    """A floor, fitted if training images are given, two pairs at a time."""
    cls = registry.load_method(name)
    if source is None or target is None:
        return cls(cls.presets["tiny"], *channels).eval()
    method = cls(cls.presets["tiny"], source.shape[1], target.shape[1]).eval()
    method.fit(in_parts(source, target, 2))
    return method


def in_parts(source: Tensor, target: Tensor, rows: int) -> Iterator[Pairs]:
    ids = tuple(str(i) for i in range(len(source)))
    whole = Pairs(source, target, torch.arange(len(source)), ids, ids)
    return (whole.rows(i, min(i + rows, len(source))) for i in range(0, len(source), rows))


def translate(method: Method, source: Tensor) -> Tensor:
    return method.translate(source, torch.zeros(len(source), dtype=torch.int64))


def eight_bit(*shape: int, seed: int = 0) -> Tensor:
    levels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))
    return levels.float() / 127.5 - 1.0


@pytest.fixture
def train() -> tuple[Tensor, Tensor]:
    return eight_bit(5, 1, 32, 32, seed=1), eight_bit(5, 3, 32, 32, seed=2)


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_gives_for_a_sample_the_same_image_in_any_batch(name, train):
    method = floor(name, *train)
    source = eight_bit(4, 1, 32, 48, seed=3)
    together = translate(method, source)
    assert together.shape == (4, 3, 32, 48)
    assert together.dtype == torch.float32
    assert together.abs().max() <= 1.0
    for row in range(4):
        assert torch.equal(together[row : row + 1], translate(method, source[row : row + 1]))


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_does_not_change_its_source_or_hand_it_out(name, train):
    method = floor(name, *train, channels=(1, 3)) if name != "identity" else floor(name, channels=(3, 3))
    source = eight_bit(2, method.source_channels, 32, 32)
    before = source.clone()
    translate(method, source).fill_(0.0)
    assert torch.equal(source, before)


@pytest.mark.parametrize("name", FLOORS)
def test_what_a_floor_has_seen_does_not_depend_on_how_it_was_cut(name, train):
    source = eight_bit(2, 1, 32, 32, seed=3)
    cls = registry.load_method(name)
    outputs = []
    for rows in (1, 5):
        method = cls(cls.presets["tiny"], 1, 3)
        method.fit(in_parts(*train, rows))
        outputs.append(translate(method, source))
    torch.testing.assert_close(*outputs, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_survives_a_state_dict_round_trip(name, train):
    method, other = floor(name, *train), floor(name)
    other.load_state_dict(method.state_dict())
    source = eight_bit(2, 1, 32, 32, seed=3)
    assert torch.equal(translate(method, source), translate(other, source))


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_has_nothing_to_train(name):
    method = floor(name)
    assert method.card.role == "floor"
    assert method.card.supervision == ("paired" if name == "nearest_neighbor" else "none")  # which it looks up
    assert not method.players()
    assert not list(method.parameters())


def test_identity_keeps_repeats_or_averages_bands():
    source = eight_bit(2, 3, 4, 4)
    assert torch.equal(translate(floor("identity", channels=(3, 3)), source), source)
    assert torch.equal(translate(floor("identity", channels=(1, 3)), source[:, :1]), source[:, :1].expand(2, 3, 4, 4))
    torch.testing.assert_close(translate(floor("identity", channels=(3, 1)), source), source.mean(1, keepdim=True))
    torch.testing.assert_close(
        translate(floor("identity", channels=(2, 3)), source[:, :2]), source[:, :2].mean(1, keepdim=True).expand(2, 3, 4, 4)
    )


def test_mean_colour_is_the_constant_of_least_squared_error(train):
    source, target = train
    color = translate(floor("mean_color", source, target), source[:1])[0, :, 0, 0]
    torch.testing.assert_close(color, target.mean(dim=(0, 2, 3)))

    def error(constant: Tensor) -> float:
        return ((target - constant[:, None, None]) ** 2).mean().item()

    assert all(error(color + change * torch.eye(3)[band]) > error(color) for band in range(3) for change in (-0.01, 0.01))


def test_mean_colour_of_two_flat_images_lies_between_them():
    target = torch.stack([torch.full((3, 8, 8), -0.5), torch.full((3, 8, 8), 1.0)])
    out = translate(floor("mean_color", torch.zeros(2, 1, 8, 8), target), torch.zeros(1, 1, 4, 6))
    assert torch.equal(out, torch.full((1, 3, 4, 6), 0.25))


def test_histogram_matching_undoes_any_increasing_change():
    target = eight_bit(1, 1, 32, 32)
    source = target**3 / 2
    out = translate(floor("histogram_matching", source, target), source)
    torch.testing.assert_close(out, target, atol=1e-6, rtol=0)


def test_histogram_matching_sees_the_order_of_brightness_alone(train):
    method = floor("histogram_matching", *train)
    source = eight_bit(2, 1, 32, 32, seed=3)
    assert torch.equal(translate(method, source), translate(method, torch.tanh(2 * source) - 0.1))


def test_histogram_matching_gives_distinct_pixels_the_histogram_of_all_training_targets(train):
    method = floor("histogram_matching", *train)
    source = torch.randperm(32 * 32).view(1, 1, 32, 32) / 1024.0
    out = translate(method, source)
    for band in range(3):
        ours = out[0, band].flatten().sort().values
        pooled = train[1][:, band].flatten().sort().values.view(-1, 5)  # five training pixels for each pixel
        torch.testing.assert_close(ours, pooled[:, 2], atol=1e-6, rtol=0)


def test_histogram_matching_agrees_with_skimage_within_its_interpolation():
    source, target = eight_bit(1, 1, 64, 64, seed=5), eight_bit(1, 1, 64, 64, seed=6) * 0.5
    target = ((target + 1) * 127.5).round() / 127.5 - 1
    ours = ((translate(floor("histogram_matching", source, target), source) + 1) * 127.5).numpy()
    levels = ((source + 1) * 127.5).round().byte().numpy()
    theirs = match_histograms(levels[0, 0], ((target + 1) * 127.5).round().byte().numpy()[0, 0])
    assert np.abs(ours[0, 0] - theirs).mean() < 1.0


def test_histogram_matching_gives_a_flat_source_the_median_colour():
    target = torch.tensor([0.0, 51.0, 255.0]).view(1, 1, 1, 3) / 127.5 - 1.0
    out = translate(floor("histogram_matching", torch.zeros(1, 1, 1, 3), target), torch.zeros(1, 1, 2, 2))
    torch.testing.assert_close(out, torch.full((1, 1, 2, 2), 51 / 127.5 - 1))


def test_the_nearest_neighbour_of_a_training_source_is_its_own_target(train):
    source, target = train
    method = floor("nearest_neighbor", source, target)
    noisy = source + 0.01 * torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(translate(method, noisy), target, atol=1e-6, rtol=0)


def test_the_nearest_neighbour_is_the_first_of_equals():
    source = torch.zeros(3, 1, 32, 32)
    target = torch.stack([torch.full((3, 32, 32), value) for value in (-1.0, 1.0, 1.0)])
    assert torch.equal(translate(floor("nearest_neighbor", source, target), source), target[:1].expand(3, 3, 32, 32))


def test_the_nearest_neighbour_remembers_targets_in_8_bits(train):
    method = floor("nearest_neighbor", *train)
    assert method.targets.dtype == torch.uint8
    assert method.targets.nbytes == train[1].numel()


def test_the_nearest_neighbour_resizes_to_the_grid_of_its_source():
    source = eight_bit(2, 1, 32, 32)
    target = torch.stack([torch.full((3, 32, 32), -1.0), torch.full((3, 32, 32), 1.0)])
    larger = torch.nn.functional.interpolate(source, scale_factor=2)
    out = translate(floor("nearest_neighbor", source, target), larger)
    assert torch.equal(out, torch.nn.functional.interpolate(target, scale_factor=2))
