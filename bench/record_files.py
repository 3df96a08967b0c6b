"""The files of a record as bytes from a stranger: JSON and CSV read strictly, text without tricks, names that stay in place.

What a record means is checked by its schema; here it is made sure that every reader of these bytes reads the same in them:
no key twice, no number that is none, no character that hides or reorders text, no name that leaves its folder.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from sarbench.bench.errors import ContractError
from sarbench.bench.markdown import line

MAX_RECORD_BYTES = 1 << 20
MAX_ROWS_BYTES = 128 << 20
MAX_DEPTH = 16  # of nested JSON; a record has 6
MAX_DIGITS = 20  # of a whole number
MAX_NAME = 300  # characters of an id or a scene
# control, format (which reorders or hides text), surrogate, private, unassigned; separators of lines and paragraphs
REFUSED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?|nan|inf", re.ASCII)
DRIVE = re.compile(r"[A-Za-z]:")


def read_bytes(path: Path, most: int) -> bytes:
    """A file's bytes; ContractError, which says only the reason, for a link, for what is no file, and for more than `most`."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ContractError(f"{line(path.name)} is a link, or no file")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise ContractError(f"{line(path.name)} beside it is missing") from error
    if len(data) > most:
        raise ContractError(f"larger than {most} bytes: {line(path.name)}")
    return data


def refuse_bad_json(data: bytes) -> Any:
    """The value of some JSON; ContractError for a key that stands twice, NaN, deep nesting, huge numbers, tricky text."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number, parse_int=_whole)
    except RecursionError as error:
        raise ContractError(f"record: nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise ContractError(f"record: Invalid JSON: {error}") from error
    refuse_bad_text(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ContractError("record: a key stands twice in one object, so that two readers could read two records")
    return found


def _no_number(word: str) -> NoReturn:
    raise ContractError(f"record: {word} is no number that JSON has")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ContractError(f"record: a whole number of {len(digits)} digits")
    return int(digits)


def refuse_bad_text(value: Any) -> None:
    """ContractError for text in a JSON-like value that hides or reorders what a reader sees, and for deep nesting."""
    waiting: list[tuple[Any, int, str]] = [(value, 0, "record")]
    while waiting:
        part, depth, where = waiting.pop()
        if isinstance(part, str) and is_tricky(part):
            raise ContractError(f"{where}: control, direction or invisible characters in {_escaped(part)}; write plain text")
        if isinstance(part, Mapping | list | tuple):
            if depth == MAX_DEPTH:
                raise ContractError(f"{where}: nested more than {MAX_DEPTH} deep")
            named = part.items() if isinstance(part, Mapping) else ((str(i), item) for i, item in enumerate(part))
            for name, item in named:
                if is_tricky(str(name)):
                    raise ContractError(f"{where}: control, direction or invisible characters in the key {_escaped(str(name))}")
                waiting.append((item, depth + 1, f"{where}.{name}"[:MAX_NAME]))


def is_tricky(text: str) -> bool:
    """Does a text hold a character that hides or reorders others, or is none?"""
    return not (text.isascii() and text.isprintable()) and any(unicodedata.category(c) in REFUSED for c in text)


def _escaped(text: str) -> str:
    return ascii(text[:40])


def refuse_bad_names(ids: Iterable[str]) -> None:
    """ContractError unless every id is a relative path of plain names, with / between them, that leaves no folder."""
    for name in ids:
        parts = name.split("/")
        if len(name) > MAX_NAME or is_tricky(name) or "\\" in name or DRIVE.match(name):
            raise ContractError(
                f"{_escaped(name)} is no id of a sample: at most {MAX_NAME} plain characters, / between folders"
            )
        if any(part in ("", ".", "..") or part != part.strip() for part in parts):
            raise ContractError(f"{_escaped(name)} is no id of a sample: it leaves its folder, or a part of it has no name")


def read_rows(data: bytes) -> pd.DataFrame:
    """The rows of a record: id and scene as text, all else float64; ContractError for what is no plain table of numbers."""
    try:
        table = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise ContractError(f"the rows can't be read ({error})") from error
    heads, rows = (table or [[]])[0], table[1:]
    if len(set(heads)) != len(heads) or "id" not in heads or "scene" not in heads:
        raise ContractError("the rows need the columns id and scene, and no column twice")
    if any(len(row) != len(heads) for row in rows):
        raise ContractError(f"a row has more or fewer than the {len(heads)} cells of the columns")
    columns = dict(zip(heads, map(list, zip(*rows, strict=True)) if rows else ([] for _ in heads), strict=True))
    refuse_bad_names(columns["id"])
    if bad := [scene for scene in columns["scene"] if len(scene) > MAX_NAME or is_tricky(scene)]:
        raise ContractError(f"{_escaped(bad[0])} is no name of a scene")
    return pd.DataFrame({name: cells if name in ("id", "scene") else _numbers(name, cells) for name, cells in columns.items()})


def _numbers(name: str, cells: list[str]) -> list[float]:
    """Cells as floats, exactly; float() alone would take " 1_0 ", other scripts' digits, and 1e999 for infinity."""
    numbers = []
    for cell in cells:
        if not NUMBER.fullmatch(cell):
            raise ContractError(f"a cell of the column {line(name)[:40]} is no number: {_escaped(cell)}")
        number = float(cell)
        if math.isinf(number) and cell != "inf":
            raise ContractError(f"a cell of the column {line(name)[:40]} is too large: {_escaped(cell)}")
        numbers.append(number)
    return numbers
