"""`sarbench explain METRIC`: the card of a metric, with numbers worked on one small frozen pair of images."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import TYPE_CHECKING

from sarbench.bench import registry
from sarbench.bench.errors import ContractError
from sarbench.bench.score import why_unmeasured

if TYPE_CHECKING:
    from sarbench.bench.metric import ImageBatch, Metric

BLOCKS = ("Unit", "Formula", "Conventions", "Source", "Misleads")  # of a metric's docstring; Conventions where it has others
SIDE_PX = 384  # from here on piq shrinks images before it takes SSIM
TEXT_WIDTH = 100
PAIR = (
    f"Worked on one pair, {SIDE_PX}x{SIDE_PX} px, RGB, 8 bits, made by code: fields, a road and a flat lake; translated: "
    "averaged over 3x3 px, moved 1 px to the right, 6 levels brighter, with noise."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench explain`."""
    parser.add_argument("metric", nargs="?", metavar="METRIC", help="such as ssim or ssim@torchmetrics; default: list them all")


def command(args: argparse.Namespace) -> int:
    """Print a metric's card; without a name, one line for each metric."""
    print(card(args.metric) if args.metric else listing())
    return 0


def listing() -> str:
    """One line for each metric: its name, and what it measures."""
    names = registry.names("metrics")
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {blocks(name)['']}" for name in names)


def card(name: str) -> str:
    """What a metric measures, its unit, formula, source, when it misleads, signature and assets, and worked numbers.

    The same pair of images is scored under every convention, the one asked for first. ContractError for an unknown name.
    """
    from tabulate import tabulate

    chosen = registry.load_metric(name)
    plain = name.partition("@")[0]
    told = blocks(plain)
    told["Signature"] = chosen.signature
    told["Needs"] = f"sarbench fetch {' '.join(chosen.assets)}" if chosen.assets else "nothing to download"
    if chosen.undefined:
        told["Undefined"] = f"where {chosen.undefined}"
    head = f"{name}: {told.pop('')}"
    names = dict.fromkeys([name, plain, *(f"{plain}@{other}" for other in registry.conventions(plain))])
    every = {known: registry.load_metric(known) for known in names}
    values, reasons = zip(*(worked(metric) for metric in every.values()), strict=True)
    rows = zip(every, values, (metric.signature for metric in every.values()), strict=True)
    table = tabulate(rows, headers=("metric", "value", "signature"), disable_numparse=True)
    missing = [f"{known}: {reason}" for known, reason in zip(every, reasons, strict=True) if reason]
    lines = [_wrapped(f"{title.lower():<13}{text}", " " * 13) for title, text in told.items()]
    return "\n".join([head, "", *lines, "", _wrapped(PAIR, ""), "", table, *missing])


def blocks(name: str) -> dict[str, str]:
    """A metric's docstring by block, each in one line; its first line under the empty name. Read without importing it."""
    title, _, rest = registry.docstring_of("metrics", name).partition("\n")
    parts = re.split(rf"^({'|'.join(BLOCKS)}): ", rest, flags=re.MULTILINE)
    return {"": title, **{block: " ".join(text.split()) for block, text in zip(parts[1::2], parts[2::2], strict=True)}}


def worked(metric: Metric) -> tuple[str, str]:
    """A metric's value on the frozen pair, or a dash and why there is none."""
    if metric.rows is None:
        return "-", "a score of two whole sets of images, not of a pair"
    if reason := why_unmeasured(metric):
        return "-", reason
    images = frozen_pair()
    try:
        value = float(metric.rows(*(images[side] for side in metric.reads))[0])
    except ContractError as error:
        return "-", f"not measured: {error}"
    return f"{value:.6g} {metric.unit}".rstrip(), ""


def frozen_pair() -> dict[str, ImageBatch]:
    """One source, translated and reference image, the same on every machine: whole numbers only, and no random generator."""
    import numpy as np

    from sarbench.bench.metric import ImageBatch

    y, x = np.indices((SIDE_PX, SIDE_PX))
    fields = 40 + 14 * ((x // 24 * 7 + y // 16 * 13) % 11)
    grain = (3 * x * x + 5 * y * y + 7 * x * y) % 31
    road, lake = abs(x - y - 20) < 3, (x - 60) ** 2 + (y - 120) ** 2 < 40**2
    reference = np.stack([np.where(road, 200, fields * share // 4 + grain) for share in (3, 4, 2)], axis=2)
    reference[lake] = 20, 40, 70
    padded = np.pad(reference, ((1, 1), (2, 0), (0, 0)), mode="edge")  # one column more on the left: moved to the right
    blurred = sum(padded[i : i + SIDE_PX, j : j + SIDE_PX] for i in range(3) for j in range(3)) // 9
    speckle = (11 * x * x + 2 * y * y + 5 * x * y) % 23 - 11
    translated = blurred + 6 + speckle[:, :, None]
    source = (reference.sum(2) // 4 * (20 + (13 * x * x + 7 * y * y + 3 * x * y) % 29) // 40)[:, :, None]
    images = {"source": source, "translated": translated, "reference": reference}
    return {side: ImageBatch(np.clip(image, 0, 255).astype(np.uint8)[None]) for side, image in images.items()}


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, TEXT_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
