"""The training loop: turns, resuming, schedules, averages, accumulation and ranks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sarbench.bench.dataset import Dataset, DatasetCard, Sample
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import (
    Batch,
    Card,
    Ema,
    Method,
    Optimizer,
    Pairs,
    Player,
    Schedule,
    Turn,
    adam,
    key,
    normal,
    setting,
)
from sarbench.bench.loader import Steps
from sarbench.bench.material import Identity, Images, Material
from sarbench.bench.protocols import FLIP
from sarbench.bench.train import Game, Hardware, read_weights, train

CPU = Hardware()


@dataclass(frozen=True)
class Config:
    batch_size: int = setting(4, "this test")


class Toy(Method):
    """Two players: G translates, D judges; each loss is a plain distance, so that gradients are known."""

    card = Card(title="toy", paper="this test", year=2026, supervision="paired", channels="any", role="floor")
    presets = {"tiny": Config()}
    optimizer: Optimizer = adam(1e-2)
    ema: Ema | None = None
    poison_at: int | None = None

    def __init__(self, config: Config = Config(), source_channels: int = 1, target_channels: int = 3) -> None:
        super().__init__(config, source_channels, target_channels)
        self.G = nn.Conv2d(source_channels, target_channels, 3, padding=1)
        self.D = nn.Conv2d(target_channels, 1, 3, padding=1)
        self.steps_seen = 0

    def players(self) -> dict[str, Player]:
        return {"D": Player(self.D, self.optimizer), "G": Player(self.G, self.optimizer, self.ema)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        x, y = batch.paired.source, batch.paired.target
        fake = self.G(x + 0.01 * normal(batch.paired.seeds, x.shape[1:], "noise"))
        yield "D", {"judge": (self.D(y).mean(dim=(1, 2, 3)) - self.D(fake.detach()).mean(dim=(1, 2, 3))).square().mean()}
        self.steps_seen += 1
        worth = torch.tensor(float("nan")) if self.steps_seen - 1 == self.poison_at else 1.0
        yield "G", {"gan": self.D(fake).square().mean() * worth, "l1": (fake - y).abs().mean()}

    def translate(self, source: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return self.G(source).tanh()


class Squares(Dataset):
    """Ten small images made by code."""

    card = DatasetCard("squares", "none", "none", "none", "image", "none", "none")
    source_channels, target_channels = 1, 3

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i:02d}" for i in range(10))

    def read(self, sample_id: str, parts: Collection[str] = ()) -> Sample:
        source = normal([key(sample_id)], (1, 20, 16), "squares")[0].clamp(-1, 1)
        return Sample(source.numpy(), (torch.cat([source, -source, source.square() - 1]).clamp(-1, 1)).numpy())


def material() -> Material:
    dataset = Squares()
    ids = dataset.ids("train"), dataset.ids("test")
    return Material(Images(dataset), *ids, *ids, Identity("0" * 64, "0" * 64, "unverified", (), None, None))


def built(**attributes: Any) -> Toy:
    torch.manual_seed(0)
    method = Toy()
    for name, value in attributes.items():
        setattr(method, name, value)
    return method


def steps_of(method: Method, **changes: Any) -> Steps:
    options: dict[str, Any] = {"batch_size": 4, "crop_px": 16, "augment": FLIP, "n_paired": None, "seed": 0}
    return Steps(material(), method, **{**options, **changes})


def trained(folder: Path, images: int = 40, hardware: Hardware = CPU, method: Toy | None = None, **options: Any) -> Toy:
    method = method or built()
    train(
        method,
        steps_of(method),
        folder,
        budget_images=images,
        seed=0,
        run_key="test",
        hardware=hardware,
        quiet=True,
        **options,
    )
    return method


def same(first: Method, second: Method) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_turn_moves_its_player_alone() -> None:
    method = built()
    game = Game(method, CPU)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    turns = method.training_step(steps_of(method)[0], 0.0)
    game._turn(turns, 1)
    game._move("D", 0.0, 0)
    moved = {name.split(".")[0] for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"D"}
    assert all(p.grad is None for p in method.G.parameters())


def test_the_generators_gan_loss_leaves_no_gradient_in_the_discriminator() -> None:
    method = built()
    game = Game(method, CPU)
    game.step(steps_of(method)[0], 0, 0.0, 0)
    assert all(p.grad is None for p in method.parameters())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()
    assert same(first, second)
    other = built()
    train(other, steps_of(other, seed=1), tmp_path / "c", budget_images=40, seed=1, run_key="test", hardware=CPU, quiet=True)
    assert not same(first, other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("dies_at", [1, 4, 7, 9])
def test_a_run_that_dies_at_a_step_and_resumes_ends_bit_equal(tmp_path: Path, dies_at: int) -> None:
    whole = trained(tmp_path / "whole", checkpoint_every=3, method=built(ema=Ema(0.9)))

    def die(step: int) -> None:
        if step == dies_at:
            raise Killed

    with pytest.raises(Killed):
        trained(tmp_path / "cut", checkpoint_every=3, method=built(ema=Ema(0.9)), picture=die, pictures=10)
    resumed = trained(tmp_path / "cut", checkpoint_every=3, method=built(ema=Ema(0.9)))
    assert same(whole, resumed)
    rows = [json.loads(row) for row in (tmp_path / "cut/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))


def test_a_checkpoint_of_another_run_key_is_not_taken_up(tmp_path: Path) -> None:
    trained(tmp_path, images=40)
    method = built()
    train(method, steps_of(method), tmp_path, budget_images=80, seed=0, run_key="other", hardware=CPU, quiet=True)
    assert same(method, trained(tmp_path / "fresh", images=80))


def test_only_the_newest_checkpoint_and_every_kth_are_kept(tmp_path: Path) -> None:
    trained(tmp_path, checkpoint_every=2, keep_every=2)
    assert [path.stem for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step_000000004",
        "step_000000008",
        "step_000000010",
    ]


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"G\.gan = nan at step 5"):
        trained(tmp_path, method=built(poison_at=5), checkpoint_every=2)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert newest.stem == "step_000000004"
    assert all(torch.isfinite(value).all() for value in (read_weights(newest) or {}).values())


def test_accumulating_over_parts_equals_the_whole_batch(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    parts = trained(tmp_path / "parts", hardware=replace(CPU, accumulate=2))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=1e-6, rtol=0)


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    assert same(trained(tmp_path / "0"), trained(tmp_path / "2", hardware=replace(CPU, workers=2)))


def test_a_gradient_is_clipped_to_the_norm_that_the_player_asks_for() -> None:
    method = built(optimizer=adam(1e-2, clip_norm=1e-3))
    game = Game(method, CPU)
    norms: list[float] = []
    stepped = game.optimizers["G"].step
    game.optimizers["G"].step = lambda: (  # type: ignore[method-assign,assignment]
        norms.append(float(torch.cat([p.grad.flatten() for p in method.G.parameters()]).norm())),
        stepped(),
    )
    game.step(steps_of(method)[0], 0, 0.0, 0)
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_the_moving_average_is_the_recurrence_and_is_what_translates(tmp_path: Path) -> None:
    method = built(ema=Ema(0.5))
    game = Game(method, CPU)
    average = method.G.weight.detach().clone()
    for step in range(3):
        game.step(steps_of(method)[step], step, step / 3, 0)
        average = 0.5 * average + 0.5 * method.G.weight.detach()
    torch.testing.assert_close(game.weights()["G.weight"], average)
    torch.testing.assert_close(game.weights()["D.weight"], method.D.weight.detach())


def test_schedules_at_their_corners() -> None:
    linear, cosine = Schedule("linear", hold=0.5), Schedule("cosine", warmup=0.1)
    assert [linear(p) for p in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.0]
    assert cosine(0.05) == pytest.approx(0.5)
    assert cosine(0.1) == pytest.approx(1.0)
    assert cosine(0.55) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0)
    assert Schedule()(0.7) == 1.0
    steps = Schedule("steps", every=0.1, drop=0.5)
    assert [steps(p) for p in (0.0, 0.0999, 0.1, 0.3, 0.95)] == [1.0, 1.0, 0.5, 0.125, 2**-9]
    assert [Schedule("inverse", rate=8.0)(p) for p in (0.0, 0.125, 1.0)] == [1.0, 0.5, pytest.approx(1 / 9)]


def test_bfloat16_autocast_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    method = trained(tmp_path, hardware=replace(CPU, precision="bfloat16", channels_last=True))
    assert method.G.weight.dtype == torch.float32
    plain = trained(tmp_path / "plain")
    assert not same(method, plain)
    torch.testing.assert_close(method.G.weight, plain.G.weight, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("turn", "message"),
    [(("X", {"loss": torch.zeros(())}), "yielded the player 'X'; players\\(\\) has D, G"), (("G", {}), "no losses")],
)
def test_a_turn_that_breaks_the_contract_is_named(turn: Turn, message: str) -> None:
    method = built()
    method.training_step = lambda batch, progress: iter([turn])  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=message):
        Game(method, CPU).step(steps_of(method)[0], 0, 0.0, 0)


def test_a_missing_gpu_is_one_clear_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ContractError, match="say --device cpu"):
        Hardware.choose("cuda")


def test_a_broken_checkpoint_names_its_file(tmp_path: Path) -> None:
    trained(tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(ContractError, match=f"{newest.name}.*delete it and run again"):
        trained(tmp_path)


def pair_rows(batch: Batch) -> Pairs:
    return batch.paired


def test_two_ranks_see_together_what_one_rank_sees() -> None:
    method = built()
    whole = pair_rows(steps_of(method)[3])
    halves = [pair_rows(steps_of(method, rank=rank, ranks=2)[3]) for rank in range(2)]
    assert torch.equal(torch.cat([half.source for half in halves]), whole.source)
    assert torch.equal(torch.cat([half.seeds for half in halves]), whole.seeds)


def test_new_memory_is_not_filled_and_filling_it_changes_no_bit(tmp_path):
    plain = trained(tmp_path / "plain", method=CPU.prepare(built()))
    assert not torch.utils.deterministic.fill_uninitialized_memory
    filling = CPU.prepare(built())
    try:
        torch.utils.deterministic.fill_uninitialized_memory = True
        filled = trained(tmp_path / "filled", method=filling).state_dict()
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = False
    assert all(torch.equal(value, filled[name]) for name, value in plain.state_dict().items())
