"""Which class became which, on a board: omission and hallucination by class, and the whole class-flip matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from sarbench.bench import markdown
from sarbench.bench.board import number
from sarbench.bench.judged import Judged, JudgedImages
from sarbench.bench.judges._confusion import Flips, flip_shares, flips, square_metres_per_km2

HECTARE_M2 = 1e4


def class_flips(like: Judged, shown: Mapping[str, Sequence[JudgedImages]]) -> list[str]:
    """The blocks on flips; `shown`: what was said, by the title of a column; empty where no whole matrix is recorded."""
    pooled = {
        title: np.sum([np.array(one.pooled) for one in images], axis=0)
        for title, images in shown.items()
        if all(one.pooled for one in images)
    }
    if not pooled:
        return []
    unit = "in hectares per square kilometre of ground" if like.gsd_m else "as a share of all labelled pixels"
    why = (
        "Omission and hallucination: −, what of a class is seen as another one, and as which most often; "
        f"+, what is wrongly seen as this class, and of which it most often is; both {unit}:"
    )
    found = {title: flips(whole[None], like.classes) for title, whole in pooled.items()}
    rows = []
    for name in like.classes:
        row = {"class": markdown.text(name)}
        for title, whole in pooled.items():
            flip = found[title].get(name)
            row[title] = "–" if flip is None else _flip(flip, int(whole.sum()), like.gsd_m)
        rows.append(row)
    parts = [
        why,
        markdown.table(rows, left=1),
        "Class-flip matrices: of the pixels of a class (row), the share seen as each class:",
    ]
    for title, whole in pooled.items():
        parts += ["<details>", f"<summary>{title.replace('`', '')}</summary>", _matrix(whole, like.classes), "</details>"]
    return parts


def _flip(flip: Flips, labelled: int, gsd_m: float | None) -> str:
    lost = f"−{_area(flip.omitted, labelled, gsd_m)}" + (f" to {markdown.text(flip.becomes[0])}" if flip.omitted else "")
    gained = f"+{_area(flip.hallucinated, labelled, gsd_m)}"
    return f"{lost}, {gained}" + (f" of {markdown.text(flip.replaces[0])}" if flip.hallucinated else "")


def _area(pixels: int, labelled: int, gsd_m: float | None) -> str:
    area = square_metres_per_km2(pixels, labelled, gsd_m).value
    return f"{number(100 * pixels / labelled, 1)} %" if area is None else f"{number(area / HECTARE_M2, 1)} ha"


def _matrix(whole: Int64[np.ndarray, "classes classes"], classes: Sequence[str]) -> str:
    shares = flip_shares(whole[None], classes)
    rows = [
        {"class": markdown.text(true), **{_head(k, name): _percent(shares[i, k]) for k, name in enumerate(classes)}}
        for i, true in enumerate(classes)
    ]
    return markdown.table(rows, left=1)


def _head(k: int, name: str) -> str:
    return markdown.text(name) if name != "class" else f"class {k}"  # the first column's head


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{number(100 * share, 0)} %"
