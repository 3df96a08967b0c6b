"""Progress for people: a bar with the remaining time in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

PLAIN_LINES = 10  # lines that a whole job prints where there is no terminal


class Progress:
    """Counts the units of one job on stderr; use as a context manager."""

    def __init__(self, what: str, total: int, start: int = 0, unit: str = "it", quiet: bool = False) -> None:
        self.what, self.total, self.done, self.unit, self.quiet = what, total, start, unit, quiet
        self.first, self.began = start, time.perf_counter()
        terminal = sys.stderr.isatty() and not quiet
        self.bar = tqdm(total=total, initial=start, desc=what, unit=unit, file=sys.stderr) if terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, n: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Count n units; `values` are shown beside the count."""
        before, self.done = self.done, self.done + n
        text = " ".join(f"{name}={value:.4g}" for name, value in (values or {}).items())
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(n)
        elif not self.quiet and before * PLAIN_LINES // self.total < self.done * PLAIN_LINES // self.total:
            seconds = time.perf_counter() - self.began
            left = seconds * (self.total - self.done) / max(1, self.done - self.first)
            line = f"{self.what}: {self.done}/{self.total} {self.unit}, {left:.0f} s left"
            print(f"{line}  {text}" if text else line, file=sys.stderr, flush=True)
