"""Weights out of a .caffemodel, which is a protocol buffer: names and arrays of its layers, and nothing else of it.

Field numbers are those of caffe.proto of BVLC/caffe: NetParameter.layer 100 (older: layers 2), LayerParameter.name 1 and
blobs 7 (older: 4 and 6), BlobProto.data 5, shape 7 (older: num, channels, height, width 1 to 4), BlobShape.dim 1. The file is
read as bytes of a stranger: every length is checked, and nothing in it is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sarbench.bench.errors import ContractError

LAYERS = {100: (1, 7), 2: (4, 6)}  # field of NetParameter -> fields of the layer's name and blobs
DATA, SHAPE, DIM = 5, 7, 1
MAX_BYTES = 4 << 30


def read_caffemodel(path: Path) -> dict[str, list[Float[np.ndarray, "..."]]]:
    """The blobs of every layer that has any: weights, then biases, float32; ContractError for a file that is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContractError(f"{path} is larger than any network of Caffe; replace it by the file that was downloaded")
        data = memoryview(path.read_bytes())
        found = {}
        for field, layer in _fields(data):
            if field in LAYERS and isinstance(layer, memoryview):
                name, blobs = _layer(layer, *LAYERS[field])
                found.update({name: blobs} if blobs else {})
    except (OSError, ValueError) as error:
        raise ContractError(f"{path} is no .caffemodel ({error}); replace it by the file that was downloaded") from error
    if not found:
        raise ContractError(f"{path} holds no weights of Caffe; replace it by the file that was downloaded")
    return found


def _layer(layer: memoryview, name_field: int, blob_field: int) -> tuple[str, list[Float[np.ndarray, "..."]]]:
    name, blobs = "", []
    for field, value in _fields(layer):
        if isinstance(value, memoryview) and field == name_field:
            name = bytes(value).decode()
        elif isinstance(value, memoryview) and field == blob_field:
            blobs.append(_blob(value))
    return name, blobs


def _blob(blob: memoryview) -> Float[np.ndarray, "..."]:
    chunks: list[bytes] = []
    shape: list[int] = []
    older = {1: 1, 2: 1, 3: 1, 4: 1}
    for field, value in _fields(blob):
        if field == DATA and isinstance(value, memoryview):
            chunks.append(bytes(value))
        elif field == SHAPE and isinstance(value, memoryview):
            shape = [side for f, dims in _fields(value) if f == DIM for side in _integers(dims)]
        elif field in older and isinstance(value, int):
            older[field] = value
    values = np.frombuffer(b"".join(chunks), "<f4").astype(np.float32)
    sides = shape or list(older.values())
    if math.prod(sides) != values.size:
        raise ValueError(f"an array of the shape {sides} holds {values.size} numbers")
    return values.reshape(sides)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: numbers as they are, everything else as its bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + length > len(data):
            raise ValueError("it ends in the middle of a field")
        yield field, data[at : at + length]
        at += length


def _integers(value: int | memoryview) -> Iterator[int]:
    """The integers of a field: one, or several packed into bytes."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, low ones first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[at]
        number, at = number | (byte & 0x7F) << shift, at + 1
        if not byte & 0x80:
            return number, at
    raise ValueError("a number of more than 64 bits")
