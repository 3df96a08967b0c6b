"""Files that are either whole or absent: atomic writes, and content hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sarbench.bench.errors import ContractError


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the system refuses while a file is written into ContractError naming the file."""
    try:
        yield
    except OSError as error:
        raise ContractError(
            f"can't write {path}: {reason_of(error)}; nothing was written, run the same command again"
        ) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; it takes its place only when the block ends without an error.

    A full disk or a missing permission raises ContractError naming the file; nothing half-written stays behind.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def reason_of(error: OSError) -> str:
    """Why the system refused, in words that say what to do where that is known."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}; choose a folder that you may write to"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{error.filename} is a file, not a folder; choose another folder"
    return str(error)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files of which the last vouches for the others.

    All are on the disk before the first takes its place, so a full disk leaves the old ones as they were; from a process
    that is killed in between, the last one is absent, never beside others than its own.
    """
    paths = list(files)
    with contextlib.ExitStack() as places:
        for path in reversed(paths):  # left in the opposite order, so the last one takes its place last
            file = places.enter_context(atomic(path))
            file.write(files[path])
            file.flush()
            os.fsync(file.fileno())
        paths[-1].unlink(missing_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Make a folder, and raise ContractError where no file can be written into it."""
    write_bytes(folder / ".writable", b"\0" * 4096)
    (folder / ".writable").unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what a killed process was writing into a folder; for the one process that writes there."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as file:
        file.write(data)


def copy(source: Path, path: Path) -> None:
    """Copy a file atomically."""
    with source.open("rb") as read, atomic(path) as file:
        shutil.copyfileobj(read, file, 1 << 20)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically, with line feeds on every system."""
    write_bytes(path, text.encode())


def json_bytes(value: Any) -> bytes:
    """JSON as it stands in files: sorted keys, indented, no NaN or infinity, a line feed at the end."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path, *keys: str) -> Any:
    """Read a JSON file; ContractError naming it where it is missing or broken, or is no object that has these keys."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ContractError(f"{path} does not exist") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ContractError(f"{path} is not readable JSON ({error}); delete it and run again") from error
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise ContractError(f"{path} lacks {', '.join(missing)}; delete it and run again")
    return value


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
