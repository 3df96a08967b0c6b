"""Every adapter is held to the contract: stages, gradients, seeds, and that no target label reaches it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sarbench.bench import registry
from sarbench.bench.adapter import DEEPLAB, Adapter
from sarbench.bench.board_adaptation import ADAPTERS
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Pairs
from sarbench.bench.judges.proda import ProDA
from sarbench.bench.judges.sepico import SePiCo
from sarbench.bench.train import Game, Hardware

CLASSES = ("a", "b", "c")
SMALL: dict[str, Any] = {"width": 4, "crop_px": 32, "batch_size": 2, "output_stride": 8}
WHOLE: dict[str, dict[str, Any]] = {
    "bdl": {"translators": 1, "labels_alone": 0.3, "translating": 0.4},  # tiny has no F
    "proda": {"warm_up": 0.4, "distillation": 0.75},
}
PROGRESS = (0.0, 0.35, 0.45, 0.6, 0.8, 0.95)  # every stage of every adapter
NAMES = sorted(ADAPTERS)


def adapter(name: str, seed: int = 0, **changes: Any) -> Adapter:
    cls = registry.load_judge(name)
    assert issubclass(cls, Adapter)
    torch.manual_seed(seed)
    return cls(replace(cls.presets["tiny"], **SMALL, **WHOLE.get(name, {}) | changes), 3, CLASSES)


def batch(step: int = 0) -> Batch:
    """Blocks of three classes, each with its colour, and darker targets."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, 3, (2, 1, 2, 2), generator=generator).repeat_interleave(16, 2).repeat_interleave(16, 3)
    noise = 0.1 * torch.randn(2, 3, 32, 32, generator=generator)
    source = torch.nn.functional.one_hot(labels[:, 0], 3).movedim(3, 1).float() + noise
    target = source.roll(1, 0) * 0.5 - 0.3
    ids = ("x", "y")
    pairs = Pairs(source.clamp(-1, 1), target.clamp(-1, 1), torch.tensor([1, 2]) + 2 * step, ids, ids, {"labels": labels})
    return Batch(pairs, pairs)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_adapter_stands_on_the_board_and_every_one_of_the_board_exists() -> None:
    adapting = [n for n in registry.names("judges") if registry.load_judge(n).sees == "domains"]
    assert adapting == NAMES


def test_every_setting_has_a_source_and_can_not_be_changed(name: str) -> None:
    config = registry.load_judge(name).presets["paper"]
    assert all(field.metadata.get("source") for field in fields(config))
    with pytest.raises(FrozenInstanceError):
        config.width = 1  # type: ignore[misc]


@pytest.mark.parametrize("preset", ["paper", "bench", "tiny"])
def test_every_preset_builds_and_says_which_weights_it_starts_from(name: str, preset: str) -> None:
    cls = registry.load_judge(name)
    with torch.device("meta"):
        made = cls(cls.presets[preset], 3, CLASSES)
    assert made.pretrained == (("resnet101",) if preset == "paper" else ())
    assert set(made.pretrained) <= set(cls.card.pretrained)


def test_every_loss_reaches_its_player_alone_and_every_parameter_learns(name: str) -> None:
    judge = adapter(name).train()
    game, moved = Game(judge, Hardware()), set()
    players = {player: {id(p) for p in parameters} for player, parameters in game.parameters.items()}
    assert sum(map(len, players.values())) == len(set().union(*players.values()))
    for i, progress in enumerate(PROGRESS):
        for player, losses in judge.training_step(batch(i), progress):
            before = {n: p.detach().clone() for n, p in judge.named_parameters()}
            total = sum(loss for loss in losses.values())
            assert torch.isfinite(total)  # type: ignore[arg-type]
            total.backward(inputs=game.parameters[player])  # type: ignore[union-attr]
            moved |= {id(p) for p in game.parameters[player] if p.grad is not None and p.grad.abs().sum() > 0}
            game._move(player, progress, i)
            changed = {id(p) for n, p in judge.named_parameters() if not torch.equal(before[n], p)}
            assert changed <= players[player]
    lazy = [n for n, p in judge.named_parameters() if p.requires_grad and id(p) not in moved]
    assert not lazy


def trained(judge: Adapter, steps: int = 6) -> Adapter:
    game = Game(judge.train(), Hardware())
    for step in range(steps):
        game.step(batch(step), step, PROGRESS[step], seed=3)
    return judge.eval()


def test_the_same_seed_gives_the_same_bytes_and_a_resumed_training_too(name: str) -> None:
    first = trained(adapter(name)).state_dict()
    interrupted = adapter(name).train()
    game = Game(interrupted, Hardware())
    for step in range(3):
        game.step(batch(step), step, PROGRESS[step], seed=3)
    resumed = Game(adapter(name, seed=9).train(), Hardware())
    resumed.load_state(game.state())
    for step in range(3, 6):
        resumed.step(batch(step), step, PROGRESS[step], seed=3)
    assert all(torch.equal(value, resumed.method.state_dict()[n]) for n, value in first.items())


def test_predictions_are_classes_and_do_not_depend_on_the_batch(name: str) -> None:
    judge = trained(adapter(name))
    images = batch(7).unpaired.target
    with torch.inference_mode():
        together = judge.predict(images, images)
        assert together.shape == (2, 32, 32)
        assert 0 <= together.min() <= together.max() < len(CLASSES)
        assert torch.equal(together[1:], judge.predict(images[1:], images[1:]))


def test_targets_change_what_an_adapter_learns_and_not_what_the_plain_one_does(name: str) -> None:
    def of(darker: float) -> Tensor:
        judge = adapter(name).train()
        game, given = Game(judge, Hardware()), batch().unpaired
        pairs = replace(given, target=given.target * darker)
        for step, progress in enumerate(PROGRESS):
            game.step(Batch(pairs, pairs), step, progress, seed=0)
        return torch.cat([p.flatten() for p in judge.network.parameters()])

    assert torch.equal(of(1.0), of(0.5)) == (name == "adaptation")


# --- Stages ---


def test_prodas_student_answers_once_it_was_taught() -> None:
    judge = adapter("proda", fresh_student=True)
    assert isinstance(judge, ProDA)
    images = batch().unpaired.target
    with torch.inference_mode():
        assert torch.equal(judge.eval().predict(images, images), judge.network(images).argmax(1))
    trained(judge)
    assert judge.student is not None
    with torch.inference_mode():
        assert torch.equal(judge.predict(images, images), judge.student(images).argmax(1))


def test_prodas_first_labels_are_those_of_the_end_of_warm_up() -> None:
    judge = adapter("proda")
    assert isinstance(judge, ProDA)
    game = Game(judge.train(), Hardware())
    game.step(batch(0), 0, 0.35, 0)
    assert judge.prototypes.known.any()  # gathered over the end of warm-up
    weights = judge.network.head.branches[0].weight.clone()
    game.step(batch(1), 1, 0.5, 0)
    game.step(batch(2), 2, 0.6, 0)
    assert torch.equal(judge.labeller.network.head.branches[0].weight, weights)
    assert not torch.equal(judge.encoder.network.head.branches[0].weight, weights)


@pytest.mark.parametrize("contrast", ["distribution", "bank", "centroid"])
def test_sepico_contrasts_in_three_ways(contrast: str) -> None:
    judge = adapter("sepico", contrast=contrast, warm_up=0.0).train()
    game = Game(judge, Hardware())
    assert "network.contrast" not in game.step(batch(), 0, 0.0, 0)
    assert game.step(batch(), 1, 0.5, 0)["network.contrast"] > 0


def test_sepico_learns_from_labels_alone_in_its_warm_up() -> None:
    judge = adapter("sepico", warm_up=0.5).train()
    ((_, losses),) = judge.training_step(batch(), 0.4)
    assert set(losses) == {"segmentation"}
    ((_, losses),) = judge.training_step(batch(), 0.6)
    assert set(losses) == {"segmentation", "self_training", "contrast", "diversity"}


def test_sepicos_teacher_follows_slowly_and_weighs_by_what_it_is_sure_of() -> None:
    judge = adapter(
        "sepico", warm_up=0.0, teacher_decay=0.9, threshold=1.0, jitter=0.0, lambda_contrast=0.0, lambda_diversity=0.0
    )
    assert isinstance(judge, SePiCo)
    game = Game(judge.train(), Hardware())
    game.step(batch(), 0, 0.0, 0)
    taught = judge.teacher.network[0].head.branches[0].weight.clone()
    student = judge.network.head.branches[0].weight.clone()
    game.step(batch(), 1, 0.1, 0)
    found = judge.teacher.network[0].head.branches[0].weight
    assert torch.allclose(found, taught.lerp(student, 0.5), atol=1e-6)  # 1 - 1 / (n + 1), until that is the decay


def test_a_class_of_no_pixels_is_never_looked_for() -> None:
    judge = adapter("sepico", rare_pixels=1)
    found = judge.probabilities(np.array([[10, 0, 0], [5, 5, 0]]))
    assert found is not None
    assert found.sum() == pytest.approx(1.0)


def test_weights_that_are_absent_are_never_replaced() -> None:
    judge = adapter("bdl", start="imagenet")

    def absent(name: str) -> Any:
        raise ContractError(f"{name} missing")

    with pytest.raises(ContractError, match="resnet101 missing"):
        judge.load_pretrained(absent)


def test_a_file_that_is_not_caffes_deeplab_is_refused(tmp_path: Any) -> None:
    (tmp_path / DEEPLAB).write_bytes(b"not it")
    with pytest.raises(ContractError, match="is another file or damaged"):
        adapter("bdl", start="deeplab").load_pretrained(lambda name: tmp_path)


def test_published_weights_reach_every_network_of_an_adapter(tmp_path: Any) -> None:
    judge = adapter("proda", start="imagenet")
    weights = {name: torch.full_like(value, 0.25) for name, value in judge.network.trunk.state_dict().items()}
    torch.save(weights, tmp_path / "resnet101.pth")
    judge.load_pretrained(lambda name: tmp_path / f"{name}.pth")
    assert isinstance(judge, ProDA)
    assert judge.student is not None
    for network in (judge.network, judge.labeller.network, judge.encoder.network, judge.student):
        assert (network.trunk.conv1.weight == 0.25).all()
