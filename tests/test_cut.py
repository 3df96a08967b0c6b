from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Pairs
from sarbench.bench.settings import config_of
from sarbench.methods.cut import CUT
from sarbench.methods.losses.patch_nce import patch_nce

TINY = replace(CUT.presets["tiny"], width=4, blocks=2, discriminator_width=4, projector_width=16, patches=8)
FAST = CUT.ablations["1"]["FastCUT"]


def images(n: int, seed: int = 0) -> Tensor:
    noise = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(3 * F.avg_pool2d(noise, 7, stride=1, padding=3))


@pytest.fixture
def batch() -> Batch:
    ids = tuple("abcd")
    return Batch(None, Pairs(images(4), 0.5 * images(4, 1).flip(1) + 0.2, torch.arange(4), ids, ids))


def build(**changes: object) -> CUT:
    torch.manual_seed(0)
    return CUT(replace(TINY, **changes), 3, 3)  # type: ignore[arg-type]


def of_g(turns: Iterator[tuple[str, dict[str, Tensor]]]) -> dict[str, Tensor]:
    return dict(turns)["G"]


def test_fastcut_is_a_row_of_settings():
    config = config_of("cut", "paper", FAST)
    assert (config.lambda_nce, config.identity, config.flip_equivariance) == (10.0, False, True)
    assert config.decay_from == 150 / (150 + 50)
    assert CUT.presets["paper"].decay_from == 200 / (200 + 200)


def test_fastcut_contrasts_no_target_images(batch):
    assert set(of_g(build(identity=False, flip_equivariance=True).training_step(batch, 0.0))) == {"gan", "nce"}


def test_without_target_images_the_contrast_of_the_source_counts_whole(batch):
    half, whole = (of_g(build(identity=identity).training_step(batch, 0.0)) for identity in (True, False))
    torch.testing.assert_close(whole["nce"], 2 * half["nce"])
    torch.testing.assert_close(whole["gan"], half["gan"])


def test_about_half_of_the_rows_are_mirrored_each_by_its_own_seed(monkeypatch):
    method, seen = build(identity=False, flip_equivariance=True), []
    method.G.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = images(1).expand(40, -1, -1, -1)
    ids = tuple(map(str, range(40)))
    next(method.training_step(Batch(None, Pairs(x, x, torch.arange(40), ids, ids)), 0.0))
    mirrored = [torch.equal(row, x[0].flip(2)) for row in seen[0]]
    assert all(now or torch.equal(row, x[0]) for now, row in zip(mirrored, seen[0], strict=True))
    assert 10 < sum(mirrored) < 30


def test_the_loss_is_the_mean_of_patch_nce_over_layers_and_both_domains(batch):
    method = build()
    x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
    found = of_g(method.training_step(batch, 0.0))
    both = torch.cat([x, y])
    of_x, of_y = method.patches(both, method.G(both), seeds)
    for name, patches in (("nce", of_x), ("nce_same", of_y)):
        each = [patch_nce(w, z) for w, z in zip(patches.w, patches.z, strict=True)]
        torch.testing.assert_close(found[name], 0.5 * sum(each) / 5)


def test_the_patches_of_the_output_find_theirs_among_those_of_the_input_after_some_steps(batch):
    method = build(patches=32).train()
    players = method.players()
    optimizers = {name: torch.optim.Adam(player.parameters(), 2e-3, (0.5, 0.999)) for name, player in players.items()}
    history = []
    for _ in range(30):
        for player, found in method.training_step(batch, 0.0):
            optimizers[player].zero_grad()
            sum(found.values()).backward(inputs=players[player].parameters())
            optimizers[player].step()
        history.append(found["nce"].item())
    assert history[-1] < 0.8 * history[0]
