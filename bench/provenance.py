"""What a record says of the code that made it: its hash, the versions of packages, the commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sarbench.bench import registry
from sarbench.bench.storage import digest

HARNESS = Path(__file__).parent
TRANSLATING = ("interface", "material", "loader", "train", "translate")  # files of the harness that decide a translation


def code_hash(name: str, harness: Iterable[str] = TRANSLATING) -> str:
    """The hash of every source file that decides what a method's translations look like; `harness`: those of the harness."""
    own = [HARNESS / f"{part}.py" for part in harness]
    return digest(*(path.read_bytes() for path in registry.sources_of("methods", name) + own))


def versions() -> dict[str, str]:
    """The versions that a score may depend on."""
    packages = ("sarbench", "torch", "numpy", "opencv-python-headless", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that runs; None for an installed package."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(HARNESS), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ":/bench", ":/methods", ":/datasets")
    except FileNotFoundError:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": None if commit is None else bool(status)}
