"""The one training loop: turn by turn, resumable bit by bit, the same on one device or many.

A method's `training_step` yields the losses of the player whose turn it is; here they become gradients of that player's
parameters alone, and a step of its optimiser. Randomness is keyed by step, so a checkpoint needs no generator states.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sarbench.bench import ranks
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Batch, Learner, Optimizer, key
from sarbench.bench.loader import Steps, step_batches
from sarbench.bench.matcher import MatchBatch
from sarbench.bench.progress import Progress
from sarbench.bench.storage import naming, write_bytes

NO_TURN = "{title}: training_step gives no turns; let it yield a player and its losses"
AnyLearner = TypeVar("AnyLearner", bound=Learner)
LOG_ROWS = 500  # rows of log.jsonl that a whole run writes, about


@dataclass(frozen=True)
class Hardware:
    """Where and how the arithmetic runs."""

    device: str = "cpu"
    precision: str = "float32"  # "bfloat16": the code of a turn and of `translate` runs under autocast
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = True
    workers: int = 0  # processes that prepare batches
    accumulate: int = 1  # parts that a batch is cut into, to save memory; the step is the same

    @staticmethod
    def choose(device: str | None = None, **changes: Any) -> Hardware:
        """The defaults for a device: on a GPU bfloat16, channels last and worker processes; plain float32 on a CPU.

        Raises ContractError for a device that this machine has not, and for a negative number of workers.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
            raise ContractError(f"--device {device}: choose from cpu, cuda, cuda:N")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ContractError(f"--device {device}: this machine has no CUDA device that torch can use; say --device cpu")
        if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
            raise ContractError(f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
        if changes.get("workers", 0) < 0:
            raise ContractError(f"--workers {changes['workers']}: give 0 or more")
        gpu = {"precision": "bfloat16", "channels_last": True, "workers": min(8, os.cpu_count() or 1)}
        return Hardware(device, **{**(gpu if device.startswith("cuda") else {}), **changes})

    @property
    def memory_format(self) -> torch.memory_format:
        """Of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """The precision of a method's code; losses are summed in float32 outside it."""
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self.precision == "bfloat16")

    def prepare(self, method: AnyLearner) -> AnyLearner:
        """Move a method to the device, in the memory format, compiled if asked."""
        torch.use_deterministic_algorithms(self.deterministic, warn_only=True)
        # Else every new tensor is first filled with NaN, a tenth of a small step on a CPU; nothing here reads unset memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = not self.deterministic
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        method = method.to(self.device)
        if self.channels_last:
            method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile:
            for network in method.children():
                network.compile()
        return method


@dataclass(frozen=True)
class Report:
    """What training cost."""

    steps: int
    images: int
    seconds: float | None  # None for a run that was resumed
    seconds_per_step: float | None  # median; None: no step was left to do
    losses: Mapping[str, float]  # of the last step


class Game:
    """The players of a method, each with its optimiser and, where it asks for one, its moving average."""

    def __init__(self, method: Learner, hardware: Hardware) -> None:
        self.method, self.hardware = method, hardware
        self.players = method.players()
        self.parameters = {name: player.parameters() for name, player in self.players.items()}
        for name, parameters in self.parameters.items():
            if not parameters:
                raise ContractError(f"{method.card.title}: the player {name!r} has no trainable parameters")
        self.optimizers = {
            name: _optimizer(player.optimizer, self.parameters[name], hardware) for name, player in self.players.items()
        }
        self.averages = {
            name: [p.detach().clone() for p in self.parameters[name]] for name, player in self.players.items() if player.ema
        }

    def step(self, batch: Batch | MatchBatch, step: int, progress: float, seed: int) -> dict[str, Tensor]:
        """One training step: every turn of `training_step`; returns the losses as "player.term", detached."""
        torch.manual_seed(key(seed, "step", step, ranks.rank()))
        parts: Sequence[Batch | MatchBatch] = [batch]
        if self.hardware.accumulate > 1:
            parts = batch.parts(self.hardware.accumulate)
        games = [self.method.training_step(part, progress) for part in parts]
        if not isinstance(games[0], Iterator):
            raise ContractError(NO_TURN.format(title=self.method.card.title))
        seen: dict[str, Tensor] = {}
        while True:
            turns = [self._turn(game, len(games)) for game in games]
            if turns[0] is None:
                break
            self._move(turns[0][0], progress, step)
            for name, losses in (turn for turn in turns if turn is not None):
                for term, value in losses.items():
                    label = f"{name}.{term}"
                    seen[label] = seen.get(label, 0) + value.detach().float() / len(games)
        if not seen:
            raise ContractError(NO_TURN.format(title=self.method.card.title))
        return seen

    def _turn(self, game: Iterator[tuple[str, dict[str, Tensor]]], share: int) -> tuple[str, dict[str, Tensor]] | None:
        """Run a method's code up to its next yield, and add the gradients of its losses."""
        with self.hardware.autocast():
            turn = next(game, None)
        if turn is None:
            return None
        name, losses = self._checked(turn)
        total = sum(loss.float() for loss in losses.values()) / share
        try:
            total.backward(inputs=self.parameters[name])  # type: ignore[union-attr]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ContractError(
                f"{self.method.card.title}: the losses of the player {name!r} ({', '.join(losses)}) have no gradient: {error}"
            ) from error
        return name, losses

    def _checked(self, turn: Any) -> tuple[str, dict[str, Tensor]]:
        """What a method yielded, held to the contract: a player's name and its losses, one number each."""
        title = self.method.card.title
        if not (isinstance(turn, tuple) and len(turn) == 2 and isinstance(turn[1], Mapping)):
            raise ContractError(f"{title}: training_step yielded {type(turn).__name__}; yield a player and its losses by name")
        name, losses = turn
        if name not in self.players:
            raise ContractError(f"{title}: training_step yielded the player {name!r}; players() has {', '.join(self.players)}")
        if not losses:
            raise ContractError(f"{title}: training_step yielded no losses for the player {name!r}")
        for term, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.ndim:
                what = f"has the shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"is {type(loss).__name__}"
                raise ContractError(f"{title}: the loss {name}.{term} {what}; give a tensor of one number, such as a mean")
        return name, dict(losses)

    def _move(self, name: str, progress: float, step: int) -> None:
        """All-reduce the player's gradients once, clip, step, and average."""
        player, parameters, optimizer = self.players[name], self.parameters[name], self.optimizers[name]
        ranks.average_gradients(parameters)
        if player.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, player.optimizer.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = player.optimizer.lr * player.optimizer.schedule(progress)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if player.ema and step % player.ema.every == 0:
            decay = player.ema.decay if progress >= player.ema.start else 0.0
            torch._foreach_lerp_(self.averages[name], [p.detach() for p in parameters], 1.0 - decay)

    def weights(self) -> dict[str, Tensor]:
        """The state that `translate` runs on: the method's, with averages in place of the parameters that have one."""
        state = {name: value.detach().clone() for name, value in self.method.state_dict().items()}
        averaged = {
            id(p): average
            for name, averages in self.averages.items()
            for p, average in zip(self.parameters[name], averages, strict=True)
        }
        for name, p in self.method.named_parameters(remove_duplicate=False):
            if id(p) in averaged:
                state[name] = averaged[id(p)].clone()
        return state

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as flat named tensors."""
        tensors = {f"model/{name}": value for name, value in self.method.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{index}/{kind}": torch.as_tensor(value) for kind, value in values.items()}
        for name, averages in self.averages.items():
            tensors |= {f"ema/{name}/{index}": value for index, value in enumerate(averages)}
        for rank, local in enumerate(ranks.gather({name: value.cpu() for name, value in _rank_local(self.method).items()})):
            if rank:
                tensors |= {f"rank{rank}/{name}": value for name, value in local.items()}
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the state that `state` gave."""
        model = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
        own = f"rank{ranks.rank()}/"
        model |= {name.removeprefix(own): value for name, value in tensors.items() if name.startswith(own)}
        self.method.load_state_dict(model)
        for name, optimizer in self.optimizers.items():
            states: dict[int, dict[str, Tensor]] = {}
            for label, value in tensors.items():
                if label.startswith(f"optimizer/{name}/"):
                    _, _, number, kind = label.split("/")
                    states.setdefault(int(number), {})[kind] = value
            optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, averages in self.averages.items():
            for index, average in enumerate(averages):
                average.copy_(tensors[f"ema/{name}/{index}"])


def train(
    method: Learner,
    steps: Steps,
    folder: Path,
    *,
    budget_images: int,
    seed: int,
    run_key: str,
    hardware: Hardware,
    checkpoint_every: int | None = None,
    keep_every: int = 0,
    picture: Callable[[int], None] | None = None,
    pictures: int = 4,
    quiet: bool = False,
) -> Report:
    """Train until the budget is used, from the newest checkpoint in `folder` if it is of the same `run_key`.

    budget_images     images seen by the translator; the last step may go over it by less than a batch
    run_key           a hash of everything that the result depends on; a checkpoint of another key is not taken up
    checkpoint_every  steps between checkpoints; None: ten in a run
    keep_every        every so many checkpoints one is kept for good; 0: only the newest
    picture           called with the step, `pictures` times in a run, with the method in eval mode
    Raises ContractError for a loss that is NaN or infinite, naming the term and the step.
    """
    total = math.ceil(budget_images / steps.batch_size)
    checkpoint_every = checkpoint_every or max(1, total // 10)
    log_every, picture_every = max(1, total // LOG_ROWS), max(1, total // max(1, pictures))
    first_rank = ranks.rank() == 0
    game = Game(method, hardware)

    start = _resume(game, folder, run_key)
    log = Log(folder, start) if first_rank else None
    durations: list[float] = []
    pending: list[tuple[int, dict[str, Tensor]]] = []
    losses: dict[str, float] = {}
    began = time.perf_counter()

    method.train()
    with Progress(f"train {method.card.title}", total, start, "steps", quiet or not first_rank) as progress:
        before = time.perf_counter()
        for step, batch in enumerate(step_batches(steps, start, total, hardware.workers), start):
            on_device = batch.to(hardware.device, hardware.memory_format)
            pending.append((step, game.step(on_device, step, step / total, seed)))
            done = step + 1

            # A GPU is waited for only where a number is needed: at a log row, a checkpoint, a picture and the end.
            checkpoint = done % checkpoint_every == 0 or done == total
            if hardware.device == "cpu" or done % log_every == 0 or checkpoint or done % picture_every == 0:
                losses = _finite_losses(method, pending)
                pending.clear()
            after = time.perf_counter()
            durations.append(after - before)
            before = after
            progress.advance(1, losses)

            if log and (done % log_every == 0 or done == total):
                log.write(done, done * steps.batch_size, losses, statistics.median(durations[-50:]))
            if first_rank and picture and done % picture_every == 0:
                method.eval()
                picture(done)
                method.train()
            if checkpoint:
                _save_checkpoint(game, folder, done, run_key, checkpoint_every * keep_every)
    if log:
        log.close()
        write_weights(folder / "weights.safetensors", game.weights(), run_key)
    ranks.barrier()
    method.load_state_dict(game.weights())
    method.eval()
    return Report(
        total,
        total * steps.batch_size,
        time.perf_counter() - began if start == 0 else None,
        statistics.median(durations[1:] or durations) if durations else None,
        losses,
    )


def _finite_losses(method: Learner, pending: Sequence[tuple[int, Mapping[str, Tensor]]]) -> dict[str, float]:
    """The losses of the last pending step as numbers; ContractError for the first that is not finite."""
    values: dict[str, float] = {}
    for step, losses in pending:
        values = dict(zip(losses, torch.stack([*losses.values()]).tolist(), strict=True))
        bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise ContractError(
                f"{method.card.title}: {', '.join(bad)} at step {step}; training stopped, "
                "the newest checkpoint is from before it. Lower the learning rate or clip gradients, and run again"
            )
    return values


def _optimizer(spec: Optimizer, parameters: list[nn.Parameter], hardware: Hardware) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.kind]
    fused = hardware.device.startswith("cuda")
    return kind(parameters, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=fused)


# --- Files of a training run -----------------------------------------------------------------------------------------


class Log:
    """log.jsonl and TensorBoard events; rows past the step that a run resumes from are dropped."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.jsonl"
        rows = self.path.read_text(errors="replace").splitlines() if self.path.exists() else []
        kept = [row for row in rows if _step_of(row) <= start]
        write_bytes(self.path, "".join(f"{row}\n" for row in kept).encode())
        with naming(self.path):
            self.file = self.path.open("a", buffering=1)
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def write(self, step: int, images: int, losses: Mapping[str, float], seconds_per_step: float) -> None:
        """One row."""
        row = {"step": step, "images": images, "losses": dict(losses), "seconds_per_step": round(seconds_per_step, 6)}
        with naming(self.path):
            self.file.write(json.dumps(row) + "\n")
            for name, value in losses.items():
                self.board.add_scalar(f"loss/{name}", value, step)

    def close(self) -> None:
        """Flush and close both."""
        with naming(self.path):
            self.file.close()
            self.board.close()


def _step_of(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):  # the last row of a killed run may be cut
        return math.inf


def write_weights(path: Path, state: Mapping[str, Tensor], run_key: str) -> None:
    """Write a method's state as safetensors, atomically; the run key stands in the file's header."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    write_bytes(path, safetensors.torch.save(tensors, {"run_key": run_key}))


def read_weights(path: Path, run_key: str | None = None) -> dict[str, Tensor] | None:
    """The tensors of a safetensors file; None where it is missing or of another run key."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            if run_key is not None and (file.metadata() or {}).get("run_key") != run_key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ContractError(f"{path} can't be read ({error}); delete it and run again") from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step_*.safetensors"))


def _resume(game: Game, folder: Path, run_key: str) -> int:
    """Load the newest checkpoint of this run key; the number of steps done."""
    for path in reversed(_checkpoints(folder)):
        tensors = read_weights(path, f"{run_key} on {ranks.count()} ranks")
        if tensors is not None:
            game.load_state(tensors)
            return int(path.stem.removeprefix("step_"))
    return 0


def _save_checkpoint(game: Game, folder: Path, step: int, run_key: str, keep: int) -> None:
    tensors = game.state()
    if ranks.rank() == 0:
        older = _checkpoints(folder)
        write_bytes(
            folder / "checkpoints" / f"step_{step:09d}.safetensors",
            safetensors.torch.save(tensors, {"run_key": f"{run_key} on {ranks.count()} ranks"}),
        )
        for path in older:
            number = int(path.stem.removeprefix("step_"))
            if number != step and not (keep and number % keep == 0):
                path.unlink()
    ranks.barrier()


def _rank_local(method: Learner) -> dict[str, Tensor]:
    """The state of modules that every rank keeps for itself, such as image pools (`rank_local = True`)."""
    return {
        f"{prefix}.{name}": value
        for prefix, module in method.named_modules()
        if getattr(module, "rank_local", False)
        for name, value in module.state_dict().items()
    }
