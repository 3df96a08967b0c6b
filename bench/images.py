"""Image files, read and written in one place: every number of the suite comes from pixels that passed through here."""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageMode, UnidentifiedImageError

from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Georeference
from sarbench.bench.storage import write_bytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
TIFF = (".tif", ".tiff")
_opening = threading.Lock()
REMEDY = "replace the file or remove it together with its partner"


def find_images(folder: Path) -> dict[str, Path]:
    """The image files below a folder by their relative path without suffix, sorted; ContractError on two of one name."""
    if not folder.is_dir():
        raise ContractError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith("."):
            name = file.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise ContractError(f"{found[name]} and {file} have one name; keep one of them")
            found[name] = file
    return found


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in px, from the header alone."""
    header = read_header(path)
    return header.height, header.width


@dataclass(frozen=True)
class Header:
    """What `read_image` will give for a file."""

    height: int
    width: int
    channels: int
    dtype: str


def read_header(path: Path) -> Header:
    """Size, channels and dtype of an image without decoding its pixels; ContractError for a file that is not an image."""
    try:
        if path.suffix.lower() in TIFF:
            return _read_tiff_header(path)
        with Image.open(path) as image:
            _refuse_alpha(image, path)
            mode = ImageMode.getmode(_decoded_mode(image))
            deep = image.format == "PNG" and _png_depth(path) == 16
            dtype = "uint16" if deep else np.dtype(mode.typestr).name
            return Header(image.height, image.width, len(mode.bands), dtype)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def read_image(path: Path) -> np.ndarray:
    """Decode a whole image: (H, W, C) in the file's own dtype: uint8, uint16, int16 or float32.

    Palettes become RGB; an alpha channel is refused, since what lies below it is not defined.
    Raises ContractError naming the file for one that is missing, truncated, not an image, or not finite.
    """
    try:
        pixels = _read_tiff(path) if path.suffix.lower() in TIFF else _read_raster(path)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, cv2.error) as error:
        raise _unreadable(path, error) from error
    if pixels.dtype.kind == "f":
        bad = int(pixels.size - np.isfinite(pixels).sum())
        if bad:
            raise ContractError(f"{path}: {bad} of {pixels.size} values are NaN or infinite; {REMEDY}")
    return pixels


def _read_raster(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()  # a truncated file raises here
        _refuse_alpha(image, path)
        if image.format == "PNG" and _png_depth(path) == 16:
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # Pillow cuts 16-bit colour to 8 bits
            if pixels is None:
                raise ValueError("not decodable as a 16-bit PNG")
            return pixels[:, :, None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
        mode = _decoded_mode(image)
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _refuse_alpha(image: Image.Image, path: Path) -> None:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        raise ContractError(f"{path} has an alpha channel; save it without one")


def _decoded_mode(image: Image.Image) -> str:
    if image.mode in ("P", "CMYK", "YCbCr", "HSV", "LAB"):
        return "RGB"
    return "L" if image.mode == "1" else image.mode


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _open_tiff(path: Path) -> Any:
    """A rasterio dataset, without the warning that it has no coordinates."""
    import rasterio

    with _opening, warnings.catch_warnings():  # the filters belong to the process, and images are read in threads
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


def _read_tiff_header(path: Path) -> Header:
    import rasterio

    try:
        with _open_tiff(path) as file:
            return Header(file.height, file.width, file.count, file.dtypes[0])
    except rasterio.errors.RasterioError as error:
        raise OSError(str(error)) from error


def _read_tiff(path: Path) -> np.ndarray:
    import rasterio

    try:
        with _open_tiff(path) as file:
            return np.ascontiguousarray(file.read().transpose(1, 2, 0))
    except rasterio.errors.RasterioError as error:
        raise OSError(str(error)) from error


def read_georeference(path: Path) -> Georeference | None:
    """Coordinate reference system and transform of a GeoTIFF; None where the file has none."""
    if path.suffix.lower() not in TIFF:
        return None
    with _open_tiff(path) as file:
        if file.crs is None:
            return None
        return Georeference(file.crs.to_wkt(), tuple(file.transform)[:6])


def quantise(images: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """[-1, 1] to 8 bits, once: round half to even of 255 (x + 1) / 2."""
    return np.rint((np.clip(images.astype(np.float64), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def write_image(path: Path, pixels: UInt8[np.ndarray, "H W C"], georeference: Georeference | None = None) -> None:
    """Write 8-bit pixels losslessly and atomically: PNG, or GeoTIFF where the path ends in .tif."""
    data = _tiff_bytes(pixels, georeference) if path.suffix.lower() in TIFF else _png_bytes(pixels)
    write_bytes(path, data)


def _png_bytes(pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    buffer = io.BytesIO()
    channels = pixels.shape[2]
    if channels not in (1, 3):
        raise ContractError(f"PNG holds 1 or 3 channels here, got {channels}; write .tif instead")
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _tiff_bytes(pixels: UInt8[np.ndarray, "H W C"], georeference: Georeference | None) -> bytes:
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    height, width, count = pixels.shape
    where = {"crs": georeference.crs, "transform": Affine(*georeference.transform)} if georeference else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", height=height, width=width, count=count, dtype="uint8", compress="deflate", **where
            ) as file:
                file.write(pixels.transpose(2, 0, 1))
            return memory.read()


def _unreadable(path: Path, error: Exception) -> ContractError:
    if not path.exists():
        return ContractError(f"{path} does not exist; {REMEDY}")
    if path.stat().st_size == 0:
        return ContractError(f"{path} is an empty file; {REMEDY}")
    return ContractError(f"{path} can't be read as an image ({error}); {REMEDY}")
