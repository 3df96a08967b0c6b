"""`sarbench translate`: a trained run, applied to a folder of images."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench import registry
from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    from sarbench.bench.interface import Method
    from sarbench.bench.train import Hardware

DESCRIPTION = (
    "method",
    "preset",
    "settings",
    "options",
    "source_channels",
    "target_channels",
    "run_key",
)  # what run.json holds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench translate`."""
    parser.add_argument("run", type=Path, help="a run's folder, such as runs/synthetic.tiny/pix2pix/0")
    parser.add_argument("source", type=Path, help="the folder of images to translate")
    parser.add_argument("out", type=Path, help="where the translations go, under the same names")
    parser.add_argument("--source-range", metavar="LO,HI", help="the values that become -1 and 1; not needed for 8 bits")
    parser.add_argument(
        "--direction",
        choices=("AtoB", "BtoA", "BtoB"),
        default="AtoB",
        help="BtoA: from targets to sources, by a method that learns both; BtoB: targets after the method's autoencoder, "
        "the upper bound of its translations (default: AtoB)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting changed for this alone, which the trained weights fit all the same, such as steps=10 of a diffusion",
    )
    parser.add_argument("--map", metavar="NAME", help="write this map of each translation instead, such as confidence")
    parser.add_argument("--seed", type=int, default=0, help="of stochastic methods (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: a GPU where there is one)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file that holds the method")


def trained(run: Path, hardware: Hardware, changed: Mapping[str, str] = {}) -> tuple[dict[str, Any], Method]:
    """The description in a run's folder, and its method with the trained weights, on the device; settings may be `changed`.

    ContractError for a folder that is none of a run, a training that has not ended, and weights of other code.
    """
    from sarbench.bench.settings import config_of
    from sarbench.bench.storage import read_json
    from sarbench.bench.train import read_weights

    if not (run / "run.json").is_file():
        raise ContractError(f"{run} holds no run.json; name the folder of a run, such as runs/synthetic.tiny/pix2pix/0")
    described = read_json(run / "run.json", *DESCRIPTION)
    state = read_weights(run / "weights.safetensors", described["run_key"])
    if state is None:
        raise ContractError(f"{run} holds no weights.safetensors of a finished training; run its training to the end")
    cls = registry.load_method(described["method"])
    with registry.blaming(described["method"]):
        config = config_of(described["method"], described["preset"], described["settings"] | dict(changed))
        method = hardware.prepare(cls(config, described["source_channels"], described["target_channels"]))
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(f"{name}={value}" for name, value in changed.items())
        remedy = f"leave out --set {told}" if changed else "train it again"
        raise ContractError(f"the weights in {run} are not of today's {described['method']}; {remedy}") from error
    return described, method


def command(args: argparse.Namespace) -> int:
    """Translate every image; one ContractError names every image that can't be, before the first is made."""
    import numpy as np
    import torch

    from sarbench.bench.images import SUFFIXES, find_images, lossless_suffix, quantise, read_georeference, write_image
    from sarbench.bench.keys import key
    from sarbench.bench.options import pair
    from sarbench.bench.progress import Progress
    from sarbench.bench.storage import refuse_unwritable
    from sarbench.bench.train import Hardware
    from sarbench.bench.translate import backwards, map_of, translate_padded, upper_bound

    for plugin in args.plugin:
        registry.add_plugin(plugin)
    hardware = Hardware.choose(args.device)
    changed = dict(pair(text) for text in args.set)
    described, method = trained(args.run, hardware, changed)
    files = find_images(args.source)
    if not files:
        raise ContractError(f"{args.source} holds no images ({', '.join(SUFFIXES)}); name the folder that holds them")
    if args.out.resolve() == args.source.resolve():
        raise ContractError(f"{args.out} holds the images to translate, which would be overwritten; name another folder")
    domain = "source" if args.direction == "AtoB" else "target"
    if args.map:
        if domain == "target":
            raise ContractError(f"--map {args.map} shows translations from A to B; leave --direction out")
        method = map_of(method, args.map)
    elif domain == "target":
        method = (backwards if args.direction == "BtoA" else upper_bound)(method)
    limits = args.source_range or described["options"].get(f"{domain}_range")
    repeated = domain == "source" and described["options"].get("channels") == "repeat"
    problems = []
    for file in files.values():
        try:
            _read(file, method.source_channels, limits, repeated)
        except ContractError as error:
            problems.append(str(error))
    if problems:
        raise ContractError(f"{len(problems)} of {len(files)} images can't be translated:\n  " + "\n  ".join(problems[:50]))
    refuse_unwritable(args.out)
    with (
        registry.blaming(described["method"]),
        Progress(f"translate with {described['method']}", len(files), unit="images") as progress,
    ):
        seconds = 0.0
        for name, file in files.items():
            source = torch.from_numpy(_read(file, method.source_channels, limits, repeated))[None]
            seeds = torch.tensor([key(args.seed, "translate", name)])
            began = time.perf_counter()
            output = quantise(translate_padded(method, source, seeds, hardware)[0].numpy()).transpose(1, 2, 0)
            seconds += time.perf_counter() - began
            where = read_georeference(file)
            write_image(args.out / (name + lossless_suffix(output.shape[2], where)), np.ascontiguousarray(output), where)
            progress.advance()
    print(f"{len(files)} images in {args.out}, {seconds / len(files):.3g} s each to translate")
    return 0


def _read(file: Path, wanted: int, limits: str | None, repeated: bool) -> Any:
    """One image as the run's method takes it: float32 in [-1, 1], (C, H, W); one channel `repeated` if need be."""
    import numpy as np

    from sarbench.bench.images import read_image, scale

    pixels = read_image(file)
    low, high = _range(file, str(pixels.dtype), limits)
    if pixels.shape[2] == 1 and repeated:
        pixels = pixels.repeat(wanted, axis=2)
    if pixels.shape[2] != wanted:
        raise ContractError(f"{file} has {pixels.shape[2]} channels; this run takes {wanted}")
    return np.ascontiguousarray(scale(pixels, low, high).transpose(2, 0, 1))


def _range(file: Path, dtype: str, limits: str | None) -> tuple[float, float]:
    if limits is None:
        if dtype != "uint8":
            raise ContractError(f"{file} holds {dtype} values; say which become -1 and 1, such as --source-range -25,0")
        return 0.0, 255.0
    try:
        low, high = (float(word) for word in limits.split(","))
    except ValueError as error:
        raise ContractError(f"--source-range {limits}: write two numbers, such as -25,0") from error
    if not low < high:
        raise ContractError(f"--source-range {limits}: the first number must be the smaller")
    return low, high
