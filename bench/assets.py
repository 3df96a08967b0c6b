"""Weights and data files by sha256: where they are, and how to get them. The only place that may use the network."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import string
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sarbench.bench.errors import ContractError
from sarbench.bench.storage import atomic, file_digest

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "SARBENCH_ASSETS"
BLOCK = 1 << 20
TIMEOUT_S = 60


class AssetMissing(ContractError):
    """A file that a metric or a method needs is not on this machine; the message names it and says how to get it."""


@dataclass(frozen=True)
class File:
    """A file known by its content."""

    name: str
    sha256: str  # in hexadecimal; its first 8 digits or more where no more is published

    def __post_init__(self) -> None:
        if not 8 <= len(self.sha256) <= 64 or set(self.sha256) - set(string.hexdigits.lower()):
            raise ValueError(f"{self.name}: a sha256 has 8 to 64 lower-case hexadecimal digits here, not {self.sha256!r}")

    def has(self, digest: str) -> bool:
        """Whether a full sha256 is this file's."""
        return digest.startswith(self.sha256)


@dataclass(frozen=True)
class Asset:
    """A file that is not part of the package."""

    about: str
    url: str  # official
    file: File  # what the URL gives
    size_bytes: int
    licence: str
    used_by: tuple[str, ...]
    alternatives: tuple[File, ...] = ()  # other files whose content is the same as far as it is used here


ASSETS: dict[str, Asset] = {
    "alexnet": Asset(
        about="AlexNet trained on ImageNet, of torchvision: the features behind LPIPS",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        file=File("alexnet-owt-7be5be79.pth", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
        size_bytes=244_408_911,
        licence="BSD-3-Clause",
        used_by=("lpips",),
        alternatives=(
            File("alexnet_features_torchvision_owt.pth", "7e3ec76bbf8609075d2889d8d74c432d008916bcad5eb8b0ae124222c097134e"),
        ),
    ),
}


@dataclass(frozen=True)
class Model:
    """A folder of several files, which is looked for by its name; its parts are checked by the method that reads them."""

    about: str
    url: str  # where a person gets it
    parts: tuple[str, ...]  # sub-folders that it must have
    licence: str
    used_by: tuple[str, ...]


MODELS: dict[str, Model] = {
    "stable-diffusion-2-1-base": Model(
        about="Stable Diffusion 2.1 for 512 px, in the layout of diffusers, as safetensors",
        url="https://huggingface.co/Manojb/stable-diffusion-2-1-base",
        parts=("scheduler", "text_encoder", "tokenizer", "unet", "vae"),
        licence="CreativeML Open RAIL++-M",
        used_by=("cdiffset",),
    ),
}


def folders() -> list[Path]:
    """Where assets are looked for, in order: the folders in SARBENCH_ASSETS, then torch's own download cache."""
    given = [Path(folder).expanduser() for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    torch_home = os.environ.get("TORCH_HOME") or os.path.join(caches, "torch")
    return [*given, Path(torch_home).expanduser() / "hub" / "checkpoints"]


def find(name: str) -> Path:
    """The asset's file: one of its names, with the sha256 that belongs to it; a model's folder. AssetMissing otherwise."""
    if name in MODELS:
        return _find_model(name)
    asset = _asset(name)
    wrong = []
    for folder in folders():
        for file in (asset.file, *asset.alternatives):
            path = folder / file.name
            if path.is_file():
                if file.has(_digest(path)):
                    return path
                wrong.append(f"; {path} is another file or damaged (sha256 {_digest(path)}): remove it")
    given = os.environ.get(VARIABLE) or "<folder>"
    raise AssetMissing(
        f"{name} missing ({asset.file.name}, sha256 {asset.file.sha256}, put it in {VARIABLE}={given} "
        f"or run `sarbench fetch {name}`){''.join(wrong)}"
    )


def _find_model(name: str) -> Path:
    for folder in folders():
        if all((folder / name / part).is_dir() for part in MODELS[name].parts):
            return folder / name
    raise AssetMissing(f"{name} missing: {_how_to_get(name)}")


def _how_to_get(name: str) -> str:
    model = MODELS[name]
    return (
        f"copy {model.url} with its folders {', '.join(model.parts)} into a folder named {name}, "
        f"and name the folder that holds that one in {VARIABLE}"
    )


def load_state_dict(name: str) -> dict[str, Tensor]:
    """The asset's tensors by name, on the CPU; only tensors are unpickled. Raises AssetMissing."""
    import torch

    return torch.load(find(name), map_location="cpu", weights_only=True)


def fetch(name: str, folder: Path) -> Path:
    """Download an asset into a folder, unless it is there; returns its file, whose sha256 has been checked.

    Raises ContractError where the network, the server or the content is not as it should be; nothing is kept then.
    """
    asset = _asset(name)
    path = folder / asset.file.name
    if path.is_file() and asset.file.has(_digest(path)):
        return path
    digest = hashlib.sha256()
    with atomic(path) as file:
        for block in _download(asset):
            digest.update(block)
            file.write(block)
        if not asset.file.has(digest.hexdigest()):
            raise ContractError(
                f"{asset.url} gave a file of sha256 {digest.hexdigest()}, expected {asset.file.sha256}; it was not kept. "
                "Try again; if that repeats, the server or a proxy on the way changes the file"
            )
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench fetch`."""
    parser.add_argument("name", nargs="*", help="the assets to download")
    parser.add_argument("--all", action="store_true", help="download every asset")
    parser.add_argument("--list", action="store_true", help="show every asset, and whether it is here")
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help=f"default: the first folder of {VARIABLE}, or torch's cache"
    )


def command(args: argparse.Namespace) -> int:
    """Run `sarbench fetch`: download by name, or list."""
    if not (args.name or args.all or args.list):
        raise ContractError(f"name an asset, or say --all or --list; there are: {', '.join(ASSETS)}")
    if args.list:
        for name, asset in ASSETS.items():
            print(f"{name}  {asset.about}; {asset.size_bytes / 1e6:.0f} MB, {asset.licence}, for {', '.join(asset.used_by)}")
            try:
                print(f"  here: {find(name)}")
            except AssetMissing:
                print(f"  not here: {asset.url}")
        for name, model in MODELS.items():
            print(f"{name}  {model.about}; {model.licence}, for {', '.join(model.used_by)}; copied by hand")
            try:
                print(f"  here: {find(name)}")
            except AssetMissing:
                print(f"  not here: {model.url}")
    for name in ASSETS if args.all else args.name:
        _asset(name)
    for name in ASSETS if args.all else args.name:
        print(fetch(name, args.into or folders()[0]))
    return 0


def _download(asset: Asset) -> Iterator[bytes]:
    from tqdm import tqdm

    received = 0
    try:
        with urllib.request.urlopen(asset.url, timeout=TIMEOUT_S) as answer:
            announced = answer.headers.get("Content-Length")
            total = int(announced) if announced else None
            bar = tqdm(total=total, desc=asset.file.name, unit="B", unit_scale=True, file=sys.stderr, disable=None)
            with bar:
                while block := answer.read(BLOCK):
                    if received == 0 and block.lstrip()[:1] == b"<":
                        raise ContractError(
                            f"{asset.url} gave a web page in place of the file; open it in a browser to see what it says"
                        )
                    received += len(block)
                    bar.update(len(block))
                    yield block
    except urllib.error.HTTPError as error:
        raise ContractError(f"{asset.url}: the server says {error.code} {error.reason}; {_by_hand(asset)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ContractError(f"{asset.url} can't be downloaded ({error}); is this machine online? {_by_hand(asset)}") from error
    if total is not None and received != total:
        raise ContractError(f"{asset.url}: the download broke off after {received} of {total} bytes; try again")


def _by_hand(asset: Asset) -> str:
    return f"or copy {asset.file.name} from elsewhere into a folder and name that in {VARIABLE}"


def _asset(name: str) -> Asset:
    if name in MODELS:
        raise ContractError(_how_to_get(name))
    if name not in ASSETS:
        raise ContractError(f"unknown asset {name!r}; choose from: {', '.join(ASSETS)}")
    return ASSETS[name]


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of_version(path, stat.st_mtime_ns, stat.st_size)


@cache
def _digest_of_version(path: Path, mtime_ns: int, size: int) -> str:
    return file_digest(path)
