"""A file of known sha256 from the network, resumed where it broke off. The only place that may use the network."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sarbench.bench.errors import ContractError
from sarbench.bench.storage import naming

BLOCK = 1 << 20
TIMEOUT_S = 60


class _Refused(ContractError):
    """One source can't give the file; another may."""


def download(urls: Sequence[str], path: Path, sha256: str, *, otherwise: str = "") -> None:
    """Download a file from the first of some URLs that gives it; `sha256` in hexadecimal, or the beginning of it.

    Until its hash is checked the file is called `<name>.part`. What breaks off is kept under that name and continued by
    the next call, from whichever URL; a web page, or a whole file of another hash, is not kept.
    Raises ContractError saying what each URL did, and `otherwise`: what else can be done.
    """
    part = path.with_name(f"{path.name}.part")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab+") as stream:
            _refuse_two_at_once(part, stream)
            refusals = _try_each(urls, stream, sha256)
            kept = stream.seek(0, os.SEEK_END)
            os.fsync(stream.fileno())
        if not refusals:
            with contextlib.suppress(FileNotFoundError):  # another process found the same whole file, and was faster
                os.replace(part, path)
            return
        if not kept:
            part.unlink()
    resume = f"\n{kept} bytes are kept in {part}, and the same command goes on from there" if kept else ""
    raise ContractError("\n".join(refusals) + f"; {otherwise}" * bool(otherwise) + resume)


def _try_each(urls: Sequence[str], stream: IO[bytes], sha256: str) -> list[str]:
    """Make the stream the file, from one URL after the other; empty, or why each could not."""
    if _digest(stream).startswith(sha256):  # a process was killed between the last byte and the new name
        return []
    refusals = []
    for url in urls:
        try:
            _complete(url, stream, sha256)
            return []
        except _Refused as refusal:
            refusals.append(str(refusal))
    return refusals


def _complete(url: str, stream: IO[bytes], sha256: str) -> None:
    """Go on from what the stream holds until it is the file; _Refused where this URL can't."""
    size = stream.seek(0, os.SEEK_END)
    inherited = size > 0  # a wrong hash may then be the fault of the older beginning
    while True:
        answer = _ask(url, size)
        if answer is None:  # no such range: the beginning is as long as the file, or longer
            size, inherited = stream.truncate(0), False
            continue
        with answer:
            _refuse_page(url, answer.headers.get_content_type() == "text/html")
            first = _read(answer)
            if answer.status != http.client.PARTIAL_CONTENT:
                _refuse_page(url, (first or b"").lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"))
                stream.truncate(0)
                inherited = False
            total = _receive(answer, first, stream, os.path.basename(url))
        before, size = size, stream.seek(0, os.SEEK_END)
        if size != total:
            if size > before:
                continue
            raise _Refused(f"{url}: the download broke off after {size} of {total or 'unknown'} bytes")
        digest = _digest(stream)
        if digest.startswith(sha256):
            return
        size = stream.truncate(0)
        if not inherited:
            raise _Refused(
                f"{url} gave a file of sha256 {digest}, expected {sha256}; it was not kept. "
                "If that repeats, the server or a proxy on the way changes the file"
            )
        inherited = False


def _ask(url: str, start: int) -> http.client.HTTPResponse | None:
    """The server's answer for the bytes from `start` on, or for all where it knows no ranges; None: it has none from there."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return None
        raise _Refused(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(f"{url} can't be downloaded ({error}); is this machine online?") from error
    if answer.status == http.client.PARTIAL_CONTENT:
        given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != start:
            answer.close()
            raise _Refused(f"{url} answered with another part of the file than asked for")
    return answer


def _receive(answer: http.client.HTTPResponse, block: bytes | None, stream: IO[bytes], name: str) -> int | None:
    """Append an answer, whose first block is read, to the stream; the size of the whole file, None where it broke off."""
    from tqdm import tqdm

    start = stream.seek(0, os.SEEK_END)
    announced = answer.headers.get("Content-Length")
    total = start + int(announced) if announced else None
    with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
        while block:
            stream.write(block)
            bar.update(len(block))
            block = _read(answer)
    if block is None or total is not None:
        return total
    return stream.seek(0, os.SEEK_END)


def _read(answer: http.client.HTTPResponse) -> bytes | None:
    """The next block; empty at the end, None where the connection broke."""
    try:
        return answer.read1(BLOCK)  # `read` would lose what came before a break inside a chunk
    except (OSError, http.client.HTTPException):
        return None


def _refuse_page(url: str, is_page: bool) -> None:
    if is_page:
        raise _Refused(f"{url} gave a web page in place of the file; open it in a browser to see what it says")


def _digest(stream: IO[bytes]) -> str:
    stream.flush()
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def _refuse_two_at_once(part: Path, stream: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows; there the second process can't rename the file
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ContractError(f"another process is downloading {part}; wait until it ends") from error
