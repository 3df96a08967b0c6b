"""A submission: one .zip of translated images with their record, the same bytes for the same content, and opened without trust.

    manifest.json   the sha256 of every other file
    record.json     the record, as it stands on a board
    rows.csv        its rows
    images/<id>.png (or .tif)

Nothing in it is compressed, since the images are already: what is unpacked is never larger than the archive. Names in it are
compared with those that the rows give, and no file is written under a name that the archive chose.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sarbench.bench.errors import ContractError
from sarbench.bench.markdown import line
from sarbench.bench.record_files import MAX_RECORD_BYTES, MAX_ROWS_BYTES, read_rows, refuse_bad_json
from sarbench.bench.records import Record, load_record
from sarbench.bench.storage import atomic, digest, json_bytes

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "sarbench submission 1"
MANIFEST, RECORD, ROWS = "manifest.json", "record.json", "rows.csv"
SUFFIXES = (".png", ".tif", ".tiff")
LONGEST = {MANIFEST: 256 << 20, RECORD: MAX_RECORD_BYTES, ROWS: MAX_ROWS_BYTES}  # bytes
MAX_ARCHIVE_BYTES = 32 << 30
MAX_IMAGE_BYTES = 1 << 30
MAX_FILES = 1_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)  # the time that every file in an archive has
ENCRYPTED = 1


def images_hash(images: Mapping[str, Path]) -> str:
    """A hash of the names and bytes of some images, by id."""
    return digest(*(f"{sample_id}\x1f{_sha256(path)}" for sample_id, path in sorted(images.items())))


def pack(path: Path, record: bytes, rows: bytes, images: Mapping[str, Path]) -> None:
    """Write a submission, atomically; the same content gives the same bytes. `images`: by id."""
    texts = {RECORD: record, ROWS: rows}
    places = {f"images/{sample_id}{file.suffix.lower()}": file for sample_id, file in sorted(images.items())}
    files = {name: _entry(len(data), hashlib.sha256(data).hexdigest()) for name, data in texts.items()}
    files |= {name: _entry(file.stat().st_size, _sha256(file)) for name, file in places.items()}
    manifest = json_bytes({"format": FORMAT, "files": files})
    with atomic(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: manifest, **texts}.items():
            archive.writestr(_info(name), data)
        for name, file in places.items():
            with file.open("rb") as source, archive.open(_info(name), "w", force_zip64=False) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def unpack(path: Path, folder: Path) -> tuple[Record, pd.DataFrame]:
    """The record and rows of a submission; its images go to `folder/images`.

    ContractError for whatever no `pack` has made: another structure, names, sizes or hashes, links, compression, files too
    large or too many, and a record that is refused by itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            return _unpack(archive, members, folder)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ContractError(f"{path} is no submission that can be read ({line(str(error))[:200]})") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name; ContractError for an archive whose directory has a trick in it."""
    length, infos = path.stat().st_size, archive.infolist()
    if length > MAX_ARCHIVE_BYTES or len(infos) > MAX_FILES:
        raise ContractError(f"larger than {MAX_ARCHIVE_BYTES >> 30} GiB, or more than {MAX_FILES} files")
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = ascii(info.filename[:80])
        if info.is_dir() or kind not in (0, stat.S_IFREG) or info.flag_bits & ENCRYPTED:
            raise ContractError(f"{name} is a link, a folder, a device or encrypted; a submission holds plain files alone")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ContractError(f"{name} is compressed; nothing in a submission is, so that it can't grow")
        if info.orig_filename != info.filename or info.file_size > LONGEST.get(info.filename, MAX_IMAGE_BYTES):
            raise ContractError(f"{name} is larger than such a file may be, or its name is hidden behind another")
    if len({info.filename for info in infos}) != len(infos):
        raise ContractError("a file is in it twice")
    if sum(info.file_size for info in infos) > length:
        raise ContractError("its files are larger than itself: they overlap")
    return {info.filename: info for info in infos}


def _unpack(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: Path) -> tuple[Record, pd.DataFrame]:
    if missing := [name for name in (MANIFEST, RECORD, ROWS) if name not in members]:
        raise ContractError(f"it holds no {', no '.join(missing)}")
    folder.mkdir(parents=True)
    texts = {name: archive.read(members[name]) for name in (MANIFEST, RECORD, ROWS)}
    promised = _promised(texts[MANIFEST])
    if set(promised) != set(members) - {MANIFEST}:
        strange = sorted(set(promised) ^ (set(members) - {MANIFEST}))
        raise ContractError(f"manifest and archive name other files, such as {strange[0][:80]!a}")
    for name in texts.keys() - {MANIFEST}:
        _refuse_other(name, promised[name], len(texts[name]), hashlib.sha256(texts[name]).hexdigest())
    (folder / "record.json").write_bytes(texts[RECORD])
    (folder / "record.csv").write_bytes(texts[ROWS])
    ids = set(read_rows(texts[ROWS])["id"])  # plain relative names, or it raises
    images: dict[str, str] = {}
    for name in members.keys() - texts.keys():
        sample_id, suffix = _id_of(name)
        if sample_id not in ids or sample_id in images:
            raise ContractError(f"{name[:80]!a} is no image of a row, or one that is there twice")
        images[sample_id] = name
        place = folder / "images" / f"{sample_id}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(members[name]) as source, place.open("xb") as target:
            _refuse_other(name, promised[name], members[name].file_size, _copied(source, target))
    if lost := sorted(ids - images.keys()):
        raise ContractError(f"{len(lost)} rows have no image: {', '.join(ascii(name) for name in lost[:5])}")
    record, rows = load_record(folder / "record.json")
    _refuse_unsigned(record, folder, images)
    return record, rows


def _refuse_unsigned(record: Record, folder: Path, images: Mapping[str, str]) -> None:
    if record.submitted is None or record.submitted.verified:
        raise ContractError("its record does not say who submitted it, or calls itself verified; pack it by sarbench submit")
    found = {sample_id: folder / "images" / f"{sample_id}{_id_of(name)[1]}" for sample_id, name in images.items()}
    if images_hash(found) != record.submitted.images_hash:
        raise ContractError("its images are not those that its record names")


def _promised(manifest: bytes) -> dict[str, tuple[int, str]]:
    """What a manifest says of each file: bytes and sha256."""
    value = refuse_bad_json(manifest)
    try:
        if value.keys() != {"format", "files"} or value["format"] != FORMAT:
            raise ContractError(f"its manifest is not one of {FORMAT!r}")
        found = {name: (entry["bytes"], entry["sha256"]) for name, entry in value["files"].items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"its manifest is not one of {FORMAT!r}") from error
    return found


def _refuse_other(name: str, promised: tuple[int, str], size: int, sha256: str) -> None:
    if promised != (size, sha256):
        raise ContractError(f"{name[:80]!a} is not the file that the manifest names")


def _id_of(name: str) -> tuple[str, str]:
    """The sample and the suffix of an image's name in an archive."""
    stem, dot, suffix = name.rpartition(".")
    if not stem.startswith("images/") or dot + suffix not in SUFFIXES:
        raise ContractError(f"{name[:80]!a} is no image of a submission ({', '.join(SUFFIXES)})")
    return stem.removeprefix("images/"), dot + suffix


def _entry(size: int, sha256: str) -> dict[str, int | str]:
    return {"bytes": size, "sha256": sha256}


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr, info.create_system = (stat.S_IFREG | 0o644) << 16, 3
    return info


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream, and give its sha256."""
    total = hashlib.sha256()
    while part := source.read(1 << 20):
        total.update(part)
        target.write(part)
    return total.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
