"""Trains a judge once for each content, config and seed, and keeps it; what it says of test images is kept too.

A judge is an asset known by a hash of all that its weights depend on: what it was shown, config, seed, code, precision, torch.
It is trained by the suite's training loop, so that a killed training goes on from its checkpoint.
"""

from __future__ import annotations

import inspect
import io
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch.nn import functional as F

from sarbench.bench import assets, ranks, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import key
from sarbench.bench.judge import Judge, JudgeConfig
from sarbench.bench.judges._confusion import confusion
from sarbench.bench.judges._domains import Domains
from sarbench.bench.judges._shown import Shown
from sarbench.bench.loader import Steps
from sarbench.bench.material import Material
from sarbench.bench.storage import digest, value_digest, write_bytes
from sarbench.bench.train import Hardware, read_weights, train

BATCH_SIZE, BATCH_PIXELS = 8, 8 * 512 * 512  # of predictions: as many images of a size as both allow, the last batch filled up
CODE = Path(__file__).parent
HARNESS = ("adapter", "interface", "judge", "loader", "material", "train")  # files of bench/ that weights depend on, too


@dataclass(frozen=True)
class Bank:
    """The judges of one kind that a track needs: trained when first asked for, and kept below `folder`."""

    cls: type[Judge]
    config: JudgeConfig
    channels: int
    classes: tuple[str, ...]
    like: Material
    hardware: Hardware
    folder: Path
    quiet: bool = True

    @cached_property
    def code(self) -> str:
        """The hash of every source file that decides what a judge says, with the networks of methods that it is made of."""
        files = [Path(inspect.getfile(self.cls)), *CODE.glob("_*.py"), *(CODE / "networks").glob("*.py")]
        files += [CODE.parent / f"{name}.py" for name in HARNESS]
        return digest(*(file.read_bytes() for file in registry.with_imports(files)))

    @property
    def plain(self) -> Hardware:
        """Judges are trained and asked in float32: what they say should depend on the images alone."""
        # Channels last: on a CPU, too, their many small convolutions take a third less time.
        return replace(self.hardware, precision="float32", channels_last=True, compile=False, accumulate=1)

    def key_of(self, content: str, seed: int) -> str:
        """The hash that a judge is kept under."""
        hardware = [self.hardware.device.partition(":")[0], torch.__version__]
        config = [self.cls.__name__, asdict(self.config), self.channels, self.classes]
        return value_digest([config, content, seed, self.code, hardware])

    def build(self, seed: int) -> Judge:
        """A judge with the first weights of its seed."""
        torch.manual_seed(key(seed, "judge"))
        return self.plain.prepare(self.cls(self.config, self.channels, self.classes))  # type: ignore[return-value]

    def trained(self, shown: Shown | Domains, content: str, seed: int) -> Judge:
        """The judge of this content and seed, from disk where it was trained before; a `given` one is never trained."""
        run_key = self.key_of(content, seed)
        folder = self.folder / run_key[:32]
        judge = self.build(seed)
        weights = read_weights(folder / "weights.safetensors", run_key)
        if weights is not None:
            judge.load_state_dict(weights)
            return judge.eval()  # type: ignore[return-value]
        judge.load_pretrained(assets.find)
        if judge.given:
            return judge.eval()  # type: ignore[return-value]
        material = shown.material(self.like)
        budget = self.config.images(len(material.train))
        material = judge.drawn(material, budget, seed)
        steps = Steps(
            material,
            judge,
            batch_size=self.config.batch_size,
            crop_px=self._crop(shown),
            augment=judge.augment,
            n_paired=None,
            seed=key(seed, "judge"),
        )
        plain = self.plain
        train(judge, steps, folder, budget_images=budget, seed=seed, run_key=run_key, hardware=plain, quiet=self.quiet)
        for leftover in ("checkpoints", "tensorboard"):
            shutil.rmtree(folder / leftover, ignore_errors=True)
        return judge.eval()  # type: ignore[return-value]

    def _crop(self, shown: Shown | Domains) -> int | None:
        """The config's crop, or as much of it as the smallest image has."""
        if self.config.crop_px is None:
            return None
        smallest = min(min(shown.size(sample_id)) for sample_id in (*shown.ids("train"), *shown.target_ids("train")))
        return min(self.config.crop_px, smallest // self.cls.card.size_multiple * self.cls.card.size_multiple)

    def verdicts(
        self, trained_on: Shown | Domains, asked: Shown, seeds: Sequence[int]
    ) -> Int64[np.ndarray, "seeds n classes classes"]:
        """What the judges trained on one thing say of the test images of another: a confusion matrix a seed and sample.

        Ranks share the judges out, and each trains its own whole: what a judge says does not depend on how many there are.
        """
        content, of = trained_on.content("train"), asked.content("test")
        mine = seeds[ranks.rank() :: ranks.count()]
        with ranks.alone():
            own = {seed: self._verdict(trained_on, content, asked, of, seed) for seed in mine}
        found = {seed: matrices for part in ranks.gather(own) for seed, matrices in part.items()}
        return np.stack([found[seed] for seed in seeds])

    def _verdict(
        self, trained_on: Shown | Domains, content: str, asked: Shown, of: str, seed: int
    ) -> Int64[np.ndarray, "n _ _"]:
        path = self.folder / self.key_of(content, seed)[:32] / f"{of}.npy"
        matrices = _read(path, (len(asked.ids("test")), len(self.classes)))
        if matrices is None:
            matrices = judged(self.trained(trained_on, content, seed), asked, self.plain)
            stream = io.BytesIO()
            np.save(stream, matrices)
            write_bytes(path, stream.getvalue())
        return matrices


def _read(path: Path, sizes: tuple[int, int]) -> Int64[np.ndarray, "n classes classes"] | None:
    """Verdicts that were kept; None where there are none. ContractError naming a file that is damaged."""
    if not path.exists():
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ContractError(f"{path} can't be read ({error}); delete it and run again") from error
    if found.shape != (sizes[0], sizes[1], sizes[1]) or found.dtype != np.int64:
        raise ContractError(f"{path} holds other verdicts than were kept there; delete it and run again")
    return found


def judged(judge: Judge, shown: Shown, hardware: Hardware) -> Int64[np.ndarray, "n classes classes"]:
    """One confusion matrix a test image, in the order of the ids."""
    ids, matrices = shown.ids("test"), []
    for start in range(0, len(ids), BATCH_SIZE):
        samples = [shown.read(sample_id, ("source", "target", judge.answer)) for sample_id in ids[start : start + BATCH_SIZE]]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, sample in enumerate(samples):
            groups.setdefault(sample.source.shape, []).append(i)
        maps: dict[int, np.ndarray] = {}
        for (_, *size), rows in groups.items():
            at_once = batch_size(*size)
            for cut in (rows[i : i + at_once] for i in range(0, len(rows), at_once)):
                first, second = np.stack([samples[i].source for i in cut]), np.stack([samples[i].target for i in cut])
                maps |= dict(zip(cut, predict_padded(judge, first, second, hardware), strict=True))
        matrices += [confusion(s.aux[judge.answer][0], maps[i], len(judge.classes)) for i, s in enumerate(samples)]
    return np.stack(matrices)


def batch_size(height: int, width: int) -> int:
    """How many images of a size are asked at once; it depends on nothing else, so that no answer depends on its company."""
    return max(1, min(BATCH_SIZE, BATCH_PIXELS // (height * width)))


def predict_padded(judge: Judge, first: np.ndarray, second: np.ndarray, hardware: Hardware) -> Int64[np.ndarray, "B H W"]:
    """`predict` for any side: reflected up to the judge's multiple, and cut back; the batch is filled up."""
    height, width = first.shape[2:]
    multiple = judge.size_multiple
    pads = (0, -width % multiple, 0, -height % multiple)
    given = []
    for side in (first, second):
        images = torch.from_numpy(np.ascontiguousarray(side))
        filled = torch.cat([images, images[:1].expand(batch_size(height, width) - len(images), -1, -1, -1)])
        given.append(F.pad(filled, pads, mode="reflect" if max(pads) < min(height, width) else "replicate"))
    with torch.inference_mode():
        found = judge.predict(*(x.to(hardware.device, memory_format=hardware.memory_format) for x in given))
    return found[: len(first), :height, :width].cpu().numpy()
