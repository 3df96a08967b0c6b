"""Files that are either whole or absent: atomic writes, and content hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sarbench.bench.errors import ContractError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; it takes its place only when the block ends without an error.

    A full disk or a missing permission raises ContractError naming the file; nothing half-written stays behind.
    """
    handle, name = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full; free some space" if full else error
            raise ContractError(f"can't write {path}: {reason}; nothing was written, run the same command again") from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically, with line feeds on every system."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, no NaN or infinity."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; ContractError naming it where it is missing or broken."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ContractError(f"{path} does not exist") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ContractError(f"{path} is not readable JSON ({error}); delete it and run again") from error


def digest(*parts: bytes | str) -> str:
    """The sha256 of some parts, in hexadecimal; part borders count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; ContractError naming it where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ContractError(f"{path} can't be read ({error.strerror or error})") from error


def value_digest(value: Any) -> str:
    """The sha256 of a JSON-like value, in hexadecimal; key order does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
