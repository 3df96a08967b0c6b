"""Image files, read and written in one place: every number of the suite comes from pixels that passed through here."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8
from PIL import Image

from sarbench.bench.dataset import Georeference
from sarbench.bench.errors import ContractError
from sarbench.bench.storage import write_bytes

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
TIFF = (".tif", ".tiff")
REMEDY = "replace the file or remove it together with its partner"
MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, here for TIFF too: 13377 x 13377

PNG_END = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"

_filters = threading.Lock()  # warning filters belong to the process, not to the thread


@dataclass(frozen=True)
class Window:
    """A part of an image, in px from its top left corner."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, without decoding: the shape and dtype that `read_image` will give."""

    height: int
    width: int
    channels: int
    dtype: str
    nodata: float | None = None  # GeoTIFF: the value that means "nothing was measured here"


def find_images(folder: Path) -> dict[str, Path]:
    """The image files below a folder by their relative path without suffix, sorted; ContractError on two of one name."""
    if not folder.is_dir():
        raise ContractError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    waiting = [(folder, "")]
    while waiting:  # `Path.rglob` asks the file system about every file, which takes seconds for a large dataset
        place, prefix = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            raise ContractError(f"{place} can't be listed ({error}); make it readable") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((place / entry.name, f"{prefix}{entry.name}/"))
                continue
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file():
                file, other = place / entry.name, found.get(prefix + stem)
                if other is not None:
                    raise ContractError(f"{min(file, other)} and {max(file, other)} have one name; keep one of them")
                found[prefix + stem] = file
    return dict(sorted(found.items()))


def read_header(path: Path) -> Header:
    """Shape, dtype and nodata value, from the header alone; ContractError as for `read_image`."""
    with _naming(path):
        if path.suffix.lower() in TIFF:
            with _open_tiff(path) as file:
                return _tiff_header(path, file)
        with path.open("rb") as stream, _open_raster(stream) as image:
            return _raster_header(path, image)


def read_image(
    path: Path, *, bands: Sequence[int] | None = None, window: Window | None = None, count: int | None = None
) -> np.ndarray:
    """Decode an image: (H, W, C) in the file's own dtype, such as uint8, uint16, int16 or float32.

    `bands` counts from 1 (None: all); of a TIFF, only what lies in `window` is decoded (None: the whole image). A file
    whose number of bands is not `count` is refused (None: any).

    Palettes become RGB. An alpha channel of a PNG is refused, since what lies below it is not defined; in a GeoTIFF every
    band counts as a channel (writers call the fourth of any four bands alpha), and scale and offset tags are not applied.
    Raises ContractError naming the file for one that is missing, truncated, not an image, too large, or not finite, and
    for bands and windows that it does not have. A flipped bit is found in PNG and in compressed TIFF; JPEG and raw TIFF
    have no checksum.
    """
    with _naming(path):
        if path.suffix.lower() in TIFF:
            pixels = _read_tiff(path, bands, window, count)
        else:
            pixels = _read_raster(path)
            _refuse_other_count(path, pixels.shape[2], count)
            _refuse_outside(path, pixels.shape, bands, window)
            pixels = _cut(pixels, window)
            if bands is not None:
                pixels = pixels[:, :, [band - 1 for band in bands]]
    if pixels.dtype.kind == "f":
        bad = int(pixels.size - np.isfinite(pixels).sum())
        if bad:
            raise ContractError(f"{path}: {bad} of {pixels.size} values are NaN or infinite; {REMEDY}")
    return pixels


def remembered(count: int) -> Callable[[Path, Window | None], np.ndarray]:
    """A `read_image` for files of which windows are read one after the other: (path, window) -> (H, W, C), not writable.

    The `count` PNG and JPEG files decoded last stay in memory, since their windows can't be decoded alone; a file that
    has changed is decoded again, and threads that want one file wait for one decoding. Windows of a TIFF are decoded
    alone, and nothing of it is kept.
    """
    turns = [threading.Lock() for _ in range(64)]

    @lru_cache(maxsize=count)
    def decoded(path: Path, size_bytes: int, time_ns: int) -> np.ndarray:
        pixels = read_image(path)
        pixels.flags.writeable = False
        return pixels

    def read(path: Path, window: Window | None = None) -> np.ndarray:
        if path.suffix.lower() in TIFF or not path.is_file():
            return read_image(path, window=window)
        stat = path.stat()
        with turns[hash(path) % len(turns)]:
            pixels = decoded(path, stat.st_size, stat.st_mtime_ns)
        _refuse_outside(path, pixels.shape, None, window)
        return _cut(pixels, window)

    return read


def read_labels(path: Path, window: Window | None = None) -> Integer[np.ndarray, "H W"]:
    """A class map in its own integer type: one band, or a palette image's positions in its palette.

    Raises ContractError as `read_image`, and for more than one band or a map that is not of whole numbers.
    """
    with _naming(path):
        if path.suffix.lower() == ".png":
            with path.open("rb") as stream, _open_raster(stream) as image:
                if image.mode == "P":
                    _load(image, path.read_bytes())
                    labels = np.asarray(image)
                    _refuse_outside(path, (*labels.shape, 1), None, window)
                    return _cut(labels, window)
    pixels = read_image(path, window=window)
    if pixels.shape[2] != 1 or pixels.dtype.kind not in "ui":
        raise ContractError(f"{path} is no class map: {pixels.shape[2]} bands of {pixels.dtype}, expected 1 of whole numbers")
    return pixels[:, :, 0]


def read_georeference(path: Path) -> Georeference | None:
    """Coordinate reference system and transform of a GeoTIFF; None where the file has none."""
    if path.suffix.lower() not in TIFF:
        return None
    with _naming(path), _open_tiff(path) as file:
        if file.crs is None:
            return None
        a, b, c, d, e, f = tuple(file.transform)[:6]
        return Georeference(file.crs.to_wkt(), (a, b, c, d, e, f))


def scale(values: Shaped[np.ndarray, "..."], low: float, high: float) -> Float[np.ndarray, "..."]:
    """Values clipped to [low, high], then to [-1, 1]; in float64 until the end, so that 8 bits come back exactly."""
    if values.dtype == np.uint8:  # 256 values: a look-up is 4 times as fast
        return scale(np.arange(256), low, high)[values]
    return ((np.clip(values.astype(np.float64), low, high) - low) / (high - low) * 2.0 - 1.0).astype(np.float32)


LEVELS = scale(np.arange(256), 0, 255)  # the 8-bit levels in [-1, 1]


def as_rgb(path: Path, pixels: np.ndarray, *, grey: bool = False) -> Float[np.ndarray, "3 H W"]:
    """Pixels (H, W, 3) of 8 bits to float32 (3, H, W), 0..255 to [-1, 1]; with `grey`, one band is repeated.

    Raises ContractError naming the file for pixels of another type or band count.
    """
    bands = pixels.shape[2]
    if pixels.dtype != np.uint8 or not (bands == 3 or (grey and bands == 1)):
        raise ContractError(
            f"{path} holds {bands} bands of {pixels.dtype}, expected a colour image of 3 bands of 8 bits; {REMEDY}"
        )
    image = np.take(LEVELS, np.ascontiguousarray(pixels.transpose(2, 0, 1)))  # 256 values: looked up, not computed
    return image if bands == 3 else np.repeat(image, 3, axis=0)


def quantise(images: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """[-1, 1] to 8 bits, once: round half to even of 255 (x + 1) / 2."""
    return np.rint((np.clip(images.astype(np.float64), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def lossless_suffix(channels: int, georeference: Georeference | None = None) -> str:
    """The file type that holds an image whole: GeoTIFF where it has a place, or more bands than PNG can hold."""
    return ".png" if georeference is None and channels in (1, 3) else ".tif"


def write_image(path: Path, pixels: UInt8[np.ndarray, "H W C"], georeference: Georeference | None = None) -> None:
    """Write 8-bit pixels losslessly and atomically: PNG, or GeoTIFF where the path ends in .tif.

    Raises ContractError for other pixels, for a suffix that is neither, and for a full disk.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ContractError(f"{path}: images are written from uint8 (H, W, C), got {pixels.dtype} {pixels.shape}")
    if path.suffix.lower() in TIFF:
        write_bytes(path, _tiff_bytes(pixels, georeference))
    elif path.suffix.lower() == ".png":
        write_bytes(path, _png_bytes(path, pixels))
    else:
        raise ContractError(f"{path}: images are written losslessly; let the name end in .png or .tif")


# --- PNG and JPEG ----------------------------------------------------------------------------------------------------


def _open_raster(stream: IO[bytes]) -> Image.Image:
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error at twice that size stays
        return Image.open(stream, formats=("PNG", "JPEG"))


def _raster_header(path: Path, image: Image.Image) -> Header:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        raise ContractError(f"{path} has an alpha channel; save it without one")
    channels = 1 if image.mode in ("1", "L", "I", "I;16", "I;16B") else 3
    return Header(image.height, image.width, channels, "uint16" if _is_16_bit_png(path, image) else "uint8")


def _is_16_bit_png(path: Path, image: Image.Image) -> bool:
    if image.format != "PNG":
        return False
    with path.open("rb") as stream:
        return stream.read(25)[24] == 16


def _read_raster(path: Path) -> np.ndarray:
    data = path.read_bytes()
    with _open_raster(io.BytesIO(data)) as image:
        header = _raster_header(path, image)
        _load(image, data)
        if header.dtype == "uint16":  # Pillow cuts 16-bit colour to 8 bits
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None:
                raise ValueError("not decodable as a 16-bit PNG")
            return pixels[:, :, None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
        pixels = np.asarray(image.convert("L" if header.channels == 1 else "RGB"))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _load(image: Image.Image, data: bytes) -> None:
    image.load()
    whole = PNG_END in data if image.format == "PNG" else data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)
    if not whole:  # decoders forgive a missing end where all pixels are there; a cut file is still a cut file
        raise ValueError("the end of the file is missing")


def _png_bytes(path: Path, pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    channels = pixels.shape[2]
    if channels not in (1, 3):
        raise ContractError(f"{path}: PNG holds 1 or 3 channels here, got {channels}; write .tif instead")
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


# --- TIFF ------------------------------------------------------------------------------------------------------------


def _open_tiff(path: Path) -> DatasetReader:
    import rasterio

    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")  # any other driver could follow links out of a hostile file


def _tiff_header(path: Path, file: DatasetReader) -> Header:
    from rasterio.enums import ColorInterp

    if file.height * file.width > MAX_PIXELS:
        raise ContractError(f"{path} declares {file.height}x{file.width} px, more than {MAX_PIXELS}; cut it into tiles")
    if len(set(file.dtypes)) > 1:
        raise ContractError(f"{path} mixes the types {', '.join(sorted(set(file.dtypes)))}; save all bands in one")
    if file.dtypes[0].startswith("complex"):
        raise ContractError(f"{path} holds complex values; save its amplitude or decibels instead")
    if int(file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8)) < 8:
        raise ContractError(f"{path} has fewer than 8 bits a value; save it with 8")
    if file.colorinterp[0] == ColorInterp.palette:
        return Header(file.height, file.width, 3, "uint8")
    return Header(file.height, file.width, file.count, file.dtypes[0], file.nodata)


def _read_tiff(path: Path, bands: Sequence[int] | None, window: Window | None, count: int | None) -> np.ndarray:
    from rasterio.enums import ColorInterp
    from rasterio.windows import Window as Rectangle

    with _open_tiff(path) as file:
        channels = _tiff_header(path, file).channels
        palette = file.colorinterp[0] == ColorInterp.palette
        _refuse_other_count(path, channels, count)
        _refuse_outside(path, (file.height, file.width, channels), bands, window)
        _refuse_missing_blocks(path, file)
        part = Rectangle(window.left, window.top, window.width, window.height) if window else None
        pixels = file.read(None if bands is None or palette else list(bands), window=part).transpose(1, 2, 0)
        if palette:
            colours = file.colormap(1)
            table = np.array([colours.get(i, (0, 0, 0))[:3] for i in range(max(colours) + 1)], np.uint8)
            pixels = table[pixels[:, :, 0]][:, :, [band - 1 for band in bands or (1, 2, 3)]]
        return np.ascontiguousarray(pixels)


def _cut(pixels: np.ndarray, window: Window | None) -> np.ndarray:
    if window is None:
        return pixels
    return pixels[window.top : window.top + window.height, window.left : window.left + window.width]


def _refuse_other_count(path: Path, channels: int, count: int | None) -> None:
    if count is not None and channels != count:
        raise ContractError(f"{path} has {channels} bands, expected {count}; {REMEDY}")


def _refuse_outside(path: Path, shape: Sequence[int], bands: Sequence[int] | None, window: Window | None) -> None:
    """Raise ContractError for bands or a window that an image (H, W, C) does not have."""
    height, width, channels = shape
    if bands is not None and not all(1 <= band <= channels for band in bands):
        raise ContractError(f"{path} has {channels} bands; asked for {', '.join(map(str, bands))}")
    if window is not None and not (
        window.top >= 0 and window.left >= 0 and window.top + window.height <= height and window.left + window.width <= width
    ):
        raise ContractError(f"{path} has {height}x{width} px; the window {window} leaves it")


def _refuse_missing_blocks(path: Path, file: DatasetReader) -> None:
    """A writer that was killed leaves blocks out, and GDAL then reads them as zeros without a word."""
    length = os.path.getsize(path)
    planar = file.interleaving is not None and file.interleaving.name == "band"
    for band in range(1, file.count + 1 if planar else 2):
        height, width = file.block_shapes[band - 1]
        for row in range(-(-file.height // height)):
            for column in range(-(-file.width // width)):
                place = f"{column}_{row}"
                offset = int(file.get_tag_item(f"BLOCK_OFFSET_{place}", "TIFF", bidx=band) or 0)
                size = int(file.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", bidx=band) or 0)
                if not size or offset + size > length:
                    raise ValueError(f"the block in row {row}, column {column} of band {band} is missing")


def _tiff_bytes(pixels: UInt8[np.ndarray, "H W C"], georeference: Georeference | None) -> bytes:
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    height, width, count = pixels.shape
    shape = {"height": height, "width": width, "count": count, "dtype": "uint8"}
    # GDAL would call the fourth of four bands alpha
    colour = {"photometric": "RGB"} if count == 3 else {"photometric": "MINISBLACK", "alpha": "NO"}
    where = {"crs": georeference.crs, "transform": Affine(*georeference.transform)} if georeference else {}
    with MemoryFile() as memory:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            file = memory.open(driver="GTiff", compress="deflate", **shape, **colour, **where)
        with file:
            file.write(pixels.transpose(2, 0, 1))
        return memory.read()


# --- Errors ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever a decoder throws at a hostile file becomes one error that names the file."""
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ContractError:
    if not path.exists():
        return ContractError(f"{path} does not exist; {REMEDY}")
    if path.is_file() and path.stat().st_size == 0:
        return ContractError(f"{path} is an empty file; {REMEDY}")
    reason = str(error).partition(" <")[0]  # Pillow names the object in memory that it read from
    return ContractError(f"{path} can't be read as an image ({reason or type(error).__name__}); {REMEDY}")
