"""Weights and data files by sha256: what there is, where it is, and how to get it (`sarbench fetch`)."""

from __future__ import annotations

import argparse
import os
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from sarbench.bench.errors import ContractError
from sarbench.bench.storage import file_digest

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "SARBENCH_ASSETS"

TORCHVISION = "https://download.pytorch.org/models"
PYIQA = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
PYIQA_MIRROR = "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights"
CLIP_REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
PYIQA_LICENCE = "of pyiqa: PolyForm Noncommercial 1.0.0 and NTU S-Lab 1.0, not for commercial use"


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
    size_bytes: int  # shown, never checked: the hash decides; to 1 % where nobody publishes it
    licence: str
    used_by: tuple[str, ...]
    alternatives: tuple[File, ...] = ()  # other files whose content is the same as far as it is used here
    mirrors: tuple[str, ...] = ()  # other URLs of the same file, tried in order after the official one


ASSETS: dict[str, Asset] = {
    "alexnet": Asset(
        about="AlexNet trained on ImageNet, of torchvision: the features behind LPIPS",
        url=f"{TORCHVISION}/alexnet-owt-7be5be79.pth",
        file=File("alexnet-owt-7be5be79.pth", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
        size_bytes=244_408_911,
        licence="BSD-3-Clause",
        used_by=("lpips",),
        alternatives=(
            File("alexnet_features_torchvision_owt.pth", "7e3ec76bbf8609075d2889d8d74c432d008916bcad5eb8b0ae124222c097134e"),
        ),
    ),
    "inception": Asset(
        about="Inception-v3 of December 2015 from TensorFlow, as pytorch-fid ported it: the features behind FID and KID",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        file=File("pt_inception-2015-12-05-6726825d.pth", "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"),
        size_bytes=95_628_359,
        licence="Apache-2.0",
        used_by=("fid", "kid"),
        alternatives=(  # the same bytes, as torch-fidelity and torchmetrics store them
            File(
                "weights-inception-2015-12-05-6726825d.pth",
                "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            ),
        ),
    ),
    "vgg16": Asset(
        about="VGG-16 trained on ImageNet, of torchvision: the features behind LPIPS-VGG, where FCN-8s starts from",
        url=f"{TORCHVISION}/vgg16-397923af.pth",
        file=File("vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        size_bytes=553_433_881,
        licence="BSD-3-Clause",
        used_by=("lpips_vgg", "segmentation"),
    ),
    "vgg19": Asset(
        about="VGG-19 trained on ImageNet, of torchvision: the encoder of AdaIN, the features of VSAIT",
        url=f"{TORCHVISION}/vgg19-dcbb9e9d.pth",
        file=File("vgg19-dcbb9e9d.pth", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"),
        size_bytes=574_673_361,
        licence="BSD-3-Clause",
        used_by=("adain", "vsait"),
    ),
    "squeezenet1_1": Asset(
        about="SqueezeNet 1.1 trained on ImageNet, of torchvision: the features behind LPIPS-Squeeze",
        url=f"{TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
        file=File("squeezenet1_1-b8a52dc0.pth", "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"),
        size_bytes=4_958_839,
        licence="BSD-3-Clause",
        used_by=("lpips_squeeze",),
        alternatives=(
            File("squeezenet1_1_features_torchvision.pth", "78c14e7816f5a06c6d340a70b9a74055802314226f0bf3eca6afdfee0f2d0679"),
        ),
    ),
    "dbcnn": Asset(
        about="DBCNN trained on KonIQ-10k, of pyiqa: VGG-16, S-CNN and the bilinear head in one file",
        url=f"{PYIQA}/DBCNN_KonIQ10k-2de81c0a.pth",
        file=File("DBCNN_KonIQ10k-2de81c0a.pth", "2de81c0a"),
        size_bytes=61_200_000,
        licence=PYIQA_LICENCE,
        used_by=("dbcnn",),
        mirrors=(f"{PYIQA_MIRROR}/DBCNN_KonIQ10k-2de81c0a.pth",),
    ),
    "nima": Asset(
        about="NIMA trained on AVA with Inception-ResNet-v2, of pyiqa",
        url=f"{PYIQA}/NIMA_InceptionV2_ava-b0c77c00.pth",
        file=File("NIMA_InceptionV2_ava-b0c77c00.pth", "b0c77c00"),
        size_bytes=218_000_000,
        licence=PYIQA_LICENCE,
        used_by=("nima",),
        mirrors=(f"{PYIQA_MIRROR}/NIMA_InceptionV2_ava-b0c77c00.pth",),
    ),
    "nima_vgg16": Asset(
        about="NIMA trained on AVA with VGG-16, of pyiqa",
        url=f"{PYIQA}/NIMA_VGG16_ava-dc4e8265.pth",
        file=File("NIMA_VGG16_ava-dc4e8265.pth", "dc4e8265"),
        size_bytes=58_900_000,
        licence=PYIQA_LICENCE,
        used_by=("nima@vgg16",),
        mirrors=(f"{PYIQA_MIRROR}/NIMA_VGG16_ava-dc4e8265.pth",),
    ),
    "resnet50": Asset(
        about="ResNet-50 trained on ImageNet, the first weights of torchvision: encoder and features of S3OIL",
        url=f"{TORCHVISION}/resnet50-0676ba61.pth",
        file=File("resnet50-0676ba61.pth", "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"),
        size_bytes=102_530_333,
        licence="BSD-3-Clause",
        used_by=("s3oil",),
    ),
    "resnet101": Asset(
        about="ResNet-101 trained on ImageNet, the first weights of torchvision: where DeepLab-V2 can start from",
        url=f"{TORCHVISION}/resnet101-63fe2227.pth",
        file=File("resnet101-63fe2227.pth", "63fe2227"),
        size_bytes=178_793_939,
        licence="BSD-3-Clause",
        used_by=("adaptation", "bdl", "proda", "sepico"),
    ),
    "efficientnet_b1": Asset(
        about="EfficientNet-b1 trained on ImageNet, of efficientnet-pytorch: where the change detector starts from",
        url="https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b1-f1951068.pth",
        file=File("efficientnet-b1-f1951068.pth", "f1951068"),
        size_bytes=31_520_000,
        licence="Apache-2.0",
        used_by=("change_detection",),
    ),
    "clip_vit_b32": Asset(
        about="CLIP ViT-B/32 of OpenAI, under the names of transformers: what S3OIL compares contents by",
        url=f"https://huggingface.co/openai/clip-vit-base-patch32/resolve/{CLIP_REVISION}/pytorch_model.bin",
        file=File("clip-vit-base-patch32.bin", "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f"),
        size_bytes=605_247_071,
        licence="MIT",
        used_by=("s3oil",),
    ),
}


@dataclass(frozen=True)
class Model:
    """A folder of several files, which is looked for by its name; its parts are checked by the method that reads them."""

    about: str
    url: str  # where a person gets it
    parts: tuple[str, ...]  # files or sub-folders that it must have
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
    "vq-f4": Model(
        about="VQGAN f4 with 8,192 codes of latent diffusion, in the layout of diffusers: the code that BBDM and cBBDM run in",
        url="https://huggingface.co/CompVis/ldm-super-resolution-4x-openimages",
        parts=("vqvae",),
        licence="MIT",
        used_by=("bbdm", "cbbdm"),
    ),
    "deeplab-resnet101": Model(
        about="ResNet-101 of Caffe's DeepLab, trained on ImageNet, as AdaptSegNet hosts it: where its followers start from",
        url="http://vllab.ucmerced.edu/ytsai/CVPR18/DeepLab_resnet_pretrained_init-f81d91e8.pth",
        parts=("DeepLab_resnet_pretrained_init-f81d91e8.pth",),
        licence="not stated",
        used_by=("bench.judges.networks.deeplab_v2",),
    ),
    "fcn-8s-cityscapes": Model(
        about="FCN-8s on VGG-16 trained on Cityscapes, of pix2pix: the network behind published FCN scores, as Caffe stores it",
        url="http://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/fcn-8s-cityscapes/fcn-8s-cityscapes.caffemodel",
        parts=("fcn-8s-cityscapes.caffemodel",),
        licence="not stated",
        used_by=("fcn_cityscapes",),
    ),
}


# --- What is here ----------------------------------------------------------------------------------------------------


def folders() -> list[Path]:
    """Where assets are looked for, in order: the folders in SARBENCH_ASSETS, then the download caches of torch and pyiqa."""
    given = [Path(folder).expanduser() for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hub = Path(os.environ.get("TORCH_HOME") or os.path.join(caches, "torch")).expanduser() / "hub"
    return [*given, hub / "checkpoints", hub / "pyiqa"]


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
        f"{name} missing ({asset.file.name}, sha256 {_shown(asset.file)}, put it in {VARIABLE}={given} "
        f"or run `sarbench fetch {name}`){''.join(wrong)}"
    )


def _find_model(name: str) -> Path:
    for folder in folders():
        if all((folder / name / part).exists() for part in MODELS[name].parts):
            return folder / name
    raise AssetMissing(f"{name} missing: {_how_to_get(name)}")


def _how_to_get(name: str) -> str:
    model = MODELS[name]
    kind = "file" if Path(model.parts[0]).suffix else "folders"
    return (
        f"copy {model.url} with its {kind} {', '.join(model.parts)} into a folder named {name}, "
        f"and name the folder that holds that one in {VARIABLE}"
    )


def load_state_dict(name: str) -> dict[str, Tensor]:
    """The asset's tensors by name, on the CPU; only tensors are unpickled. Raises AssetMissing.

    They are mapped from the file where its format allows it: what a network leaves out (the classifier of AlexNet is 96% of
    its file) is never read.
    """
    import torch

    path = find(name)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))


# --- Getting it ------------------------------------------------------------------------------------------------------


def fetch(name: str, folder: Path) -> Path:
    """Download an asset into a folder, unless it is there; returns its file, whose sha256 has been checked.

    A download that breaks off leaves `<file>.part`, and the next one goes on from there.
    Raises ContractError where the network, the servers or the content are not as they should be.
    """
    from sarbench.bench.download import download

    asset = _asset(name)
    path = folder / asset.file.name
    if not (path.is_file() and asset.file.has(_digest(path))):
        by_hand = f"or copy {path.name} from elsewhere into a folder and name that in {VARIABLE}"
        download((asset.url, *asset.mirrors), path, asset.file.sha256, otherwise=by_hand)
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
    """Run `sarbench fetch`: download by name, or list. Where one of several fails, the others are fetched all the same."""
    if not (args.name or args.all or args.list):
        raise ContractError(f"name an asset, or say --all or --list; there are: {', '.join(ASSETS)}")
    if args.list:
        for name in (*ASSETS, *MODELS):
            print(_described(name))
    wanted = list(ASSETS) if args.all else args.name
    for name in wanted:
        _asset(name)
    failures = []
    for name in wanted:
        try:
            print(fetch(name, args.into or folders()[0]))
        except ContractError as error:
            failures.append(str(error))
    if failures:
        raise ContractError("\n".join(failures))
    return 0


def _described(name: str) -> str:
    known = MODELS.get(name) or ASSETS[name]
    size = "copied by hand" if isinstance(known, Model) else f"{known.size_bytes / 1e6:.0f} MB"
    about = f"{name}  {known.about}; {size}, {known.licence}, for {', '.join(known.used_by)}"
    try:
        return f"{about}\n  here: {find(name)}"
    except AssetMissing:
        content = "" if isinstance(known, Model) else f", sha256 {_shown(known.file)}"
        return f"{about}\n  not here: {known.url}{content}"


def _shown(file: File) -> str:
    return file.sha256 if len(file.sha256) == 64 else f"{file.sha256}..."


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
