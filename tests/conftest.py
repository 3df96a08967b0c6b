"""A realistic record as a run of a small protocol would leave it, and fakes of the official dataset layouts."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from sarbench.bench.records import (
    Budget,
    Cost,
    Git,
    Record,
    RecordedCard,
    RecordedDataset,
    Score,
    config_hash,
    protocol_hash,
)
from sarbench.bench.scores import count_shifts
from sarbench.bench.summary import summarise

N_TEST = 4
IDS = [f"scene_{i // 2}/tile_{i}" for i in range(N_TEST)]
METRICS: dict[str, dict[str, Any]] = {
    "psnr": {"signature": "psnr;range255;rgb;v1", "unit": "dB", "higher_is_better": True, "decimals": 2},
    "ssim": {"signature": "ssim;gauss11s1.5;v1", "unit": "", "higher_is_better": True, "decimals": 4},
    "lpips": {"signature": "lpips;alex;v1", "unit": "", "higher_is_better": False, "decimals": 4},
}
AUDITS: dict[str, dict[str, Any]] = {
    "psnr_shift": {**METRICS["psnr"], "signature": "psnr_shift;v1", "ranked": False},
    "ssim_shift": {**METRICS["ssim"], "signature": "ssim_shift;v1", "ranked": False},
    "copy_ratio": {**METRICS["ssim"], "signature": "copy_ratio;v1", "ranked": False},
}
VALUES = {"psnr": 20.0, "ssim": 0.5, "lpips": 0.4, "psnr_shift": 21.0, "ssim_shift": 0.52, "copy_ratio": 1.5}
TERMS = {
    "name": "synthetic",
    "task": "sar to optical",
    "dataset": "synthetic",
    "metrics": tuple(METRICS),
    "main_metric": "ssim",
    "judges": (),
    "augment": (),
    "share": 0.1,
    "preset": "tiny",
    "size": {"budget_images": 8000, "train_crop_px": 64, "n_test": None, "options": (("size_px", "128"),)},
    "options": {"size_px": "128"},
}


class Run(NamedTuple):
    record: Record
    rows: pd.DataFrame


def _run(
    method: str = "pix2pix",
    role: str = "method",
    seed: int = 0,
    values: Mapping[str, Any] = {},
    *,
    terms: Mapping[str, Any] = {},
    card: Mapping[str, Any] = {},
    cost: Mapping[str, Any] = {},
    config: Mapping[str, Any] = {"learning_rate": 2e-4, "betas": (0.5, 0.999)},
    audited: bool = False,
    moves: Sequence[tuple[int, int]] | None = None,
    metrics: Mapping[str, Any] = METRICS,
    **changes: Any,
) -> Run:
    """A run whose metrics have the row values given: a number for all images, one an image, or a str: not measured, why.

    `audited`: with the metrics that do not rank; `moves`: (dy, dx) at which each image fits best; `metrics`: others.
    """
    metrics = {**metrics, **(AUDITS if audited else {})}
    full_terms = {**TERMS, "metrics": tuple(metrics), **terms}
    rows = pd.DataFrame({"id": IDS, "scene": [name.partition("/")[0] for name in IDS]})
    scores = {}
    for metric, facts in metrics.items():
        given = values[metric] if metric in values else VALUES[metric]
        if isinstance(given, str):
            scores[metric] = Score(value=None, std=None, n=0, undefined=0, infinite=0, reason=given, **facts)
        else:
            rows[metric] = np.broadcast_to(np.asarray(given, np.float64), N_TEST)
            found = summarise(rows[metric].to_numpy())
            scores[metric] = Score(**found._asdict(), reason="a flat image" if found.undefined else "", **facts)
    if moves is not None:
        rows[["shift_y", "shift_x"]] = moves
        changes["shifts"] = count_shifts([list(move) for move in moves])
    dataset = RecordedDataset(
        name="synthetic",
        title="A procedural landscape",
        content_hash="a" * 64,
        n_train=384,
        n_test=N_TEST,
        split_hash="b" * 64,
        split="verified",
        scenes_train=24,
        scenes_test=2,
        options=full_terms["options"],
    )
    usual = {
        "title": method,
        "paper": "https://arxiv.org/abs/1611.07004",
        "year": 2017,
        "supervision": "paired",
        "channels": "any",
    }
    usual_cost = {
        "parameters": 54_400_000,
        "train_seconds": 60.5,
        "seconds_per_step": 0.0123,
        "seconds_per_image": 0.5,
        "peak_memory_bytes": 3 * 2**29,
        "flops_per_image": 12_100_000_000,
        "device": "cpu",
        "threads": 2,
    }
    signatures = {metric: score.signature for metric, score in scores.items()}
    fields = {
        "method": method,
        "role": role,
        "seed": seed,
        "slug": "synthetic.tiny",
        "terms": full_terms,
        "protocol_hash": protocol_hash(full_terms, dataset.content_hash, signatures),
        "card": RecordedCard(**{**usual, **card}),
        "config": dict(config),
        "config_hash": config_hash(config),
        "preset": full_terms["preset"],
        "dataset": dataset,
        "budget": Budget(images=8000, steps=500, batch_size=16),
        "scores": scores,
        "cost": Cost(**{**usual_cost, **cost}),
        "code_hash": "c" * 64,
        "versions": {"python": "3.11.9", "torch": "2.8.0", "numpy": "2.1.0"},
        "git": Git(commit="0" * 40, dirty=False),
        "created": "2025-03-01T12:00:00Z",
    }
    return Run(Record(**{**fields, **changes}), rows)


@pytest.fixture
def make_run():
    """The factory of `Run(record, rows)`."""
    return _run


def dataset_maker(name: str) -> ModuleType:
    """The module tests/data/make_NAME.py: `make(root)` writes a tiny fake of the official layout, VARIANTS are options."""
    path = Path(__file__).parent / "data" / f"make_{name}.py"
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a dataset's fake, made once a session and not to be changed: `shutil.copytree` it first."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            dataset_maker(name).make(made[name])
        return made[name]

    return folder
