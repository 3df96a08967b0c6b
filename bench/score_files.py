"""The files that a scoring reads: which belong together, and do they fit?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sarbench.bench.errors import ContractError
from sarbench.bench.images import SUFFIXES, Header, find_images, read_header
from sarbench.bench.one_pass import some

PEAKS = {"uint8": 255, "uint16": 65535}


def match(folders: Mapping[str, Path], ids: Sequence[str] | None) -> tuple[list[str], dict[str, list[Path]]]:
    """The sample names in order, and the files of each side in that order."""
    found = {side: find_images(folder) for side, folder in folders.items()}
    names = sorted(set().union(*found.values())) if ids is None else list(ids)
    if not names:
        where = " and ".join(str(folder) for folder in folders.values())
        raise ContractError(f"nothing to score: no image ({', '.join(SUFFIXES)}) in {where}")
    if len(set(names)) != len(names):
        raise ContractError("the ids to score hold one name twice")
    missing = {side: [name for name in names if name not in known] for side, known in found.items()}
    lines = [f"{len(lost)} missing in {folders[side]}: {some(lost)}" for side, lost in missing.items() if lost]
    if lines:
        raise ContractError(
            "every image needs its partner, a file of the same relative path without suffix\n" + "\n".join(lines)
        )
    return names, {side: [known[name] for name in names] for side, known in found.items()}


def read_headers(files: Mapping[str, list[Path]]) -> dict[str, list[Header]]:
    """The header of every file by side; one ContractError for all files that do not fit their partner or the rest.

    A sample's sides share size and depth; translated and reference share their channels too.
    """
    headers: dict[str, list[Header]] = {side: [] for side in files}
    bad: list[str] = []
    for paths in zip(*files.values(), strict=True):
        try:
            sides = {side: replace(read_header(path), nodata=None) for side, path in zip(files, paths, strict=True)}
        except ContractError as error:
            bad.append(str(error))
            continue
        alike = [replace(header, channels=0) if side == "source" else header for side, header in sides.items()]
        target = {header for side, header in sides.items() if side != "source"}
        unknown = [f"{p} holds {h.dtype}" for p, h in zip(paths, sides.values(), strict=True) if h.dtype not in PEAKS]
        before = {side: found[0] for side, found in headers.items() if found}
        odd = [s for s, h in before.items() if (sides[s].channels, sides[s].dtype) != (h.channels, h.dtype)]
        if unknown:
            bad += [f"{text}, whose range is unknown; save it as 8 or 16 bits" for text in unknown]
        elif len(target) > 1 or len({(h.height, h.width, h.dtype) for h in alike}) > 1:
            bad.append(" but ".join(f"{p} is {_words(h)}" for p, h in zip(paths, sides.values(), strict=True)))
        elif odd:
            path = paths[list(files).index(odd[0])]
            bad.append(f"{path} is {_words(sides[odd[0]])}, other than the first image, {_words(before[odd[0]])}")
        else:
            for side, header in sides.items():
                headers[side].append(header)
    if bad:
        remedy = "bring all to the same bands and depth, and each pair to one size"
        raise ContractError("\n".join([f"{len(bad)} images can't be scored; {remedy}:", *bad]))
    return headers


def refuse_bad_labels(files: Mapping[str, list[Path]], images: Sequence[Header]) -> None:
    """One ContractError for all class maps that are not 8-bit images of one band, of the size of their image."""
    bad: list[str] = []
    for path, image_path, image in zip(files["labels"], files["translated"], images, strict=True):
        try:
            header = read_header(path)
        except ContractError as error:
            bad.append(str(error))
            continue
        if (header.channels, header.dtype) != (1, "uint8"):
            bad.append(f"{path} is {_words(header)}")
        elif (header.height, header.width) != (image.height, image.width):
            bad.append(f"{path} is {_words(header)} but {image_path} is {_words(image)}")
    if bad:
        remedy = "labels are 8-bit images of one band (a palette counts as three) and of the size of their image"
        raise ContractError("\n".join([f"{len(bad)} class maps can't be used; {remedy}:", *bad]))


def _words(header: Header) -> str:
    return f"{header.height}x{header.width}x{header.channels} {header.dtype}"
